"""Reads Lightning Pose labels: one CSV with DeepLabCut's header beside the pictures' folders.

A row's path is relative to the folder of the CSV. The header is DeepLabCut's, so its reader is
used (sleap-io's has no checks of rows, and needs file names that end with numbers).
"""

from pathlib import Path

import numpy as np

from training.data.deeplabcut import table_points
from training.data.label_table import read_table
from training.data.labels import (
    FilePicture,
    InvalidLabels,
    LabelledFrame,
    LabelledProject,
    check_inside,
    picture_size_px,
)


def read_lightning_pose(path: Path) -> LabelledProject:
    """Read a Lightning Pose label file.

    Args:
        path: the CSV, or the folder that holds it (`CollectedData.csv`, or the only CSV there).

    Raises:
        InvalidLabels: there is no such file, it is malformed, labels several animals, or a picture
            is missing, unreadable or smaller than its labels say.
    """
    csv_path = _find(path)
    table = read_table(csv_path)
    if table.has_individuals:
        raise InvalidLabels(
            f"{csv_path} labels several animals, which Lightning Pose does not; name the folder "
            "of the DeepLabCut project that it is of"
        )
    if not table.rows:
        raise InvalidLabels(f"{csv_path} holds no labelled pictures; label some first")
    frames = []
    for row in table.rows:
        where = f"{csv_path} {row.where}"
        image = csv_path.parent / row.picture
        if not image.is_file():
            raise InvalidLabels(
                f"{where} labels {row.picture}, but {image} does not exist; restore the picture "
                "or delete the row"
            )
        points = table_points(table, row, table.keypoints, ("animal1",)).astype(np.float32)
        size_px = picture_size_px(image)
        for name, point in zip(table.keypoints, points[0], strict=True):
            check_inside(where, name, (float(point[0]), float(point[1])), size_px)
        name = row.picture.removeprefix("labeled-data/")
        frames.append(LabelledFrame(name, FilePicture(image), points))
    return LabelledProject(
        name=csv_path.resolve().parent.name,
        keypoints=table.keypoints,
        animals=("animal1",),
        frames=tuple(frames),
    )


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    usual = path / "CollectedData.csv"
    found = [usual] if usual.is_file() else sorted(path.glob("*.csv"))
    if len(found) != 1:
        names = ", ".join(one.name for one in found) or "none"
        raise InvalidLabels(
            f"{path} should hold one CSV of labels and holds {names}; name the CSV itself"
        )
    return found[0]
