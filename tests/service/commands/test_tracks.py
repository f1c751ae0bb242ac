import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from service.commands import tracks
from service.errors import InvalidRequest
from service.simulation import SimulationSettings, simulate, write_recording
from service.tracks import Track, read_tracks, write_tracks


def call(*arguments):
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    tracks.configure(parser)
    return tracks.run(parser.parse_args([str(argument) for argument in arguments]))


def answer(capsys):
    return json.loads(capsys.readouterr().out)["tracks"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A simulated recording of four seconds, and noisy predictions of it."""
    folder = tmp_path_factory.mktemp("recorded")
    recording = simulate(SimulationSettings(width_px=160, height_px=120, duration_s=4.0, seed=4))
    files = write_recording(recording, folder, name="cage")
    noise = np.random.default_rng(0).normal(0, 0.4, recording.keypoints_xy.shape)
    track = Track(
        source=Path("nowhere"),
        model="mouse@2",
        keypoints=recording.keypoint_names,
        animals=1,
        frame_rate_hz=30.0,
        frame_index=np.arange(recording.frame_count),
        keypoints_xy=(recording.keypoints_xy + noise).astype(np.float32),
        confidence=np.full(recording.visible.shape, 0.9, np.float32),
        skeleton=(("snout", "leftear"), ("snout", "rightear"), ("snout", "tailbase")),
    )
    path = write_tracks(track, folder / "cage", ["parquet"])[0]
    return files, path


def test_filters_write_tracks_and_say_what_they_did(recorded, tmp_path, capsys):
    _, path = recorded
    assert call("filter", path, "--out", tmp_path, "--json") == 0
    (report,) = answer(capsys)
    assert report["kind"] == "median"
    assert 0 < report["moved_px"] < 2
    names = [Path(one).name for one in report["written"]]
    assert names == [
        "cageethostream_mouse_v2_filtered.parquet",
        "cageethostream_mouse_v2_filtered.h5",
    ]
    assert len(read_tracks(tmp_path / names[1])) == 120
    assert call("filter", path, "--kind", "kalman", "--format", "parquet", "--out", tmp_path) == 0
    assert "points moved by" in capsys.readouterr().out


def test_prediction_ahead_is_written_and_compared_with_the_truth(recorded, tmp_path, capsys):
    files, path = recorded
    assert call(
        "filter", path, "--kind", "kalman", "--ahead-ms", 33, 100, "--truth", files.truth_arrays,
        "--format", "parquet", "--out", tmp_path, "--json",
    ) == 0  # fmt: skip
    near, far = answer(capsys)
    assert near["helps"]
    assert near["predicted_mean_px"] < near["held_mean_px"] < far["held_mean_px"]
    assert (tmp_path / "cageethostream_mouse_v2_ahead33ms.parquet").exists()
    with pytest.raises(InvalidRequest, match="--kind kalman"):
        call("filter", path, "--ahead-ms", 33)


def test_kinematics_are_written_as_tables_and_as_deeplabcut_writes_them(recorded, tmp_path, capsys):
    _, path = recorded
    assert call(
        "kinematics", path, "--skeleton", "snout:tailbase", "--joint", "snout:leftear:tailbase",
        "--out", tmp_path, "--json",
    ) == 0  # fmt: skip
    (report,) = answer(capsys)
    assert report["bones"] == ["snout:tailbase"]
    csv, parquet, skeleton = report["written"]
    assert Path(skeleton).name == "cageethostream_mouse_v2_skeleton.h5"
    table, read = pd.read_parquet(parquet), pd.read_csv(csv)
    assert read.columns.tolist() == table.columns.tolist()
    assert "snout_leftear_tailbase/angle_deg" in table
    assert pd.read_hdf(skeleton).columns[0] == ("snout_tailbase", "length")


def test_plot_embed_and_quality_draw_pictures(recorded, tmp_path, capsys):
    pytest.importorskip("sklearn", reason="run `uv sync --inexact --extra analysis`")
    files, path = recorded
    assert call("plot", path, "--out", tmp_path) == 0
    assert call("embed", path, "--out", tmp_path, "--clusters", 3, "--max-poses", 60) == 0
    capsys.readouterr()
    assert call(
        "quality", path, "--video", files.video, "--frames", 4, "--out", tmp_path, "--json"
    ) == 0  # fmt: skip
    (report,) = answer(capsys)
    assert report["all_confident_share"] == 1.0
    assert report["sides"][0]["left"] == "leftear"
    assert len(report["worst_frames"]) == 4
    stored = json.loads((tmp_path / "cageethostream_mouse_v2_quality.json").read_text())
    assert stored["keypoints"] == report["keypoints"]
    for ending in ("plot", "poses", "quality"):
        assert (tmp_path / f"cageethostream_mouse_v2_{ending}.png").stat().st_size > 10_000
    assert len(pd.read_parquet(tmp_path / "cageethostream_mouse_v2_poses.parquet")) == 60


def test_quality_prints_a_table(recorded, tmp_path, capsys):
    _, path = recorded
    assert call("quality", path, "--out", tmp_path) == 0
    text = capsys.readouterr().out
    assert "all keypoints at 0.6 or above: 100.00% of frames" in text
    assert "leftear / rightear: wrong side in" in text


def test_quality_takes_the_rate_from_the_recording_where_the_file_tells_none(
    recorded, tmp_path, capsys
):
    files, path = recorded
    rateless = write_tracks(read_tracks(path), tmp_path / "cage", ["dlc-csv"])[0]
    with pytest.raises(InvalidRequest, match="give --rate"):
        call("quality", rateless)
    capsys.readouterr()
    assert call("quality", rateless, "--video", files.video, "--json") == 0
    assert call("quality", path, "--out", tmp_path, "--json") == 0
    found, known = (json.loads(line)["tracks"][0] for line in capsys.readouterr().out.splitlines())
    assert found["minutes"] == pytest.approx(known["minutes"])


def test_videos_are_drawn_several_at_once(recorded, tmp_path, capsys):
    files, path = recorded
    other = write_tracks(read_tracks(path), tmp_path / "other", ["dlc-h5"])[0]
    assert call(
        "video", files.video, path, files.video, other, "--parallel", 2, "--trail", 5,
        "--out", tmp_path, "--json",
    ) == 0  # fmt: skip
    assert [one["frames"] for one in answer(capsys)] == [120, 120]
    assert (tmp_path / "cageethostream_mouse_v2_labelled.mp4").stat().st_size > 1000
    assert (tmp_path / "other_labelled.mp4").stat().st_size > 1000
    with pytest.raises(InvalidRequest, match="predictions after it"):
        call("video", files.video)
    with pytest.raises(InvalidRequest, match="to one file"):
        call("video", files.video, path, files.video, path, "--out", tmp_path)


def test_convert_writes_every_format(recorded, tmp_path, capsys):
    pytest.importorskip("sleap_io", reason="run `uv sync --inexact --extra analysis`")
    _, path = recorded
    assert call("convert", path, "--format", "dlc-csv", "slp", "--out", tmp_path, "--json") == 0
    for written in answer(capsys)[0]["written"]:
        found, given = read_tracks(Path(written)), read_tracks(path)
        np.testing.assert_array_equal(found.keypoints_xy, given.keypoints_xy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plot", "nowhere.h5"], "there is no file"),
        (["filter", "{path}", "--rate", "-1"], "--rate is -1"),
        (["kinematics", "{path}", "--skeleton", "snout"], "not 2 keypoints; write them as A:B"),
        (["kinematics", "{path}", "--skeleton", "snout:wing"], "no keypoint 'wing'"),
        (["kinematics", "{path}", "--joint", "a:b"], "write them as A:B:C"),
        (["video", "{path}", "{path}", "--crop", "1,2,3"], "not X,Y,W,H"),
    ],
)
def test_wrong_values_are_refused_with_a_remedy(recorded, arguments, message):
    _, path = recorded
    with pytest.raises(InvalidRequest, match=message):
        call(*(str(path) if one == "{path}" else one for one in arguments))


@pytest.mark.parametrize("action", ["filter", "kinematics", "quality", "convert", "plot"])
def test_tracks_of_one_name_are_not_written_over_each_other(recorded, tmp_path, action):
    _, path = recorded
    for day in ("day1", "day2"):
        (tmp_path / day).mkdir()
        shutil.copy(path, tmp_path / day / "cam.parquet")
    files = [tmp_path / day / "cam.parquet" for day in ("day1", "day2")]
    with pytest.raises(InvalidRequest, match="would be written to the same files"):
        call(action, *files, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_help_names_every_action_and_its_defaults(capsys):
    with pytest.raises(SystemExit):
        call("--help")
    text = capsys.readouterr().out
    for action in ("convert", "filter", "kinematics", "plot", "embed", "video", "quality"):
        assert action in text
    with pytest.raises(SystemExit):
        call("quality", "--help")
    assert "default: 0.3" in capsys.readouterr().out
