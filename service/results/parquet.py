"""The record of one video: everything that was found, in one Parquet file, and back.

One row a frame. Columns, where BUNDLE is the bundle's name (name@version where two versions of
one name answered):

frame_index, pts_ns, status                 as in `VideoResults`
reason                                      why a frame has no pixels; null where it has
file                                        only of pictures: the file name
BUNDLE/[animalN/]KEYPOINT/x_px              px of the video's frame; null without a result
BUNDLE/[animalN/]KEYPOINT/y_px
BUNDLE/[animalN/]KEYPOINT/confidence        in [0, 1]
BUNDLE/status                               number of BehaviorStatus
BUNDLE/BEHAVIOR/probability                 in [0, 1]; null without context
BUNDLE/BEHAVIOR/present_in_frame            by this frame's probability alone
BUNDLE/BEHAVIOR/present                     after the bout rule

animalN (from 1) stands only where a bundle answers for several. The provenance is JSON in the
file's metadata under the key `ethostream`.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.results.atomic import replacing
from service.results.provenance import AnsweredBundle, Provenance
from service.results.video_results import ChunkLike, VideoResults, kept_bouts
from service.values import BehaviorColumns, FrameFault, FrameStatus, PoseColumns, Poses

Number = TypeVar("Number", bound=np.generic)
Tables = Callable[[], Iterable[pa.Table]]
"""Gives the rows of a video, in order and in tables of any length; may be asked twice."""

_METADATA_KEY = b"ethostream"
_ROWS_PER_GROUP = 16384  # about nine minutes at 30 Hz; a reader holds one group at a time


def record_path(out: Path, stem: str) -> Path:
    """Path of the record of the video named `stem`."""
    return out / f"{stem}.parquet"


def write_record(results: VideoResults, path: Path) -> None:
    """Write everything; the file appears only when it is whole."""
    table = to_table(results.provenance.bundles, results)
    write_tables(results.provenance, lambda: [table], path)


def write_tables(provenance: Provenance, tables: Tables, path: Path) -> None:
    """Write the record from tables that `to_table` made; the file appears only when it is whole.

    The bytes of the file depend on the rows and the provenance alone, not on how the rows were cut
    into tables. No more than one group of rows, and what the bout rule needs, is held at a time.
    """
    kept = _keep_bouts(provenance, tables())
    metadata = {_METADATA_KEY: msgspec.json.encode(provenance)}
    with replacing(path) as unfinished:
        writer: pq.ParquetWriter | None = None
        first = 0
        for group in _in_groups(tables()):
            table = _complete(provenance, group, first, kept).replace_schema_metadata(metadata)
            if writer is None:
                # Dictionaries help nothing with numbers that never repeat.
                writer = pq.ParquetWriter(
                    unfinished, table.schema, compression="zstd", use_dictionary=False
                )
            writer.write_table(table, row_group_size=_ROWS_PER_GROUP)
            first += len(group)
        assert writer is not None, "a table without rows is a group, too"
        writer.close()


def to_table(bundles: Iterable[AnsweredBundle], rows: ChunkLike | VideoResults) -> pa.Table:
    """Return rows as the columns of the record that need no other rows.

    Args:
        bundles: that answered.
        rows: of consecutive frames.
    """
    prefixes = _prefixes(bundles)
    reasons = {one.frame_index: one.reason for one in rows.faults}
    columns = {
        "frame_index": pa.array(rows.frame_index),
        "pts_ns": pa.array(rows.pts_ns),
        "status": pa.array(rows.status),
        "reason": pa.array([reasons.get(one) for one in rows.frame_index.tolist()], pa.string()),
    }
    posed = [one for one in prefixes if one[0].pose is not None]
    for (bundle, prefix), poses in zip(posed, rows.poses, strict=True):
        for animal, keypoint, name in _points(bundle, prefix):
            xy = poses.keypoints_xy[:, animal, keypoint]
            columns[f"{name}/x_px"] = _nullable(xy[:, 0])
            columns[f"{name}/y_px"] = _nullable(xy[:, 1])
            columns[f"{name}/confidence"] = _nullable(poses.confidence[:, animal, keypoint])
    behaved = [one for one in prefixes if one[0].behavior is not None]
    for (bundle, prefix), found in zip(behaved, rows.behaviors, strict=True):
        assert bundle.behavior is not None
        columns[f"{prefix}/status"] = pa.array(found.status)
        for place, name in enumerate(bundle.behavior.behaviors):
            columns[f"{prefix}/{name}/probability"] = _nullable(found.probabilities[:, place])
            columns[f"{prefix}/{name}/present_in_frame"] = pa.array(found.present[:, place])
    return pa.table(columns)


def read_provenance(path: Path) -> Provenance:
    """Read where a record comes from, without its rows.

    Raises:
        InvalidRequest: the file is no record that this version reads.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
        return msgspec.json.decode(metadata[_METADATA_KEY], type=Provenance)
    except (OSError, pa.ArrowInvalid, KeyError, msgspec.MsgspecError) as error:
        raise InvalidRequest(
            f"{path} is no record of ethostream ({error}); analyze the video again"
        ) from error


