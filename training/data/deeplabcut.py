"""Reads the labels of a DeepLabCut project: labeled-data/<video>/CollectedData_<scorer>.csv, .h5.

config.yaml, where there is one, names the body parts and their order, the animals, the skeleton
and the scorer whose files are read; without it the label files do. Where a CSV and an .h5 lie
beside each other they must agree: labelling tools write both, DeepLabCut reads only the .h5, people
edit the CSV, and no rule could tell which one is meant. Pictures are taken from the folder of the
label file, whatever folder its rows name (projects move, and come from Windows). A picture without
any point is kept: it says that nothing is to be seen there.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.data.deeplabcut_config import CONFIG_NAME, ProjectConfig, read_config
from training.data.label_h5 import PickledAxis
from training.data.label_table import SINGLE, LabelTable, TableRow, read_table
from training.data.labels import (
    FilePicture,
    InvalidLabels,
    LabelledFrame,
    LabelledProject,
    check_inside,
    picture_size_px,
)

TableChoice = Literal["both", "csv", "h5"]
_COLLECTED = "CollectedData_"
_SAME_PX = 1e-3  # CSV files of some tools are rounded


def read_project(
    path: Path, *, scorer: str | None = None, tables: TableChoice = "both"
) -> LabelledProject:
    """Read every label file of the project at `path` (the folder that holds labeled-data).

    Args:
        path: the project's folder, or its config.yaml.
        scorer: whose labels are read; None takes config.yaml's, or the only one there is.
        tables: `both` reads CSV or .h5 and compares them where both are there.

    Raises:
        InvalidLabels: there are no labels, a file is malformed, files name other body parts, CSV
            and .h5 differ, a picture is missing or unreadable, or a point lies outside of its
            picture. The message names the file, the row and what to do.
    """
    folder = path.parent if path.name == CONFIG_NAME else path
    config_path = folder / CONFIG_NAME
    config = read_config(config_path) if config_path.is_file() else None
    read = read_tables(folder, scorer=scorer or (config.scorer if config else None), tables=tables)
    if not any(table.rows for table in read):
        raise InvalidLabels(f"{read[0].path} holds no labelled pictures; label some first")
    layout = config or _layout(read)
    animals = layout.animals or ("animal1",)
    frames = [
        _frame(table, row, layout, animals)
        for table in _checked(read, layout)
        for row in table.rows
    ]
    return LabelledProject(
        name=folder.resolve().name,
        keypoints=layout.keypoints,
        animals=animals,
        frames=tuple(frames),
        unique_keypoints=layout.unique_keypoints,
        skeleton=layout.skeleton,
    )


def read_tables(
    folder: Path, *, scorer: str | None = None, tables: TableChoice = "both"
) -> list[LabelTable]:
    """Read the label table of each video of the project at `folder`.

    Raises:
        InvalidLabels: there is none, one is malformed, or CSV and .h5 differ.
    """
    labels = folder / "labeled-data"
    if not labels.is_dir():
        raise InvalidLabels(
            f"{labels} does not exist; name the folder of a DeepLabCut project "
            "(it holds config.yaml and labeled-data)"
        )
    found = []
    for video in sorted(entry for entry in labels.iterdir() if entry.is_dir()):
        stem = _stem(video, scorer)
        if stem is not None and (table := read_pair(video, stem, tables)) is not None:
            found.append(table)
    if not found:
        kind = ".csv or .h5" if tables == "both" else f".{tables}"
        raise InvalidLabels(f"{labels} holds no CollectedData_*{kind}; label some pictures first")
    return found


def difference(csv_table: LabelTable, h5_table: LabelTable) -> str:
    """Say where two tables differ first; empty if they hold the same labels."""
    if csv_table.columns != h5_table.columns:
        return "other body parts or another order of them"
    there = {_key(row): row for row in h5_table.rows}
    for row in csv_table.rows:
        other = there.pop(_key(row), None)
        if other is None:
            return f"{csv_table.path.name} {row.where}: {row.picture} is only there"
        near = np.isclose(row.values, other.values, rtol=0, atol=_SAME_PX, equal_nan=True)
        if not near.all():
            place = int(np.flatnonzero(~near.all(axis=1))[0])
            name = " ".join(csv_table.columns[place]).strip()
            one, two = (
                f"({', '.join(f'{value:g}' for value in values)})"
                for values in (row.values[place], other.values[place])
            )
            return (
                f"{csv_table.path.name} {row.where}, {row.picture}: {name} is {one}, and {two} in "
                f"{h5_table.path.name}"
            )
    for row in there.values():
        return f"{row.picture} is only in {h5_table.path.name}"
    return ""


def _stem(video: Path, scorer: str | None) -> str | None:
    stems = sorted({path.stem for path in video.glob(f"{_COLLECTED}*") if _is_table(path)})
    if scorer is not None and f"{_COLLECTED}{scorer}" in stems:
        return f"{_COLLECTED}{scorer}"
    if len(stems) > 1:
        names = ", ".join(stems)
        raise InvalidLabels(
            f"{video} holds labels of {len(stems)} scorers ({names}); keep one of them there, or "
            "name one as scorer in config.yaml"
        )
    return stems[0] if stems else None


def _is_table(path: Path) -> bool:
    return path.suffix in (".csv", ".h5")


def read_pair(video: Path, stem: str, tables: TableChoice = "both") -> LabelTable | None:
    """Read `<stem>.csv` and `.h5` in a video's folder; None where neither is there.

    Raises:
        InvalidLabels: one is malformed, or they differ.
    """
    csv_path, h5_path = video / f"{stem}.csv", video / f"{stem}.h5"
    has_csv = csv_path.is_file() and tables != "h5"
    has_h5 = h5_path.is_file() and tables != "csv"
    if not has_csv:
        return read_table(h5_path) if has_h5 else None
    from_csv = read_table(csv_path)
    if not has_h5:
        return from_csv
    try:
        from_h5 = read_table(h5_path)
    except PickledAxis:
        return from_csv  # whether they agree cannot be told without running the pickle
    if differs := difference(from_csv, from_h5):
        remedy = (
            "keep the right one and write the other anew: `ethostream project convert PROJECT "
            "--to h5 --in-place` takes the CSV, `--to csv` the .h5"
        )
        if not stem.startswith(_COLLECTED):
            remedy = "move the wrong one away; the other is enough"
        raise InvalidLabels(f"{csv_path} and {h5_path.name} beside it differ ({differs}); {remedy}")
    return from_csv


def _key(row: TableRow) -> str:
    return row.file_name


def _layout(tables: list[LabelTable]) -> ProjectConfig:
    """What a project without config.yaml is taken to be."""
    first = tables[0]
    return ProjectConfig(
        path=first.path,
        scorer=first.scorer,
        animals=tuple(name for name in first.individuals if name not in ("", SINGLE)),
        keypoints=first.keypoints,
        unique_keypoints=first.unique_keypoints,
    )


def _checked(tables: Iterable[LabelTable], layout: ProjectConfig) -> Iterable[LabelTable]:
    """Give the tables that fit to the body parts and animals of the project."""
    for table in tables:
        if set(table.keypoints) != set(layout.keypoints) or (
            table.has_individuals and set(table.unique_keypoints) != set(layout.unique_keypoints)
        ):
            raise InvalidLabels(
                f"{table.path} labels {', '.join(table.keypoints)}, but {layout.path} labels "
                f"{', '.join(layout.keypoints)}; bring them to the same body parts"
            )
        if table.has_individuals != bool(layout.animals):
            this, that = ("several animals", "one") if table.has_individuals else ("one", "several")
            raise InvalidLabels(
                f"{table.path} labels {this}, {layout.path} says {that} (multianimalproject, "
                "individuals); correct config.yaml, or convert the labels"
            )
        unknown = set(table.individuals) - {"", SINGLE, *layout.animals}
        if unknown:
            raise InvalidLabels(
                f"{table.path} labels the individual {sorted(unknown)[0]}, but {layout.path} knows "
                f"{', '.join(layout.animals)}; add it to individuals in config.yaml, or rename it"
            )
        yield table


def _frame(
    table: LabelTable, row: TableRow, layout: ProjectConfig, animals: tuple[str, ...]
) -> LabelledFrame:
    image = table.path.parent / row.file_name
    if not image.is_file():
        raise InvalidLabels(
            f"{table.path} {row.where} labels {row.picture}, but {image} does not exist; restore "
            "the picture or delete the row"
        )
    points = table_points(table, row, layout.keypoints, animals).astype(np.float32)
    try:
        size_px = picture_size_px(image)
    except InvalidLabels as error:
        raise InvalidLabels(f"{table.path} {row.where}: {error}") from error
    for name, slots in zip(layout.keypoints, points.swapaxes(0, 1), strict=True):
        for point in slots:
            check_inside(
                f"{table.path} {row.where}, {row.picture}",
                name,
                (float(point[0]), float(point[1])),
                size_px,
            )
    return LabelledFrame(
        name=f"{table.path.parent.name}/{row.file_name}",
        picture=FilePicture(image),
        keypoints_xy=points,
    )


def table_points(
    table: LabelTable, row: TableRow, keypoints: tuple[str, ...], animals: tuple[str, ...]
) -> NDArray[np.float64]:
    """Return the points of a row as (N, K, 2) px in the order of `animals` and `keypoints`."""
    points = np.full((len(animals), len(keypoints), 2), np.nan)
    for (animal, part), values in zip(table.columns, row.values, strict=True):
        slot = 0 if animal in ("", SINGLE) else animals.index(animal)
        points[slot, keypoints.index(part)] = values[:2]
    return points
