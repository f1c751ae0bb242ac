"""Reads the labels of a DeepLabCut project with one animal.

labeled-data/<video>/CollectedData_<scorer>.csv (or .h5 where there is no .csv: HDF5 tables can
hold pickled values, text cannot) beside the pictures. The first three rows of a CSV are scorer,
bodyparts and coords; every other row is a picture's path, as one cell
(`labeled-data/m4s1/img0000.png`) or as three, and x, y of each body part in px, pixel indices,
empty where it was not placed.
"""

import csv
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.labels import InvalidLabels, LabelledFrame, LabelledProject

_H5_KEY = "df_with_missing"


def read_project(path: Path) -> LabelledProject:
    """Read every label file of the project at `path` (the folder that holds labeled-data).

    Raises:
        InvalidLabels: there are no labels, a file is malformed, two files name other body parts,
            or a picture is missing. The message names the file, the row and what to do.
    """
    tables = _label_files(path)
    keypoints: tuple[str, ...] = ()
    frames: list[LabelledFrame] = []
    for table in tables:
        names, rows = _read_h5(table) if table.suffix == ".h5" else _read_csv(table)
        if keypoints and names != keypoints:
            raise InvalidLabels(
                f"{table} labels {', '.join(names)}, but {tables[0]} labels "
                f"{', '.join(keypoints)}; bring them to the same body parts in the same order"
            )
        keypoints = names
        for picture, points in rows:
            frames.append(_frame(table, picture, points))
    if not frames:
        raise InvalidLabels(f"{tables[0]} holds no labelled pictures; label some first")
    return LabelledProject(name=path.resolve().name, keypoints=keypoints, frames=tuple(frames))


_Rows = list[tuple[str, NDArray[np.float32]]]


def _label_files(path: Path) -> list[Path]:
    folder = path / "labeled-data"
    if not folder.is_dir():
        raise InvalidLabels(
            f"{folder} does not exist; name the folder of a DeepLabCut project "
            "(it holds config.yaml and labeled-data)"
        )
    found: list[Path] = []
    for video in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        tables = sorted(video.glob("CollectedData_*.csv")) or sorted(
            video.glob("CollectedData_*.h5")
        )
        if len(tables) > 1:
            raise InvalidLabels(
                f"{video} holds labels of {len(tables)} scorers "
                f"({', '.join(table.name for table in tables)}); keep one of them there"
            )
        found += tables
    if not found:
        raise InvalidLabels(
            f"{folder} holds no CollectedData_*.csv or .h5; label some pictures first"
        )
    return found


def _read_csv(table: Path) -> tuple[tuple[str, ...], _Rows]:
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    heads = {row[0]: row for row in rows[:4] if row}
    if "individuals" in heads:
        raise InvalidLabels(
            f"{table} labels several animals (a row `individuals`); training takes projects with "
            "one animal: keep the columns of one and delete that row"
        )
    if [row[0] if row else "" for row in rows[:3]] != ["scorer", "bodyparts", "coords"]:
        raise InvalidLabels(
            f"{table} begins with {[row[0] if row else '' for row in rows[:3]]}; its first three "
            "rows must be scorer, bodyparts and coords: save it again from DeepLabCut"
        )
    parts, coords = rows[1], rows[2]
    leading = next((i for i, cell in enumerate(coords) if cell in ("x", "y")), len(coords))
    names = _keypoint_names(table, parts[leading:], coords[leading:])
    read: _Rows = []
    for number, row in enumerate(rows[3:], start=4):
        if not any(row):
            continue
        if len(row) != len(coords):
            raise InvalidLabels(
                f"{table} row {number} has {len(row)} cells instead of {len(coords)}; "
                "correct or delete it"
            )
        values = [_number(table, number, parts[i], row[i]) for i in range(leading, len(coords))]
        points = _points(table, f"row {number}", names, values)
        read.append(("/".join(cell for cell in row[:leading] if cell), points))
    return names, read


def _read_h5(table: Path) -> tuple[tuple[str, ...], _Rows]:
    import pandas as pd

    try:
        frame = pd.read_hdf(table, _H5_KEY)
    except (KeyError, OSError, ValueError) as error:
        raise InvalidLabels(
            f"{table} is not a DeepLabCut label table ({error}); save it again from DeepLabCut"
        ) from error
    columns = frame.columns
    if "individuals" in columns.names:
        raise InvalidLabels(
            f"{table} labels several animals; training takes projects with one animal"
        )
    parts = [str(name) for name in columns.get_level_values("bodyparts")]
    coords = [str(name) for name in columns.get_level_values("coords")]
    names = _keypoint_names(table, parts, coords)
    read: _Rows = []
    for number, (index, values) in enumerate(zip(frame.index, frame.to_numpy(), strict=True)):
        picture = "/".join(index) if isinstance(index, tuple) else str(index)
        points = _points(table, f"row {number}", names, [float(value) for value in values])
        read.append((picture, points))
    return names, read


def _keypoint_names(table: Path, parts: list[str], coords: list[str]) -> tuple[str, ...]:
    names = tuple(parts[::2])
    if (
        not names
        or tuple(parts[1::2]) != names
        or coords != ["x", "y"] * len(names)
        or len(set(names)) != len(names)
    ):
        raise InvalidLabels(
            f"{table} does not have the columns x, y of each body part in turn "
            f"(bodyparts: {', '.join(parts)}; coords: {', '.join(coords)}); "
            "save it again from DeepLabCut"
        )
    return names


def _number(table: Path, row: int, part: str, cell: str) -> float:
    if not cell.strip():
        return math.nan
    try:
        return float(cell)
    except ValueError:
        raise InvalidLabels(
            f"{table} row {row}: {part} is {cell!r}, which is not a number; "
            "correct it, or leave it empty for a missing point"
        ) from None


def _points(
    table: Path, where: str, names: tuple[str, ...], values: list[float]
) -> NDArray[np.float32]:
    points = np.array(values, np.float32).reshape(len(names), 2)
    for name, point in zip(names, points, strict=True):
        if np.isnan(point).any() != np.isnan(point).all() or np.isinf(point).any():
            raise InvalidLabels(
                f"{table} {where}: {name} is ({point[0]:g}, {point[1]:g}); give both x and y, "
                "or leave both empty for a missing point"
            )
    return points


def _frame(table: Path, picture: str, points: NDArray[np.float32]) -> LabelledFrame:
    # Tables written on Windows have backslashes; the folder that counts is the table's own.
    file_name = picture.replace("\\", "/").rsplit("/", 1)[-1]
    image = table.parent / file_name
    if not image.is_file():
        raise InvalidLabels(
            f"{table} labels {picture}, but {image} does not exist; restore the picture or delete "
            "its row"
        )
    return LabelledFrame(name=f"{table.parent.name}/{file_name}", image=image, keypoints_xy=points)
