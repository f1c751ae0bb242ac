"""ONNX Runtime on the CPU, the engine that runs everywhere."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from service.engine.base import Tensors, TensorSpec
from service.errors import EngineFailed

_DTYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64}


class OnnxRuntimeEngine:
    """One graph in an ONNX Runtime CPU session."""

    engine = "onnxruntime:cpu"
    precision = "fp32"

    def __init__(self, graph: Path, *, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the cores from decoding and from gRPC between two batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]

    def run(self, inputs: Tensors) -> Tensors:
        """See `Engine.run`."""
        try:
            values = self._session.run(self._output_names, inputs)
        except Exception as error:  # the binding raises its own unexported classes
            raise EngineFailed(f"ONNX Runtime could not compute a batch: {error}") from error
        return dict(zip(self._output_names, values, strict=True))


def _spec(node: ort.NodeArg) -> TensorSpec:
    return TensorSpec(
        name=node.name,
        dtype=np.dtype(_DTYPES[node.type]),
        shape=tuple(size if isinstance(size, int) else None for size in node.shape),
    )
