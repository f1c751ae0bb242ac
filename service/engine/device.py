"""Rows of a batch that lie in the GPU's memory already: decoders hand them over without the host.

The contract. Who writes a row marks the stream that writes it (`ready`) and keeps its memory as it
is for as long as the row is referred to (`owner`). The engine lets its own stream wait for the
mark, copies the row into its input buffer on that stream, and refers to the row until its stream
has come past the copy. So no row is read before it is written, nor written again before it is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from service.engine.cuda import Event, Stream, copy_on_device, copy_to_host


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

    def to_host(self) -> NDArray[np.generic]:
        """Wait until it is written, and return a copy."""
        if self.ready is not None:
            self.ready.wait()
        array = np.empty(self.shape, self.dtype)
        copy_to_host(array, self.address)
        return array


class DeviceRows:
    """A batch of arrays of one shape; stands where engines take an array of the host."""

    def __init__(self, rows: Sequence[DeviceArray]) -> None:
        self._rows = tuple(rows)
        self.dtype = self._rows[0].dtype
        self.shape = (len(self._rows), *self._rows[0].shape)
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
        marks = {id(one.ready): one.ready for one in self._rows}
        for ready in marks.values():
            if ready is not None:
                stream.wait_for(ready)
        for row in self._rows:
            copy_on_device(address, row.address, row.nbytes, stream)
            address += row.nbytes
