"""`ethostream analyze` as people call it, with a shipped bundle, here and through a server."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from service.commands._shipped import SHIPPED_MODELS
from service.demo.server_process import start_server
from service.results import read_results
from service.simulation import SimulationSettings, simulate, write_recording

MODEL = "openfield-mouse"


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ethostream.commands", "analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    settings = SimulationSettings(width_px=320, height_px=240, duration_s=1.0, seed=2)
    return write_recording(simulate(settings), folder, name="field").video


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "server.log"
    with start_server(SHIPPED_MODELS, [MODEL], log=log) as process:
        yield process.wait_until_serving(90)


def test_a_server_and_this_process_give_the_same_results_and_a_bad_file_is_told(
    video: Path, server: str, tmp_path: Path
) -> None:
    bad = tmp_path / "noise.mp4"
    bad.write_bytes(np.random.default_rng(0).bytes(5000))
    here = call(video, bad, "--model", MODEL, "--out", tmp_path / "here", "--json")
    assert here.returncode == 1
    report = json.loads(here.stdout)
    assert report["failed"] == 1
    assert [one["state"] for one in report["videos"]] == ["done", "failed"]
    assert "noise.mp4" in report["videos"][1]["message"]

    there = call(video, "--server", server, "--model", MODEL, "--out", tmp_path / "there")
    assert there.returncode == 0, there.stderr
    assert "1 analyzed, 0 skipped, 0 failed" in there.stdout
    ours = read_results(tmp_path / "here" / "field.parquet")
    theirs = read_results(tmp_path / "there" / "field.parquet")
    assert len(ours) == len(theirs) == 30
    np.testing.assert_array_equal(ours.frame_index, theirs.frame_index)
    np.testing.assert_allclose(ours.poses[0].keypoints_xy, theirs.poses[0].keypoints_xy, atol=0.5)
    assert (
        ours.provenance.bundles[0].manifest_sha256 == theirs.provenance.bundles[0].manifest_sha256
    )
    assert ours.provenance.source == theirs.provenance.source

    again = call(video, "--server", server, "--model", MODEL, "--out", tmp_path / "there")
    assert again.returncode == 0
    assert "skipped, finished before" in again.stdout


def test_files_left_out_and_a_page_of_all_are_told(video: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for name in ("a.mp4", "twin.mp4"):
        shutil.copy(video, archive / name)
    (archive / "notes.txt").write_text("rat 7 escaped")
    (archive / "empty.mp4").touch()
    done = call(archive, "--model", MODEL, "--report", "--format", "dlc-csv", "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert [one["state"] for one in told["videos"]] == ["done", "failed"]
    assert [Path(one["path"]).name for one in told["left_out"]] == ["twin.mp4", "notes.txt"]
    assert told["report"] == str(archive / "report.html")
    page = (archive / "report.html").read_text()
    for words in ("ethostream analyze", "a_report.html", "is empty", "notes.txt", "same bytes"):
        assert words in page

    (archive / "empty.mp4").unlink()
    again = call(archive, "--model", MODEL, "--report", "--format", "dlc-csv")
    assert again.returncode == 0, again.stderr
    assert "notes.txt: left out: its ending .txt is none of a video" in again.stdout
    assert "0 analyzed, 1 skipped, 0 failed, 2 files left out" in again.stdout
    assert "report.html: left out" not in again.stdout


def test_what_became_of_videos_is_told_where_the_page_of_all_cannot_be_written(
    video: Path, tmp_path: Path
) -> None:
    (tmp_path / "report.html").mkdir()  # in the way of the page
    done = call(video, "--model", MODEL, "--out", tmp_path, "--report", "--json")
    assert done.returncode == 1
    assert [one["state"] for one in json.loads(done.stdout)["videos"]] == ["done"]
    assert f"the report {tmp_path / 'report.html'} cannot be written (" in done.stderr


def test_a_bundle_that_does_not_exist_is_an_error_that_lists_those_that_do(video: Path) -> None:
    done = call(video, "--model", "unicorn")
    assert done.returncode == 1
    assert "unicorn" in done.stderr
    assert MODEL in done.stderr


def test_a_server_that_is_not_there_is_an_error(video: Path) -> None:
    done = call(video, "--server", "127.0.0.1:1", "--model", MODEL)
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr


@pytest.mark.parametrize("option", ["--models", "--engine", "--precision", "--decoder"])
def test_what_only_a_server_can_choose_is_refused(video: Path, option: str) -> None:
    value = {"--models": ".", "--engine": "openvino", "--precision": "fp32", "--decoder": "pyav"}
    done = call(video, "--server", "127.0.0.1:1", option, value[option])
    assert done.returncode == 1
    assert f"{option} {value[option]} is for computing here, and 127.0.0.1:1" in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--crop", "1,2,3", "not X,Y,W,H"),
        ("--parallel", "0", "--parallel is 0; give at least 1"),
        ("--format", "xlsx", "invalid choice"),
    ],
)
def test_a_wrong_option_is_refused(video: Path, option: str, value: str, message: str) -> None:
    done = call(video, option, value)
    assert done.returncode in (1, 2)
    assert message in done.stderr


def test_a_folder_of_pictures_is_analyzed_with_their_names(video: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % 10 == 0:
                pixels = frame.to_ndarray(format="bgr24")
                assert cv2.imwrite(str(folder / f"img{number}.png"), pixels)
    (folder / "img15.png").write_bytes(b"damaged")
    done = call(folder, "--model", MODEL, "--json")
    assert done.returncode == 0, done.stderr
    assert "(img15.png)" in json.loads(done.stdout)["videos"][0]["message"]
    names = ["img0.png", "img10.png", "img15.png", "img20.png"]
    record = folder / "shots.parquet"
    table = pd.read_parquet(record)
    assert table["file"].tolist() == names
    assert table["status"].tolist() == [1, 1, 4, 1]
    assert read_results(record).files == tuple(names)
    csv = pd.read_csv(folder / f"shotsethostream_{MODEL}_v1.csv", header=[0, 1, 2], index_col=0)
    assert csv.index.tolist() == names
    h5 = pd.read_hdf(folder / f"shotsethostream_{MODEL}_v1.h5")
    assert h5.index.tolist() == names
    np.testing.assert_allclose(csv.to_numpy(), h5.to_numpy(), rtol=1e-6)
    again = call(folder, "--model", MODEL)
    assert "skipped, finished before" in again.stdout
    (folder / "img20.png").unlink()
    changed = call(folder, "--model", MODEL)
    assert "3 frames" in changed.stdout
    refused = call(folder, "--model", MODEL, "--overlay")
    assert "leave it out for pictures" in refused.stderr


def test_cropping_options_and_order_reach_the_results(
    video: Path, server: str, tmp_path: Path
) -> None:
    options = ("--model", MODEL, "--crop", "0,0,300,200", "--in-random-order")
    here = call(video, *options, "--out", tmp_path / "here", "--dynamic-crop", "30")
    assert here.returncode == 0, here.stderr
    ours = read_results(tmp_path / "here" / "field.parquet")
    assert ours.provenance.options.crop_xywh == (0, 0, 300, 200)
    follow = ours.provenance.options.dynamic_crop
    assert follow is not None
    assert (follow.margin_px, follow.max_zoom) == (30, 2.5)
    there = call(
        video, *options, "--out", tmp_path / "there", "--server", server, "--dynamic-crop", "30"
    )
    assert there.returncode == 0, there.stderr
    theirs = read_results(tmp_path / "there" / "field.parquet")
    np.testing.assert_allclose(ours.poses[0].keypoints_xy, theirs.poses[0].keypoints_xy, atol=0.5)
