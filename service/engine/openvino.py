"""OpenVINO on the CPU: about twice ONNX Runtime on processors that compute in bf16.

A graph is compiled anew for the shapes of each batch: one for any shapes takes clearly longer. A
batch is computed in parts side by side, each by its own share of the threads: the layers of small
networks keep a few threads busier than many.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import openvino as ov

from service.engine.base import Tensors, TensorSpec
from service.engine.rows import check_rows
from service.errors import EngineFailed

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""int8 stands in the graph itself (QDQ); the hint is for what is left in floating point."""
_MOST_PARTS = 4
_MOST_REQUESTS = 16
"""That are kept; the service sends batches of a few sizes, and an evaluation a few more."""

_Shapes = tuple[tuple[int, ...], ...]
"""Of a graph's inputs, in its order."""


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
        self._compiled: dict[tuple[_Shapes, int], ov.CompiledModel] = {}
        """By the shapes of a part and the parts side by side."""
        self._requests: dict[tuple[_Shapes, int, int], ov.InferRequest] = {}
        """By the same and the place of the part."""
        model = ov.Core().read_model(str(graph))
        self.inputs = tuple(_spec(port) for port in model.inputs)
        self.outputs = tuple(_spec(port) for port in model.outputs)
        # A graph that cannot be computed is refused here.
        if all(None not in spec.shape[1:] for spec in self.inputs):
            self._request(tuple(tuple(size or 1 for size in one.shape) for one in self.inputs))
        else:
            self._compile(None, 1)

    def run(self, inputs: Tensors) -> Tensors:
        """See `Engine.run`."""
        rows = check_rows(inputs, self.inputs, "OpenVINO")
        try:
            if rows < self._most_parts or self._most_parts == 1:
                request = self._request(self._shapes(inputs))
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
            self._request(self._shapes(part), parts, place) for place, part in enumerate(cut)
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

    def _shapes(self, inputs: Tensors) -> _Shapes:
        return tuple(inputs[spec.name].shape for spec in self.inputs)

    def _request(self, shapes: _Shapes, parts: int = 1, place: int = 0) -> ov.InferRequest:
        """Return what computes a part; it takes long the first time: at the warm-up."""
        if (shapes, parts, place) not in self._requests:
            if len(self._requests) >= _MOST_REQUESTS:
                self._requests.clear()
                self._compiled.clear()
            if (shapes, parts) not in self._compiled:
                self._compiled[shapes, parts] = self._compile(shapes, parts)
            request = self._compiled[shapes, parts].create_infer_request()
            self._requests[shapes, parts, place] = request
        return self._requests[shapes, parts, place]

    def _compile(self, shapes: _Shapes | None, parts: int) -> ov.CompiledModel:
        """Compile the graph for some shapes, or for any."""
        core = ov.Core()
        model = core.read_model(str(self._graph))
        if shapes is not None:
            names = [spec.name for spec in self.inputs]
            model.reshape(dict(zip(names, map(list, shapes), strict=True)))
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
