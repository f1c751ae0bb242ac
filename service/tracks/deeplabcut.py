"""Reads the tables of predictions that DeepLabCut writes, and ours like them."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.tracks.track import Track

_UNIQUE = "single"
"""The animal that DeepLabCut gives the keypoints to that exist once in the scene."""
_OURS = "ethostream_"
"""Beginning of our scorers, see `service.results.deeplabcut`."""


def read_h5(path: Path) -> Track:
    """Read a pandas table in HDF5, under whatever key it stands.

    Raises:
        InvalidRequest: there is no such table, or its columns are not those of predictions.
    """
    try:
        table = pd.read_hdf(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise InvalidRequest(
            f"{path} holds no table that pandas reads ({error}); give predictions of DeepLabCut"
        ) from error
    if not isinstance(table, pd.DataFrame):
        raise InvalidRequest(f"{path} holds a column, not a table; give predictions of DeepLabCut")
    return _track(path, table)


def read_csv(path: Path) -> Track:
    """Read a CSV with one line a column level at the top.

    Raises:
        InvalidRequest: its first lines or its columns are not those of predictions.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = [file.readline().split(",")[0].strip() for _ in range(4)]
        levels = 4 if first[1] == "individuals" else 3
        if first[0] != "scorer" or first[levels - 1] != "coords":
            raise InvalidRequest(
                f"{path} begins with the lines {', '.join(map(repr, first))}, not with scorer, "
                "[individuals,] bodyparts, coords; give predictions as DeepLabCut writes them"
            )
        # Apart: of a table whose first row is empty, pandas takes that for the index's name.
        # Names are text, also NA and None, which pandas takes for missing.
        head = pd.read_csv(
            path, header=None, nrows=levels, index_col=0, dtype=str, keep_default_na=False
        )
        table = pd.read_csv(path, header=None, skiprows=levels, index_col=0)
        table.columns = pd.MultiIndex.from_arrays(list(head.to_numpy()), names=list(head.index))
        table.index.name = None
    except (OSError, UnicodeDecodeError, ValueError, pd.errors.ParserError) as error:
        raise InvalidRequest(
            f"{path} is no CSV of predictions ({error}); give one of DeepLabCut"
        ) from error
    return _track(path, table)


def _track(path: Path, table: pd.DataFrame) -> Track:
    columns = table.columns
    names = list(columns.names)
    if names not in (
        ["scorer", "bodyparts", "coords"],
        ["scorer", "individuals", "bodyparts", "coords"],
    ):
        raise InvalidRequest(
            f"{path} has the column levels {names}, not scorer, [individuals,] bodyparts, coords; "
            "give predictions as DeepLabCut writes them"
        )
    scorers = list(dict.fromkeys(map(str, columns.get_level_values("scorer"))))
    if len(scorers) != 1:
        raise InvalidRequest(f"{path} holds the scorers {', '.join(scorers)}; give one in a file")
    if "likelihood" not in set(columns.get_level_values("coords")):
        raise InvalidRequest(
            f"{path} has no column likelihood: these are labels, not predictions; give the .h5 or "
            ".csv that a model wrote"
        )
    owners = (
        list(dict.fromkeys(map(str, columns.get_level_values("individuals"))))
        if "individuals" in names
        else [""]
    )
    animals = [one for one in owners if one != _UNIQUE] or owners
    parts = columns.get_level_values("bodyparts")
    keypoints = tuple(dict.fromkeys(map(str, parts)))
    shape = (len(table), len(animals), len(keypoints))
    values = np.full((*shape, 3), np.nan, np.float32)
    numbers = _numbers(path, table)
    unique: list[str] = []
    for place, column in enumerate(columns):
        owner = str(column[1]) if "individuals" in names else ""
        part, coordinate = str(column[-2]), str(column[-1])
        if coordinate not in ("x", "y", "likelihood"):
            raise InvalidRequest(f"{path} has the coordinate {coordinate!r}; 2-D ones are read")
        if owner not in animals:
            unique.append(part)
        animal = animals.index(owner) if owner in animals else 0
        axis = ("x", "y", "likelihood").index(coordinate)
        values[:, animal, keypoints.index(part), axis] = numbers[:, place]
    several = len(animals) > 1
    return Track(
        source=path,
        model=scorers[0],
        keypoints=keypoints,
        animals=len(animals),
        frame_rate_hz=0.0,
        frame_index=_frame_index(path, table),
        keypoints_xy=values[..., :2],
        confidence=values[..., 2],
        animal_names=tuple(animals) if owners != [""] else (),
        unique_keypoints=tuple(dict.fromkeys(unique)),
        rows="detections" if several and scorers[0].startswith(_OURS) else "animals",
    )


def _numbers(path: Path, table: pd.DataFrame) -> NDArray[np.float32]:
    try:
        return table.to_numpy(np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{path} holds a cell that is no number ({error})") from error


def _frame_index(path: Path, table: pd.DataFrame) -> NDArray[np.int64]:
    if table.index.nlevels > 1 or not pd.api.types.is_numeric_dtype(table.index):
        raise InvalidRequest(
            f"the rows of {path} are not numbered by frame but named, such as "
            f"{table.index[0] if len(table) else 'none'!r}; give predictions of a video"
        )
    return table.index.to_numpy(np.int64)
