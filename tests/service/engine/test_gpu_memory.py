"""Memory of the GPU: shared by two mappings, given back, used again."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from service.engine.cuda import Stream
from service.engine.device import Copies, DeviceArray, DeviceCopies, Rows, stack, write
from service.engine.gpu_memory import Block, create_shared_memory, open_shared_memory
from service.errors import EngineFailed


def array_at(address: int, shape: tuple[int, ...], owner: object) -> DeviceArray:
    return DeviceArray(address, shape, np.dtype(np.uint8), None, owner)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_what_one_side_writes_the_other_reads(emulate_gpu):
    emulate_gpu()
    ours, descriptor = create_shared_memory(1000)
    theirs = open_shared_memory(descriptor, 1000)
    os.close(descriptor)
    assert ours.address != theirs.address
    pixels = np.random.default_rng(3).integers(0, 256, (10, 100), np.uint8)
    stream = Stream()
    write([array_at(ours.address, (10, 100), ours)], [pixels], stream)
    stream.wait()
    assert np.array_equal(array_at(theirs.address, (10, 100), theirs).to_host(), pixels)


def test_memory_stays_until_both_sides_let_go_of_it(emulate_gpu):
    driver = emulate_gpu()
    before = open_descriptors()
    ours, descriptor = create_shared_memory(1 << 20)
    theirs = open_shared_memory(descriptor, 1 << 20)
    os.close(descriptor)
    row = array_at(theirs.address, (4,), theirs)
    assert set(driver.mapped.values()) == {1 << 20}
    del ours
    gc.collect()
    assert len(driver.mapped) == 1
    del theirs
    gc.collect()
    assert row.to_host().tolist() == [0, 0, 0, 0]  # a row keeps its memory
    del row
    gc.collect()
    assert driver.mapped == {}
    assert open_descriptors() == before


def test_a_full_gpu_is_told_and_nothing_is_left(emulate_gpu):
    emulate_gpu(is_full=True)
    before = open_descriptors()
    with pytest.raises(EngineFailed, match="cuMemCreate: CUDA_ERROR_OUT_OF_MEMORY"):
        create_shared_memory(1 << 20)
    assert open_descriptors() == before


def test_memory_that_cannot_be_mapped_is_let_go(emulate_gpu):
    driver = emulate_gpu()
    before = open_descriptors()
    ours, descriptor = create_shared_memory(1 << 16)
    with pytest.raises(EngineFailed, match="cuMemMap"):
        open_shared_memory(descriptor, 1 << 20)  # more than it has
    os.close(descriptor)
    assert len(driver.mapped) == 1
    del ours
    gc.collect()
    assert open_descriptors() == before


def test_a_block_is_used_again_by_the_next_of_its_size(emulate_gpu):
    emulate_gpu()
    first, other = Block(100), Block(100)
    address = first.address
    assert other.address != address
    del first
    gc.collect()
    assert Block(200).address != address
    assert Block(100).address == address


def test_copies_are_where_their_sources_are(emulate_gpu):
    emulate_gpu()
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    copies = Copies()
    (on_host,) = copies.copy([pixels])
    assert isinstance(on_host, np.ndarray)
    assert not np.shares_memory(on_host, pixels)
    (brought,) = DeviceCopies().copy([pixels])
    (kept,) = copies.copy([brought])
    assert isinstance(kept, DeviceArray)
    assert kept.address != brought.address
    assert np.array_equal(kept.to_host(), pixels)
    assert copies.copy([]) == []


def test_a_stack_is_on_the_gpu_where_a_part_of_it_is(emulate_gpu):
    emulate_gpu()
    frames = [np.full((2, 3), value, np.uint8) for value in (5, 6, 7)]
    assert np.array_equal(stack(frames), np.stack(frames))
    (middle,) = DeviceCopies().copy([frames[1]])
    window = stack([frames[0], middle, frames[2]])
    assert isinstance(window, Rows)
    assert window.shape == (3, 2, 3)
    # Windows are rows of a batch themselves.
    batch = Rows([window, window])
    assert (batch.shape, batch.ndim, len(batch)) == ((2, 3, 2, 3), 4, 2)
    stream, buffer = Stream(), np.zeros((2, 3, 2, 3), np.uint8)
    batch.gather(buffer.ctypes.data, stream)
    stream.wait()
    assert np.array_equal(buffer, np.stack([frames, frames]))
    assert batch[1:].shape == (1, 3, 2, 3)
    assert np.array_equal(batch.to_host(), np.stack([frames, frames]))


def test_windows_of_the_host_are_stacked_there(emulate_gpu):
    emulate_gpu()
    frames = [np.full((2, 3), value, np.uint8) for value in (5, 6, 7)]
    batch = stack([Rows(frames[:2]), Rows(frames[1:])])
    assert isinstance(batch, np.ndarray)
    assert np.array_equal(batch, np.stack([frames[:2], frames[1:]]))


@pytest.mark.needs_gpu
def test_a_gpu_gives_memory_that_can_be_exported() -> None:
    memory, descriptor = create_shared_memory(3 << 20)
    os.close(descriptor)
    pixels = np.random.default_rng(3).integers(0, 256, 3 << 20, np.uint8)
    (source,), stream = DeviceCopies().copy([pixels]), Stream()
    row = array_at(memory.address, pixels.shape, memory)
    Rows([source]).gather(row.address, stream)
    stream.wait()
    assert np.array_equal(row.to_host(), pixels)
