"""Our predictions, opened as the people who use them do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from service.errors import InvalidRequest
from service.results import (
    AnsweredBundle,
    AnsweredPose,
    Provenance,
    RequestOptions,
    VideoResults,
    VideoSource,
    read_results,
    write_results,
)
from service.tracks import Track, read_tracks, write_tracks
from service.tracks.kinematics import measure_kinematics
from service.values import FrameStatus, PoseColumns, VideoInfo


def analyzed(track: Track, folder: Path) -> tuple[Path, Path]:
    """Write the poses as `ethostream analyze` does: the record and the .h5."""
    bundle = AnsweredBundle(
        name="mouse",
        version=2,
        manifest_sha256="a" * 64,
        engine="fake:cpu",
        precision="fp32",
        pose=AnsweredPose(
            keypoints=track.keypoints, skeleton=track.skeleton, max_animals=track.animals
        ),
    )
    results = VideoResults(
        Provenance(
            ethostream="0.1.0",
            source=VideoSource(name="cage.mp4", size_bytes=1, modified_ns=1, sha256="c" * 64),
            info=VideoInfo(640, 480, track.frame_rate_hz, len(track), "h264", "pyav 1"),
            bundles=(bundle,),
            options=RequestOptions(),
        ),
        track.frame_index,
        track.frame_index * 33_333_333,
        np.full(len(track), FrameStatus.OK, np.uint8),
        (PoseColumns(bundle.key, track.keypoints_xy, track.confidence),),
        (),
    )
    record, h5 = write_results(results, folder, ["dlc-h5"])
    return record, h5


@pytest.fixture(params=[1, 3])
def predicted(request: pytest.FixtureRequest, make_track: Callable[..., Track]) -> Track:
    """Predictions of one and of three animals, with a frame that has none."""
    track = make_track(frames=25, animals=request.param, noise_px=1.0)
    confidence = np.random.default_rng(0).uniform(0, 1, track.confidence.shape)
    positions = track.keypoints_xy.copy()
    positions[4], confidence[4] = np.nan, np.nan
    return replace(track, keypoints_xy=positions, confidence=confidence.astype(np.float32))


def test_pandas_opens_our_h5(predicted, tmp_path):
    _, path = analyzed(predicted, tmp_path)
    table = pd.read_hdf(path)
    assert isinstance(table, pd.DataFrame)
    values = table.to_numpy().reshape(25, predicted.animals, 4, 3)
    np.testing.assert_array_equal(values[..., :2], predicted.keypoints_xy)
    np.testing.assert_array_equal(values[..., 2], predicted.confidence)


def test_movement_opens_our_h5(predicted, tmp_path, open_in_movement):
    _, path = analyzed(predicted, tmp_path)
    dataset = open_in_movement(path, "DeepLabCut")
    assert dataset.sizes == {
        "time": 25,
        "space": 2,
        "keypoint": 4,
        "individual": predicted.animals,
    }
    assert dataset.keypoint.values.tolist() == list(predicted.keypoints)
    positions = dataset.position.transpose("time", "individual", "keypoint", "space")
    np.testing.assert_array_equal(positions, predicted.keypoints_xy)
    confidence = dataset.confidence.transpose("time", "individual", "keypoint")
    np.testing.assert_array_equal(confidence, predicted.confidence)


def test_sleap_io_opens_what_is_converted_for_it(predicted, tmp_path):
    """sleap-io reads labels of DeepLabCut but no predictions of it, so they travel as .slp."""
    sleap_io = pytest.importorskip("sleap_io", reason="run `uv sync --inexact --extra analysis`")
    from service.tracks.sleap import write_sleap

    _, h5 = analyzed(predicted, tmp_path)
    track = replace(read_tracks(h5), rows="animals", skeleton=predicted.skeleton)
    write_sleap(track, tmp_path / "cage.slp", Path("cage.mp4"))
    labels = sleap_io.load_slp(str(tmp_path / "cage.slp"), open_videos=False)
    assert len(labels) == 24  # the frame without a result has no instance
    assert [one.name for one in labels.tracks] == (
        list(predicted.names) if predicted.animals > 1 else []
    )
    values = labels.numpy(return_confidence=True)
    there = np.arange(25) != 4
    np.testing.assert_array_equal(values[there][..., :2], predicted.keypoints_xy[there])
    np.testing.assert_array_equal(values[there][..., 2], predicted.confidence[there])


def test_sleap_io_opens_our_h5_by_way_of_movement(predicted, tmp_path):
    movement = pytest.importorskip("movement.io", reason="run `uv sync --inexact --group dev`")
    sleap_io = pytest.importorskip("sleap_io", reason="run `uv sync --inexact --extra analysis`")
    _, h5 = analyzed(predicted, tmp_path)
    dataset = movement.load_dataset(h5, source_software="DeepLabCut", fps=30)
    save_poses = pytest.importorskip(
        "movement.io.save_poses", reason="run `uv sync --inexact --group dev`"
    )
    save_poses.to_sleap_analysis_file(dataset, tmp_path / "cage.analysis.h5")
    labels = sleap_io.load_analysis_h5(str(tmp_path / "cage.analysis.h5"))
    values = labels.numpy()
    there = np.arange(25) != 4
    np.testing.assert_allclose(values[there][..., :2], predicted.keypoints_xy[there])


def test_the_record_and_the_h5_read_as_one_track(predicted, tmp_path):
    record, h5 = (read_tracks(path) for path in analyzed(predicted, tmp_path))
    for found in (record, h5):
        np.testing.assert_array_equal(found.keypoints_xy, predicted.keypoints_xy)
        np.testing.assert_array_equal(found.confidence, predicted.confidence)
        assert found.rows == ("detections" if predicted.animals > 1 else "animals")
    assert record.skeleton == predicted.skeleton
    assert record.frame_rate_hz == 30.0


def test_of_several_models_in_a_record_one_must_be_named(make_track, tmp_path):
    record, _ = analyzed(make_track(frames=3), tmp_path)
    results = read_results(record)
    (mouse,), (poses,) = results.provenance.bundles, results.poses
    rat = msgspec.structs.replace(mouse, name="rat")
    both = replace(
        results,
        provenance=msgspec.structs.replace(results.provenance, bundles=(mouse, rat)),
        poses=(poses, replace(poses, bundle=rat.key, keypoints_xy=poses.keypoints_xy + 1)),
    )
    record = write_results(both, tmp_path, [], stem="both")[0]
    with pytest.raises(InvalidRequest, match="mouse@2, rat@2; name one model with --model"):
        read_tracks(record)
    with pytest.raises(InvalidRequest, match="name one model"):
        read_tracks(record, "cat")
    found = read_tracks(record, "rat")
    assert found.model == "rat@2"
    np.testing.assert_array_equal(found.keypoints_xy, poses.keypoints_xy + 1)


def test_a_recording_of_a_variable_rate_keeps_its_times(make_track, tmp_path):
    """A camera that halves its rate in poor light, over an animal that goes 90 px/s."""
    times_s = np.concatenate([np.arange(20) / 30, 20 / 30 + np.arange(20) / 15])
    track = make_track(frames=40)
    positions = np.zeros_like(track.keypoints_xy)
    positions[..., 0] = (90 * times_s)[:, None, None]
    positions += np.arange(4)[:, None]
    results = read_results(analyzed(replace(track, keypoints_xy=positions), tmp_path)[0])
    varied = replace(results, pts_ns=np.rint(times_s * 1e9).astype(np.int64))
    found = read_tracks(write_results(varied, tmp_path, [], stem="varied")[0])
    np.testing.assert_allclose(found.times_s, times_s, atol=1e-6)
    np.testing.assert_allclose(measure_kinematics(found).speed_px_s, 90, rtol=1e-4)
    (path,) = write_tracks(found, tmp_path / "stored", ["parquet"])
    np.testing.assert_array_equal(read_tracks(path).times_s, found.times_s)


def test_times_that_a_container_rounded_are_those_of_the_frame_rate(make_track, tmp_path):
    results = read_results(analyzed(make_track(frames=40), tmp_path)[0])
    rounded_ms = np.rint(1e3 * np.arange(40) / 30).astype(np.int64)
    repeated = np.maximum(0, np.arange(40) - 1) * 66_000_000
    for pts_ns in (rounded_ms * 1_000_000, repeated):
        changed = replace(results, pts_ns=pts_ns)
        found = read_tracks(write_results(changed, tmp_path, [], stem="even")[0])
        np.testing.assert_array_equal(found.times_s, np.arange(40) / 30)
