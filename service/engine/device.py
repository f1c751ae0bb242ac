"""Rows of a batch that lie in the GPU's memory already: decoders hand them over without the host.

The contract. Who writes a row marks the stream that writes it (`ready`) and keeps its memory as it
is for as long as the row is referred to (`owner`). The engine lets its own stream wait for the
mark, copies the row into its input buffer on that stream, and refers to the row until its stream
has come past the copy. So no row is read before it is written, nor written again before it is read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from service.engine.cuda import Event, Stream, copy_on_device, copy_to_device, copy_to_host
from service.engine.gpu_memory import Block


@dataclass(frozen=True, slots=True, eq=False)
class DeviceArray:
    """One array in the GPU's memory, such as the input that a decoder made of a frame."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    ready: Event | None
    """Mark behind what writes it; None where the host has waited for that."""
    owner: object
    """Keeps the memory."""

    @property
    def nbytes(self) -> int:
        """Size in bytes; it is C-contiguous."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """What lets other libraries read it, in the order of the stream that writes it."""
        return {
            "data": (self.address, False),
            "shape": self.shape,
            "typestr": self.dtype.str,
            "version": 3,
        }

    def split(self) -> "list[DeviceArray]":
        """Return what lies behind each number of the first axis."""
        count, *shape = self.shape
        step = self.nbytes // count
        return [
            replace(self, address=self.address + place * step, shape=tuple(shape))
            for place in range(count)
        ]

    def to_host(self) -> NDArray[np.generic]:
        """Wait until it is written, and return a copy."""
        if self.ready is not None:
            self.ready.wait()
        array = np.empty(self.shape, self.dtype)
        copy_to_host(array, self.address)
        return array


Array: TypeAlias = NDArray[Any] | DeviceArray
"""On the host or on the GPU."""


class DeviceRows:
    """Arrays of one shape, stacked; stands where engines take an array of the host.

    They need not lie side by side before `gather`. A row may be a stack itself, such as the window
    of frames that a behavior network looks at.
    """

    def __init__(self, rows: "Sequence[DeviceArray | DeviceRows]") -> None:
        self._rows = tuple(rows)
        self.dtype: np.dtype[np.generic] = self._rows[0].dtype
        self.shape: tuple[int, ...] = (len(self._rows), *self._rows[0].shape)
        assert all(one.shape == self.shape[1:] for one in self._rows), "rows of one batch are alike"

    @property
    def ndim(self) -> int:
        """Number of axes, that of the rows included."""
        return len(self.shape)

    def __len__(self) -> int:
        """Rows."""
        return len(self._rows)

    def __getitem__(self, part: slice) -> "DeviceRows":
        """Some of the rows."""
        return DeviceRows(self._rows[part])

    def gather(self, address: int, stream: Stream) -> None:
        """Copy the rows one behind the other, in the order of the stream.

        They must be referred to until the stream has come past this.
        """
        arrays = tuple(self._arrays())
        marks = {id(one.ready): one.ready for one in arrays}
        for ready in marks.values():
            if ready is not None:
                stream.wait_for(ready)
        for array in arrays:
            copy_on_device(address, array.address, array.nbytes, stream)
            address += array.nbytes

    def _arrays(self) -> Iterator[DeviceArray]:
        for row in self._rows:
            if isinstance(row, DeviceRows):
                yield from row._arrays()
            else:
                yield row


class DeviceCopies:
    """Brings arrays into memory of the GPU that is theirs; belongs to one thread."""

    def __init__(self) -> None:
        self._stream = Stream()

    def copy(self, arrays: Sequence[Array]) -> list[DeviceArray]:
        """Copy arrays of the GPU or of the host; those that were copied may be written again then.

        Raises:
            EngineFailed: the GPU's memory is full.
        """
        arrays = [np.ascontiguousarray(a) if isinstance(a, np.ndarray) else a for a in arrays]
        copies = [
            DeviceArray((block := Block(one.nbytes)).address, one.shape, one.dtype, None, block)
            for one in arrays
        ]
        write(copies, arrays, self._stream)
        self._stream.wait()
        return copies


class Copies:
    """Copies arrays within the memory that they are in; belongs to one thread."""

    def __init__(self) -> None:
        self._on_device: DeviceCopies | None = None

    def copy(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Copy arrays that are all on the GPU, or all on the host.

        Raises:
            EngineFailed: the GPU's memory is full.
        """
        on_host = [one.copy() for one in arrays if isinstance(one, np.ndarray)]
        if len(on_host) == len(arrays):
            return on_host
        self._on_device = self._on_device or DeviceCopies()
        return self._on_device.copy(arrays)


def write(
    targets: Sequence[DeviceArray],
    sources: Sequence[Array],
    stream: Stream,
) -> None:
    """Copy arrays of the GPU or of the host, in the order of the stream.

    Both must be referred to until the stream has come past this.
    """
    for target, source in zip(targets, sources, strict=True):
        assert target.nbytes == source.nbytes, "a copy is as large as its source"
        if isinstance(source, DeviceArray):
            DeviceRows([source]).gather(target.address, stream)
        else:
            copy_to_device(target.address, source, stream)


def stack(
    arrays: Sequence[Array | DeviceRows],
) -> NDArray[Any] | DeviceRows:
    """Stack arrays of one shape and type; where one is on the GPU, the others are brought there.

    Raises:
        EngineFailed: the GPU's memory is full.
    """
    on_host = [one for one in arrays if isinstance(one, np.ndarray)]
    if len(on_host) == len(arrays):
        return np.ascontiguousarray(on_host[0][None]) if len(arrays) == 1 else np.stack(on_host)
    brought = iter(DeviceCopies().copy(on_host) if on_host else ())
    return DeviceRows([next(brought) if isinstance(one, np.ndarray) else one for one in arrays])
