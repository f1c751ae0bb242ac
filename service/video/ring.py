"""Memory that a decode worker and the server share, without a name that could be left behind."""

import math
import mmap
import os
import sys
import tempfile

import numpy as np
from numpy.typing import NDArray

from service.errors import Overloaded

Shapes = tuple[tuple[int, ...], ...]
"""Of the arrays of one frame."""


class FrameRing:
    """Slots of equal size in anonymous shared memory.

    The memory is freed when the last process and the last array let go of it, however they end:
    there is nothing to unlink.
    """

    def __init__(self, descriptor: int, slots: int, slot_bytes: int) -> None:
        """Map memory of `slots` x `slot_bytes`; `descriptor` stays the caller's."""
        self.slots = slots
        self.slot_bytes = slot_bytes
        self._memory = mmap.mmap(descriptor, slots * slot_bytes)

    def views(self, slot: int, shapes: Shapes) -> tuple[NDArray[np.uint8], ...]:
        """Return the arrays in a slot, uint8 of `shapes`, one behind the other."""
        views, offset = [], slot * self.slot_bytes
        for shape in shapes:
            views.append(np.ndarray(shape, np.uint8, buffer=self._memory, offset=offset))
            offset += math.prod(shape)
        return tuple(views)


def create_ring(slots: int, slot_bytes: int) -> tuple[FrameRing, int]:
    """Return slots, and a descriptor of their memory, to be closed by the caller.

    Raises:
        Overloaded: the system has no memory for them.
    """
    descriptor = _create_memory(slots * slot_bytes)
    try:
        return FrameRing(descriptor, slots, slot_bytes), descriptor
    except OSError:
        os.close(descriptor)
        raise


def _create_memory(size_bytes: int) -> int:
    try:
        if sys.platform == "linux":
            descriptor = os.memfd_create("ethostream-frames")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, size_bytes)
    except OSError as error:
        raise Overloaded(
            f"no {size_bytes / 2**20:.0f} MiB of shared memory for decoded frames "
            f"({error.strerror}); decode fewer videos at once or give the machine more memory"
        ) from error
    return descriptor
