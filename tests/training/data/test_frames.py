from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from service.bundle import InputSpec
from service.errors import InvalidConfig
from service.targets import TargetSpec
from training.data.augment import Augmenter, AugmentSettings
from training.data.frames import (
    EpochSampler,
    Example,
    HeldOutFrames,
    TrainingViews,
    load_examples,
    split_frames,
)
from training.data.projects import read_projects
from training.data.simulated import simulated_examples

pytestmark = pytest.mark.needs_train

INPUT = InputSpec(width_px=96, height_px=64, color="rgb", fit="letterbox")
NAMES = tuple(f"v/img{number}.png" for number in range(100))


def make_views(examples: list[Example], simulated: list[Example], share: float) -> TrainingViews:
    make_view = Augmenter(
        settings=AugmentSettings(), input=INPUT, width_px=64, height_px=64, mirrored=(1, 0)
    )
    return TrainingViews(
        examples, simulated, make_view, TargetSpec(), simulated_share=share, seed=1
    )


def test_the_split_is_disjoint_complete_and_the_same_for_a_seed() -> None:
    split = split_frames(NAMES, validation_share=0.1, test_share=0.2, seed=4)
    assert (len(split.training), len(split.validation), len(split.test)) == (70, 10, 20)
    assert sorted((*split.training, *split.validation, *split.test)) == sorted(NAMES)
    assert split == split_frames(NAMES, validation_share=0.1, test_share=0.2, seed=4)
    assert split != split_frames(NAMES, validation_share=0.1, test_share=0.2, seed=5)


@pytest.mark.parametrize("shares", [(0.0, 0.2), (0.1, 0.0), (0.5, 0.5)])
def test_a_split_without_frames_of_each_kind_is_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(InvalidConfig, match="at least one frame"):
        split_frames(NAMES, validation_share=shares[0], test_share=shares[1], seed=1)


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
    points = np.full((2, 2), np.nan, np.float32)  # tells simulated examples: nothing labelled
    simulated = [Example("s", np.zeros((72, 96), np.uint8), points)]
    examples = load_examples(list(read_projects([project]).frames.values()))
    views = make_views(examples, simulated, share=0.3)
    unlabelled = [float(views[(0, index)]["labelled"].sum()) == 0 for index in range(300)]
    assert 0.2 < np.mean(unlabelled) < 0.45


def test_held_out_frames_know_the_way_back_to_px_of_the_frame(project: Path) -> None:
    examples = load_examples(list(read_projects([project]).frames.values()))
    sample = HeldOutFrames(examples, INPUT, TargetSpec())[3]
    assert tuple(sample["frames"].shape) == (64, 96, 3)
    rows, columns = np.nonzero(sample["scores"][0].numpy())
    centre = (np.array([columns.mean(), rows.mean()]) + 0.5) * 8 - 0.5
    in_frame = (centre - sample["frame_offset"].numpy()) / sample["frame_scale"].numpy()
    assert np.abs(in_frame - examples[3].keypoints_xy[0]).max() < 6


def test_simulated_examples_carry_the_asked_keypoints_and_nan_for_unknown_ones() -> None:
    names = ("tailbase", "snout", "whisker")
    examples = simulated_examples(5, first_seed=11, keypoints=names)
    assert len(examples) == 5
    assert len({example.name.split("/")[0] for example in examples}) == 2
    points = np.stack([example.keypoints_xy for example in examples])
    assert np.isnan(points[:, 2]).all()
    assert np.isfinite(points[:, :2]).any()
    with pytest.raises(InvalidConfig, match="none of whisker"):
        simulated_examples(1, first_seed=1, keypoints=("whisker",))
