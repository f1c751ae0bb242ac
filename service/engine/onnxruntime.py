"""ONNX Runtime: on the CPU, where it runs everywhere, and on a GPU through CUDA or TensorRT."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from service.engine.base import DeviceTensors, Tensors, TensorSpec
from service.engine.cache import cache_folder
from service.engine.cuda import Stream, find_gpu
from service.engine.device import DeviceArray, Rows
from service.engine.provider_library import find_load_failure, load_gpu_libraries
from service.errors import EngineFailed, EngineUnavailable

_DTYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64}
_CPU, _CUDA, _TENSORRT = (f"{one}ExecutionProvider" for one in ("CPU", "CUDA", "Tensorrt"))
_MOST_SHAPES = 16
"""Shapes whose buffers are kept; the service sends one per bucket, and an evaluation a few more."""


class OnnxRuntimeEngine:
    """One graph in an ONNX Runtime session on one device."""

    def __init__(
        self, graph: Path, *, threads: int, device: str = "cpu", precision: str = "fp32"
    ) -> None:
        self.engine = f"onnxruntime:{device}"
        self.precision = precision
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the cores from decoding and from gRPC between two batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        # All work goes on one stream, behind the copies of rows that are on the device already.
        stream = None if device == "cpu" else _open_stream()
        self._session = _open(graph, options, device, precision, stream)
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]
        self.takes_device_rows = stream is not None
        self._bound = None if device == "cpu" else BoundSession(self._session, "cuda", stream)

    def keep_on_device(self, outputs: Collection[str]) -> None:
        """See `DeviceEngine.keep_on_device`."""
        assert self._bound is not None, "a session on the processor keeps nothing on a GPU"
        self._bound.kept = frozenset(outputs)

    def run(self, inputs: Tensors | DeviceTensors) -> DeviceTensors:
        """See `Engine.run`, and `DeviceEngine.run` on a GPU."""
        try:
            if self._bound is not None:
                values = self._bound.run(inputs)
            else:
                values = self._session.run(self._output_names, inputs)
        except EngineFailed:
            raise
        except Exception as error:  # the binding raises its own unexported classes
            raise EngineFailed(f"ONNX Runtime could not compute a batch: {error}") from error
        return dict(zip(self._output_names, values, strict=True))


class BoundSession:
    """Runs a session on buffers of its device that are made once for each shape of a batch."""

    def __init__(
        self, session: ort.InferenceSession, device: str, stream: Stream | None = None
    ) -> None:
        """Take a session, its device and the stream that it computes on."""
        self._session = session
        self._device = device
        self._stream = stream
        self._names = [node.name for node in session.get_outputs()]
        self._bindings: dict[tuple[Any, ...], tuple[Any, dict[str, Any]]] = {}
        self.kept: frozenset[str] = frozenset()
        """Outputs that stay on the device, as `Rows`."""

    def run(self, inputs: Tensors | DeviceTensors) -> list[Any]:
        """Return the outputs in the graph's order, each a fresh array.

        Then the stream has come past everything, and rows of the device may be let go.
        """
        key = tuple((name, array.shape) for name, array in inputs.items())
        if key not in self._bindings:
            if len(self._bindings) >= _MOST_SHAPES:
                self._bindings.clear()
            self._bindings[key] = self._bind(inputs)
        binding, values = self._bindings[key]
        for name, array in inputs.items():
            if isinstance(array, Rows):
                if self._stream is None:
                    raise EngineFailed(
                        "rows of the GPU need its stream; run `uv pip install cuda-bindings`"
                    )
                array.gather(values[name].data_ptr(), self._stream)
            else:
                values[name].update_inplace(np.ascontiguousarray(array))
        for name in self.kept:  # else the memory of the batch before would be taken again
            binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding)
        if not self.kept:
            outputs: list[Any] = binding.copy_outputs_to_cpu()
            return outputs
        found = zip(self._names, binding.get_outputs(), strict=True)
        return [_rows(value) if name in self.kept else value.numpy() for name, value in found]

    def _bind(self, inputs: Tensors | DeviceTensors) -> tuple[Any, dict[str, Any]]:
        binding = self._session.io_binding()
        values = {
            name: ort.OrtValue.ortvalue_from_shape_and_type(
                array.shape, array.dtype, self._device, 0
            )
            for name, array in inputs.items()
        }
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name in self._names:
            binding.bind_output(name, self._device)
        return binding, values


def _rows(value: Any) -> Rows:
    """Describe an array that ONNX Runtime made on the device."""
    dtype = np.dtype(_DTYPES[value.data_type()])
    whole = DeviceArray(value.data_ptr(), tuple(value.shape()), dtype, None, value)
    return Rows(whole.split())


def _open_stream() -> Stream | None:
    """Return a stream on the GPU; None where it cannot be had: the session tells why, or works."""
    try:
        find_gpu()
    except EngineUnavailable:
        return None
    return Stream()


def _open(
    graph: Path, options: Any, device: str, precision: str, stream: Stream | None
) -> ort.InferenceSession:
    """Open a session on exactly the wanted device, or refuse.

    ONNX Runtime itself only warns and computes on the CPU where a provider cannot be set up.
    """
    wanted = {"cpu": [_CPU], "cuda": [_CUDA, _CPU], "tensorrt": [_TENSORRT, _CUDA, _CPU]}[device]
    lacking = [one for one in wanted if one not in ort.get_available_providers()]
    if lacking:
        raise EngineUnavailable(
            f"ONNX Runtime {ort.__version__} has no {lacking[0]}; run `uv sync --extra gpu` (in "
            'place of the extra cpu), or set engine = "auto"'
        )
    if device != "cpu":
        load_gpu_libraries()
    ours = {} if stream is None else {"user_compute_stream": str(int(stream.handle))}
    settings: dict[str, dict[str, str]] = {_CUDA: _cuda_options() | ours, _CPU: {}}
    if device == "tensorrt":
        settings[_TENSORRT] = _tensorrt_options(precision) | ours
    session = ort.InferenceSession(
        str(graph), options, providers=[(name, settings[name]) for name in wanted]
    )
    if session.get_providers() != wanted:
        reason = find_load_failure(device) or "see `ethostream doctor` for what is missing"
        raise EngineUnavailable(
            f"ONNX Runtime was to compute with {wanted[0]}, but could only set up "
            f"{', '.join(session.get_providers())}; {reason}"
        )
    return session


def _cuda_options() -> dict[str, str]:
    return {
        "device_id": "0",
        # fp32 is to mean fp32: the parity gate knows no TF32.
        "use_tf32": "0",
        # Every bucket is warmed up, so the search costs no request.
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "arena_extend_strategy": "kSameAsRequested",
    }


def _tensorrt_options(precision: str) -> dict[str, str]:
    """Build at the warm-up of each bucket, or take what an earlier start built."""
    folder = cache_folder("onnxruntime-tensorrt")
    return {
        "device_id": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_int8_enable": "1" if precision == "int8" else "0",
    }


def _spec(node: ort.NodeArg) -> TensorSpec:
    return TensorSpec(
        name=node.name,
        dtype=np.dtype(_DTYPES[node.type]),
        shape=tuple(size if isinstance(size, int) else None for size in node.shape),
    )
