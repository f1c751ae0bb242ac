"""OpenVINO on the CPU: about twice ONNX Runtime on processors that compute in bf16."""

from pathlib import Path

import numpy as np
import openvino as ov

from service.engine.base import Tensors, TensorSpec
from service.errors import EngineFailed

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""int8 stands in the graph itself (QDQ); the hint is for what is left in floating point."""


class OpenVinoEngine:
    """One graph compiled by OpenVINO for the CPU."""

    engine = "openvino:cpu"

    def __init__(self, graph: Path, *, threads: int, precision: str) -> None:
        core = ov.Core()
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            # Pinned threads of several graphs would fight for the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        self.precision = precision
        self._compiled = core.compile_model(core.read_model(str(graph)), "CPU", settings)
        self._request = self._compiled.create_infer_request()
        self.inputs = tuple(_spec(port) for port in self._compiled.inputs)
        self.outputs = tuple(_spec(port) for port in self._compiled.outputs)

    def run(self, inputs: Tensors) -> Tensors:
        """See `Engine.run`."""
        try:
            values = self._request.infer(inputs, share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            raise EngineFailed(f"OpenVINO could not compute a batch: {error}") from error
        return {spec.name: values[i] for i, spec in enumerate(self.outputs)}


def cpu_computes_bf16() -> bool:
    """Say whether this processor has bf16 instructions, as OpenVINO sees it."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _spec(port: ov.ConstOutput) -> TensorSpec:
    shape = port.get_partial_shape()
    return TensorSpec(
        name=port.get_any_name(),
        dtype=np.dtype(port.get_element_type().to_dtype()),
        shape=tuple(size.get_length() if size.is_static else None for size in shape),
    )
