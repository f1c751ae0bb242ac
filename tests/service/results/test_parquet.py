"""The record: written, read back, and read by others."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.errors import InvalidRequest
from service.results import AnsweredBundle, VideoResults, read_provenance, read_results
from service.results.parquet import write_record

Make = Callable[..., AnsweredBundle]
MakeResults = Callable[..., VideoResults]


def assert_equal(one: VideoResults, other: VideoResults) -> None:
    assert one.provenance == other.provenance
    for name in ("frame_index", "pts_ns", "status"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype
    for mine, theirs in zip(one.poses, other.poses, strict=True):
        np.testing.assert_array_equal(mine.keypoints_xy, theirs.keypoints_xy)
        np.testing.assert_array_equal(mine.confidence, theirs.confidence)
    for ours, yours in zip(one.behaviors, other.behaviors, strict=True):
        np.testing.assert_array_equal(ours.status, yours.status)
        np.testing.assert_array_equal(ours.probabilities, yours.probabilities)
        np.testing.assert_array_equal(ours.present, yours.present)


def test_a_record_is_read_back_equal(
    make_results: MakeResults, make_pose_bundle: Make, make_behavior_bundle: Make, tmp_path: Path
) -> None:
    results = make_results(
        make_pose_bundle(animals=3),
        make_pose_bundle(name="pups"),
        make_behavior_bundle(),
        make_behavior_bundle(exclusive=True, name="cage"),
    )
    path = tmp_path / "new folder" / "record.parquet"
    write_record(results, path)
    assert_equal(read_results(path), results)
    assert read_provenance(path) == results.provenance


def test_two_versions_of_one_name_keep_apart(
    make_results: MakeResults, make_pose_bundle: Make, tmp_path: Path
) -> None:
    results = make_results(make_pose_bundle(version=1), make_pose_bundle(version=2))
    path = tmp_path / "record.parquet"
    write_record(results, path)
    assert "mouse@2/snout/x_px" in pq.read_schema(path).names
    assert_equal(read_results(path), results)


def test_columns_are_named_and_absent_answers_are_null(
    results: VideoResults, tmp_path: Path
) -> None:
    path = tmp_path / "record.parquet"
    write_record(results, path)
    table = pq.read_table(path)
    assert table.column_names[:7] == [
        "frame_index",
        "pts_ns",
        "status",
        "reason",
        "mouse/snout/x_px",
        "mouse/snout/y_px",
        "mouse/snout/confidence",
    ]
    assert table.column("mouse/tailbase/y_px")[7].as_py() is None
    assert table.column("activity/walk/probability")[:5].to_pylist() == [None] * 5
    assert table.column("activity/walk/present_in_frame")[20].as_py() is True
    assert table.column("activity/walk/present")[20].as_py() is False


def test_equal_results_give_equal_bytes(results: VideoResults, tmp_path: Path) -> None:
    write_record(results, tmp_path / "one.parquet")
    write_record(results, tmp_path / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_a_table_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(InvalidRequest, match=r"other\.parquet is no record of ethostream"):
        read_provenance(path)
    path.write_bytes(b"PAR1 cut off")
    with pytest.raises(InvalidRequest, match="analyze the video again"):
        read_results(path)


def test_a_record_that_lacks_a_column_is_refused(results: VideoResults, tmp_path: Path) -> None:
    path = tmp_path / "record.parquet"
    write_record(results, path)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["mouse/snout/x_px"]), path)
    with pytest.raises(InvalidRequest, match="lacks the column mouse/snout/x_px"):
        read_results(path)


def test_provenance_of_a_later_format_is_refused(results: VideoResults, tmp_path: Path) -> None:
    path = tmp_path / "record.parquet"
    write_record(results, path)
    text = msgspec.json.encode(results.provenance).replace(b"{", b'{"new_field":1,', 1)
    table = pq.read_table(path).replace_schema_metadata({b"ethostream": text})
    pq.write_table(table, path)
    with pytest.raises(InvalidRequest, match="new_field"):
        read_provenance(path)
