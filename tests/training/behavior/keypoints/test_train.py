import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.errors import InvalidConfig, InvalidRequest
from service.tracks.read import read_tracks
from service.tracks.track import Track
from service.tracks.write import write_tracks
from tests.training.behavior.keypoints.conftest import write_labelled_poses
from training.behavior.keypoints import command
from training.behavior.keypoints.predict import (
    KeypointClassifier,
    read_classifier,
    read_decisions,
)
from training.data.labels import InvalidLabels
from training.figures import read_metrics
from training.runs import Run, open_run

pytestmark = pytest.mark.needs_train

TINY = (
    "--validation mouse03 --test mouse04 --heading tailbase snout --cutoff 0.5 --window 15 "
    "--epochs 3 --samples 2048 --batch-size 64 --threads 1"
)


def train(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args([str(one) for one in arguments]))


@pytest.fixture(scope="module")
def poses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled_poses(tmp_path_factory.mktemp("poses"), 5, duration_s=40.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, poses: Path) -> Run:
    out = tmp_path_factory.mktemp("runs") / "tiny"
    assert train(poses, "--out", out, *TINY.split()) == 0
    return open_run(out)


@pytest.fixture(scope="module")
def classifier(trained: Run) -> KeypointClassifier:
    return read_classifier(trained)


@pytest.fixture
def track(poses: Path) -> Track:
    return read_tracks(poses / "mouse04_truth.npz")


def test_behaviors_of_unseen_recordings_are_told_far_better_than_by_chance(trained: Run) -> None:
    figures = json.loads(trained.evaluation.read_bytes())["test"]
    assert figures["frames"] == 800
    assert figures["macro_f1"] > 2 * figures["chance_f1"]
    assert figures["auroc"] > 0.75
    assert set(figures["per_class"]) == {
        "locomotion",
        "rearing",
        "wall_supported_rearing",
        "grooming",
    }


def test_a_run_has_the_files_of_other_runs(trained: Run) -> None:
    assert trained.split().test == ("mouse04",)
    assert trained.task == "behavior"
    assert len(read_metrics(trained.metrics_table)) == 3
    assert trained.best_checkpoint().name == "best.ckpt"
    decisions = read_decisions(trained.directory)
    assert all(0 < one < 1 for one in decisions.thresholds)
    assert all(one >= 1 for one in decisions.min_bout_frames)


def test_every_frame_of_a_track_gets_probabilities(
    classifier: KeypointClassifier, track: Track
) -> None:
    values = classifier.predict(track, frames=800)
    assert values.shape == (800, 4)
    assert ((values >= 0) & (values <= 1)).all()


def test_a_track_shorter_than_the_window_is_answered(
    classifier: KeypointClassifier, track: Track
) -> None:
    short = replace(
        track,
        frame_index=track.frame_index[:3],
        keypoints_xy=track.keypoints_xy[:3],
        confidence=track.confidence[:3],
    )
    assert np.isfinite(classifier.predict(short)).all()


def test_frames_outside_the_clips_are_not_answered(
    classifier: KeypointClassifier, track: Track
) -> None:
    values = classifier.predict(track, clips=((100, 200), (200, 300)))
    assert np.isfinite(values[100:300]).all()
    assert np.isnan(values[:100]).all()
    assert np.isnan(values[300:]).all()


def test_other_names_order_and_more_keypoints_do_not_confuse(
    classifier: KeypointClassifier, track: Track
) -> None:
    order = [2, 0, 3, 1]
    shuffled = replace(
        track,
        keypoints=tuple(track.keypoints[one] for one in order),
        keypoints_xy=track.keypoints_xy[:, :, order],
        confidence=track.confidence[:, :, order],
    )
    np.testing.assert_array_equal(classifier.predict(shuffled), classifier.predict(track))


def test_our_parquet_and_deeplabcut_tables_give_the_same_answers(
    classifier: KeypointClassifier, track: Track, tmp_path: Path
) -> None:
    expected = classifier.predict(track)
    written = write_tracks(track, tmp_path / "mouse04")
    assert {one.suffix for one in written} == {".parquet", ".h5", ".csv"}
    for path in written:
        np.testing.assert_allclose(classifier.predict(read_tracks(path)), expected, atol=1e-3)


def test_a_track_of_another_rate_is_refused(classifier: KeypointClassifier, track: Track) -> None:
    with pytest.raises(InvalidConfig, match="30 frames/s, but 20 are trained on"):
        classifier.predict(replace(track, frame_rate_hz=30.0))


def test_a_track_without_a_trained_keypoint_is_refused(
    classifier: KeypointClassifier, track: Track
) -> None:
    with pytest.raises(InvalidRequest, match="no keypoint 'snout'"):
        classifier.predict(replace(track, keypoints=("nose", *track.keypoints[1:])))


def test_a_finished_run_is_resumed_to_the_same_figures(trained: Run, poses: Path) -> None:
    before = trained.evaluation.read_bytes()
    assert train("--out", trained.directory, "--resume") == 0
    assert trained.evaluation.read_bytes() == before
    assert len(read_metrics(trained.metrics_table)) == 3


def test_exclusive_and_causal_training_with_walls(tmp_path: Path) -> None:
    poses = write_labelled_poses(tmp_path / "poses", 3, duration_s=20.0, scene="openfield", seed=3)
    for one in poses.glob("*_labels.csv"):  # locomotion and rearing exclude each other
        lines = [line.split(",") for line in one.read_text().splitlines()]
        kept = [[line[0], *line[2:4]] for line in lines]
        one.write_text("\n".join(",".join(line) for line in kept) + "\n")
    arena = tmp_path / "arena.json"
    arena.write_text('{"*": [[40, 0], [280, 0], [280, 240], [40, 240]]}')
    out = tmp_path / "runs" / "causal"
    arguments = TINY.replace("mouse03", "mouse01").replace("mouse04", "mouse02").split()
    extra = ("--exclusive", "--causal", "--arena", arena, "--epochs", 1)
    assert train(poses, "--out", out, *arguments, *extra) == 0
    classifier = read_classifier(open_run(out))
    assert classifier.settings.behaviors[0] == "background"
    assert classifier.settings.future_frames == 0
    track = read_tracks(poses / "mouse02_truth.npz")
    values = classifier.predict(track, name="mouse02")
    assert values.sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_changed_labels_stop_a_resumed_training(tmp_path: Path) -> None:
    poses = write_labelled_poses(tmp_path / "poses", 3, duration_s=5.0)
    out = tmp_path / "runs" / "changed"
    arguments = TINY.replace("mouse03", "mouse01").replace("mouse04", "mouse02").split()
    assert train(poses, "--out", out, *arguments, "--epochs", 1, "--samples", 64) == 0
    labels = poses / "mouse00_labels.csv"
    lines = labels.read_text().splitlines()
    lines[1] = "0,0,1,1,1,1"
    labels.write_text("\n".join(lines) + "\n")
    with pytest.raises(InvalidLabels, match="restore them or train anew"):
        train("--out", out, "--resume")


def test_a_split_that_leaves_a_part_empty_is_refused(poses: Path, tmp_path: Path) -> None:
    arguments = TINY.replace("mouse03", "mouse*").split()
    with pytest.raises(InvalidConfig, match="0 recordings train"):
        train(poses, "--out", tmp_path / "runs" / "empty", *arguments)
