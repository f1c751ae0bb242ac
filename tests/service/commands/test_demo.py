"""`ethostream demo` as people call it, with a shipped bundle."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.results import read_results
from service.simulation import SimulationSettings, simulate, write_recording

MODEL = "openfield-mouse"


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "ethostream.commands", "demo", *map(str, arguments)]


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=180, check=False
    )


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of a small recording, without its truth."""
    settings = SimulationSettings(width_px=160, height_px=120, frame_rate_hz=25, duration_s=4.0)
    files = write_recording(simulate(settings), tmp_path_factory.mktemp("videos"), name="mine")
    files.truth_json.unlink()
    return files.video


def test_a_simulated_recording_goes_both_ways_and_everything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "demo-output"
    done = call("--model", MODEL, "--duration", "1", "--speed", "0", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "exactly once and in order; live and archive agree" in " ".join(done.stdout.split())
    summary = json.loads((out / "summary.json").read_text())
    assert summary["passed"]
    (video,) = summary["videos"]
    assert video["live"]["answers"] == video["archive"]["answers"] == 30
    assert video["difference_px"] <= 0.5
    assert 0 < video["live"]["keypoint_error_px"] < 60
    assert 0 < video["live"]["keypoint_ms_p50"] <= video["live"]["keypoint_ms_p99"]
    written = {path.name for path in out.iterdir()}
    assert written >= {
        "overlay.mp4",
        "trajectory.png",
        "recording.parquet",
        f"recordingethostream_{MODEL}_v1.h5",
        f"recordingethostream_{MODEL}_v1.csv",
        "server.log",
    }
    assert '"event": "stopped"' in (out / "server.log").read_text()


def test_pose_and_behavior_of_a_video_of_ones_own_come_from_one_stream(
    video: Path, tmp_path: Path
) -> None:
    arguments = ("--model", MODEL, "--model", "rat-home-cage", "--frame-limit", "20")
    output = ("--speed", "0", "--no-overlay", "--json", "--out", tmp_path / "out")
    done = call(video, *arguments, *output)
    assert done.returncode == 0, done.stderr
    (shown,) = json.loads(done.stdout)["videos"]
    for way in (shown["live"], shown["archive"]):
        assert way["frames"] == way["answers"] == way["behavior_answers"] == 20
        assert way["keypoint_error_px"] is None  # nobody knows the truth
    assert shown["live"]["behavior_ms_p50"] > 0
    assert shown["difference_probability"] <= 0.02
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"ethogram.png", "mine_probabilities.csv", "mine_predictions.csv"}
    assert "overlay.mp4" not in names


def test_a_server_that_cannot_start_and_a_video_that_is_not_there_are_told(
    video: Path, tmp_path: Path
) -> None:
    done = call(video, "--model", "unicorn", "--out", tmp_path)
    assert done.returncode == 1
    assert "unicorn" in done.stderr
    done = call(tmp_path / "gone.mp4", "--out", tmp_path)
    assert done.returncode == 1
    assert "no file is at" in done.stderr


def test_videos_of_one_name_keep_their_results_apart(video: Path, tmp_path: Path) -> None:
    twin = shutil.copy(video, tmp_path / "mine.mov")
    first = shutil.copy(video, tmp_path / "mine.mp4")
    options = ("--model", MODEL, "--speed", "0", "--frame-limit", "5", "--no-overlay", "--json")
    done = call(first, twin, *options, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for folder in ("mine.mp4", "mine.mov"):
        results = read_results(tmp_path / "out" / folder / f"{folder}.parquet")
        assert results.provenance.source.name == folder
    (tmp_path / "other").mkdir()
    done = call(first, shutil.copy(video, tmp_path / "other" / "mine.mp4"), "--out", tmp_path)
    assert done.returncode == 1
    assert "would write the same files" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--speed", "nan"], "--speed is nan"),
        (["--speed", "inf"], "--speed is inf"),
        (["--frame-limit", "-2"], "--frame-limit is -2"),
        (["--duration", "5"], "leave it out with a VIDEO"),
    ],
)
def test_options_that_cannot_be_or_do_nothing_are_refused(
    options: list[str], message: str, tmp_path: Path
) -> None:
    done = call(tmp_path / "mine.mp4", *options, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_frame_limit_without_a_video_is_refused(tmp_path: Path) -> None:
    done = call("--frame-limit", "5", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "--frame-limit is of a VIDEO" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_with_an_interrupted_demo(
    video: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        command(video, "--model", MODEL, "--out", tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # A shell starts what runs in its background with this signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if b"streaming" in line:
                break
        time.sleep(1.0)  # in the middle of the stream
        os.kill(process.pid, number)
        assert process.wait(40) in (130, 143)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
    assert '"event": "stopped"' in (tmp_path / "server.log").read_text()
