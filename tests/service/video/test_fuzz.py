"""Files with flipped bits end, crash nothing, and move no frame that comes before the damage."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from service.errors import EthostreamError, InvalidVideo
from service.values import FrameStatus
from service.video import DecodeWorkers
from service.video.pyav import VideoFile
from tests.service.video.clips import find_clip
from tests.service.video.corpus import Clip
from tests.service.video.fuzz import find_packets, flip_bits, judge
from tests.service.video.reading import see, see_through

CLIPS = ("h264 with B-frames", "h264 in ts", "hevc in mkv", "mpeg4 in avi", "mjpeg", "vp9")
FEW, MANY = 4, 84  # variants of each clip; of all six: 24 and 504
FILE_S = 30.0


@pytest_asyncio.fixture
async def workers() -> AsyncIterator[DecodeWorkers]:
    async with DecodeWorkers(1, threads=2, stall_timeout_s=20.0) as pool:
        yield pool


def write_variants(whole: Path, folder: Path, seeds: range) -> list[tuple[Path, int]]:
    """Return damaged files, each with the first byte that cannot be trusted."""
    data, packets = whole.read_bytes(), find_packets(whole)
    variants = []
    for seed in seeds:
        changed, first_damage = flip_bits(data, packets, seed)
        path = folder / f"{seed}{whole.suffix}"
        path.write_bytes(changed)
        variants.append((path, first_damage))
    return variants


async def check(workers: DecodeWorkers, whole: Path, folder: Path, seeds: range) -> int:
    """Return how many frames come before the damage in those variants that can be read."""
    packets = find_packets(whole)
    early, refusals = 0, []
    for path, first_damage in write_variants(whole, folder, seeds):
        try:
            async with asyncio.timeout(FILE_S):
                seen = await see_through(workers, path)
        except EthostreamError as error:
            refusals.append(str(error))
            continue
        assert [one.frame_index for one in seen] == list(range(len(seen)))
        verdict = judge(seen, packets, first_damage)
        assert verdict.early_wrong == 0
        early += verdict.early
    assert len(refusals) <= len(seeds) // 2
    assert all(f"{folder}" in message for message in refusals)
    # The pool is as good as before.
    again = await see_through(workers, whole)
    assert [(one.status, one.number) for one in again] == [(FrameStatus.OK, n) for n in range(40)]
    return early


@pytest.mark.parametrize("name", CLIPS)
async def test_flipped_bits_move_no_frame_before_them(
    clip_path: Callable[[Clip], Path], workers: DecodeWorkers, tmp_path: Path, name: str
) -> None:
    await check(workers, clip_path(find_clip(name)), tmp_path, range(FEW))


@pytest.mark.full
@pytest.mark.parametrize("name", CLIPS)
async def test_many_flipped_bits_move_no_frame_before_them(
    clip_path: Callable[[Clip], Path], workers: DecodeWorkers, tmp_path: Path, name: str
) -> None:
    assert await check(workers, clip_path(find_clip(name)), tmp_path, range(FEW, FEW + MANY)) > 0


@pytest.mark.parametrize("name", ["h264 with B-frames", "h264 in ts", "mjpeg", "vp9"])
def test_what_is_trusted_does_not_depend_on_the_threads(
    clip_path: Callable[[Clip], Path], tmp_path: Path, name: str
) -> None:
    whole = clip_path(find_clip(name))
    for path, _ in write_variants(whole, tmp_path, range(1000, 1012)):
        try:
            one = see(VideoFile(path, threads=1))
        except InvalidVideo:
            continue
        for _ in range(3):
            assert see(VideoFile(path, threads=2)) == one
