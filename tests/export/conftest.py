"""A tiny labelled project out of the simulation; needs the train extra, as export itself does."""

from importlib.util import find_spec
from pathlib import Path

import cv2
import pytest

from service.simulation import SimulationSettings, simulate, write_recording

if find_spec("torch") is None:
    collect_ignore_glob = ["*"]


@pytest.fixture(scope="session")
def simulated_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DeepLabCut project of 12 labelled frames of 96x72 px."""
    folder = tmp_path_factory.mktemp("simulated") / "project"
    settings = SimulationSettings(width_px=96, height_px=72, duration_s=1.2, frame_rate_hz=10)
    recording = simulate(settings)
    files = write_recording(recording, folder, codec="mjpeg")
    for index, pixels in enumerate(recording.frames()):
        path = files.pose_csv.parent / f"img{index:04d}.png"
        cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return folder
