from pathlib import Path

import msgspec
import numpy as np
import pytest
from torch.utils.data import DataLoader

from service.bundle import InputSpec
from service.errors import InvalidConfig
from service.targets import TargetSpec
from training.data import frames
from training.data.augment import Augmenter, AugmentSettings
from training.data.frames import (
    EpochSampler,
    Example,
    HeldOutFrames,
    TrainingViews,
    keypoint_indices,
    load_examples,
)
from training.data.projects import read_projects
from training.data.simulated import simulated_examples

pytestmark = pytest.mark.needs_train

INPUT = InputSpec(width_px=96, height_px=64, color="rgb", fit="letterbox")
NO_COVER = AugmentSettings(cut_out_probability=0.0)


def make_views(
    examples: list[Example],
    simulated: list[Example],
    share: float,
    *,
    missing: str = "absent",
    augment: AugmentSettings = NO_COVER,
) -> TrainingViews:
    make_view = Augmenter(settings=augment, input=INPUT, width_px=64, height_px=64, mirrored=(1, 0))
    return TrainingViews(
        examples,
        simulated,
        make_view,
        TargetSpec(),
        missing=missing,
        simulated_share=share,
        seed=1,
    )


def test_views_differ_by_epoch_and_repeat_for_the_same_epoch(project: Path) -> None:
    examples = load_examples(list(read_projects([project]).frames.values()))
    assert examples[0].pixels.ndim == 2  # gray pictures are kept as one channel
    views = make_views(examples, [], share=0.0)
    sampler = EpochSampler(6)
    loader = DataLoader(views, batch_size=4, sampler=sampler)
    first = [batch["frames"] for batch in loader]
    assert [len(batch) for batch in first] == [4, 2]
    assert all((a == b["frames"]).all() for a, b in zip(first, loader, strict=True))
    sampler.set_epoch(1)
    assert any((a != b["frames"]).any() for a, b in zip(first, loader, strict=True))


def test_the_share_of_simulated_views_is_what_was_asked(project: Path) -> None:
    points = np.full((1, 2, 2), np.nan, np.float32)
    unknown = (0, 1)  # tells simulated examples
    simulated = [Example("s", np.zeros((72, 96), np.uint8), points, unknown)]
    examples = load_examples(list(read_projects([project]).frames.values()))
    views = make_views(examples, simulated, share=0.3)
    is_simulated = [float(views[(0, index)]["known"].sum()) == 0 for index in range(300)]
    assert 0.2 < np.mean(is_simulated) < 0.45


@pytest.mark.parametrize(("missing", "known"), [("absent", [1, 1]), ("ignored", [1, 0])])
def test_a_missing_point_is_absent_or_ignored_as_told(missing: str, known: list[int]) -> None:
    points = np.array([[[40.0, 30.0], [np.nan, np.nan]]], np.float32)
    example = Example("e", np.zeros((72, 96), np.uint8), points)
    no_mirror = msgspec.structs.replace(NO_COVER, mirror_probability=0.0)
    view = make_views([example], [], 0.0, missing=missing, augment=no_mirror)[(0, 0)]
    assert view["known"].tolist() == known
    held_out = HeldOutFrames([example], INPUT, TargetSpec(), missing=missing)[0]
    assert held_out["known"].tolist() == known
    assert held_out["scores"][1].sum() == 0


def test_a_covered_point_takes_no_part() -> None:
    points = np.array([[[40.0, 30.0], [60.0, 40.0]]], np.float32)
    example = Example("e", np.zeros((72, 96), np.uint8), points)
    covering = AugmentSettings(cut_out_probability=1.0, cut_out_share=(0.5, 0.5))
    views = make_views([example], [], 0.0, augment=covering)
    known = np.stack([views[(0, index)]["known"].numpy() for index in range(30)])
    assert 0 < known.mean() < 1


def test_processes_share_the_views_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = EpochSampler(5)
    whole = list(sampler)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(frames, "_process", lambda rank=rank: (rank, 2))
        parts.append(list(sampler))
        assert len(sampler) == len(parts[-1]) == 3
    assert {key for part in parts for key in part} >= set(whole)
    assert not set(parts[0]) & set(parts[1])


def test_chosen_keypoints_are_kept_in_their_order(project: Path) -> None:
    data = read_projects([project])
    chosen = keypoint_indices(data.keypoints, ("rightear",))
    examples = load_examples(list(data.frames.values())[:1], keypoints=chosen)
    assert examples[0].keypoints_xy.shape == (1, 1, 2)
    with pytest.raises(InvalidConfig, match="nose is not labelled; the data labels leftear"):
        keypoint_indices(data.keypoints, ("nose",))


def test_held_out_frames_know_the_way_back_to_px_of_the_frame(project: Path) -> None:
    examples = load_examples(list(read_projects([project]).frames.values()))
    sample = HeldOutFrames(examples, INPUT, TargetSpec(), missing="absent")[3]
    assert tuple(sample["frames"].shape) == (64, 96, 3)
    rows, columns = np.nonzero(sample["scores"][0].numpy())
    centre = (np.array([columns.mean(), rows.mean()]) + 0.5) * 8 - 0.5
    in_frame = (centre - sample["frame_offset"].numpy()) / sample["frame_scale"].numpy()
    assert np.abs(in_frame - examples[3].keypoints_xy[0, 0]).max() < 6


def test_simulated_examples_carry_the_asked_keypoints_and_nan_for_unknown_ones() -> None:
    names = ("tailbase", "snout", "whisker")
    examples = simulated_examples(5, first_seed=11, keypoints=names)
    assert len(examples) == 5
    assert len({example.name.split("/")[0] for example in examples}) == 2
    points = np.stack([example.keypoints_xy for example in examples])
    assert np.isnan(points[:, 0, 2]).all()
    assert np.isfinite(points[:, 0, :2]).any()
    assert all(example.unknown == (2,) for example in examples)
    with pytest.raises(InvalidConfig, match="none of whisker"):
        simulated_examples(1, first_seed=1, keypoints=("whisker",))
