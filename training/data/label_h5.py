"""Reads pandas tables in HDF5 as plain arrays, without running what a pickle could hold.

pandas writes two formats. The fixed one (what DeepLabCut writes) has levels and codes of both
axes as plain arrays. The table one has the column names in an attribute, as a pickle of lists,
tuples and strings: it is read by an unpickler that knows these and refuses every name that it
would have to import, so that no code of a file can run. Axes that pandas pickled whole (objects of
mixed kinds) are refused. h5py is used since PyTables unpickles attributes by itself.
"""

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from training.data.label_table import H5_KEY
from training.data.labels import InvalidLabels


class PickledAxis(InvalidLabels):
    """The names of rows or columns are stored as a pickle that is not opened."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The content of a table."""

    level_names: list[str]
    """Of the columns."""
    columns: list[tuple[str, ...]]
    pictures: list[str]
    """Names of the rows; several levels are joined by slashes."""
    values: NDArray[np.float64]
    """(rows, columns)."""


def read_cells(path: Path) -> Cells:
    """Read the table under the key `df_with_missing`.

    Raises:
        PickledAxis: names are stored in a way that is not opened.
        InvalidLabels: the file is damaged or holds no such table.
    """
    try:
        with h5py.File(path, "r") as file:
            group = file[H5_KEY]
            kind = _text(group.attrs.get("pandas_type", b""))
            cells = _read_table(path, group) if "table" in kind else _read_fixed(path, group)
    except InvalidLabels:
        raise
    except (OSError, KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        raise InvalidLabels(
            f"{path} is damaged or no label table of DeepLabCut ({error}); restore it, or write "
            "it anew from the CSV beside it with `ethostream project convert PROJECT --to h5`"
        ) from error
    return cells


def _read_fixed(path: Path, group: Any) -> Cells:
    level_names, columns = _axis(path, group, "axis0")
    _, index = _axis(path, group, "axis1")
    values = np.full((len(index), len(columns)), np.nan)
    for block in range(int(group.attrs["nblocks"])):
        node = group[f"block{block}_values"]
        if node.dtype == object or (node.dtype.kind not in "fiu" and node.size):
            raise _pickled(path)
        _, items = _axis(path, group, f"block{block}_items")
        # A transposed block is stored the way it is used: rows, then items.
        found = np.asarray(node, np.float64).reshape(len(index), len(items))
        for place, item in enumerate(items):
            values[:, columns.index(item)] = found[:, place]
    return Cells(level_names, columns, ["/".join(parts) for parts in index], values)


def _read_table(path: Path, group: Any) -> Cells:
    axes = _plain(path, group.attrs["non_index_axes"])
    columns = [_names(column) for column in axes[0][1]]
    info = _plain(path, group.attrs["info"])
    level_names = [str(name) for name in info.get(1, {}).get("names", [])]
    table = group["table"][()]
    values = np.full((len(table), len(columns)), np.nan)
    for name in table.dtype.names:
        if name == "index":
            continue
        items = _plain(path, group["table"].attrs[f"{name}_kind"])
        found = np.asarray(table[name], np.float64).reshape(len(table), len(items))
        for place, item in enumerate(items):
            values[:, columns.index(_names(item))] = found[:, place]
    return Cells(level_names, columns, [_text(cell) for cell in table["index"]], values)


def _axis(path: Path, group: Any, name: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """Names of the levels of an axis, and its entries."""
    if _text(group.attrs[f"{name}_variety"]) != "multi":
        node = group[name]
        return [_text(node.attrs["name"])], [(entry,) for entry in _strings(path, node)]
    levels, names = [], []
    for level in range(int(group.attrs[f"{name}_nlevels"])):
        node = group[f"{name}_level{level}"]
        entries = _strings(path, node)
        codes = np.asarray(group[f"{name}_label{level}"])
        levels.append([entries[code] if code >= 0 else "" for code in codes])
        names.append(_text(node.attrs["name"]))
    return names, list(zip(*levels, strict=True))


def _strings(path: Path, node: Any) -> list[str]:
    """Entries of a level; pandas stores an empty one as an array of its own kind."""
    if "shape" in node.attrs and not np.prod(np.asarray(node.attrs["shape"])):
        return []
    if node.dtype == object or node.dtype.kind not in "SOUif" or h5py.check_vlen_dtype(node.dtype):
        raise _pickled(path)
    return [_text(entry) for entry in node[()]]


def _pickled(path: Path) -> PickledAxis:
    return PickledAxis(
        f"{path} stores names or values as Python objects, which are not opened because they can "
        "run code; save the labels as CSV with the tool that wrote them"
    )


def _text(value: Any) -> str:
    if isinstance(value, bytes | np.bytes_):
        return bytes(value).decode("utf-8")
    return "" if isinstance(value, h5py.Empty) else str(value)


def _names(column: Any) -> tuple[str, ...]:
    return tuple(str(part) for part in column) if isinstance(column, tuple | list) else (column,)


class _Plain(pickle.Unpickler):
    """Makes lists, tuples, dicts, strings and numbers, and nothing else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is not opened")


def _plain(path: Path, attribute: Any) -> Any:
    try:
        return _Plain(io.BytesIO(bytes(attribute))).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, TypeError) as error:
        raise _pickled(path) from error
