"""`ethostream verify-video` as people call it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.video.corpus import write_video


def call(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ethostream.commands", "verify-video", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=folder
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two whole videos, one below the other, one cut off, and one that is none."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "day1").mkdir()
    (folder / "bad").mkdir()
    write_video(folder / "field.mp4", options={"bf": "2"})
    write_video(folder / "day1" / "gap.mkv", pts=[n + 10 * (n > 20) for n in range(40)])
    cut = write_video(folder / "bad" / "cut.avi", codec="mjpeg", pix_fmt="yuvj420p")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (folder / "bad" / "noise.mp4").write_bytes(b"no video at all")
    return folder


def test_whole_videos_of_a_folder_are_complete(folder: Path) -> None:
    done = call("field.mp4", "day1", folder=folder)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[-1]: line.split()[:-1] for line in done.stdout.splitlines()[1:3]}
    assert rows["field.mp4"] == ["complete", "40", "40", "40", "30", "96x64", "h264"]
    assert rows["gap.mkv"][:4] == ["complete", "?", "40", "40"]
    gap = "1 gap in the times, up to 366 ms where 33.3421 ms is usual: about 10 frames"
    assert gap in done.stdout


def test_one_that_is_not_complete_gives_the_exit_code(folder: Path) -> None:
    done = call("*", folder=folder)
    assert done.returncode == 1
    assert "MISSING: the container lists it, but the file ends before it" in done.stdout
    assert done.stdout.count("MISSING") == 1  # a stretch of frames is one line
    assert "noise.mp4 cannot be opened as a video" in done.stdout


def test_a_name_that_is_not_utf_8_stops_no_other(folder: Path, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"M\xe4use.mp4")).symlink_to(folder / "field.mp4")
    (tmp_path / "field.mp4").symlink_to(folder / "day1" / "gap.mkv")
    done = call(".", folder=tmp_path)
    assert done.returncode == 1
    assert "M\\udce4use.mp4 is not UTF-8" in done.stdout
    assert "complete" in done.stdout
    assert not done.stderr


def test_a_program_reads_json(folder: Path) -> None:
    done = call("*.mp4", "bad/*", "--json", folder=folder)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    videos = {Path(one["video"]).name: one for one in report["videos"]}
    assert {name: one["state"] for name, one in videos.items()} == {
        "field.mp4": "complete",
        "cut.avi": "incomplete",
        "noise.mp4": "failed",
    }
    assert report["incomplete"] == 2
    whole, cut = videos["field.mp4"], videos["cut.avi"]
    assert whole["container"]["format"].startswith("mov,mp4")
    assert whole["packets"]["frames"] == whole["decoded"]["ok"] == 40
    assert whole["packets"]["is_variable_rate"] is False
    decoded = cut["decoded"]
    assert decoded["ok"] + decoded["corrupt"] + decoded["missing"] == decoded["frames"] == 40
    assert decoded["faults"][-1]["frame_index"] == 39
    assert decoded["faults"][-1]["status"] == "MISSING"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "the following arguments are required: PATH"),
        (("day2/*.mp4",), 1, "no file is at"),
    ],
)
def test_a_wrong_call_is_refused(
    folder: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    done = call(*arguments, folder=folder)
    assert done.returncode == status
    assert message in done.stdout + done.stderr
