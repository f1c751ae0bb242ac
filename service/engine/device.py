"""Rows of a batch that lie in the GPU's memory already.

Decoders hand them to engines, and one graph of a bundle to the next, without the host.

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

    def copy(self, stream: Stream) -> "DeviceArray":
        """Return a copy in memory of its own, made in the order of the stream.

        Raises:
            EngineFailed: the GPU's memory is full.
        """
        copied = _allocate(self)
        write([copied], [self], stream)
        return copied

    def to_host(self) -> NDArray[np.generic]:
        """Wait until it is written, and return a copy."""
        if self.ready is not None:
            self.ready.wait()
        array = np.empty(self.shape, self.dtype)
        copy_to_host(array, self.address)
        return array


Array: TypeAlias = NDArray[Any] | DeviceArray
"""On the host or on the GPU."""


class Rows:
    """Arrays of one shape, stacked where they are copied to: on the host, on the GPU or on both.

    They need not lie side by side before. A row may be a stack itself, such as the window of frames
    that a behavior network looks at.
    """

    def __init__(self, rows: "Sequence[Array | Rows]") -> None:
        self._rows = tuple(
            np.ascontiguousarray(one) if isinstance(one, np.ndarray) else one for one in rows
        )
        self.dtype: np.dtype[np.generic] = self._rows[0].dtype
        self.shape: tuple[int, ...] = (len(self._rows), *self._rows[0].shape)
        assert all(one.shape == self.shape[1:] for one in self._rows), "rows of one batch are alike"

    @property
    def ndim(self) -> int:
        """Number of axes, that of the rows included."""
        return len(self.shape)

    @property
    def is_on_host(self) -> bool:
        """Whether no row is in the GPU's memory."""
        return all(isinstance(one, np.ndarray) for one in self._arrays())

    def __len__(self) -> int:
        """Rows."""
        return len(self._rows)

    def __iter__(self) -> "Iterator[Array | Rows]":
        """Each row."""
        return iter(self._rows)

    def __getitem__(self, part: slice) -> "Rows":
        """Some of the rows."""
        return Rows(self._rows[part])

    def gather(self, address: int, stream: Stream) -> None:
        """Copy the rows into the GPU's memory one behind the other, in the order of the stream.

        They must be referred to until the stream has come past this.
        """
        arrays = tuple(self._arrays())
        marks = {id(one.ready): one.ready for one in arrays if isinstance(one, DeviceArray)}
        for ready in marks.values():
            if ready is not None:
                stream.wait_for(ready)
        for array in arrays:
            if isinstance(array, DeviceArray):
                copy_on_device(address, array.address, array.nbytes, stream)
            else:
                copy_to_device(address, array, stream)
            address += array.nbytes

    def to_host(self) -> NDArray[Any]:
        """Copy the rows one behind the other, on the host."""
        stacked = np.empty(self.shape, self.dtype)
        self._fill(stacked)
        return stacked

    def _fill(self, stacked: NDArray[Any]) -> None:
        for place, row in enumerate(self._rows):
            if isinstance(row, Rows):
                row._fill(stacked[place])
            else:
                stacked[place] = row.to_host() if isinstance(row, DeviceArray) else row

    def _arrays(self) -> "Iterator[Array]":
        for row in self._rows:
            if isinstance(row, Rows):
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
        copies = [_allocate(one) for one in arrays]
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


def _allocate(like: Array) -> DeviceArray:
    block = Block(like.nbytes)
    return DeviceArray(block.address, like.shape, like.dtype, None, block)


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
        Rows([source]).gather(target.address, stream)


def stack(arrays: Sequence[Array | Rows]) -> NDArray[Any] | Rows:
    """Make a batch of arrays of one shape and type: on the host where all of it is there."""
    (first, *others) = arrays
    if isinstance(first, np.ndarray) and not others:
        return np.ascontiguousarray(first[None])
    batch = Rows(arrays)
    return batch.to_host() if batch.is_on_host else batch


def rows_of(array: Array) -> "Sequence[Array]":
    """Return what lies behind each number of an array's first axis, without a copy."""
    return array.split() if isinstance(array, DeviceArray) else list(array)
