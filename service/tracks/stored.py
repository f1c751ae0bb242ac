"""Tracks in Parquet: one row a frame, what they are in the file's metadata.

Columns: frame_index, time_s where the rate varies, then [ANIMAL/]KEYPOINT/x_px, y_px and confidence
as in the record of `ethostream analyze`; ANIMAL stands only where there are several. What the
columns mean is JSON in the metadata under the key `ethostream_track`.
"""

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from service.errors import InvalidRequest
from service.results.atomic import replacing
from service.tracks.track import Rows, Track

_METADATA_KEY = b"ethostream_track"
_TIME = "time_s"


class _Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the columns of a file are."""

    source: str
    model: str
    keypoints: tuple[str, ...]
    animals: tuple[str, ...]
    frame_rate_hz: float
    skeleton: tuple[tuple[str, str], ...]
    unique_keypoints: tuple[str, ...]
    rows: Rows


def is_stored_track(path: Path) -> bool:
    """Say whether a Parquet file was written by `write_stored_track`.

    Raises:
        InvalidRequest: it is no Parquet file.
    """
    try:
        return _METADATA_KEY in (pq.read_schema(path).metadata or {})
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidRequest(
            f"{path} is no whole Parquet file ({error}); write it again"
        ) from error


def write_stored_track(track: Track, path: Path) -> None:
    """Write a track; the file appears only when it is whole."""
    header = _Header(
        source=track.source.name,
        model=track.model,
        keypoints=track.keypoints,
        animals=track.names,
        frame_rate_hz=track.frame_rate_hz,
        skeleton=track.skeleton,
        unique_keypoints=track.unique_keypoints,
        rows=track.rows,
    )
    columns = {"frame_index": pa.array(track.frame_index)}
    if track.recorded_s is not None:
        columns[_TIME] = pa.array(track.recorded_s)
    for animal, keypoint, name in _points(header):
        xy = track.keypoints_xy[:, animal, keypoint]
        columns[f"{name}/x_px"] = pa.array(xy[:, 0], from_pandas=True)
        columns[f"{name}/y_px"] = pa.array(xy[:, 1], from_pandas=True)
        columns[f"{name}/confidence"] = pa.array(
            track.confidence[:, animal, keypoint], from_pandas=True
        )
    table = pa.table(columns).replace_schema_metadata({_METADATA_KEY: msgspec.json.encode(header)})
    with replacing(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd", use_dictionary=False)


def read_stored_track(path: Path) -> Track:
    """Read a track back; equal to what was written but for its source, which is the file.

    Raises:
        InvalidRequest: the file is of another version, or a column is missing.
    """
    try:
        table = pq.read_table(path)
        header = msgspec.json.decode(table.schema.metadata[_METADATA_KEY], type=_Header)
        shape = (len(table), len(header.animals), len(header.keypoints))
        positions = np.empty((*shape, 2), np.float32)
        confidence = np.empty(shape, np.float32)
        for animal, keypoint, name in _points(header):
            for axis, unit in enumerate(("x_px", "y_px")):
                positions[:, animal, keypoint, axis] = table.column(f"{name}/{unit}").to_numpy()
            confidence[:, animal, keypoint] = table.column(f"{name}/confidence").to_numpy()
        frame_index = table.column("frame_index").to_numpy()
        has_times = _TIME in table.column_names
        recorded_s = table.column(_TIME).to_numpy() if has_times else None
    except (OSError, pa.ArrowInvalid, KeyError, msgspec.MsgspecError) as error:
        raise InvalidRequest(
            f"{path} is no track that this version reads ({error}); write it again"
        ) from error
    return Track(
        source=path,
        model=header.model,
        keypoints=header.keypoints,
        animals=len(header.animals),
        frame_rate_hz=header.frame_rate_hz,
        frame_index=np.asarray(frame_index, np.int64),
        keypoints_xy=positions,
        confidence=confidence,
        skeleton=header.skeleton,
        animal_names=header.animals if len(header.animals) > 1 else (),
        unique_keypoints=header.unique_keypoints,
        rows=header.rows,
        recorded_s=recorded_s,
    )


def _points(header: _Header) -> list[tuple[int, int, str]]:
    """Animal, keypoint and column prefix of every point."""
    several = len(header.animals) > 1
    return [
        (animal, place, f"{owner}/{name}" if several else name)
        for animal, owner in enumerate(header.animals)
        for place, name in enumerate(header.keypoints)
    ]
