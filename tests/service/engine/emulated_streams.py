"""CUDA's streams and events as they may behave: nothing is done before somebody waits for it.

Each stream is a list of work. It is done in order when the host waits for the stream or for an
event on it, or when another stream that was told to wait for the event comes to that place. So who
forgets to wait sees what was in memory before.
"""

import ctypes
import enum
from types import SimpleNamespace


class Status(enum.IntEnum):
    cudaSuccess = 0


OK = Status.cudaSuccess


class LazyRuntime:
    """The functions of `cuda.bindings.runtime` that streams, events and copies need."""

    __name__ = "cuda.bindings.runtime"
    cudaError_t = Status
    cudaMemcpyKind = SimpleNamespace(
        cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
    )
    cudaStreamNonBlocking = 1
    cudaEventDisableTiming = 2

    def __init__(self) -> None:
        self._work: dict[int, list] = {}
        self._marks: dict[int, tuple[int, int]] = {}  # event: stream, and the work before it
        self._done: dict[int, int] = {}
        self._last = 100
        self._blocks: list[ctypes.Array] = []

    def put(self, stream: int, work) -> None:
        """Put work of the test's own on a stream."""
        self._work[stream].append(work)

    def cudaGetDeviceCount(self):
        return OK, 1

    def cudaGetDeviceProperties(self, device: int):
        return OK, SimpleNamespace(name=b"emulated", major=0, minor=0)

    def cudaMalloc(self, size: int):
        self._blocks.append(ctypes.create_string_buffer(size))
        return OK, ctypes.addressof(self._blocks[-1])

    def cudaSetDevice(self, device: int):
        return (OK,)

    def cudaStreamCreateWithFlags(self, flags: int):
        self._last += 1
        self._work[self._last], self._done[self._last] = [], 0
        return OK, self._last

    def cudaStreamDestroy(self, stream: int):
        return (OK,)

    def cudaEventCreateWithFlags(self, flags: int):
        self._last += 1
        return OK, self._last

    def cudaEventDestroy(self, event: int):
        return (OK,)

    def cudaEventRecord(self, event: int, stream: int):
        self._marks[event] = stream, len(self._work[stream])
        return (OK,)

    def cudaStreamWaitEvent(self, stream: int, event: int, flags: int):
        self.put(stream, lambda: self._run_to(*self._marks[event]))
        return (OK,)

    def cudaEventSynchronize(self, event: int):
        self._run_to(*self._marks[event])
        return (OK,)

    def cudaStreamSynchronize(self, stream: int):
        self._run_to(stream, len(self._work[stream]))
        return (OK,)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int):
        self.put(stream, lambda: ctypes.memmove(to, source, size))
        return (OK,)

    def cudaMemcpy(self, to: int, source: int, size: int, kind: int):
        ctypes.memmove(to, source, size)
        return (OK,)

    def _run_to(self, stream: int, end: int) -> None:
        while self._done[stream] < end:
            work = self._work[stream][self._done[stream]]
            self._done[stream] += 1
            work()