def count_frames(path: Path) -> int:
    """Number of rows of a record, read from its footer."""
    return int(pq.read_metadata(path).num_rows)


def read_results(path: Path) -> VideoResults:
    """Read a record back; equal to what was written.

    Raises:
        InvalidRequest: the file is no record that this version reads.
    """
    return from_table(read_provenance(path), pq.read_table(path))


def from_table(provenance: Provenance, table: pa.Table) -> VideoResults:
    """Return the results that a table of the record holds.

    Raises:
        InvalidRequest: a column is missing.
    """
    prefixes = _prefixes(provenance.bundles)
    frame_index = _numbers(table, "frame_index", np.int64)
    status = _numbers(table, "status", np.uint8)
    reasons = _column(table, "reason").to_pylist()
    return VideoResults(
        provenance=provenance,
        frame_index=frame_index,
        pts_ns=_numbers(table, "pts_ns", np.int64),
        status=status,
        poses=tuple(
            _read_poses(table, bundle, prefix)
            for bundle, prefix in prefixes
            if bundle.pose is not None
        ),
        behaviors=tuple(
            _read_behaviors(table, bundle, prefix)
            for bundle, prefix in prefixes
            if bundle.behavior is not None
        ),
        faults=tuple(
            FrameFault(int(frame_index[row]), FrameStatus(int(status[row])), reason)
            for row, reason in enumerate(reasons)
            if reason is not None
        ),
    )


def last_poses(bundles: Iterable[AnsweredBundle], table: pa.Table) -> tuple[tuple[int, Poses], ...]:
    """Return the newest frame that has poses and these, by pose bundle; empty where none has."""
    status = _numbers(table, "status", np.uint8)
    rows = np.flatnonzero(np.isin(status, [one for one in FrameStatus if one.has_pixels]))
    if not len(rows):
        return ()
    last = table.slice(int(rows[-1]), 1)
    frame_index = int(_numbers(last, "frame_index", np.int64)[0])
    found = [
        _read_poses(last, bundle, prefix)
        for bundle, prefix in _prefixes(bundles)
        if bundle.pose is not None
    ]
    return tuple((frame_index, Poses(one.keypoints_xy[0], one.confidence[0])) for one in found)


def _keep_bouts(provenance: Provenance, tables: Iterable[pa.Table]) -> dict[str, NDArray[np.bool_]]:
    """Apply the bout rule to the whole video: (T, C) by the prefix of each behavior bundle."""
    behaved = [one for one in _prefixes(provenance.bundles) if one[0].behavior is not None]
    parts: dict[str, list[BehaviorColumns]] = {prefix: [] for _, prefix in behaved}
    for table in tables:
        for bundle, prefix in behaved:
            parts[prefix].append(_read_behaviors(table, bundle, prefix))
    kept = {}
    for bundle, prefix in behaved:
        assert bundle.behavior is not None
        found = BehaviorColumns(
            bundle.key,
            np.concatenate([one.status for one in parts[prefix]]),
            np.concatenate([one.probabilities for one in parts[prefix]]),
            np.concatenate([one.present for one in parts[prefix]]),
        )
        kept[prefix] = kept_bouts(bundle.behavior, found)
    return kept


