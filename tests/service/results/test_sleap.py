"""Poses in SLEAP's files, read back by sleap-io, movement, h5py and our own reader."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest

from service.results import AnsweredBundle, VideoResults, write_results
from service.tracks import read_tracks

sleap_io = pytest.importorskip("sleap_io", reason="run `uv sync --extra cpu --extra analysis`")

Make = Callable[..., AnsweredBundle]
MakeResults = Callable[..., VideoResults]
MISSING_ROW = 7


def load_slp(folder: Path):
    return sleap_io.load_slp(str(folder / "cage 4.predictions.slp"), open_videos=False)


def put_from_frame(results: VideoResults, first: int) -> VideoResults:
    """The same rows as if the analysis had begun at frame `first`."""
    return replace(results, frame_index=results.frame_index + first)


def lose_point(results: VideoResults, row: int, keypoint: int) -> VideoResults:
    poses = results.poses[0]
    positions, confidence = poses.keypoints_xy.copy(), poses.confidence.copy()
    positions[row, 0, keypoint], confidence[row, 0, keypoint] = np.nan, np.nan
    return replace(results, poses=(replace(poses, keypoints_xy=positions, confidence=confidence),))


def test_sleap_io_reads_every_point_and_its_confidence(
    results: VideoResults, tmp_path: Path
) -> None:
    write_results(results, tmp_path, ["slp"])
    labels = load_slp(tmp_path)
    values = labels.numpy(return_confidence=True)
    there = np.arange(30) != MISSING_ROW
    np.testing.assert_array_equal(values[there][..., :2], results.poses[0].keypoints_xy[there])
    np.testing.assert_array_equal(values[there][..., 2], results.poses[0].confidence[there])
    assert np.isnan(values[MISSING_ROW]).all()
    assert len(labels) == 29
    assert all(type(one) is sleap_io.PredictedInstance for frame in labels for one in frame)
    score = np.mean(results.poses[0].confidence[0])
    assert labels[0].instances[0].score == pytest.approx(score, abs=1e-6)


def test_a_slp_file_has_the_skeleton_the_video_and_no_suggestions(
    results: VideoResults, tmp_path: Path
) -> None:
    write_results(results, tmp_path, ["slp"])
    labels = load_slp(tmp_path)
    assert labels.skeleton.node_names == ["snout", "leftear", "rightear", "tailbase"]
    assert labels.skeleton.edge_names == [("snout", "tailbase")]
    assert labels.video.filename == "cage 4.mp4"
    assert tuple(labels.video.shape) == (30, 480, 640, 3)
    assert labels.video.fps == 30
    assert not labels.suggestions
    assert not labels.tracks
    assert labels.provenance["bundle"] == "mouse@2"


def test_the_rows_are_those_that_sleap_io_writes_itself(
    results: VideoResults, tmp_path: Path
) -> None:
    write_results(lose_point(results, 12, 2), tmp_path, ["slp"])
    ours = tmp_path / "cage 4.predictions.slp"
    labels = load_slp(tmp_path)  # objects of every animal of every frame
    labels.save(str(tmp_path / "theirs.slp"), embed=False, verbose=False)
    with h5py.File(ours) as one, h5py.File(tmp_path / "theirs.slp") as other:
        assert one["metadata"].attrs["format_id"] == other["metadata"].attrs["format_id"]
        for name in ("frames", "instances", "pred_points", "points"):
            assert one[name].dtype == other[name].dtype
            for column in one[name].dtype.names or ():
                np.testing.assert_array_equal(one[name][column], other[name][column], column)


def test_a_point_that_is_missing_is_not_visible(results: VideoResults, tmp_path: Path) -> None:
    write_results(lose_point(results, 12, 2), tmp_path, ["slp", "sleap-h5"])
    [frame] = [one for one in load_slp(tmp_path) if one.frame_idx == 12]
    assert frame.instances[0].points["visible"].tolist() == [True, True, False, True]
    with h5py.File(tmp_path / "cage 4.analysis.h5") as file:
        assert np.isnan(file["tracks"][0, :, 2, 12]).all()
        assert np.isnan(file["point_scores"][0, 2, 12])
        assert file["track_occupancy"][12, 0] == 1


def test_frames_keep_their_numbers_where_the_analysis_begins_later(
    results: VideoResults, tmp_path: Path
) -> None:
    write_results(put_from_frame(results, 100), tmp_path, ["slp", "sleap-h5"])
    numbers = [frame.frame_idx for frame in load_slp(tmp_path)]
    assert numbers == [100 + row for row in range(30) if row != MISSING_ROW]
    with h5py.File(tmp_path / "cage 4.analysis.h5") as file:
        assert file["tracks"].shape == (1, 2, 4, 130)
        assert np.isnan(file["tracks"][..., :100]).all()
        assert np.flatnonzero(file["track_occupancy"][:, 0]).tolist() == numbers
        found = file["tracks"][:].transpose(3, 0, 2, 1)[100:]
    np.testing.assert_array_equal(found, results.poses[0].keypoints_xy)


def test_the_analysis_file_is_laid_out_as_sleaps(
    make_results: MakeResults, make_pose_bundle: Make, tmp_path: Path
) -> None:
    results = make_results(make_pose_bundle(animals=2))
    write_results(results, tmp_path, ["sleap-h5"])
    poses = results.poses[0]
    with h5py.File(tmp_path / "cage 4.analysis.h5") as file:
        assert {name: file[name].shape for name in file} == {
            "tracks": (2, 2, 4, 30),
            "track_occupancy": (30, 2),
            "point_scores": (2, 4, 30),
            "instance_scores": (2, 30),
            "tracking_scores": (2, 30),
            "track_names": (2,),
            "node_names": (4,),
            "edge_names": (1, 2),
            "edge_inds": (1, 2),
            "labels_path": (),
            "video_path": (),
            "video_ind": (),
            "provenance": (),
        }
        np.testing.assert_array_equal(file["tracks"][:], poses.keypoints_xy.transpose(1, 3, 2, 0))
        np.testing.assert_array_equal(file["point_scores"][:], poses.confidence.transpose(1, 2, 0))
        assert file["node_names"][:].tolist() == [b"snout", b"leftear", b"rightear", b"tailbase"]
        assert file["edge_names"][:].tolist() == [[b"snout", b"tailbase"]]
        assert file["edge_inds"][:].tolist() == [[0, 3]]
        assert file["video_path"][()] == b"cage 4.mp4"
    labels = sleap_io.load_file(str(tmp_path / "cage 4.analysis.h5"))
    there = np.arange(30) != MISSING_ROW
    values = labels.numpy(return_confidence=True)
    np.testing.assert_array_equal(values[there][..., :2], poses.keypoints_xy[there])


@pytest.mark.parametrize("animals", [1, 2])
def test_movement_reads_the_analysis_file(
    make_results: MakeResults,
    make_pose_bundle: Make,
    tmp_path: Path,
    animals: int,
    open_in_movement,
) -> None:
    results = make_results(make_pose_bundle(animals=animals))
    write_results(results, tmp_path, ["sleap-h5"])
    dataset = open_in_movement(tmp_path / "cage 4.analysis.h5", "SLEAP")
    positions = dataset.position.transpose("time", "individual", "keypoint", "space")
    np.testing.assert_array_equal(positions, results.poses[0].keypoints_xy)
    confidence = dataset.confidence.transpose("time", "individual", "keypoint")
    np.testing.assert_array_equal(confidence, results.poses[0].confidence)


def test_movement_reads_the_slp_file(
    results: VideoResults, tmp_path: Path, open_in_movement
) -> None:
    write_results(results, tmp_path, ["slp"])
    dataset = open_in_movement(tmp_path / "cage 4.predictions.slp", "SLEAP")
    positions = dataset.position.transpose("time", "individual", "keypoint", "space")
    np.testing.assert_array_equal(positions, results.poses[0].keypoints_xy)


def test_rows_of_several_animals_are_instances_without_tracks_and_known_as_detections(
    make_results: MakeResults, make_pose_bundle: Make, tmp_path: Path
) -> None:
    bundle = make_pose_bundle(animals=2)
    assert bundle.pose is not None
    pose = msgspec.structs.replace(bundle.pose, unique_keypoints=("tailbase",))
    results = make_results(msgspec.structs.replace(bundle, pose=pose))
    write_results(results, tmp_path, ["slp", "sleap-h5"])
    labels = load_slp(tmp_path)
    assert not labels.tracks
    assert all(len(frame) == 2 for frame in labels)
    second = labels[0].instances[1].points
    assert second["visible"].tolist() == [True, True, True, False]  # the scene has one tailbase
    for name in ("cage 4.predictions.slp", "cage 4.analysis.h5"):
        track = read_tracks(tmp_path / name)
        assert track.rows == "detections"
        np.testing.assert_array_equal(
            track.keypoints_xy[:, :, :3], results.poses[0].keypoints_xy[:, :, :3]
        )


def test_several_bundles_have_a_file_each(
    make_results: MakeResults, make_pose_bundle: Make, tmp_path: Path
) -> None:
    results = make_results(make_pose_bundle(), make_pose_bundle(name="pups"))
    written = write_results(results, tmp_path, ["slp", "sleap-h5"])
    assert [path.name for path in written[1:]] == [
        "cage 4_mouse_v2.predictions.slp",
        "cage 4_pups_v2.predictions.slp",
        "cage 4_mouse_v2.analysis.h5",
        "cage 4_pups_v2.analysis.h5",
    ]
    labels = sleap_io.load_slp(str(written[2]), open_videos=False)
    np.testing.assert_array_equal(labels.numpy()[3], results.poses[1].keypoints_xy[3])


def test_the_video_is_named_by_its_path(results: VideoResults, tmp_path: Path) -> None:
    video = tmp_path / "videos" / "cage 4.mp4"
    write_results(results, tmp_path, ["slp", "sleap-h5"], video=video)
    assert load_slp(tmp_path).video.filename == video.as_posix()
    with h5py.File(tmp_path / "cage 4.analysis.h5") as file:
        assert file["video_path"][()].decode() == str(video)


def test_pictures_are_named_one_by_one(results: VideoResults, tmp_path: Path) -> None:
    names = tuple(f"{number}.png" for number in range(30))
    source = msgspec.structs.replace(results.provenance.source, name="cage 4", pictures=names)
    provenance = msgspec.structs.replace(results.provenance, source=source)
    write_results(
        replace(results, provenance=provenance), tmp_path, ["slp"], video=Path("/data/cage 4")
    )
    assert load_slp(tmp_path).video.filename[:2] == ["/data/cage 4/0.png", "/data/cage 4/1.png"]
