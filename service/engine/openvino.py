"""OpenVINO on the CPU: about twice ONNX Runtime on processors that compute in bf16.

A batch is computed in parts side by side, each by its own share of the threads: the layers of small
networks keep a few threads busier than many.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import openvino as ov

from service.engine.base import Tensors, TensorSpec
from service.errors import EngineFailed

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""int8 stands in the graph itself (QDQ); the hint is for what is left in floating point."""
_MOST_PARTS = 4


class OpenVinoEngine:
    """One graph compiled by OpenVINO for the CPU."""

    engine = "openvino:cpu"

    def __init__(self, graph: Path, *, threads: int, precision: str) -> None:
        self._graph = graph
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            # Pinned threads of several graphs would fight for the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        self.precision = precision
        compiled = self._compile({"PERFORMANCE_HINT": "LATENCY"})
        self._whole = compiled.create_infer_request()
        self._parts: list[ov.InferRequest] = []
        self._part_count = min(threads, _MOST_PARTS)
        self.inputs = tuple(_spec(port) for port in compiled.inputs)
        self.outputs = tuple(_spec(port) for port in compiled.outputs)

    def run(self, inputs: Tensors) -> Tensors:
        """See `Engine.run`."""
        rows = len(next(iter(inputs.values())))
        try:
            if rows < self._part_count or self._part_count == 1:
                values = self._whole.infer(inputs, share_inputs=True, share_outputs=False)
                return {spec.name: values[i] for i, spec in enumerate(self.outputs)}
            return self._run_parts(inputs, rows)
        except RuntimeError as error:
            raise EngineFailed(f"OpenVINO could not compute a batch: {error}") from error

    def _run_parts(self, inputs: Tensors, rows: int) -> Tensors:
        if not self._parts:  # it takes as long as the first time: at the warm-up
            compiled = self._compile({"NUM_STREAMS": self._part_count})
            self._parts = [compiled.create_infer_request() for _ in range(self._part_count)]
        limits = [rows * part // len(self._parts) for part in range(len(self._parts) + 1)]
        # Inputs are shared: they are kept until all parts are done.
        cut = [
            {name: array[first:end] for name, array in inputs.items()}
            for first, end in pairwise(limits)
        ]
        try:
            for request, part in zip(self._parts, cut, strict=True):
                request.start_async(part, share_inputs=True)
        finally:
            self._wait()
        return {
            spec.name: np.concatenate([one.get_output_tensor(i).data for one in self._parts])
            for i, spec in enumerate(self.outputs)
        }

    def _wait(self) -> None:
        """Wait for all parts, also when one fails: a request that runs can take no other batch."""
        failures = []
        for request in self._parts:
            try:
                request.wait()
            except RuntimeError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _compile(self, settings: dict[str, object]) -> ov.CompiledModel:
        core = ov.Core()
        return core.compile_model(
            core.read_model(str(self._graph)), "CPU", {**self._settings, **settings}
        )


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
