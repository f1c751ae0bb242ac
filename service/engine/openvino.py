"""OpenVINO on the CPU: about twice ONNX Runtime on processors that compute in bf16.

A graph is compiled anew for each number of rows: of any number it takes up to 1.5 times as long. A
batch is computed in parts side by side, each by its own share of the threads: the layers of small
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
_MOST_REQUESTS = 16
"""That are kept; the service sends batches of a few sizes, and an evaluation a few more."""


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
        self._most_parts = min(threads, _MOST_PARTS)
        self._compiled: dict[tuple[int, int], ov.CompiledModel] = {}
        """By the rows of a part, 0 for any, and the parts side by side."""
        self._requests: dict[tuple[int, int, int], ov.InferRequest] = {}
        """By the same and the place of the part."""
        model = ov.Core().read_model(str(graph))
        self._has_open_rows_only = all(
            shape[0].is_dynamic and all(size.is_static for size in list(shape)[1:])
            for shape in (port.get_partial_shape() for port in model.inputs)
        )
        self.inputs = tuple(_spec(port) for port in model.inputs)
        self.outputs = tuple(_spec(port) for port in model.outputs)
        self._request(1, 1, 0)  # a graph that cannot be computed is refused here

    def run(self, inputs: Tensors) -> Tensors:
        """See `Engine.run`."""
        rows = len(next(iter(inputs.values())))
        try:
            if rows < self._most_parts or self._most_parts == 1:
                request = self._request(rows, 1, 0)
                values = request.infer(inputs, share_inputs=True, share_outputs=False)
                return {spec.name: values[i] for i, spec in enumerate(self.outputs)}
            return self._run_parts(inputs, rows)
        except RuntimeError as error:
            raise EngineFailed(f"OpenVINO could not compute a batch: {error}") from error

    def _run_parts(self, inputs: Tensors, rows: int) -> Tensors:
        parts = self._most_parts
        limits = list(pairwise(rows * part // parts for part in range(parts + 1)))
        # Inputs are shared: they are kept until all parts are done.
        cut = [{name: array[i:end] for name, array in inputs.items()} for i, end in limits]
        requests = [
            self._request(end - first, parts, place) for place, (first, end) in enumerate(limits)
        ]
        try:
            for request, part in zip(requests, cut, strict=True):
                request.start_async(part, share_inputs=True)
        finally:
            _wait(requests)
        return {
            spec.name: np.concatenate([one.get_output_tensor(i).data for one in requests])
            for i, spec in enumerate(self.outputs)
        }

    def _request(self, rows: int, parts: int, place: int) -> ov.InferRequest:
        """Return what computes a part; it takes long the first time: at the warm-up."""
        rows = rows if self._has_open_rows_only else 0
        if (rows, parts, place) not in self._requests:
            if len(self._requests) >= _MOST_REQUESTS:
                self._requests.clear()
                self._compiled.clear()
            if (rows, parts) not in self._compiled:
                self._compiled[rows, parts] = self._compile(rows, parts)
            request = self._compiled[rows, parts].create_infer_request()
            self._requests[rows, parts, place] = request
        return self._requests[rows, parts, place]

    def _compile(self, rows: int, parts: int) -> ov.CompiledModel:
        core = ov.Core()
        model = core.read_model(str(self._graph))
        if rows:
            model.reshape(
                {
                    port.get_any_name(): [rows, *list(port.get_partial_shape())[1:]]
                    for port in model.inputs
                }
            )
        settings = {"PERFORMANCE_HINT": "LATENCY"} if parts == 1 else {"NUM_STREAMS": parts}
        return core.compile_model(model, "CPU", {**self._settings, **settings})


def _wait(requests: list[ov.InferRequest]) -> None:
    """Wait for all parts, also when one fails: a request that runs can take no other batch."""
    failures = []
    for request in requests:
        try:
            request.wait()
        except RuntimeError as error:
            failures.append(error)
    if failures:
        raise failures[0]


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
