"""The record of one video: everything that was found, in one Parquet file, and back.

One row a frame. Columns, where BUNDLE is the bundle's name (name@version where two versions of
one name answered):

frame_index, pts_ns, status                 as in `VideoResults`
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
from service.results.video_results import VideoResults, kept_bouts
from service.values import BehaviorColumns, PoseColumns

Number = TypeVar("Number", bound=np.generic)

_METADATA_KEY = b"ethostream"
_ROWS_PER_GROUP = 16384  # about nine minutes at 30 Hz; a reader holds one group at a time


def record_path(out: Path, stem: str) -> Path:
    """Path of the record of the video named `stem`."""
    return out / f"{stem}.parquet"


def write_record(results: VideoResults, path: Path) -> None:
    """Write everything; the file appears only when it is whole."""
    table = pa.table(_columns(results))
    provenance = msgspec.json.encode(results.provenance)
    table = table.replace_schema_metadata({_METADATA_KEY: provenance})
    with replacing(path) as unfinished:
        # Dictionaries help nothing with numbers that never repeat.
        pq.write_table(
            table,
            unfinished,
            compression="zstd",
            use_dictionary=False,
            row_group_size=_ROWS_PER_GROUP,
        )


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
    provenance = read_provenance(path)
    table = pq.read_table(path)
    return VideoResults(
        provenance=provenance,
        frame_index=_numbers(table, "frame_index", np.int64),
        pts_ns=_numbers(table, "pts_ns", np.int64),
        status=_numbers(table, "status", np.uint8),
        poses=tuple(
            _read_poses(table, bundle, prefix)
            for bundle, prefix in _prefixes(provenance)
            if bundle.pose is not None
        ),
        behaviors=tuple(
            _read_behaviors(table, bundle, prefix)
            for bundle, prefix in _prefixes(provenance)
            if bundle.behavior is not None
        ),
    )


def _columns(results: VideoResults) -> dict[str, pa.Array]:
    columns = {
        "frame_index": pa.array(results.frame_index),
        "pts_ns": pa.array(results.pts_ns),
        "status": pa.array(results.status),
    }
    if results.files:
        columns["file"] = pa.array(results.files)
    prefixes = {bundle.key: prefix for bundle, prefix in _prefixes(results.provenance)}
    for bundle, poses in results.pose_answers():
        for animal, keypoint, name in _points(bundle, prefixes[bundle.key]):
            xy = poses.keypoints_xy[:, animal, keypoint]
            columns[f"{name}/x_px"] = _nullable(xy[:, 0])
            columns[f"{name}/y_px"] = _nullable(xy[:, 1])
            columns[f"{name}/confidence"] = _nullable(poses.confidence[:, animal, keypoint])
    for bundle, found in results.behavior_answers():
        assert bundle.behavior is not None
        prefix = prefixes[bundle.key]
        columns[f"{prefix}/status"] = pa.array(found.status)
        kept = kept_bouts(bundle.behavior, found)
        for place, name in enumerate(bundle.behavior.behaviors):
            columns[f"{prefix}/{name}/probability"] = _nullable(found.probabilities[:, place])
            columns[f"{prefix}/{name}/present_in_frame"] = pa.array(found.present[:, place])
            columns[f"{prefix}/{name}/present"] = pa.array(kept[:, place])
    return columns


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


def _prefixes(provenance: Provenance) -> list[tuple[AnsweredBundle, str]]:
    names = [one.name for one in provenance.bundles]
    return [
        (one, one.name if names.count(one.name) == 1 else str(one.key))
        for one in provenance.bundles
    ]


def _nullable(values: NDArray[np.float32]) -> pa.Array:
    return pa.array(values, from_pandas=True)  # NaN becomes null: absent, not a number gone wrong


def _numbers(table: pa.Table, name: str, dtype: type[Number]) -> NDArray[Number]:
    if name not in table.column_names:
        raise InvalidRequest(
            f"the record lacks the column {name}; it is damaged: analyze the video again"
        )
    return np.asarray(table.column(name).to_numpy(), dtype)
