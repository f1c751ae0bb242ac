"""Brings batches of any number of rows to the fixed numbers that an engine was built for."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from service.engine.base import DeviceTensors, Tensors, TensorSpec
from service.engine.device import Rows
from service.errors import EngineFailed


def check_rows(inputs: Tensors | DeviceTensors, specs: Sequence[TensorSpec], engine: str) -> int:
    """Return the number of rows of a batch whose arrays are what the engine takes.

    Raises:
        EngineFailed: a name, a type or a shape is another one, or there are no rows.
    """
    wanted = {spec.name: spec for spec in specs}
    if inputs.keys() != wanted.keys():
        raise EngineFailed(
            f"{engine} takes the inputs {', '.join(wanted)} and was given {', '.join(inputs)}"
        )
    rows = count_rows(inputs)
    for name, array in inputs.items():
        spec = wanted[name]
        sizes = zip(array.shape[1:], spec.shape[1:], strict=False)
        fits = array.ndim == len(spec.shape) and all(size in (None, n) for n, size in sizes)
        if array.dtype != spec.dtype or not fits or len(array) != rows or not rows:
            shape = ", ".join("any" if n is None else str(n) for n in spec.shape)
            raise EngineFailed(
                f"{engine} takes {name} as {spec.dtype} ({shape}) and was given {array.dtype} "
                f"{array.shape} in a batch of {rows} rows"
            )
    return rows


def count_rows(inputs: Tensors | DeviceTensors) -> int:
    """Return the number of rows of a batch: that of its longest array."""
    return max(len(array) for array in inputs.values())


def bucket_for(rows: int, buckets: Sequence[int]) -> int:
    """Return the smallest bucket that holds `rows`; at most the largest may be asked for."""
    return min(size for size in buckets if size >= rows)


def split_rows(
    inputs: Tensors | DeviceTensors, rows: int, largest: int
) -> Iterator[Tensors | DeviceTensors]:
    """Cut a batch into parts of at most `largest` rows."""
    for first in range(0, rows, largest):
        part = slice(first, first + largest)
        yield {name: array[part] for name, array in inputs.items()}


def joined(parts: Sequence[DeviceTensors]) -> DeviceTensors:
    """Put the answers to the parts together again."""
    if len(parts) == 1:
        return parts[0]
    return {name: _join([part[name] for part in parts]) for name in parts[0]}


def _join(parts: Sequence[NDArray[np.generic] | Rows]) -> NDArray[np.generic] | Rows:
    on_host = [one for one in parts if isinstance(one, np.ndarray)]
    if len(on_host) == len(parts):
        return np.concatenate(on_host)
    return Rows([row for part in parts for row in part])
