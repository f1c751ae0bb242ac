"""Inputs of models stay on the GPU from the worker's decoder to the server, each under its number.

Workers, DALI and the memory that processes share are real; the GPU is emulated, and its streams do
nothing before somebody waits for them, and so is PyNvVideoCodec. Where there is a GPU, all of it is
real.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.bundle import InputSpec
from service.engine.device import Array, Copies, DeviceArray, DeviceCopies
from service.values import FrameStatus, VideoFrame
from service.video import ChunkDecoder, DecodeWorkers
from service.video.base import Wanted
from service.video.messages import Row
from service.video.process import Worker
from tests.service.video.damage import damage_packet

pytest.importorskip("nvidia.dali", reason="DALI is not installed; run `uv sync --extra dali`")

FRAMES = 400
SIZE = (128, 96)
SPEC = InputSpec(width_px=64, height_px=48, color="gray", fit="stretch")
COLOR = InputSpec(width_px=96, height_px=72, color="rgb", fit="stretch")


@pytest.fixture(scope="module")
def videos(tmp_path_factory, make_video) -> dict[str, Path]:
    """By the decoder that takes it on the emulated GPU."""
    folder = tmp_path_factory.mktemp("ring")
    kinds = {
        "dali": ("mjpeg.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        "nvcodec": ("h264.mp4", {"options": {"bf": "3", "g": "12"}}),
    }
    return {
        decoder: make_video(folder / name, frames=FRAMES, size=SIZE, **settings)
        for decoder, (name, settings) in kinds.items()
    }


@pytest.fixture
def video(videos: dict[str, Path]) -> Path:
    return videos["dali"]


async def read(
    path: Path, at_frame: Callable[[VideoFrame], object] = lambda frame: None, **options: object
) -> tuple[list[tuple[int, FrameStatus, tuple[np.ndarray, ...], type]], str]:
    """Return rows with their inputs as they are at the end, brought to the host."""
    slots, decoder = options.pop("slots", 4), options.pop("decoder", "dali")
    rows = []
    async with (
        DecodeWorkers(1, slots=slots, decoder=decoder) as workers,
        workers.open(path, color=None, inputs=(SPEC, COLOR), on_device=True, **options) as reader,
    ):
        async for frame in reader:
            at_frame(frame)
            kinds = {type(one) for one in frame.inputs}
            assert len(kinds) <= 1, "all inputs of a frame are in one place"
            rows.append((frame.frame_index, frame.status, frame.inputs, (*kinds, None)[0]))
            if frame.frame_index == 20:
                await asyncio.sleep(0.1)  # the worker goes on to fill all slots
    return [
        (index, status, tuple(map(on_host, own)), kind) for index, status, own, kind in rows
    ], reader.message


def on_host(array: Array) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.to_host()


def shown(rows, read_number) -> list[tuple[int, int | None, int | None]]:
    return [
        (index, read_number(inputs[0][..., 0]), read_number(inputs[1]))
        for index, status, inputs, _ in rows
        if status.has_pixels
    ]


@pytest.mark.parametrize("decoder", ["dali", "nvcodec"])
@pytest.mark.parametrize("slots", [3, 32])
@pytest.mark.parametrize(("first", "limit"), [(0, None), (33, 70)])
async def test_every_frame_stays_on_the_gpu_and_is_its_own(
    emulate_gpu, videos, read_number, decoder, slots, first, limit
):
    emulate_gpu()
    rows, message = await read(
        videos[decoder], slots=slots, decoder=decoder, first_frame=first, frame_limit=limit
    )
    end = FRAMES if limit is None else first + limit
    assert shown(rows, read_number) == [(one, one, one) for one in range(first, end)]
    assert {kind for *_, kind in rows} == {DeviceArray}
    assert message == ""


async def test_a_worker_that_does_not_wait_would_show_stale_frames(
    emulate_gpu, video, read_number, monkeypatch
):
    """So the test above would fail where the contract is broken."""
    emulate_gpu()
    monkeypatch.setenv("EMULATED_GPU", "forgets")
    rows, _ = await read(video, frame_limit=60)
    assert shown(rows, read_number) != [(one, one, one) for one in range(60)]


async def test_a_frame_that_is_not_copied_is_written_over(
    emulate_gpu, video, read_number, monkeypatch
):
    """So a copy is what keeps it, and slots are really used again."""
    emulate_gpu()
    slots = set()

    def keep(copies: Copies, arrays: list[DeviceArray]) -> list[DeviceArray]:
        slots.update(one.address for one in arrays if one.shape[-1] == 1)
        return arrays

    monkeypatch.setattr(Copies, "copy", keep)
    rows, _ = await read(video, slots=3, frame_limit=60)
    assert shown(rows, read_number) != [(one, one, one) for one in range(60)]
    assert len(slots) == 3


async def test_the_gpu_is_waited_for_once_a_message(emulate_gpu, video, monkeypatch):
    emulate_gpu()
    messages: list[int] = []
    copied: list[int] = []

    def take(worker: Worker, rows: list[Row], *, has_pixels: bool) -> list[VideoFrame]:
        messages.append(len(rows))
        return real_take(worker, rows, has_pixels=has_pixels)

    def copy(copies: DeviceCopies, arrays: list[DeviceArray]) -> list[DeviceArray]:
        copied.append(len(arrays))
        return real_copy(copies, arrays)

    real_take, real_copy = Worker.take, DeviceCopies.copy
    monkeypatch.setattr(Worker, "take", take)
    monkeypatch.setattr(DeviceCopies, "copy", copy)
    await read(video, slots=32)
    assert sum(messages) == FRAMES
    assert copied == [2 * rows for rows in messages]  # two inputs each


@pytest.mark.parametrize("decoder", ["dali", "nvcodec"])
async def test_inputs_are_those_that_come_through_the_host(emulate_gpu, videos, decoder):
    emulate_gpu()
    rows, _ = await read(videos[decoder], decoder=decoder, frame_limit=30)
    async with (
        DecodeWorkers(1, decoder=decoder) as workers,
        workers.open(videos[decoder], color=None, inputs=(SPEC, COLOR), frame_limit=30) as reader,
    ):
        on_host = [tuple(one.copy() for one in frame.inputs) async for frame in reader]
    for (_, _, found, _), expected in zip(rows, on_host, strict=True):
        for one, other in zip(found, expected, strict=True):
            assert np.array_equal(one, other)


async def test_what_pyav_decodes_in_place_of_the_gpu_is_brought_there(
    emulate_gpu, video, tmp_path, read_number
):
    emulate_gpu()
    damaged = damage_packet(video, tmp_path / "damaged.avi", 130)
    rows, message = await read(damaged)
    assert [index for index, *_ in rows] == list(range(FRAMES))
    assert {status for index, status, *_ in rows if index == 130} == {FrameStatus.CORRUPT}
    assert all(index == gray == rgb for index, gray, rgb in shown(rows, read_number))
    assert {kind for *_, kind in rows} == {DeviceArray, None}
    assert "frames were decoded by PyAV: dali" in message


async def test_what_follows_a_session_that_ended_is_brought_to_the_gpu(
    emulate_gpu, videos, read_number, monkeypatch
):
    emulate_gpu()
    monkeypatch.setenv("EMULATED_NVCODEC_FAILS_AT", "130")
    rows, message = await read(videos["nvcodec"], decoder="nvcodec")
    assert shown(rows, read_number) == [(one, one, one) for one in range(FRAMES)]
    assert {kind for *_, kind in rows} == {DeviceArray}
    assert "were decoded by PyAV: nvcodec 0.0 (gpu) failed" in message


@pytest.fixture
def camera(tmp_path, make_video) -> bytes:
    """A camera's stream without B-frames."""
    path = tmp_path / "stream.h264"
    options = {"bf": "0", "g": "12"}
    make_video(path, frames=60, size=SIZE, options=options, format="h264")
    return path.read_bytes()


