"""Memory of a client is read where it lies, and only while that is safe."""

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from ethostream._shared_memory import FrameMemory
from ethostream.v1 import frame_pb2

from service.bundle import InputSpec
from service.errors import InvalidFrame, SharedMemoryRefused
from service.frames import EncodedFrame, read_frame
from service.preparation import FramePreparer
from service.servicer.shared_memory import open_shared_memory
from service.shared_memory import SharedPixels, SharedSegment
from service.video.base import VideoLimits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shared memory needs Linux")

LOCAL = "ipv4:127.0.0.1:40000"


@pytest.fixture
def memory():
    memory = FrameMemory()
    yield memory
    memory.close()


@pytest.fixture
def segment(memory):
    segment = open_segment(memory)
    yield segment
    segment.close()


def open_segment(memory: FrameMemory) -> SharedSegment:
    return open_shared_memory(memory.announcement(), LOCAL, is_allowed=True)


def frame(segment: SharedSegment, offset_bytes: int, **changes: object) -> EncodedFrame:
    settings = {
        "frame_index": 5,
        "capture_time_ns": 0,
        "encoding": "gray8",
        "width_px": 6,
        "height_px": 4,
        "crop": None,
        "data": b"",
        "shared": SharedPixels(segment, offset_bytes),
        **changes,
    }
    return EncodedFrame(**settings)


def test_pixels_are_read_without_a_copy(memory, segment):
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    place = memory.write(0, pixels)
    seen = read_frame(frame(segment, place), VideoLimits())
    np.testing.assert_array_equal(seen, pixels)
    memory.release(0)
    assert memory.write(1, pixels + 1) == place
    np.testing.assert_array_equal(seen, pixels + 1)
    assert not seen.flags.writeable


@pytest.mark.parametrize(
    ("offset_bytes", "changes"),
    [
        ((1 << 30) - 23, {}),
        (2**64 - 1, {}),
        (0, {"width_px": 0}),
        ((1 << 30) - 24, {"encoding": "rgb24"}),
    ],
)
def test_a_frame_that_is_not_inside_is_refused_with_its_numbers(segment, offset_bytes, changes):
    read_frame(frame(segment, (1 << 30) - 24), VideoLimits())  # the last bytes are
    with pytest.raises(InvalidFrame, match="frame 5"):
        read_frame(frame(segment, offset_bytes, **changes), VideoLimits())


async def test_the_input_of_a_model_does_not_change_when_the_client_writes_again(memory, segment):
    spec = InputSpec(width_px=24, height_px=16, color="gray", fit="stretch")
    preparer = FramePreparer([(spec, None)], None, VideoLimits(), None)
    first = np.full((16, 24), 7, np.uint8)
    place = memory.write(0, first)
    prepared = await preparer.prepare(frame(segment, place, width_px=24, height_px=16))
    memory.release(0)
    memory.write(1, first + 1)
    np.testing.assert_array_equal(prepared.inputs[0][0][..., 0], first)


def test_a_frame_that_is_being_read_outlives_the_end_of_its_stream(memory):
    segment = open_segment(memory)
    pixels = segment.pixels(memory.write(0, np.full(100, 9, np.uint8)), 100)
    segment.close()
    assert pixels.sum() == 900
    del pixels
    segment.close()
    with pytest.raises(ValueError, match="closed"):
        segment.pixels(0, 1)


def test_memory_is_gone_when_both_sides_have_let_go_of_it():
    memory = FrameMemory()
    name = memory.announcement().name
    segment = open_segment(memory)
    memory.close()
    assert segment.pixels(0, 1) == [0]  # the server keeps what it reads
    segment.close()
    del memory, segment
    gc.collect()
    assert name not in Path("/proc/self/maps").read_text()


def test_only_clients_of_this_machine_are_let_in_and_only_where_it_is_allowed(memory):
    for peer in (LOCAL, "ipv6:%5B::1%5D:5", "unix:", "unix:/run/ethostream.sock"):
        open_shared_memory(memory.announcement(), peer, is_allowed=True).close()
        with pytest.raises(SharedMemoryRefused, match=r"server\.shared_memory is false"):
            open_shared_memory(memory.announcement(), peer, is_allowed=False)
    for peer in ("ipv4:192.0.2.7:5000", "ipv6:%5B2001:db8::7%5D:5000", "ipv4:127.0.0.1.evil:1", ""):
        with pytest.raises(SharedMemoryRefused, match="came over the network"):
            open_shared_memory(memory.announcement(), peer, is_allowed=True)


def test_a_name_that_anyone_could_guess_is_refused():
    file = os.memfd_create("frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(file, 4096)
    message = frame_pb2.SharedMemory(process_id=os.getpid(), file_descriptor=file, name="frames")
    with pytest.raises(SharedMemoryRefused, match="no memory of that name"):
        open_shared_memory(message, LOCAL, is_allowed=True)
    os.close(file)
