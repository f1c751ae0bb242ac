"""Small videos and a DeepEthogram project of them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from service.drawing.encode import open_video
from training.behavior_projects.create import add_videos, create_project

FRAMES = 12
RATE_HZ = 10.0


def write_video(
    path: Path, *, frames: int = FRAMES, color: tuple[int, int, int] = (200, 100, 50)
) -> Path:
    """A lossless video (ffv1) of one color, whose first pixels count the frames."""
    with open_video(path, "ffv1", RATE_HZ) as video:
        for frame in range(frames):
            pixels = np.full((32, 48, 3), color, np.uint8)
            pixels[0, 0] = frame
            video.write(pixels, frame / RATE_HZ)
    return path


def write_pictures(folder: Path, *, frames: int = FRAMES) -> Path:
    folder.mkdir()
    for frame in range(frames):
        cv2.imwrite(str(folder / f"frame{frame}.png"), np.full((32, 48, 3), 60, np.uint8))
    return folder


def write_table(path: Path, columns: dict[str, list[int]]) -> Path:
    pd.DataFrame(columns).to_csv(path)
    return path


def read_table(path: Path) -> dict[str, list[int]]:
    table = pd.read_csv(path, index_col=0)
    return {str(name): table[name].tolist() for name in table.columns}


def on(*stretches: tuple[int, int], frames: int = FRAMES) -> list[int]:
    """1 in each (first, first after), else 0."""
    return [int(any(first <= one < end for first, end in stretches)) for one in range(frames)]


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Path]:
    """A project `cage` with videos a, b, ... and the behaviors run and rear."""

    def make(*names: str) -> Path:
        folder = create_project(
            tmp_path / "projects", "cage", labeler="me", behaviors=("run", "rear")
        )
        (tmp_path / "recorded").mkdir(exist_ok=True)
        add_videos(folder, [write_video(tmp_path / "recorded" / f"{one}.mkv") for one in names])
        return folder

    return make


@pytest.fixture
def project(make_project: Callable[..., Path]) -> Path:
    """Video a is labelled: run, then two bouts of rear, and the last two frames not."""
    folder = make_project("a", "b")
    run, rear = on((2, 5)), on((4, 6), (8, 9))
    run[-2:] = rear[-2:] = [-1, -1]
    write_table(folder / "DATA" / "a" / "a_labels.csv", {"run": run, "rear": rear})
    return folder