async def read_chunks(
    data: bytes, *, on_device: bool = True, chunk_bytes: int = 700
) -> list[VideoFrame]:
    wanted = Wanted(None, (SPEC, COLOR), on_device=on_device)
    decoder = ChunkDecoder("h264", wanted=wanted, decoder="nvcodec")
    frames = []
    for place in range(0, len(data), chunk_bytes):
        frames += (await decoder.feed(data[place : place + chunk_bytes])).frames
    return frames + (await decoder.flush()).frames


def shown_in(frames: list[VideoFrame], read_number) -> list[tuple[int | None, int | None]]:
    own = [[np.asarray(one.to_host()) for one in frame.inputs] for frame in frames]
    return [(read_number(gray[..., 0]), read_number(rgb)) for gray, rgb in own]


async def test_chunks_of_a_live_stream_stay_on_the_gpu_too(emulate_gpu, camera, read_number):
    emulate_gpu()
    frames = await read_chunks(camera)
    assert {type(one) for frame in frames for one in frame.inputs} == {DeviceArray}
    assert shown_in(frames, read_number) == [(one, one) for one in range(60)]
    for frame, other in zip(frames, await read_chunks(camera, on_device=False), strict=True):
        assert (frame.width_px, frame.height_px) == SIZE
        for one, expected in zip(frame.inputs, other.inputs, strict=True):
            assert isinstance(expected, np.ndarray)
            assert np.array_equal(one.to_host(), expected)


