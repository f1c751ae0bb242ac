"""Poses as DeepLabCut writes them: `<video><scorer>.h5` and `.csv`, one row a frame.

Columns have the levels scorer, bodyparts, coords (x, y, likelihood), with individuals after
scorer where a bundle answers for several animals. Frames without a result are empty.
"""

import errno
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import tables
from numpy.typing import NDArray

from service.results.atomic import replacing
from service.results.provenance import AnsweredBundle
from service.results.video_results import VideoResults
from service.values import PoseColumns

UNIQUE_OWNER = "single"
"""The individual that DeepLabCut gives the body parts to that exist once in the scene."""
_ROWS_AT_ONCE = 20_000
"""Tables take many times the memory of their numbers: those of a day are made in parts."""
_KEY = "df_with_missing"
_REFUSED = "the disk did not take what was written; is it full?"


def pose_path(out: Path, stem: str, bundle: AnsweredBundle, suffix: str) -> Path:
    """Path of the poses of one bundle; suffix is .h5 or .csv."""
    return out / f"{stem}{scorer_name(bundle.name, bundle.version)}{suffix}"


def scorer_name(bundle: str, version: int) -> str:
    """Name of the scorer, such as `ethostream_openfield-mouse_v1`."""
    return f"ethostream_{bundle}_v{version}"


def write_h5(results: VideoResults, out: Path, stem: str) -> None:
    """Write one HDF5 file per pose bundle."""
    for bundle, poses in results.pose_answers():
        write_tables(_pose_tables(results, bundle, poses), pose_path(out, stem, bundle, ".h5"))


def write_csv(results: VideoResults, out: Path, stem: str) -> None:
    """Write one CSV per pose bundle."""
    for bundle, poses in results.pose_answers():
        write_tables(_pose_tables(results, bundle, poses), pose_path(out, stem, bundle, ".csv"))


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all; see `write_tables`."""
    write_tables([table], path)


def write_tables(parts: Iterable[pd.DataFrame], path: Path) -> None:
    """Write the rows of several tables as one, whole or not at all.

    Args:
        parts: at least one; with the same columns, of the levels of DeepLabCut.
        path: .h5 (a PyTables table under the key `df_with_missing`) or .csv (one line a column
            level at the top).

    Raises:
        OSError: the disk is full or gone.
    """
    with replacing(path) as unfinished:
        first = 0
        for part in parts:
            # A process that was killed may have left a file of this name: the first part begins it.
            mode: Literal["a", "w"] = "a" if first else "w"
            if path.suffix == ".csv":
                # Nine digits bring every float32 back exactly.
                part.to_csv(unfinished, float_format="%.9g", mode=mode, header=first == 0)
            else:
                _write_hdf(part, unfinished, first)
            first += len(part)


def _write_hdf(part: pd.DataFrame, path: Path, first: int) -> None:
    """Begin a file, or append to one of `first` rows; PyTables overlooks what a disk refuses."""
    mode: Literal["a", "w"] = "a" if first else "w"
    try:
        # Without an index for searches: reading the rows back would not check it, and it holds the
        # time, so that the same rows would be other bytes.
        part.to_hdf(path, key=_KEY, mode=mode, append=first > 0, format="table", index=False)
    except tables.HDF5ExtError as error:  # its text alone tells what the system said
        number = re.search(r"errno = (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, _REFUSED, str(path)) from error
    try:
        stored = pd.read_hdf(path, _KEY, start=first).to_numpy()
    except Exception as error:  # of any kind: a file with holes
        raise OSError(errno.EIO, _REFUSED, str(path)) from error
    if not np.array_equal(stored, part.to_numpy(), equal_nan=True):
        raise OSError(errno.EIO, _REFUSED, str(path))


def _pose_tables(
    results: VideoResults, bundle: AnsweredBundle, poses: PoseColumns
) -> Iterator[pd.DataFrame]:
    """Yield the table of poses in parts; that of pictures, whose names vary in length, in one."""
    size = len(results) if results.files else _ROWS_AT_ONCE
    for first in range(0, max(1, len(results)), max(1, size)):
        yield pose_table(results, bundle, poses, slice(first, first + size))


def pose_table(
    results: VideoResults,
    bundle: AnsweredBundle,
    poses: PoseColumns,
    rows: slice = slice(None),
) -> pd.DataFrame:
    """Return the poses of one bundle as DeepLabCut's table, float64.

    Rows are indexed by frame number, those of pictures by file name, as in DeepLabCut.
    """
    assert bundle.pose is not None
    several = bundle.pose.max_animals > 1
    table = keypoint_table(
        scorer_name(bundle.name, bundle.version),
        bundle.pose.keypoints,
        results.frame_index[rows],
        poses.keypoints_xy[rows],
        poses.confidence[rows],
        animals=[f"animal{one + 1}" for one in range(bundle.pose.max_animals)] if several else (),
        unique_keypoints=bundle.pose.unique_keypoints,
    )
    return table.set_axis(list(results.files)[rows], axis=0) if results.files else table


def keypoint_table(
    scorer: str,
    keypoints: Sequence[str],
    frame_index: NDArray[np.int64],
    keypoints_xy: NDArray[np.float32],
    confidence: NDArray[np.float32],
    *,
    animals: Sequence[str] = (),
    unique_keypoints: Sequence[str] = (),
) -> pd.DataFrame:
    """Return DeepLabCut's table of predictions, float64, one row a frame.

    Args:
        scorer: name of what predicted them.
        keypoints: K names.
        frame_index: (T,) numbers of the frames.
        keypoints_xy: (T, N, K, 2) px.
        confidence: (T, N, K).
        animals: N names; without them the level of individuals is left out.
        unique_keypoints: those of `keypoints` that stand in row 0 only; with `animals` they belong
            to the individual `single`.
    """
    values = np.concatenate([keypoints_xy, confidence[..., None]], axis=-1).astype(np.float64)
    columns: list[tuple[str, ...]] = []
    blocks = []
    owned = [name for name in keypoints if not animals or name not in unique_keypoints]
    owners = [(owner, place, owned) for place, owner in enumerate(animals or ("",))]
    if animals and unique_keypoints:
        owners.append((UNIQUE_OWNER, 0, list(unique_keypoints)))
    for owner, place, parts in owners:
        for part in parts:
            for axis, coordinate in enumerate(("x", "y", "likelihood")):
                names = (scorer, owner, part, coordinate)
                columns.append(names if animals else (scorer, part, coordinate))
                blocks.append(values[:, place, list(keypoints).index(part), axis])
    levels = ["scorer", "individuals", "bodyparts", "coords"]
    return pd.DataFrame(
        np.stack(blocks, axis=1),
        index=pd.Index(frame_index),
        columns=pd.MultiIndex.from_tuples(
            columns, names=levels if animals else [levels[0], *levels[2:]]
        ),
    )
