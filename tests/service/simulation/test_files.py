import json

import av
import numpy as np
import pandas as pd
import pytest

from service.encoders import CODEC_NAMES
from service.errors import InvalidConfig
from service.simulation import SimulationSettings, simulate, write_recording


def small(**changes):
    settings = {"width_px": 160, "height_px": 120, "duration_s": 2.5, "seed": 3} | changes
    return simulate(SimulationSettings(**settings))


@pytest.mark.parametrize("codec", CODEC_NAMES)
def test_every_codec_decodes_to_exactly_the_frames_that_were_made(tmp_path, codec):
    recording = small()
    progress = []
    files = write_recording(recording, tmp_path, codec=codec, on_frame=progress.append)
    assert progress == list(range(1, 76))
    with av.open(str(files.video)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert float(stream.average_rate) == pytest.approx(30.0, rel=0.02)
    assert len(frames) == recording.frame_count == 75
    times = [frame.time for frame in frames]
    np.testing.assert_allclose(times, np.arange(75) / 30.0, atol=0.0011)  # WebM counts in ms
    for index in (0, 40, 74):
        difference = frames[index].to_ndarray(format="rgb24").astype(int) - recording.render(index)
        assert np.abs(difference).mean() < 6.0
    assert sorted(path.name for path in tmp_path.iterdir() if ".part" in path.name) == []


def test_ffv1_keeps_every_pixel(tmp_path):
    recording = small(width_px=161, height_px=121, duration_s=0.2)
    files = write_recording(recording, tmp_path, codec="ffv1")
    with av.open(str(files.video)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), recording.render(index))


def test_h264_has_a_key_frame_every_second(tmp_path):
    files = write_recording(small(), tmp_path, codec="h264")
    with av.open(str(files.video)) as container:
        keys = [frame.pts for frame in container.decode(video=0) if frame.key_frame]
        assert len(keys) >= 3


@pytest.mark.parametrize("animals", [1, 2])
def test_label_files_read_back_as_the_truth(tmp_path, animals):
    recording = small(animals=animals, scene="homecage", duration_s=6.0)
    files = write_recording(recording, tmp_path, name="session1")
    assert files.pose_csv == (
        tmp_path / "labeled-data" / "session1" / "CollectedData_ethostream.csv"
    )
    table = pd.read_hdf(files.pose_h5, key="df_with_missing")
    levels = ["scorer", "bodyparts", "coords"]
    if animals > 1:
        levels.insert(1, "individuals")
    assert list(table.columns.names) == levels
    assert table.index[7] == ("labeled-data", "session1", "img0007.png")
    expected = np.where(recording.visible[..., None], recording.keypoints_xy, np.nan)
    np.testing.assert_allclose(table.to_numpy(), expected.reshape(len(table), -1))
    assert np.isnan(expected).any()
    from_csv = pd.read_csv(files.pose_csv, header=list(range(len(levels))), index_col=[0, 1, 2])
    np.testing.assert_allclose(from_csv.to_numpy(), table.to_numpy(), rtol=1e-6)
    assert list(from_csv.columns) == list(table.columns)

    behaviors = pd.read_csv(files.behavior_csv, index_col=0)
    assert list(behaviors.columns) == ["background", *recording.behavior_names]
    np.testing.assert_array_equal(behaviors.to_numpy()[:, 1:], recording.behaviors)
    np.testing.assert_array_equal(
        behaviors["background"].to_numpy(), 1 - recording.behaviors.max(axis=1)
    )
    assert files.behavior_csv.read_text().startswith(",background,locomotion")

    with np.load(files.truth_arrays) as truth:
        np.testing.assert_array_equal(truth["keypoints_xy"], recording.keypoints_xy)
        np.testing.assert_array_equal(truth["visible"], recording.visible)
    told = json.loads(files.truth_json.read_text())
    assert told["settings"]["seed"] == 3
    assert told["frame_count"] == recording.frame_count
    assert told["video"] == "session1.mp4"


def test_an_unfinished_video_is_not_left_behind(tmp_path):
    def stop(done):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_recording(small(), tmp_path, on_frame=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_codec_that_cannot_hold_the_recording_is_refused(tmp_path):
    with pytest.raises(InvalidConfig, match="h264, hevc, mjpeg, vp9, ffv1"):
        write_recording(small(), tmp_path, codec="divx")
    with pytest.raises(InvalidConfig, match="162x120"):
        write_recording(small(width_px=161), tmp_path, codec="h264")
    assert list(tmp_path.iterdir()) == []
