"""Finished rows of a video that is still in work, on disk: what an interrupted run goes on from.

Each chunk is a file of its own, there whole or not at all, that begins with the SHA-256 of the
rest: an Arrow stream of the columns of the record that need no other rows. Its name holds the
number of its first row and the fencing number of the lease under which it was written.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from service.jobs.lease import Lease
from service.results.atomic import replacing

_DIGEST_BYTES = 32


class ChunkStore:
    """The chunks of one video; those of a lease are added under it.

    Args:
        folder: of the chunks.
        lease: that allows writing.
    """

    def __init__(self, folder: Path, lease: Lease) -> None:
        self._folder = folder
        self._lease = lease
        self.paths: list[Path] = []
        """Whole chunks that follow one another, from row 0 on."""
        self.rows = 0
        """Rows in them."""

    def recover(self) -> None:
        """Find the whole chunks of earlier leases; what is damaged or has no predecessor goes."""
        self.paths, self.rows = [], 0
        found: dict[int, list[tuple[int, Path]]] = {}
        for path in self._folder.glob("rows-*.chunk"):
            _, first, number = path.stem.split("-")
            found.setdefault(int(first), []).append((int(number), path))
        while self.rows in found:
            for _, path in sorted(found[self.rows], reverse=True):
                table = _read_whole(path)
                if table is not None and len(table):
                    self.paths.append(path)
                    self.rows += len(table)
                    break
            else:
                break
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if path not in self.paths:
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget all chunks, since they are of other work."""
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            path.unlink(missing_ok=True)
        self.paths, self.rows = [], 0

    def append(self, table: pa.Table) -> None:
        """Add rows; they are on disk when this returns.

        Raises:
            LeaseLost: another process has taken over.
            OSError: the disk is full or gone.
        """
        self._lease.check()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        data = sink.getvalue()
        path = self._folder / f"rows-{self.rows:010d}-{self._lease.number:06d}.chunk"
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            file.write(hashlib.sha256(data).digest())
            file.write(data)
        self.paths.append(path)
        self.rows += len(table)

    def last_table(self) -> pa.Table | None:
        """Return the newest chunk; None where there is none."""
        return next(read_chunks(self.paths[-1:]), None)


def read_chunks(paths: list[Path]) -> Iterator[pa.Table]:
    """Yield chunks that are known to be whole, one at a time."""
    for path in paths:
        data = path.read_bytes()
        yield pa.ipc.open_stream(memoryview(data)[_DIGEST_BYTES:]).read_all()


def _read_whole(path: Path) -> pa.Table | None:
    try:
        data = memoryview(path.read_bytes())
    except OSError:
        return None
    if hashlib.sha256(data[_DIGEST_BYTES:]).digest() != bytes(data[:_DIGEST_BYTES]):
        return None
    return pa.ipc.open_stream(data[_DIGEST_BYTES:]).read_all()
