"""`ethostream video` as people call it."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.simulation import SimulationSettings, simulate, write_recording
from service.video.pyav import VideoFile


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ethostream.commands", "video", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = SimulationSettings(width_px=96, height_px=64, duration_s=1.0)
    folder = tmp_path_factory.mktemp("videos")
    return write_recording(simulate(settings), folder, name="field").video


@pytest.mark.parametrize(
    ("arguments", "name", "shape", "frames"),
    [
        (("crop", "--area", "10,6,40,30"), "field_cropped.mp4", (30, 40, 3), 30),
        (("shorten", "--start", "0.5"), "field_short.mp4", (64, 96, 3), 15),
        (("shorten", "--start", "5f", "--stop", "9f"), "field_short.mp4", (64, 96, 3), 4),
        (
            ("downsample", "--size", "48x32", "--frame-rate", "15"),
            "field_small.mp4",
            (32, 48, 3),
            15,
        ),
    ],
)
def test_each_action_writes_its_file(
    video: Path, tmp_path: Path, arguments: tuple[str, ...], name: str, shape: object, frames: int
) -> None:
    action, *options = arguments
    done = call(action, video, *options, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{frames} frames" in done.stdout
    file = VideoFile(tmp_path / name)
    assert (file.shape, file.frames) == (shape, frames)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("crop", "--area", "1,2,3"), "is not X,Y,W,H"),
        (("shorten",), "give --start, --stop or both"),
        (("shorten", "--start", "soon"), "is no time"),
        (("shorten", "--start", "1", "--stop", "20f"), "both seconds or both frames"),
        (("downsample",), "give --size, --frame-rate or both"),
    ],
)
def test_a_wrong_option_is_refused(video: Path, arguments: tuple[str, ...], message: str) -> None:
    action, *options = arguments
    done = call(action, video, *options)
    assert done.returncode == 1
    assert message in done.stderr
