"""What every engine offers: one graph, loaded, that turns a batch of arrays into arrays."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.generic]]
DeviceTensors = dict[str, Any]
"""What engines of the GPU take and give as well: arrays of the host, or `Rows` that are there."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, type and shape of one input or output of a graph."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int | None, ...]
    """None where the axis is dynamic."""


class Engine(Protocol):
    """A loaded graph; `run` is called by one thread at a time."""

    @property
    def engine(self) -> str:
        """Engine name and device, such as `openvino:cpu`."""
        ...

    @property
    def precision(self) -> str:
        """Precision that the graph is computed in, such as fp32 or bf16."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The graph's inputs in its own order."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The graph's outputs in its own order."""
        ...

    def run(self, inputs: Tensors) -> Tensors:
        """Compute one batch; every output is a fresh array that the caller owns.

        Raises:
            EngineFailed: the runtime refused the batch, for example for its shape.
        """
        ...


@runtime_checkable
class DeviceEngine(Engine, Protocol):
    """An engine of the GPU, which also takes rows that are there already."""

    @property
    def takes_device_rows(self) -> bool:
        """False where CUDA's bindings are missing, so that it has no stream of its own."""
        ...

    def keep_on_device(self, outputs: Collection[str]) -> None:
        """Let the named outputs of all later runs stay on the GPU, as `Rows`; before the first."""
        ...

    def run(self, inputs: Tensors | DeviceTensors) -> DeviceTensors:
        """See `Engine.run`; rows of the GPU that are taken are let go when it returns."""
        ...
