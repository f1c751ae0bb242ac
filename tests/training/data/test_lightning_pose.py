import shutil
from pathlib import Path

import numpy as np
import pytest

from training.data.labels import InvalidLabels
from training.data.projects import read_projects
from training.projects.simulated import simulate_project


def test_lightning_pose_labels_are_read_by_file_or_folder(tmp_path: Path) -> None:
    source = simulate_project(tmp_path / "sim", frames=3, recordings=1, width_px=96, height_px=80)
    folder = tmp_path / "lp"
    shutil.copytree(source / "labeled-data", folder / "labeled-data")
    (table,) = folder.glob("labeled-data/*/*.csv")
    text = table.read_text().replace("labeled-data,openfield0,", "labeled-data/openfield0/")
    for head in ("scorer", "bodyparts", "coords"):
        text = text.replace(f"{head},,,", f"{head},")
    (folder / "CollectedData.csv").write_text(text)
    for path in folder.glob("labeled-data/*/CollectedData*"):
        path.unlink()
    expected = read_projects([source])
    for path in (folder, folder / "CollectedData.csv"):
        data = read_projects([path])
        assert list(data.frames) == list(expected.frames)
        for name, frame in data.frames.items():
            assert np.array_equal(
                frame.keypoints_xy, expected.frames[name].keypoints_xy, equal_nan=True
            )
    next(folder.glob("labeled-data/*/*.png")).unlink()
    with pytest.raises(InvalidLabels, match=r"CollectedData.csv row \d.* does not exist; restore"):
        read_projects([folder])