@pytest.mark.parametrize("chunk_bytes", [700, 1_000_000])
async def test_a_live_stream_goes_on_through_the_host_where_its_session_ends(
    emulate_gpu, camera, read_number, monkeypatch, chunk_bytes
):
    emulate_gpu()
    monkeypatch.setenv("EMULATED_NVCODEC_FAILS_AT", "20")
    frames = await read_chunks(camera, chunk_bytes=chunk_bytes)
    frames = [one for one in frames if one.status is FrameStatus.OK]
    kinds = [type(one.inputs[0]) for one in frames]
    assert kinds == sorted(kinds, key=lambda kind: kind is np.ndarray)
    on_gpu = kinds.index(np.ndarray)
    assert 10 < on_gpu <= 20
    assert shown_in(frames[:on_gpu], read_number) == [(one, one) for one in range(on_gpu)]
    rest = [
        (read_number(a[..., 0]), read_number(b)) for a, b in (f.inputs for f in frames[on_gpu:])
    ]
    assert rest == [(one, one) for one in range(24, 60)]


async def test_frames_come_through_the_host_where_the_gpu_cannot_share(
    emulate_gpu, video, read_number
):
    emulate_gpu(is_full=True)
    rows, _ = await read(video, frame_limit=40)
    assert shown(rows, read_number) == [(one, one, one) for one in range(40)]
    assert {kind for *_, kind in rows} == {np.ndarray}


async def test_a_video_goes_on_through_the_host_where_its_worker_dies(
    emulate_gpu, video, read_number
):
    emulate_gpu()
    pids: list[int] = []

    def kill(frame: VideoFrame) -> None:
        if frame.frame_index == 20:
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
            pids.extend(
                int(one)
                for one in children.split()
                if b"service.video.worker" in Path(f"/proc/{one}/cmdline").read_bytes()
            )
            os.kill(pids[0], signal.SIGKILL)

    rows, message = await read(video, kill)
    assert len(pids) == 1
    assert shown(rows, read_number) == [(one, one, one) for one in range(FRAMES)]
    assert [kind for *_, kind in rows[:21]] == [DeviceArray] * 21
    assert rows[-1][-1] is np.ndarray
    assert "were decoded by PyAV" in message


async def test_memory_of_the_gpu_is_given_back_with_the_video(emulate_gpu, video):
    driver = emulate_gpu()
    seen: list[int] = []
    for _ in range(3):
        await read(video, lambda frame: seen.append(len(driver.mapped)), frame_limit=30)
        assert driver.mapped == {}
    assert set(seen) == {1}


@pytest.mark.needs_gpu
@pytest.mark.parametrize("decoder", ["dali", "nvcodec"])
@pytest.mark.parametrize("slots", [3, 32])
async def test_every_frame_of_a_gpu_is_its_own(videos, read_number, decoder, slots):
    for _ in range(5):
        rows, message = await read(videos["nvcodec"], slots=slots, decoder=decoder)
        assert shown(rows, read_number) == [(one, one, one) for one in range(FRAMES)]
        assert {kind for *_, kind in rows} == {DeviceArray}
        assert message == ""
