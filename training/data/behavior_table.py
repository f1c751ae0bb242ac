"""Label files of one recording: frames x behaviors, as CSV or HDF5.

CSV: the first column is the frame index, the others are behaviors with 1 (present), 0 (absent) or
-1 (not labelled). HDF5: a dataset `scores` or `labels` of the same values without names.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.behavior import BACKGROUND
from service.results.atomic import replacing
from training.data.labels import InvalidLabels

NOT_LABELLED = -1
_H5_DATASETS = ("scores", "labels")


def read_label_file(
    path: Path, behaviors: Sequence[str] = (), index_names: Sequence[str] | None = None
) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """Read a label file as it stands: its columns in their order, `none` named background.

    Args:
        path: CSV, with commas, semicolons or tabs, or .h5.
        behaviors: names of the columns of an .h5: all, or all but `background`. (behaviors,
            frames), as MATLAB writes it, is turned.
        index_names: None: the first column of a CSV counts the frames, or tells their times. Else
            it counts them where it has one of these names (in lower case).

    Returns:
        (T, N) int8 with 1, 0 or -1, and the N names.

    Raises:
        InvalidLabels: it cannot be read, does not count its frames from 0 or 1 on, names a column
            twice, has another number of columns, or a value is none of 1, 0, -1.
    """
    if path.suffix.lower() in (".h5", ".hdf5"):
        values, names = _read_h5(path, behaviors)
        return _check_values(values, names, path, values.astype(str)), names
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        delimiter = max(",;\t", key=header.count)  # spreadsheets save what their country writes
        counted = 0 if index_names is None else False
        table = pd.read_csv(path, sep=delimiter, index_col=counted)
    except (OSError, ValueError) as error:
        raise InvalidLabels(
            f"{path} is not a label table: {error}; save it as CSV in UTF-8"
        ) from error
    if index_names is None:
        index = pd.to_numeric(table.index.to_series(), errors="coerce")
        if (index % 1 == 0).all():
            _check_index(index, path)
    else:
        first = str(table.columns[0])
        if ("" if first.startswith("Unnamed") else first).strip().lower() in index_names:
            _check_index(pd.to_numeric(table.pop(first), errors="coerce"), path)
    titles = (str(name).strip() for name in table.columns)
    names = tuple(BACKGROUND if name == "none" else name for name in titles)
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise InvalidLabels(f"{path} has two columns of {twice}; delete one of them")
    values = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    return _check_values(values, names, path, table.astype(str).to_numpy()), names


def write_label_table(path: Path, labels: NDArray[np.int8], names: Sequence[str]) -> None:
    """Write a label file: frame index, background, one column a behavior.

    Background is recomputed: 1 where all others are 0, 0 where one is present, else -1.

    Args:
        path: appears only when it is whole.
        labels: (T, C) of 1, 0 or -1.
        names: (C,) behaviors; a column background is not used.
    """
    kept = [column for column, name in enumerate(names) if name != BACKGROUND]
    values = labels[:, kept]
    background = np.where((values == 0).all(axis=1), 1, -1)
    background[(values == 1).any(axis=1)] = 0
    table = pd.DataFrame(values, columns=[names[column] for column in kept])
    table.insert(0, BACKGROUND, background)
    with replacing(path) as unfinished:
        table.to_csv(unfinished)


def _read_h5(path: Path, behaviors: Sequence[str]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            name = next((one for one in _H5_DATASETS if one in file), None)
            values = np.asarray(file[name], np.float64) if name else None
    except (OSError, TypeError, ValueError) as error:
        raise InvalidLabels(f"{path} is not a label file: {error}; restore it") from error
    if values is None:
        raise InvalidLabels(f"{path} has no dataset {' or '.join(_H5_DATASETS)}; name it so")
    named = tuple(name for name in behaviors if name != BACKGROUND)
    for names in (tuple(behaviors), named):
        if values.ndim == 2 and len(names) in values.shape:
            return (values if values.shape[1] == len(names) else values.T), names
    raise InvalidLabels(
        f"{path} has labels of shape {values.shape}; give (frames, {len(behaviors)}) for "
        f"{', '.join(behaviors)}"
    )


def _check_index(index: "pd.Series[float]", path: Path) -> None:
    numbers = index.to_numpy(np.float64)
    start = 1 if len(numbers) and numbers[0] == 1 else 0
    wrong = np.flatnonzero(numbers != np.arange(start, start + len(numbers)))
    if len(wrong):
        row = wrong[0]
        raise InvalidLabels(
            f"the first column of {path} counts frame {numbers[row]:g} in row {row}; give every "
            "frame a row, in order, from 0"
        )


def _check_values(
    values: NDArray[np.float64], names: Sequence[str], path: Path, written: NDArray[np.str_]
) -> NDArray[np.int8]:
    bad = ~np.isin(values, (1.0, 0.0, -1.0))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InvalidLabels(
            f"{path} has {str(written[row, column])!r} in row {row} of {names[column]}; "
            "give 1 (present), 0 (absent) or -1 (not labelled)"
        )
    return values.astype(np.int8)
