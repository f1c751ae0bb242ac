"""Both fields of a picture are one frame; what a camera counts is taken as it means it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.values import FrameStatus
from service.video import ChunkDecoder
from service.video.packets import FIELD
from service.video.pyav import VideoFile
from service.video.slices import H264Pictures
from service.video_tools.facts import read_facts
from tests.service.video.clips import find_clip
from tests.service.video.corpus import Clip
from tests.service.video.field_coded import CodedField, code_fields, mux_fields
from tests.service.video.reading import decode_stream, see, see_shared

OK, CORRUPT = FrameStatus.OK, FrameStatus.CORRUPT
FRAMES = 24


@pytest.fixture(scope="module")
def fields() -> list[CodedField]:
    return code_fields(FRAMES)


@pytest.mark.parametrize("join", [False, True], ids=["a packet a field", "a packet a frame"])
@pytest.mark.parametrize("ending", ["ts", "mkv", "mp4", "h264"])
def test_every_frame_has_one_row(
    fields: list[CodedField], tmp_path: Path, ending: str, join: bool
) -> None:
    path = mux_fields(tmp_path / f"a.{ending}", fields, join=join)
    video = VideoFile(path)
    whole = see(video)
    assert [(one.status, one.number) for one in whole] == [(OK, n) for n in range(FRAMES)]
    begin_ns = whole[0].pts_ns
    assert [one.pts_ns - begin_ns for one in whole] == [n * 40_000_000 for n in range(FRAMES)]
    assert video.info.frame_rate_hz == 25
    for first in (3, 8, 13, 17):
        assert see(VideoFile(path), first, 4) == whole[first : first + 4]
    assert see_shared(path, 2) == whole
    facts = read_facts(path)[1]
    assert (facts.frames, facts.key_frames, facts.missing) == (FRAMES, 3, 0)


@pytest.mark.parametrize("frame", [4, 5, 10])
@pytest.mark.parametrize("is_bottom", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("ending", ["ts", "mkv"])
def test_a_frame_of_which_a_field_is_lost_moves_no_other(
    fields: list[CodedField], tmp_path: Path, ending: str, frame: int, is_bottom: bool
) -> None:
    kept = [one for one in fields if (one.frame, one.is_bottom) != (frame, is_bottom)]
    rows = see(VideoFile(mux_fields(tmp_path / f"a.{ending}", kept)))
    assert len(rows) == FRAMES
    assert rows[frame].status == CORRUPT
    seen = [one for one in rows if one.status == OK]
    assert all(one.number == one.frame_index for one in seen)
    next_group = 8 * (frame // 8 + 1)
    expected = {*range(8 * (frame // 8)), *range(next_group, FRAMES)}
    assert {one.frame_index for one in seen} >= expected


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("is_bottom", [False, True], ids=["first", "second"])
def test_a_frame_of_which_a_field_is_damaged_is_not_trusted(
    fields: list[CodedField], tmp_path: Path, is_bottom: bool, threads: int
) -> None:
    damaged = [
        replace(one, data=one.data[: len(one.data) // 2])
        if (one.frame, one.is_bottom) == (11, is_bottom)
        else one
        for one in fields
    ]
    rows = see(VideoFile(mux_fields(tmp_path / "a.ts", damaged), threads=threads))
    assert len(rows) == FRAMES
    assert rows[11].status == CORRUPT
    assert all(one.number == one.frame_index for one in rows if one.status == OK)
    assert {one.frame_index for one in rows if one.status == OK} >= {*range(10), *range(16, FRAMES)}


def test_a_camera_that_counts_as_none_should_is_trusted(tmp_path: Path) -> None:
    path = mux_fields(tmp_path / "a.ts", code_fields(FRAMES, number_step=2))
    assert [(one.status, one.number) for one in see(VideoFile(path))] == [
        (OK, n) for n in range(FRAMES)
    ]


def test_long_messages_before_a_picture_hide_nothing(fields: list[CodedField]) -> None:
    message = b"\x00\x00\x01\x06\x05" + b"\xff" * 20 + b"\x00" + b"x" * 5100 + b"\x80"
    pictures = H264Pictures(None)
    found = [
        pictures.read(memoryview(message + one.data), is_key=one.is_key).is_second_field
        for one in fields
    ]
    assert found == [one.is_bottom for one in fields]


@pytest.mark.parametrize("name", ["h264 interlaced", "h264 with B-frames"])
def test_pictures_that_are_coded_as_frames_are_no_pairs(
    clip_path: Callable[[Clip], Path], name: str
) -> None:
    assert not np.any(VideoFile(clip_path(find_clip(name))).index.flags & FIELD)


@pytest.mark.parametrize("chunk_bytes", [1500, 40_000])
async def test_a_stream_of_fields_gives_its_frames(
    fields: list[CodedField], read_number: Callable[..., int | None], chunk_bytes: int
) -> None:
    data = b"".join(one.data for one in fields)
    frames, corrupt = await decode_stream(ChunkDecoder("h264"), data, chunk_bytes)
    assert corrupt == 0
    assert [(one.status, read_number(one.pixels)) for one in frames] == [
        (OK, n) for n in range(FRAMES)
    ]


async def test_a_stream_that_loses_a_field_loses_no_more_than_its_group(
    fields: list[CodedField], read_number: Callable[..., int | None]
) -> None:
    decoder = ChunkDecoder("h264")
    frames, corrupt = [], 0
    for one in fields:
        if (one.frame, one.is_bottom) == (10, True):
            continue
        decoded = await decoder.feed(one.data, pts_ns=one.frame)
        frames += decoded.frames
        corrupt += decoded.packets_corrupt
    decoded = await decoder.flush()
    frames += decoded.frames
    shown = [(one.pts_ns, read_number(one.pixels)) for one in frames if one.status == OK]
    assert all(time == number for time, number in shown)
    assert {number for _, number in shown} >= {*range(8), *range(16, FRAMES)}
    assert corrupt + decoded.packets_corrupt == 1
