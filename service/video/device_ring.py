"""Memory of the GPU that a decode worker and the server share: frames pass without the host.

The worker puts frames into slots in the order of its stream and tells of them when the stream has
come past that. The server copies what it keeps within the GPU's memory, waits for that, and gives
the slot back. So neither needs to know the other's streams.
"""

import math
from typing import Any

import numpy as np

from service.engine.cuda import Stream
from service.engine.device import DeviceArray, write
from service.engine.gpu_memory import SharedMemory, create_shared_memory, open_shared_memory
from service.video.base import ModelInputs
from service.video.inputs import InputConverter
from service.video.ring import Shapes

_UINT8 = np.dtype(np.uint8)


class DeviceRing:
    """Slots of equal size; see `FrameRing`."""

    def __init__(self, memory: SharedMemory, slot_bytes: int) -> None:
        """Take the memory of the slots."""
        self._memory = memory
        self._slot_bytes = slot_bytes

    def views(self, slot: int, shapes: Shapes) -> tuple[DeviceArray, ...]:
        """Return the arrays in a slot, uint8 of `shapes`, one behind the other."""
        views, address = [], self._memory.address + slot * self._slot_bytes
        for shape in shapes:
            views.append(DeviceArray(address, shape, _UINT8, None, self._memory))
            address += math.prod(shape)
        return tuple(views)


def create_device_ring(slots: int, slot_bytes: int) -> tuple[DeviceRing, int]:
    """Return slots, and a descriptor of their memory, to be closed by the caller.

    Raises:
        EngineUnavailable: there is no GPU.
        EngineFailed: its memory is full, or cannot be shared.
    """
    memory, descriptor = create_shared_memory(slots * slot_bytes)
    return DeviceRing(memory, slot_bytes), descriptor


def open_device_ring(descriptor: int, slots: int, slot_bytes: int) -> DeviceRing:
    """Return the slots behind the descriptor of another process; it stays the caller's.

    Raises:
        EngineUnavailable: there is no GPU.
        EngineFailed: CUDA cannot map the memory.
    """
    return DeviceRing(open_shared_memory(descriptor, slots * slot_bytes), slot_bytes)


class DeviceWriter:
    """Puts the inputs of frames into slots; belongs to the worker."""

    def __init__(self, inputs: InputConverter, stream: Stream) -> None:
        """Take what makes inputs of pictures that PyAV decoded, and the stream of the others."""
        self._inputs = inputs
        self._stream = stream
        self._written: list[ModelInputs] = []

    def put(self, picture: Any, outs: tuple[DeviceArray, ...]) -> None:
        """Copy the inputs of a picture into the arrays of a slot, in the order of the stream."""
        if not isinstance(picture, ModelInputs):
            made = tuple(np.empty(shape, np.uint8) for shape in self._inputs.shapes)
            self._inputs.convert(picture, made)
            picture = ModelInputs(made)
        write(outs, picture.arrays, self._stream)
        self._written.append(picture)

    def wait(self) -> None:
        """Wait until all is where it belongs."""
        if self._written:  # nothing, where the server gave memory of the host
            self._stream.wait()
            self._written.clear()
