"""A tiny labelled project, drawn here: two dots on a gray floor."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from training.runs import Run

if find_spec("torch") is None:  # the train extra is not installed
    collect_ignore_glob = ["*"]

FRAME_WIDTH_PX, FRAME_HEIGHT_PX = 96, 72


def draw_frame(points: np.ndarray) -> np.ndarray:
    """(H, W, 3) RGB with a dark dot at the first point and a bright one at the second."""
    y, x = np.mgrid[:FRAME_HEIGHT_PX, :FRAME_WIDTH_PX]
    frame = np.full((FRAME_HEIGHT_PX, FRAME_WIDTH_PX), 128.0)
    for (point_x, point_y), level in zip(points, (-110.0, 110.0), strict=True):
        frame += level * np.exp(-((x - point_x) ** 2 + (y - point_y) ** 2) / (2 * 2.0**2))
    return np.repeat(np.rint(frame).astype(np.uint8)[..., None], 3, axis=2)


def write_project(folder: Path, frames: int) -> Path:
    import cv2

    video = folder / "labeled-data" / "video1"
    video.mkdir(parents=True)
    random = np.random.default_rng(3)
    rows = [
        "scorer,person,person,person,person",
        "bodyparts,leftear,leftear,rightear,rightear",
        "coords,x,y,x,y",
    ]
    for number in range(frames):
        points = random.uniform(12, 60, (2, 2))
        cv2.imwrite(str(video / f"img{number:03d}.png"), draw_frame(points))
        cells = ",".join(f"{value:.3f}" for value in points.ravel())
        rows.append(f"labeled-data/video1/img{number:03d}.png,{cells}")
    (video / "CollectedData_person.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", frames=12)


@pytest.fixture
def trained(project: Path, tmp_path: Path) -> "Run":
    """A pose run after two steps of training."""
    from training.pose.launch import start_pose_run
    from training.pose.settings import PoseChoices
    from training.pose.train import train_pose

    choices = PoseChoices(
        backbone_weights="random",
        size_px=(96, 64),
        view_px=64,
        views_per_epoch=4,
        batch_size=2,
        epochs=1,
        threads=1,
        precision="32-true",
    )
    run = start_pose_run([project], tmp_path / "runs" / "tiny", choices)
    train_pose(run)
    return run
