"""Scores against the truth, by names and not by places."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from service.demo.truth import Truth, read_truth, score_behavior, score_pose, true_behaviors
from service.errors import InvalidVideo
from service.results import VideoResults
from service.simulation import SimulationSettings, simulate, write_recording

Make = Callable[..., VideoResults]


def test_keypoints_are_matched_by_name_and_hidden_ones_left_out(
    make_results: Make, truth: Truth
) -> None:
    results = make_results(truth, offset_px=3.0)
    results.poses[0].keypoints_xy[4, 0, 1] += 1000  # tailbase, which is hidden there
    score = score_pose(truth, results, *results.pose_answers()[0])
    assert score is not None
    assert score.mean_px == pytest.approx(3.0, abs=1e-4)
    assert score.by_keypoint == pytest.approx({"snout": 3.0, "tailbase": 3.0}, abs=1e-4)
    assert score.confident_share == 1.0


def test_a_bundle_with_other_keypoints_has_no_score(make_results: Make, truth: Truth) -> None:
    results = make_results(truth)
    bundle, poses = results.pose_answers()[0]
    assert bundle.pose is not None
    hands = msgspec.structs.replace(bundle.pose, keypoints=("hand", "elbow"))
    assert score_pose(truth, results, msgspec.structs.replace(bundle, pose=hands), poses) is None


def test_behaviors_are_matched_by_name_in_frames_with_an_answer(
    make_results: Make, truth: Truth
) -> None:
    results = make_results(truth)
    perfect = score_behavior(truth, results, *results.behavior_answers()[0])
    assert perfect is not None
    assert perfect.macro_f1 == 1.0
    assert perfect.chance_f1 < 0.8
    results.behaviors[0].present[10:18, 0] = False  # never rears
    found = score_behavior(truth, results, *results.behavior_answers()[0])
    assert found is not None
    assert found.by_behavior == {"rear": 0.0, "walk": 1.0}
    assert found.macro_f1 == 0.5


def test_background_is_what_no_behavior_is(make_results: Make, truth: Truth) -> None:
    results = make_results(truth)
    bundle, _ = results.behavior_answers()[0]
    assert bundle.behavior is not None
    exclusive = msgspec.structs.replace(
        bundle,
        behavior=msgspec.structs.replace(
            bundle.behavior, behaviors=("background", "walk"), exclusive=True
        ),
    )
    shown = true_behaviors(truth, results, exclusive)
    assert shown is not None
    np.testing.assert_array_equal(shown[:, 0], ~truth.behaviors.any(axis=1))
    np.testing.assert_array_equal(shown[:, 1], truth.behaviors[:, 0])
    strange = msgspec.structs.replace(
        bundle, behavior=msgspec.structs.replace(bundle.behavior, behaviors=("swim", "walk"))
    )
    assert true_behaviors(truth, results, strange) is None


def test_the_truth_of_a_simulated_recording_is_read_back(tmp_path: Path) -> None:
    recording = simulate(SimulationSettings(width_px=64, height_px=64, duration_s=0.2))
    files = write_recording(recording, tmp_path)
    truth = read_truth(files.video)
    assert truth is not None
    np.testing.assert_array_equal(truth.keypoints_xy, recording.keypoints_xy)
    np.testing.assert_array_equal(truth.behaviors, recording.behaviors.astype(np.bool_))
    assert truth.keypoint_names == recording.keypoint_names
    files.truth_arrays.write_bytes(b"cut")
    with pytest.raises(InvalidVideo, match="simulate it again"):
        read_truth(files.video)


def test_a_video_of_somebody_has_no_truth(tmp_path: Path) -> None:
    assert read_truth(tmp_path / "mine.mp4") is None
