"""Chunks are found whole and in order, or not at all."""

from pathlib import Path

import pyarrow as pa
import pytest

from service.errors import LeaseLost
from service.jobs.chunks import ChunkStore, read_chunks
from service.jobs.lease import Lease, LeaseTaker


def take(folder: Path) -> Lease:
    lease = LeaseTaker().take(folder)
    assert lease is not None
    lease.write(beat=0, ended=True)  # so that a test may take the next one
    return lease


def rows(first: int, count: int) -> pa.Table:
    return pa.table({"frame_index": list(range(first, first + count))})


def numbers(store: ChunkStore) -> list[int]:
    return [one for table in read_chunks(store.paths) for one in table["frame_index"].to_pylist()]


@pytest.fixture
def filled(tmp_path: Path) -> ChunkStore:
    store = ChunkStore(tmp_path / "chunks", take(tmp_path))
    for first in (0, 5, 10):
        store.append(rows(first, 5))
    return store


def reopened(filled: ChunkStore, tmp_path: Path) -> ChunkStore:
    store = ChunkStore(tmp_path / "chunks", take(tmp_path))
    store.recover()
    return store


def test_chunks_of_the_holder_before_are_gone_on_with(filled: ChunkStore, tmp_path: Path) -> None:
    store = reopened(filled, tmp_path)
    assert store.rows == 15
    store.append(rows(15, 2))
    assert numbers(reopened(store, tmp_path)) == list(range(17))
    assert store.last_table()["frame_index"].to_pylist() == [15, 16]


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "empty"])
def test_rows_end_before_a_damaged_chunk_which_goes_with_all_behind_it(
    filled: ChunkStore, tmp_path: Path, damage: str
) -> None:
    path = filled.paths[1]
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[:-1])
        case "changed":
            path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        case "gone":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
    store = reopened(filled, tmp_path)
    assert store.rows == 5
    assert len(list((tmp_path / "chunks").iterdir())) == 1
    store.append(rows(5, 7))
    assert numbers(store) == list(range(12))


def test_a_holder_that_lost_its_lease_spoils_nothing(filled: ChunkStore, tmp_path: Path) -> None:
    store = reopened(filled, tmp_path)
    with pytest.raises(LeaseLost):
        filled.append(rows(15, 3))
    store.append(rows(15, 2))
    # One that had checked just before writes all the same, under its own number.
    late = ChunkStore(tmp_path / "chunks", Lease(tmp_path / "none", 0, store._lease.holder))
    late.paths, late.rows = list(filled.paths), 15
    late.append(rows(15, 3))
    assert numbers(reopened(store, tmp_path)) == list(range(17))


def test_files_of_an_unfinished_write_go(filled: ChunkStore, tmp_path: Path) -> None:
    (tmp_path / "chunks" / ".rows-0000000015-000001.9.unfinished.chunk").write_bytes(b"half")
    assert reopened(filled, tmp_path).rows == 15
    assert len(list((tmp_path / "chunks").iterdir())) == 3


def test_what_is_cleared_is_gone(filled: ChunkStore, tmp_path: Path) -> None:
    filled.clear()
    assert filled.rows == 0
    assert filled.last_table() is None
    assert reopened(filled, tmp_path).rows == 0
