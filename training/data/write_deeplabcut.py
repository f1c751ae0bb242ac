"""Writes label tables as DeepLabCut does: a CSV and an .h5 with the same values.

This is the one writer of labels in the package; label_table.py reads them. The .h5 has the key
`df_with_missing` in pandas' fixed format; pandas, DeepLabCut, napari-deeplabcut, sleap-io and
movement read both files.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.results.atomic import replacing
from training.data.label_table import H5_KEY, SINGLE, LabelTable, TableRow


def write_label_table(
    path_stem: Path,
    scorer: str,
    keypoints: Sequence[str],
    animals: Sequence[str],
    unique_keypoints: Sequence[str],
    rows: Sequence[tuple[str, NDArray[np.floating]]],
    likelihood: Sequence[NDArray[np.floating]] | None = None,
) -> tuple[Path, Path]:
    """Write `<path_stem>.csv` and `<path_stem>.h5`; the arguments are those of `make_table`.

    Returns:
        The paths of the CSV and of the HDF5 file.
    """
    return write_pair(
        make_table(path_stem, scorer, keypoints, animals, unique_keypoints, rows, likelihood)
    )


def make_table(
    path_stem: Path,
    scorer: str,
    keypoints: Sequence[str],
    animals: Sequence[str],
    unique_keypoints: Sequence[str],
    rows: Sequence[tuple[str, NDArray[np.floating]]],
    likelihood: Sequence[NDArray[np.floating]] | None = None,
) -> LabelTable:
    """Make a table of points in the order that DeepLabCut gives its columns.

    Args:
        path_stem: such as labeled-data/<video>/CollectedData_<scorer>, without an ending.
        scorer: who placed the points.
        keypoints: K names.
        animals: N names, for a multi-animal project; empty for one without a level of individuals.
        unique_keypoints: those of `keypoints` that exist once; they are taken from row 0 of axis N
            and belong to the individual `single`.
        rows: for each picture `labeled-data/<video>/<picture>` and (N, K, 2) px, NaN = missing;
            N is 1 without animals.
        likelihood: (N, K) for each row adds the columns of a machine's labels.
    """
    several = bool(animals)
    columns = [
        (animal, name)
        for animal in (animals if several else [""])
        for name in keypoints
        if not several or name not in unique_keypoints
    ]
    if several:
        columns += [(SINGLE, name) for name in keypoints if name in unique_keypoints]
    places = [
        (0 if animal in ("", SINGLE) else list(animals).index(animal), list(keypoints).index(name))
        for animal, name in columns
    ]
    table_rows = []
    for number, (picture, points) in enumerate(rows):
        values = np.array([points[place] for place in places], np.float64).reshape(-1, 2)
        if likelihood is not None:
            scores = [float(likelihood[number][place]) for place in places]
            values = np.column_stack([values, np.array(scores, np.float64)])
        table_rows.append(TableRow(f"row {number}", picture, values))
    return LabelTable(
        path=path_stem,
        scorer=scorer,
        has_individuals=several,
        has_likelihood=likelihood is not None,
        columns=tuple(columns),
        rows=tuple(table_rows),
    )


def write_pair(table: LabelTable) -> tuple[Path, Path]:
    """Write a table as `<table.path>.csv` and `.h5`.

    Returns:
        The paths of the CSV and of the HDF5 file.
    """
    csv_path, h5_path = (
        table.path.with_name(table.path.name + suffix) for suffix in (".csv", ".h5")
    )
    write_table(table, csv_path)
    write_table(table, h5_path)
    return csv_path, h5_path


def write_table(table: LabelTable, path: Path) -> None:
    """Write a table with the values that it has, float64; the file is whole or not changed at all.

    Args:
        table: what to write.
        path: ends in .csv or .h5.
    """
    frame = _data_frame(table)
    with replacing(path) as unfinished:
        if path.suffix == ".csv":
            frame.to_csv(unfinished)
        else:
            frame.to_hdf(unfinished, key=H5_KEY, mode="w")


def _data_frame(table: LabelTable) -> pd.DataFrame:
    coords = ("x", "y", "likelihood") if table.has_likelihood else ("x", "y")
    names = ["scorer", *(["individuals"] if table.has_individuals else []), "bodyparts", "coords"]
    labels = [
        (table.scorer, *((animal,) if table.has_individuals else ()), part, coord)
        for animal, part in table.columns
        for coord in coords
    ]
    values = [row.values.ravel() for row in table.rows]
    index = [_three_cells(row.picture) for row in table.rows]
    return pd.DataFrame(
        np.array(values, np.float64).reshape(len(values), len(labels)),
        # Without a row there is no telling how many levels a row's name has.
        index=pd.MultiIndex.from_tuples(index) if index else pd.Index([], dtype=object),
        columns=pd.MultiIndex.from_tuples(labels, names=names),
    )


def _three_cells(picture: str) -> tuple[str, str, str]:
    parts = picture.replace("\\", "/").split("/")
    folder = parts[-2] if len(parts) > 1 else ""
    return "labeled-data", folder, parts[-1]
