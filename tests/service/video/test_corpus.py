"""Every frame of every clip of the corpus comes under its own index, from every decoder."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import pytest

from service.values import FrameStatus
from service.video import DecodeWorkers
from service.video.pyav import VideoFile
from tests.service.video.barcode import read_barcode
from tests.service.video.clips import CLIPS, find_clip
from tests.service.video.corpus import Clip
from tests.service.video.reading import DECODERS, Decoder, SeenFrame, see_through

PAIRS = [
    pytest.param(decoder, clip, id=f"{clip} by {decoder}")
    for clip in CLIPS
    for decoder in DECODERS
    if decoder.takes(clip)
]


@pytest.fixture
def path(clip: Clip, clip_path: Callable[[Clip], Path]) -> Path:
    return clip_path(clip)


def assert_own_frames(clip: Clip, seen: list[SeenFrame], first: int, end: int) -> None:
    numbers = clip.numbers
    assert [(one.frame_index, one.status, one.number) for one in seen] == [
        (index, FrameStatus.OK, numbers[index]) for index in range(first, end)
    ]
    times_s = [one.pts_ns * 1e-9 for one in seen]
    if clip.clock_s is None:
        assert all(one < next_one for one, next_one in pairwise(times_s))
        return
    expected_s = [float(time_s) for time_s in clip.times_s[first:end]]
    if clip.shifts_times:
        times_s = [one - times_s[0] for one in times_s]
        expected_s = [one - expected_s[0] for one in expected_s]
    # 2 ns: a difference of two times, each rounded to ns.
    assert times_s == pytest.approx(expected_s, rel=0, abs=float(clip.clock_s) + 2e-9)


@pytest.mark.parametrize(("decoder", "clip"), PAIRS)
async def test_every_frame_comes_under_its_own_index_from_any_start(
    decoder: Decoder, clip: Clip, path: Path
) -> None:
    frames = len(clip.numbers)
    middle = frames * 2 // 3
    parts = [(0, None), (middle, 5), (frames - 1, None), (frames, 1)]
    whole, part, last, none = await decoder.read(path, parts)
    assert_own_frames(clip, whole, 0, frames)
    assert_own_frames(clip, part, middle, middle + 5)
    assert_own_frames(clip, last, frames - 1, frames)
    assert none == []


@pytest.mark.parametrize("clip", CLIPS, ids=str)
def test_the_corpus_is_what_it_says(clip: Clip, path: Path) -> None:
    info = VideoFile(path).info
    assert (info.codec, info.width_px, info.height_px) == (clip.codec, *clip.size_px)
    assert info.frame_rate_hz > 0


@pytest.mark.parametrize("clip", [one for one in CLIPS if one.rotation_deg], ids=str)
def test_rotation_is_that_of_other_programs(path: Path, clip: Clip) -> None:
    capture = cv2.VideoCapture(str(path))
    is_read, picture = capture.read()
    capture.release()
    assert is_read
    assert read_barcode(picture) == clip.numbers[0]


async def test_leaving_a_decoder_in_the_middle_never_hangs(
    clip_path: Callable[[Clip], Path],
) -> None:
    # VP9 lets go of reference pictures in its own threads, at any moment.
    path = clip_path(find_clip("vp9"))
    async with DecodeWorkers(1, threads=2, stall_timeout_s=10.0) as workers:
        for _ in range(60):
            assert len(await see_through(workers, path, 26, 5)) == 5
