import argparse
import json
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from service.errors import InvalidRequest
from service.simulation import SimulationSettings, simulate, write_recording
from training.commands import outliers
from training.runs import Split, create_run


def call(*arguments):
    parser = argparse.ArgumentParser(prog="outliers")
    outliers.configure(parser)
    return outliers.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def project(tmp_path) -> Path:
    """A project with one video; in its predictions the snout jumps to frame 12 and back."""
    folder = tmp_path / "project"
    settings = SimulationSettings(width_px=96, height_px=96, duration_s=1.0, seed=1)
    recording = simulate(settings)
    write_recording(recording, folder / "videos", name="mouse", codec="mjpeg")
    (folder / "config.yaml").write_text(
        f"scorer: person\nbodyparts: [{', '.join(recording.keypoint_names)}]\n"
        "video_sets:\n  /elsewhere/mouse.avi:\n    crop: 0, 96, 0, 96\n"
        "start: 0\nstop: 1\nnumframes2pick: 5\niteration: 1\n"
    )
    points = np.array(recording.keypoints_xy[:, 0], float)
    points[12, 0] += 70
    values = np.concatenate([points, np.full((*points.shape[:2], 1), 0.9)], axis=-1)
    values[25, 3, 2] = 0.001
    columns = pd.MultiIndex.from_product(
        [["net"], recording.keypoint_names, ["x", "y", "likelihood"]],
        names=["scorer", "bodyparts", "coords"],
    )
    table = pd.DataFrame(values.reshape(len(values), -1), columns=columns)
    table.to_hdf(folder / "videos" / "mousenet.h5", key="df_with_missing", mode="w")
    return folder


def test_it_prints_what_each_method_found_and_writes_labels(project, capsys):
    predictions = project / "videos" / "mousenet.h5"
    assert call(project, predictions, "--method", "jump", "--method", "uncertain") == 0
    text = capsys.readouterr().out
    assert "3 outliers among 30 frames" in text
    assert "jump: 2 frames (snout 2, leftear 0, rightear 0, tailbase 0)" in text
    assert "uncertain: 1 frames (snout 0, leftear 0, rightear 0, tailbase 1)" in text
    folder = project / "labeled-data" / "mouse"
    assert sorted(path.name for path in folder.iterdir()) == [
        "img12.png", "img13.png", "img25.png", "machinelabels-iter1.csv", "machinelabels-iter1.h5",
    ]  # fmt: skip
    assert (project / "contact-sheets" / "mouse-outliers-iter1.png").is_file()


def test_json_holds_the_same(project, capsys):
    predictions = project / "videos" / "mousenet.h5"
    assert call(project, predictions, "--keypoints", "snout,tailbase", "--start", "13s", "--json")
    failed = json.loads(capsys.readouterr().out)
    assert failed["failed"] == 1
    assert "none from 13s" in failed["predictions"][0]["message"]
    assert call(project, predictions, "--method", "uncertain", "--share", "0.1", "--json") == 0
    (one,) = json.loads(capsys.readouterr().out)["predictions"]
    assert one["mined"]["outliers"] == 3
    assert 25 in one["mined"]["picked"]
    assert one["mined"]["model"] == "net"


def test_a_bad_file_stops_no_other(project, tmp_path, capsys):
    bad = tmp_path / "bad.h5"
    bad.write_bytes(b"no table")
    good = project / "videos" / "mousenet.h5"
    assert call(project, bad, good, "--dry-run") == 1
    text = capsys.readouterr().out
    assert f"{bad}: FAILED:" in text
    assert "2 outliers among 30 frames" in text
    assert not (project / "labeled-data").exists()


def test_the_report_shows_the_gain_of_each_round(tmp_path, capsys):
    parent = None
    for name, error in (("first", 6.0), ("second", 4.5)):
        run = create_run(tmp_path, name, "pose", {"parent": parent})
        run.write_split(Split(rule="r", seed=1, training=("a", "b"), validation=(), test=("c",)))
        run.evaluation.write_bytes(msgspec.json.encode({"test": {"mean_error_px": error}}))
        parent = str(run.directory)
    assert call("--report", tmp_path / "second") == 0
    assert "| 1 | second | 3 | 1 | 4.50 | +1.50 |" in capsys.readouterr().out
    assert call("--report", tmp_path / "second", "--json") == 0
    rounds = json.loads(capsys.readouterr().out)["rounds"]
    assert [one["gain_px"] for one in rounds] == [None, 1.5]


def test_wrong_calls_are_refused(project, tmp_path):
    predictions = project / "videos" / "mousenet.h5"
    for arguments, message in (
        ([], "name a project and the predictions"),
        ([project], "name a project and the predictions"),
        ([project, predictions, "--report", tmp_path], "leave .* away"),
        ([project, predictions, predictions, "--video", predictions], "once for each"),
        ([project, predictions, "--epsilon", "0"], "more than 0"),
        ([project, predictions, "--number", "0"], "at least 1"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            call(*arguments)
    with pytest.raises(InvalidRequest, match="name the folder of a DeepLabCut project"):
        call(tmp_path, predictions)
    assert not (project / "labeled-data").exists()
