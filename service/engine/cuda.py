"""The GPU as the native engines need it: which one it is, its memory and one stream of work.

Everything goes through the CUDA runtime bindings of NVIDIA (`cuda-bindings`).
"""

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import EngineFailed, EngineUnavailable

DEVICE = 0
"""The first GPU that CUDA_VISIBLE_DEVICES shows."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, as engines built ahead name it."""

    name: str
    compute_capability: str
    """Such as sm_90."""

    def __str__(self) -> str:
        """Name and compute capability, such as `NVIDIA H200 sm_90`."""
        return f"{self.name} {self.compute_capability}"


def find_gpu() -> Gpu:
    """Return the GPU that engines of this process run on.

    Raises:
        EngineUnavailable: there is none, or its driver or the bindings are missing or too old.
    """
    try:
        from cuda.bindings import runtime
    except (ImportError, RuntimeError) as error:
        raise EngineUnavailable(
            f"the CUDA bindings cannot be loaded ({error}); run `uv pip install cuda-bindings`, or "
            'set engine = "auto" to compute on the CPU'
        ) from error
    status, count = runtime.cudaGetDeviceCount()
    if status or not count:
        reason = _describe(runtime, status) if status else "it shows no device"
        raise EngineUnavailable(
            f"there is no usable GPU here (CUDA says: {reason}); install a current NVIDIA driver, "
            'or set engine = "auto" to compute on the CPU'
        )
    properties = call(runtime.cudaGetDeviceProperties, DEVICE)
    return Gpu(
        name=properties.name.decode().rstrip("\0"),
        compute_capability=f"sm_{properties.major}{properties.minor}",
    )


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of the CUDA runtime or driver and return its value without the status.

    Raises:
        EngineFailed: CUDA answered with an error.
    """
    status, *values = function(*arguments)
    if status:
        raise EngineFailed(
            f"CUDA refused {function.__name__}: {status.name}; see `ethostream doctor` and the "
            "kernel's log"
        )
    return values[0] if values else None


class Stream:
    """A stream of its own, so that one engine's work never waits for another's."""

    def __init__(self) -> None:
        from cuda.bindings import runtime

        self._runtime = runtime
        call(runtime.cudaSetDevice, DEVICE)
        self.handle = call(runtime.cudaStreamCreateWithFlags, runtime.cudaStreamNonBlocking)
        weakref.finalize(self, runtime.cudaStreamDestroy, self.handle)

    def wait(self) -> None:
        """Wait until everything that was put on the stream is done."""
        call(self._runtime.cudaStreamSynchronize, self.handle)

    def mark(self) -> "Event":
        """Return a mark behind everything that was put on the stream so far."""
        return Event(self)

    def wait_for(self, event: "Event") -> None:
        """Let what is put on the stream from now on wait for a mark on another stream."""
        call(self._runtime.cudaStreamWaitEvent, self.handle, event.handle, 0)

    def record(self, work: Callable[[], None]) -> "Recording":
        """Record what `work` puts on the stream, to be launched again as one CUDA graph."""
        runtime = self._runtime
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(runtime.cudaStreamBeginCapture, self.handle, mode)
        try:
            work()
        finally:  # the stream stays unusable until the capture has ended
            graph = call(runtime.cudaStreamEndCapture, self.handle)
        return Recording(self, graph)


class Event:
    """A mark on a stream, which others can wait for."""

    def __init__(self, stream: Stream) -> None:
        from cuda.bindings import runtime

        self._runtime = runtime
        self.handle = call(runtime.cudaEventCreateWithFlags, runtime.cudaEventDisableTiming)
        weakref.finalize(self, runtime.cudaEventDestroy, self.handle)
        call(runtime.cudaEventRecord, self.handle, stream.handle)

    def wait(self) -> None:
        """Let the host wait until the stream has come past it."""
        call(self._runtime.cudaEventSynchronize, self.handle)


def copy_on_device(to: int, source: int, size_bytes: int, stream: Stream) -> None:
    """Copy within the GPU's memory, in the order of the stream."""
    from cuda.bindings import runtime

    kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
    call(runtime.cudaMemcpyAsync, to, source, size_bytes, kind, stream.handle)


def copy_to_device(to: int, array: NDArray[Any], stream: Stream) -> None:
    """Copy a contiguous array to the GPU's memory, in the order of the stream.

    It must be referred to until the stream has come past this.
    """
    from cuda.bindings import runtime

    kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
    call(runtime.cudaMemcpyAsync, to, array.ctypes.data, array.nbytes, kind, stream.handle)


def copy_to_host(array: NDArray[Any], source: int) -> None:
    """Copy from the GPU's memory into a contiguous array; the host waits."""
    from cuda.bindings import runtime

    kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
    call(runtime.cudaMemcpy, array.ctypes.data, source, array.nbytes, kind)


class Recording:
    """Work of a stream that is launched again as a whole, on the same addresses."""

    def __init__(self, stream: Stream, graph: Any) -> None:
        from cuda.bindings import runtime

        self._stream = stream
        self._runtime = runtime
        self._executable = call(runtime.cudaGraphInstantiate, graph, 0)
        call(runtime.cudaGraphDestroy, graph)
        weakref.finalize(self, runtime.cudaGraphExecDestroy, self._executable)

    def launch(self) -> None:
        """Put the work on the stream."""
        call(self._runtime.cudaGraphLaunch, self._executable, self._stream.handle)


class Buffer:
    """One tensor twice: in memory of the GPU and in pinned memory of the host."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        from cuda.bindings import runtime

        self._runtime = runtime
        self._size_bytes = max(1, prod(shape) * dtype.itemsize)
        self.address = int(call(runtime.cudaMalloc, self._size_bytes))
        """Of the tensor on the GPU."""
        weakref.finalize(self, runtime.cudaFree, self.address)
        host = int(call(runtime.cudaHostAlloc, self._size_bytes, runtime.cudaHostAllocDefault))
        weakref.finalize(self, runtime.cudaFreeHost, host)
        memory = (ctypes.c_byte * self._size_bytes).from_address(host)
        self.host: NDArray[Any] = np.frombuffer(
            memoryview(memory), dtype, count=prod(shape)
        ).reshape(shape)
        """The tensor on the host; it must not outlive the buffer."""

    def upload(self, stream: Stream) -> None:
        """Copy host to GPU, in the order of the stream."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self.address, self.host.ctypes.data, kind, stream)

    def download(self, stream: Stream) -> None:
        """Copy GPU to host, in the order of the stream."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(self.host.ctypes.data, self.address, kind, stream)

    def _copy(self, to: int, source: int, kind: Any, stream: Stream) -> None:
        size = self._size_bytes
        call(self._runtime.cudaMemcpyAsync, to, source, size, kind, stream.handle)


def _describe(runtime: Any, status: Any) -> str:
    found, text = runtime.cudaGetErrorString(status)
    return text.decode() if found == runtime.cudaError_t.cudaSuccess else str(status)
