"""Raw frames in memory that a client on this machine shares, read where they lie.

The client makes the memory by memfd_create and seals it against shrinking, so that reading it can
never end in a bus error, whatever the client does. A name in /dev/shm could not promise that, and
would outlive a client that dies; this memory is gone with the last process that holds it.
"""

import errno
import mmap
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidFrame, SharedMemoryRefused

_NAME = re.compile(r"ethostream-[0-9a-f]{32}")


class SharedSegment:
    """The memory of one client, mapped for reading until it is closed."""

    def __init__(self, process_id: int, file_descriptor: int, name: str) -> None:
        """Map it.

        Args:
            process_id: process that made it.
            file_descriptor: of the memory in that process.
            name: that it was made with; only who may read the memory can know it, so that nobody
                has the server read what belongs to others.

        Raises:
            SharedMemoryRefused: there is none of that name that this process may read, it belongs
                to another user, or it may shrink.
        """
        if sys.platform != "linux":
            raise SharedMemoryRefused(
                f"shared memory needs Linux, this server runs on {sys.platform}; send the frames' "
                "bytes"
            )
        try:
            descriptor = _open(process_id, file_descriptor, name)
        except OSError as error:
            raise SharedMemoryRefused(
                f"this server cannot read descriptor {file_descriptor} of process {process_id} as "
                f"shared memory {name!r} ({error.strerror}); run client and server as one user and "
                "in one container, or send the frames' bytes"
            ) from error
        try:
            self._map = _map(descriptor)
        finally:
            os.close(descriptor)  # the mapping has its own

    @property
    def size_bytes(self) -> int:
        """Size of the memory."""
        return len(self._map)

    def pixels(self, offset_bytes: int, size_bytes: int) -> NDArray[np.uint8]:
        """Return (size_bytes,) uint8 from `offset_bytes` on, without a copy.

        They change when the client writes there: it may as soon as it has the frame's outcome.

        Raises:
            InvalidFrame: they are not inside the memory.
        """
        if offset_bytes + size_bytes > self.size_bytes:
            raise InvalidFrame(
                f"{size_bytes} bytes at {offset_bytes} are not inside the shared memory of "
                f"{self.size_bytes} bytes; send the offset at which the whole frame lies"
            )
        return np.frombuffer(self._map, np.uint8, size_bytes, offset_bytes)

    def close(self) -> None:
        """Give the memory back, or leave that to a frame that is still being read."""
        with suppress(BufferError):
            self._map.close()


@dataclass(frozen=True, slots=True)
class SharedPixels:
    """Where the pixels of one frame lie."""

    segment: SharedSegment
    offset_bytes: int


def _open(process_id: int, file_descriptor: int, name: str) -> int:
    """Open a client's memory for reading; a file that is none is not even opened."""
    held = os.open(f"/proc/{process_id}/fd/{file_descriptor}", os.O_PATH | os.O_CLOEXEC)
    try:
        path = Path(f"/proc/self/fd/{held}")
        if not _NAME.fullmatch(name) or str(path.readlink()) != f"/memfd:{name} (deleted)":
            raise OSError(errno.ENOENT, "no memory of that name is there")
        if os.fstat(held).st_uid != os.geteuid():
            raise OSError(errno.EPERM, "it belongs to another user")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(held)


def _map(descriptor: int) -> mmap.mmap:
    import fcntl  # not on Windows, where this module must load

    if not fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
        raise SharedMemoryRefused(
            "the shared memory may shrink while it is read; seal it by F_SEAL_SHRINK after giving "
            "it its size"
        )
    try:
        return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    except (OSError, ValueError) as error:
        raise SharedMemoryRefused(f"the shared memory cannot be mapped: {error}") from error
