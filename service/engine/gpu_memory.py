"""Memory of the GPU: blocks that are used again, and memory that two processes map.

Shared memory is CUDA's virtual memory with a file descriptor, which travels over a socket like
that of any memory: it is freed when the last process and the last descriptor let go of it, however
they end. Everything goes through the CUDA bindings of NVIDIA (`cuda-bindings`); Linux only.
"""

import os
import weakref
from typing import Any

from service.engine.cuda import DEVICE, call, find_gpu
from service.errors import EngineFailed

_free_blocks: dict[int, list[int]] = {}
"""Addresses by size. They are kept: allocating waits for all that the GPU is at."""


class Block:
    """Memory that goes back for others of its size when nothing refers to it any more."""

    def __init__(self, size_bytes: int) -> None:
        """Take a block that is free, or allocate one.

        Raises:
            EngineFailed: the GPU's memory is full.
        """
        from cuda.bindings import runtime

        free = _free_blocks.setdefault(size_bytes, [])
        try:
            self.address = free.pop()
        except IndexError:
            self.address = int(call(runtime.cudaMalloc, size_bytes))
        weakref.finalize(self, free.append, self.address)


class SharedMemory:
    """Memory of the GPU that other processes can map as well."""

    def __init__(self, handle: Any, size_bytes: int) -> None:
        """Map the memory behind a handle, which is let go.

        Raises:
            EngineFailed: CUDA refuses to.
        """
        from cuda.bindings import driver

        try:
            self.address = int(call(driver.cuMemAddressReserve, size_bytes, 0, 0, 0))
            weakref.finalize(self, _unmap, driver, self.address, size_bytes)
            call(driver.cuMemMap, self.address, size_bytes, 0, handle, 0)
            access = driver.CUmemAccessDesc()
            access.location = _properties().location
            access.flags = driver.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READWRITE
            call(driver.cuMemSetAccess, self.address, size_bytes, [access], 1)
        finally:
            driver.cuMemRelease(handle)


def create_shared_memory(size_bytes: int) -> tuple[SharedMemory, int]:
    """Allocate memory that can be shared.

    Returns:
        The memory, and a descriptor of it, to be sent to the other process and closed.

    Raises:
        EngineUnavailable: there is no GPU.
        EngineFailed: its memory is full, or it cannot share memory.
    """
    find_gpu()
    from cuda.bindings import driver

    kind = driver.CUmemAllocationHandleType.CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
    size_bytes = _whole_pages(size_bytes)
    handle = call(driver.cuMemCreate, size_bytes, _properties(), 0)
    try:
        descriptor = int(call(driver.cuMemExportToShareableHandle, handle, kind, 0))
    except EngineFailed:
        driver.cuMemRelease(handle)
        raise
    try:
        return SharedMemory(handle, size_bytes), descriptor
    except EngineFailed:
        os.close(descriptor)
        raise


def open_shared_memory(descriptor: int, size_bytes: int) -> SharedMemory:
    """Map memory that another process created with `size_bytes`; `descriptor` stays the caller's.

    Raises:
        EngineUnavailable: there is no GPU.
        EngineFailed: CUDA refuses to.
    """
    find_gpu()
    from cuda.bindings import driver

    kind = driver.CUmemAllocationHandleType.CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
    handle = call(driver.cuMemImportFromShareableHandle, descriptor, kind)
    return SharedMemory(handle, _whole_pages(size_bytes))


def _unmap(driver: Any, address: int, size_bytes: int) -> None:
    driver.cuMemUnmap(address, size_bytes)
    driver.cuMemAddressFree(address, size_bytes)


def _properties() -> Any:
    from cuda.bindings import driver

    properties = driver.CUmemAllocationProp()
    properties.type = driver.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
    properties.location.type = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
    properties.location.id = DEVICE
    kind = driver.CUmemAllocationHandleType.CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
    properties.requestedHandleTypes = kind
    return properties


def _whole_pages(size_bytes: int) -> int:
    from cuda.bindings import driver

    option = driver.CUmemAllocationGranularity_flags.CU_MEM_ALLOC_GRANULARITY_MINIMUM
    page = int(call(driver.cuMemGetAllocationGranularity, _properties(), option))
    return -(-size_bytes // page) * page