def _in_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Cut rows anew into groups of the record; at least one group comes."""
    waiting: list[pa.Table] = []
    rows, given = 0, False
    for table in tables:
        waiting.append(table)
        rows += len(table)
        while rows >= _ROWS_PER_GROUP:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, _ROWS_PER_GROUP)
            given = True
            waiting, rows = [joined.slice(_ROWS_PER_GROUP)], rows - _ROWS_PER_GROUP
    if waiting and (rows or not given):
        yield pa.concat_tables(waiting)


def _complete(
    provenance: Provenance, group: pa.Table, first: int, kept: dict[str, NDArray[np.bool_]]
) -> pa.Table:
    """Add what depends on other rows, and the file names of pictures."""
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    files = provenance.source.pictures
    placed = {
        f"{prefix}/{name}/present_in_frame": (prefix, place, f"{prefix}/{name}/present")
        for bundle, prefix in _prefixes(provenance.bundles)
        if bundle.behavior is not None
        for place, name in enumerate(bundle.behavior.behaviors)
    }
    for name in group.column_names:
        columns[name] = group.column(name).combine_chunks()
        if name == "reason" and files:
            columns["file"] = pa.array([files[one] for one in columns["frame_index"].to_pylist()])
        if name in placed:
            prefix, place, present = placed[name]
            columns[present] = pa.array(kept[prefix][first : first + len(group), place])
    return pa.table(columns)


def _read_poses(table: pa.Table, bundle: AnsweredBundle, prefix: str) -> PoseColumns:
    assert bundle.pose is not None
    shape = (len(table), bundle.pose.max_animals, len(bundle.pose.keypoints))
    keypoints_xy = np.empty((*shape, 2), np.float32)
    confidence = np.empty(shape, np.float32)
    for animal, keypoint, name in _points(bundle, prefix):
        keypoints_xy[:, animal, keypoint, 0] = _numbers(table, f"{name}/x_px", np.float32)
        keypoints_xy[:, animal, keypoint, 1] = _numbers(table, f"{name}/y_px", np.float32)
        confidence[:, animal, keypoint] = _numbers(table, f"{name}/confidence", np.float32)
    return PoseColumns(bundle.key, keypoints_xy, confidence)


def _read_behaviors(table: pa.Table, bundle: AnsweredBundle, prefix: str) -> BehaviorColumns:
    assert bundle.behavior is not None
    names = bundle.behavior.behaviors
    probabilities = np.empty((len(table), len(names)), np.float32)
    present = np.empty((len(table), len(names)), np.bool_)
    for place, name in enumerate(names):
        probabilities[:, place] = _numbers(table, f"{prefix}/{name}/probability", np.float32)
        present[:, place] = _numbers(table, f"{prefix}/{name}/present_in_frame", np.bool_)
    status = _numbers(table, f"{prefix}/status", np.uint8)
    return BehaviorColumns(bundle.key, status, probabilities, present)


def _points(bundle: AnsweredBundle, prefix: str) -> list[tuple[int, int, str]]:
    """Animal, keypoint and column prefix of every point of a pose bundle."""
    assert bundle.pose is not None
    several = bundle.pose.max_animals > 1
    return [
        (animal, place, f"{prefix}/animal{animal + 1}/{name}" if several else f"{prefix}/{name}")
        for animal in range(bundle.pose.max_animals)
        for place, name in enumerate(bundle.pose.keypoints)
    ]


def _prefixes(bundles: Iterable[AnsweredBundle]) -> list[tuple[AnsweredBundle, str]]:
    """Return each bundle with what its columns begin with."""
    listed = list(bundles)
    names = [one.name for one in listed]
    return [(one, one.name if names.count(one.name) == 1 else str(one.key)) for one in listed]


def _nullable(values: NDArray[np.float32]) -> pa.Array:
    return pa.array(values, from_pandas=True)  # NaN becomes null: absent, not a number gone wrong


def _numbers(table: pa.Table, name: str, dtype: type[Number]) -> NDArray[Number]:
    return np.asarray(_column(table, name).to_numpy(), dtype)


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise InvalidRequest(
            f"the record lacks the column {name}; it is damaged: analyze the video again"
        )
    return table.column(name)
