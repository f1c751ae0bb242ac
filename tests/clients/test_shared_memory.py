"""The client's places for frames: never two frames in one, never one that is still in flight."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from ethostream import AsyncClient, _shared_memory
from ethostream._shared_memory import FrameMemory, open_frame_memory
from ethostream.errors import InvalidRequest
from ethostream.v1 import frame_pb2
from ethostream.v1 import inference_service_pb2 as pb

from tests.clients.conftest import result, serving, started

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shared memory needs Linux")

IMAGE = np.zeros((64, 64), np.uint8)  # one page


@pytest.fixture
def memory():
    memory = FrameMemory()
    yield memory
    memory.close()


def test_frames_in_flight_lie_apart_and_the_last_place_is_used_again_first(memory):
    places = [memory.write(index, IMAGE) for index in range(4)]
    assert len({place // IMAGE.nbytes for place in places}) == 4
    memory.release(2)
    memory.release(2)  # a second answer frees nothing
    memory.release(99)
    assert memory.write(4, IMAGE) == places[2]
    assert memory.write(5, IMAGE) not in places
    memory.release_all()
    assert {memory.write(index, IMAGE) for index in range(6, 11)} == {
        *places,
        max(places) + IMAGE.nbytes,
    }


def test_a_smaller_frame_finds_a_place_and_one_that_does_not_fit_goes_in_a_message(memory):
    assert memory.write(0, IMAGE) is not None
    assert memory.write(1, IMAGE[:9]) is not None
    assert memory.write(2, np.zeros((65, 64), np.uint8)) is None
    assert memory.write(3, IMAGE) is not None


def test_when_no_place_is_left_frames_go_in_messages(memory, monkeypatch):
    monkeypatch.setattr(_shared_memory, "_SIZE_BYTES", 3 * IMAGE.nbytes)
    assert [memory.write(index, IMAGE) is not None for index in range(4)] == [True] * 3 + [False]
    memory.release(1)
    assert memory.write(4, IMAGE) is not None


def test_auto_makes_memory_for_servers_of_this_machine_alone():
    for address in ("127.0.0.1:5", "localhost:5", "[::1]:5", "unix:/run/e.sock"):
        memory = open_frame_memory("auto", address)
        assert memory is not None
        memory.close()
    for address in ("rig.example:5", "10.0.0.7:5", "dns:///rig:5"):
        assert open_frame_memory("auto", address) is None
    assert open_frame_memory(False, "127.0.0.1:5") is None


def test_other_systems_are_told_that_it_needs_linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(InvalidRequest, match="it needs Linux, this is win32"):
        open_frame_memory(True, "127.0.0.1:5")
    assert open_frame_memory("auto", "127.0.0.1:5") is None


def is_held(name: str) -> bool:
    """Whether this process has the memory open or mapped."""
    links = []
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.append(str(one.readlink()))
    return any(name in one for one in (*links, Path("/proc/self/maps").read_text()))


def test_no_descriptor_is_left_open():
    closed, forgotten = FrameMemory(), FrameMemory()
    names = [one.announcement().name for one in (closed, forgotten)]
    closed.write(0, IMAGE)
    assert all(is_held(name) for name in names)
    closed.close()
    closed.close()  # twice is once
    del forgotten
    assert not any(is_held(name) for name in names)


async def test_after_a_break_the_memory_is_named_again_and_its_places_are_free(quick_backoff):
    seen: list[frame_pb2.Frame] = []

    async def take_three_and_break(requests, context):
        yield started(credit_count=3)
        async for request in requests:
            seen.append(request.frame)
            if len(seen) == 3:
                return

    async def answer(requests, context):
        yield started(credit_count=3, session="s2")
        async for request in requests:
            seen.append(request.frame)
            yield result(request.frame.frame_index)
        yield pb.StreamFramesResponse(ended=pb.StreamEnded())

    async with (
        serving(take_three_and_break, answer) as server,
        AsyncClient(server.address) as client,
        client.stream("mouse", shared_memory=True) as stream,
    ):
        for _ in range(3):
            await stream.send(IMAGE)
        for _ in range(3):  # the first of them waits for the new connection
            await stream.send(IMAGE)
        counts = await stream.finish()
    assert (counts.lost, counts.results) == (3, 3)
    first, second = server.starts
    assert first.shared_memory == second.shared_memory
    assert first.shared_memory.process_id == os.getpid()
    assert all(not one.data and one.HasField("shared_offset_bytes") for one in seen)
    places = [one.shared_offset_bytes for one in seen]
    assert set(places[:3]) == set(places[3:])
    assert len(set(places)) == 3


async def test_frames_travel_in_messages_where_nothing_else_is_asked_for():
    data = []

    async def look(requests, context):
        yield started()
        async for request in requests:
            data.append(request.frame)
            yield result(request.frame.frame_index)
        yield pb.StreamFramesResponse(ended=pb.StreamEnded())

    async with (
        serving(look) as server,
        AsyncClient(server.address) as client,
        client.stream("mouse") as stream,
    ):
        await stream.send(IMAGE)
    assert not server.starts[0].HasField("shared_memory")
    assert len(data[0].data) == IMAGE.nbytes
