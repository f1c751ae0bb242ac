"""CUDA's virtual memory as `service.engine.gpu_memory` uses it, on memory of the host.

Addresses are reserved before memory is mapped there, and memory is freed when nothing maps it and
no descriptor of it is open: the system does what a driver does. Who reads memory that is not
mapped any more, or never was, ends by a signal.
"""

import ctypes
import enum
import mmap
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

_PAGE_BYTES = 1 << 16
_NONE, _PRIVATE, _FIXED = 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 0x10
_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE


class Result(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_VALUE = 1


OK, INVALID = Result.CUDA_SUCCESS, Result.CUDA_ERROR_INVALID_VALUE


class EmulatedDriver:
    """The functions of `cuda.bindings.driver`, whose classes of settings are the real ones."""

    __name__ = "cuda.bindings.driver"
    CUresult = Result

    def __init__(self, *, is_full: bool = False) -> None:
        from cuda.bindings import driver

        self._real = driver
        self._is_full = is_full
        self._descriptors: dict[int, int] = {}  # by handle
        self._last = 0
        self.mapped: dict[int, int] = {}
        """Bytes that are mapped now, by address."""

    def __getattr__(self, name: str):
        return getattr(self._real, name)

    def cuCtxGetCurrent(self):
        return OK, 4242

    def cuMemGetAllocationGranularity(self, properties, option):
        return OK, _PAGE_BYTES

    def cuMemCreate(self, size: int, properties, flags: int):
        if self._is_full:
            return Result.CUDA_ERROR_OUT_OF_MEMORY, None
        if size % _PAGE_BYTES:
            return INVALID, None
        descriptor = os.memfd_create("emulated-gpu")
        os.ftruncate(descriptor, size)
        return OK, self._handle(descriptor)

    def cuMemExportToShareableHandle(self, handle: int, kind, flags: int):
        return OK, os.dup(self._descriptors[handle])

    def cuMemImportFromShareableHandle(self, descriptor: int, kind):
        return OK, self._handle(os.dup(descriptor))

    def cuMemRelease(self, handle: int):
        os.close(self._descriptors.pop(handle))
        return (OK,)

    def cuMemAddressReserve(self, size: int, alignment: int, address: int, flags: int):
        return OK, _libc.mmap(None, size, _NONE, _PRIVATE, -1, 0)

    def cuMemMap(self, address: int, size: int, offset: int, handle: int, flags: int):
        descriptor = self._descriptors[handle]
        if os.fstat(descriptor).st_size != size:
            return (INVALID,)
        _libc.mmap(address, size, _NONE, mmap.MAP_SHARED | _FIXED, descriptor, 0)
        self.mapped[address] = size
        return (OK,)

    def cuMemSetAccess(self, address: int, size: int, access: list, count: int):
        _libc.mprotect(address, size, _READ_WRITE)
        return (OK,)

    def cuMemUnmap(self, address: int, size: int):
        if address not in self.mapped:
            return (INVALID,)
        _libc.mmap(address, size, _NONE, _PRIVATE | _FIXED, -1, 0)
        del self.mapped[address]
        return (OK,)

    def cuMemAddressFree(self, address: int, size: int):
        _libc.munmap(address, size)
        return (OK,)

    def _handle(self, descriptor: int) -> int:
        self._last += 1
        self._descriptors[self._last] = descriptor
        return self._last
