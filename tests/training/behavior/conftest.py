"""Tiny labelled recordings out of the simulation."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from service.simulation import SimulationSettings, simulate, write_recording


def write_behavior_project(folder: Path, recordings: int) -> Path:
    """Write recordings of 24 frames of 96x72 px at 10 frames/s with label files."""
    for seed in range(recordings):
        settings = SimulationSettings(
            width_px=96, height_px=72, duration_s=2.4, frame_rate_hz=10, seed=seed
        )
        write_recording(simulate(settings), folder, name=f"mouse{seed}", codec="mjpeg")
    return folder


@pytest.fixture(scope="session")
def behavior_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_behavior_project(tmp_path_factory.mktemp("behavior") / "project", 3)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings that show every behavior, unlike the short simulated ones."""
    folder = write_behavior_project(tmp_path_factory.mktemp("labelled") / "project", 3)
    for path in folder.glob("*_labels.csv"):
        table = pd.read_csv(path, index_col=0)
        for place, name in enumerate(table.columns):
            table[name] = (np.arange(len(table)) // 5 == place).astype(int)
        table.to_csv(path)
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors: a second thread costs more than it gives, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
