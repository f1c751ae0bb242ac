from pathlib import Path

import numpy as np
import pytest

from training.behavior.keypoints.data import (
    HeldOutBatches,
    PoseRecording,
    TrainingBatches,
    find_tracks,
    statistics,
)
from training.behavior.keypoints.features import PoseFeatures
from training.behavior.keypoints.settings import KeypointTraining
from training.data.labels import InvalidLabels

pytestmark = pytest.mark.needs_train


def settings_of(**changes: object) -> KeypointTraining:
    values: dict[str, object] = {
        "data": (),
        "tracks": (),
        "data_sha256": "",
        "behaviors": ("walk", "rear"),
        "exclusive": False,
        "frame_rate_hz": 10.0,
        "validation": ("b",),
        "test": ("c",),
        "features": PoseFeatures(keypoints=("nose", "tail")),
        "window_frames": 5,
        "batch_size": 4,
        "samples_per_epoch": 8,
    }
    return KeypointTraining(**(values | changes))  # type: ignore[arg-type]


def recording_of(frames: int, clips: tuple[tuple[int, int], ...]) -> PoseRecording:
    features = np.repeat(np.arange(frames, dtype=np.float32)[:, None], 3, axis=1)
    return PoseRecording("a", features, np.zeros((frames, 2), np.int8), clips)


def test_windows_repeat_the_ends_of_their_clip() -> None:
    frames, around = recording_of(7, ((0, 3), (3, 7))).windows(2, 2)
    assert frames.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert around[0].tolist() == [0, 0, 0, 1, 2]
    assert around[2].tolist() == [0, 1, 2, 2, 2]
    assert around[3].tolist() == [3, 3, 3, 4, 5]


def test_causal_windows_end_at_the_answered_frame() -> None:
    causal = settings_of(features=PoseFeatures(keypoints=("nose", "tail"), causal=True))
    assert (causal.past_frames, causal.future_frames) == (4, 0)
    centered = settings_of()
    assert (centered.past_frames, centered.future_frames) == (2, 2)


def test_training_batches_leave_out_what_is_not_labelled() -> None:
    recording = recording_of(20, ((0, 20),))
    recording.labels[:15] = -1
    batches = TrainingBatches([recording, recording], settings_of())
    for index in range(10):
        batch = batches[(0, index)]
        assert batch["windows"].shape == (4, 5, 3)
        assert (batch["windows"][:, 2, 0] >= 15).all()
        assert (batch["labels"] == 0).all()


def test_a_batch_is_the_same_again_and_another_one_in_the_next_epoch() -> None:
    batches = TrainingBatches([recording_of(50, ((0, 50),))], settings_of())
    first = batches[(0, 1)]["windows"]
    assert (first == batches[(0, 1)]["windows"]).all()
    assert (first != batches[(1, 1)]["windows"]).any()


def test_held_out_batches_hold_every_labelled_frame_once() -> None:
    recording = recording_of(70, ((0, 30), (30, 70)))
    recording.labels[5] = -1
    batches = HeldOutBatches([recording], settings_of())
    answered = [batches[index]["windows"][:, 2, 0] for index in range(len(batches))]
    assert np.concatenate(answered).tolist() == [frame for frame in range(70) if frame != 5]


def test_statistics_leave_out_what_is_not_known() -> None:
    recording = recording_of(4, ((0, 4),))
    recording.features[1, 0] = np.nan
    recording.features[:, 2] = 7.0
    mean, std = statistics([recording])
    assert mean == pytest.approx([5 / 3, 1.5, 7.0])
    assert std[1] == pytest.approx(np.std([0, 1, 2, 3]))
    assert std[2] > 0  # a constant feature is not divided by 0


def test_tracks_are_found_by_the_beginning_of_their_name(tmp_path: Path) -> None:
    for name in ("mouse1DLC_resnet50.h5", "mouse1DLC_resnet50.csv", "mouse10DLC_resnet50.csv"):
        (tmp_path / name).touch()
    (tmp_path / "mouse1_labels.csv").touch()
    found = find_tracks([tmp_path], ["mouse1", "mouse10"])
    assert found["mouse1"].name == "mouse1DLC_resnet50.h5"
    assert found["mouse10"].name == "mouse10DLC_resnet50.csv"


def test_a_recording_without_poses_or_with_two_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidLabels, match=r"mouse1 needs one file of poses.*there is none"):
        find_tracks([tmp_path], ["mouse1"])
    (tmp_path / "mouse1_a.csv").touch()
    (tmp_path / "mouse1_b.csv").touch()
    with pytest.raises(InvalidLabels, match=r"mouse1_a\.csv.*mouse1_b\.csv"):
        find_tracks([tmp_path], ["mouse1"])
