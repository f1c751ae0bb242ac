"""A short recording without loss, whose frames are known exactly, and videos of three scenes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from service.simulation import SimulationSettings, simulate, write_recording

RATE_HZ = 30


@dataclass(frozen=True)
class Recorded:
    video: Path
    frames: list[NDArray[np.uint8]]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Two seconds of a simulated mouse, FFV1: decoding gives the very pixels."""
    folder = tmp_path_factory.mktemp("recorded")
    recording = simulate(SimulationSettings(width_px=96, height_px=72, duration_s=2.0, seed=5))
    files = write_recording(recording, folder, name="mouse", codec="ffv1")
    return Recorded(files.video, list(recording.frames()))


def write_scenes(path: Path, levels: Sequence[int], frames_each: int = 15) -> Path:
    """One gray level after the other, with some noise, as motion JPEG: no frame needs others."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=RATE_HZ)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(frames_each * len(levels)):
            noise = random.integers(-4, 5, (48, 64, 3))
            pixels = np.clip(levels[number // frames_each] + noise, 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def damage(path: Path, numbers: Sequence[int]) -> Path:
    """Overwrite the packets of these frames with zeros."""
    with av.open(str(path)) as container:
        packets = [one for one in container.demux(video=0) if one.size]
        spans = [(packets[number].pos, packets[number].size) for number in numbers]
    data = bytearray(path.read_bytes())
    for start, size in spans:
        data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return path


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Frames 0 to 14 are dark, 15 to 29 gray, 30 to 44 bright."""
    return write_scenes(tmp_path / "scenes.avi", [30, 125, 220])


@pytest.fixture
def make_scenes() -> Callable[..., Path]:
    return write_scenes


@pytest.fixture
def damage_frames() -> Callable[..., Path]:
    return damage
