"""Raw frames in memory that a server on the same machine reads, instead of in messages."""

import ipaddress
import mmap
import os
import secrets
import sys
import weakref
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ethostream.errors import InvalidRequest
from ethostream.v1 import frame_pb2

SharedMemory = bool | Literal["auto"]

_SIZE_BYTES = 1 << 30  # of addresses; memory is taken as frames are written
_PAGE_BYTES = 4096


def open_frame_memory(wanted: SharedMemory, address: str) -> "FrameMemory | None":
    """Make the memory where it is wanted; "auto" wants it where a server can be on this machine.

    Raises:
        InvalidRequest: It is wanted, and this system has none.
    """
    if not wanted or (wanted == "auto" and not _is_local(address)):
        return None
    try:
        if sys.platform != "linux":
            raise OSError(f"it needs Linux, this is {sys.platform}")
        return FrameMemory()
    except (AttributeError, OSError) as error:  # a C library without memfd_create
        if wanted == "auto":
            return None
        raise InvalidRequest(
            f"shared memory cannot be made ({error}); leave shared_memory out"
        ) from error


class FrameMemory:
    """Places for the frames in flight, as many and as large as they turn out to be.

    The memory has no name in any folder and is gone with the last process that holds it.
    """

    def __init__(self) -> None:
        import fcntl

        self._name = f"ethostream-{secrets.token_hex(16)}"
        self._file = os.memfd_create(self._name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._finalizer = weakref.finalize(self, os.close, self._file)
        os.ftruncate(self._file, _SIZE_BYTES)
        # The server reads it only where it cannot shrink under its hands.
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, seals)
        self._bytes = np.frombuffer(mmap.mmap(self._file, _SIZE_BYTES), np.uint8)
        self._place_bytes = 0  # of each place; by the first frame
        self._end = 0  # of the last place that was ever used
        self._free: list[int] = []
        self._taken: dict[int, int] = {}

    def announcement(self) -> frame_pb2.SharedMemory:
        """Where the server finds it."""
        return frame_pb2.SharedMemory(
            process_id=os.getpid(), file_descriptor=self._file, name=self._name
        )

    def write(self, frame_index: int, pixels: NDArray[np.uint8]) -> int | None:
        """Copy a frame to a free place and return its offset; None where it does not fit."""
        if not self._place_bytes:
            self._place_bytes = -(-pixels.nbytes // _PAGE_BYTES) * _PAGE_BYTES
        if pixels.nbytes > self._place_bytes:
            return None
        if not self._free:
            if self._end + self._place_bytes > _SIZE_BYTES:
                return None
            self._free.append(self._end)
            self._end += self._place_bytes
        offset = self._taken[frame_index] = self._free.pop()
        self._bytes[offset : offset + pixels.nbytes].reshape(pixels.shape)[...] = pixels
        return offset

    def release(self, frame_index: int) -> None:
        """Free the place of a frame that was answered, if it had one."""
        offset = self._taken.pop(frame_index, None)
        if offset is not None:
            self._free.append(offset)  # the next frame comes here: these pages are in the caches

    def release_all(self) -> None:
        """Free the places of frames that nobody will answer."""
        self._free.extend(self._taken.values())
        self._taken.clear()

    def close(self) -> None:
        """Give the memory back; the server keeps what it reads until its stream ends."""
        self._finalizer()
        self._bytes = np.empty(0, np.uint8)


def _is_local(address: str) -> bool:
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
