"""The CUDA runtime and TensorRT's bindings as `service.engine.tensorrt` calls them, on the CPU.

Memory is memory of the host, a stream works at once, and what is captured is kept as a list of
calls. The network doubles (B, 3) uint8 `frames` into float32 `doubled`.
"""

import ctypes
import enum
from types import SimpleNamespace

import numpy as np

from service.engine.tensorrt_library import Library


class Status(enum.IntEnum):
    cudaSuccess = 0
    failed = 2


class Runtime:
    """The functions of `cuda.bindings.runtime`; each answers its status first."""

    __name__ = "cuda.bindings.runtime"
    cudaError_t = Status
    cudaMemcpyKind = SimpleNamespace(
        cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
    )
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaStreamNonBlocking = 1
    cudaHostAllocDefault = 0

    def __init__(self, *, can_capture: bool = True) -> None:
        self.memory: dict[int, ctypes.Array] = {}
        self.launches = 0
        self._captured: list | None = None
        self._can_capture = can_capture

    def put(self, work) -> None:
        """Do what was put on the stream, or keep it while a capture is on."""
        if self._captured is None:
            work()
        else:
            self._captured.append(work)

    def cudaMalloc(self, size: int):
        block = (ctypes.c_byte * size)()
        self.memory[ctypes.addressof(block)] = block
        return Status.cudaSuccess, ctypes.addressof(block)

    def cudaHostAlloc(self, size: int, flags: int):
        return self.cudaMalloc(size)

    def cudaFree(self, address: int):
        del self.memory[address]
        return (Status.cudaSuccess,)

    cudaFreeHost = cudaFree

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream):
        within_device = kind == self.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        assert within_device or len(self.memory[to]) == len(self.memory[source]) == size
        self.put(lambda: ctypes.memmove(to, source, size))
        return (Status.cudaSuccess,)

    def cudaMemcpy(self, to: int, source: int, size: int, kind: int):
        ctypes.memmove(to, source, size)
        return (Status.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, flags: int):
        return Status.cudaSuccess, 77

    def cudaStreamBeginCapture(self, stream, mode):
        self._captured = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream):
        captured, self._captured = self._captured, None
        return (Status.cudaSuccess if self._can_capture else Status.failed), captured

    def cudaGraphInstantiate(self, graph, flags: int):
        return Status.cudaSuccess, graph

    def cudaGraphLaunch(self, graph, stream):
        self.launches += 1
        for work in graph:
            work()
        return (Status.cudaSuccess,)

    def cudaGetErrorString(self, status):
        return Status.cudaSuccess, b"operation not permitted when stream is capturing"

    def _nothing(self, *arguments):
        assert self._captured is None, "no such call while a capture is on"
        return (Status.cudaSuccess,)

    cudaSetDevice = cudaStreamSynchronize = cudaStreamDestroy = _nothing
    cudaGraphDestroy = cudaGraphExecDestroy = _nothing


def emulated_library(runtime: str, cuda: Runtime, sizes: tuple[int, ...]) -> Library:
    """A library whose engine has a profile for each of `sizes`."""

    class Context:
        def __init__(self, runtime_config=None) -> None:
            self.config, self.addresses, self.shape = runtime_config, {}, ()

        def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
            return stream == 77 and profile < len(sizes)

        def set_input_shape(self, name: str, shape: tuple) -> None:
            self.shape = shape

        def get_tensor_shape(self, name: str) -> tuple:
            return self.shape

        def set_tensor_address(self, name: str, address: int) -> None:
            self.addresses[name] = address

        def execute_async_v3(self, stream: int) -> bool:
            def double() -> None:
                count = self.shape[0] * self.shape[1]
                frames = (ctypes.c_uint8 * count).from_address(self.addresses["frames"])
                doubled = (ctypes.c_float * count).from_address(self.addresses["doubled"])
                for i in range(count):
                    doubled[i] = 2 * frames[i]

            cuda.put(double)
            return True

    class Engine:
        num_io_tensors = 2
        num_optimization_profiles = len(sizes)
        create_execution_context = Context
        create_runtime_config = SimpleNamespace

        def get_tensor_name(self, number: int) -> str:
            return ("frames", "doubled")[number]

        def get_tensor_mode(self, name: str) -> str:
            return "input" if name == "frames" else "output"

        def get_tensor_dtype(self, name: str) -> type:
            return np.uint8 if name == "frames" else np.float32

        def get_tensor_shape(self, name: str) -> tuple:
            return (-1, 3)

        def get_tensor_profile_shape(self, name: str, profile: int) -> list:
            return [(sizes[profile], 3)] * 3

    class Reader:
        def __init__(self, logger) -> None:
            self.logger = logger

        def get_engine_validity(self, data: bytes) -> tuple:
            return "valid", 0

        def deserialize_cuda_engine(self, data: bytes):
            if data == b"an engine":
                return Engine()
            self.logger.log(1, "the serialized engine is truncated")
            return None

    api = SimpleNamespace(
        __version__="10.16.1",
        Runtime=Reader,
        ILogger=type("ILogger", (), {"Severity": SimpleNamespace(WARNING=2)}),
        TensorIOMode=SimpleNamespace(INPUT="input"),
        EngineValidity=SimpleNamespace(INVALID="invalid"),
        CudaGraphStrategy=SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole"),
        nptype=lambda dtype: dtype,
    )
    return Library(runtime=runtime, title=runtime, api=api)
