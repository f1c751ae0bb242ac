"""A file that several workers share gives the rows that one worker gives."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.bundle import InputSpec
from service.errors import DecoderFailed, InvalidVideo
from service.values import FrameStatus, VideoFrame
from service.video import DecodeWorkers
from service.video.packets import KEY
from service.video.pyav import VideoFile
from service.video.readers import SharedReader
from service.video.shares import rows_of_share, share_limits
from tests.service.video.clips import find_clip
from tests.service.video.corpus import Clip
from tests.service.video.reading import see, see_shared
from tests.service.video.test_fuzz import write_variants

LONG = 1600
GRAY = InputSpec(width_px=80, height_px=60, color="gray", fit="stretch")


@pytest.fixture(scope="module")
def long_path(make_video: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of more stretches than there are workers."""
    folder = tmp_path_factory.mktemp("shares")
    return make_video(folder / "long.mp4", frames=LONG, options={"g": "50", "bf": "2"})


async def read(
    path: Path, processes: int, first_frame: int = 0, frame_limit: int | None = None
) -> list[tuple[int, int, FrameStatus, bytes]]:
    async with (
        DecodeWorkers(1, processes=processes, threads=1) as workers,
        workers.open(
            path,
            color=None,
            inputs=(GRAY,),
            first_frame=first_frame,
            frame_limit=frame_limit,
        ) as reader,
    ):
        assert len(workers.process_ids) == (processes if isinstance(reader, SharedReader) else 1)
        return [seen(frame) async for frame in reader]


def seen(frame: VideoFrame) -> tuple[int, int, FrameStatus, bytes]:
    pixels = frame.inputs[0].tobytes() if frame.inputs else b""
    return frame.frame_index, frame.pts_ns, frame.status, pixels


async def test_three_workers_give_the_rows_of_one(long_path: Path) -> None:
    whole = await read(long_path, 1)
    assert [row[0] for row in whole] == list(range(LONG))
    assert await read(long_path, 3) == whole
    assert await read(long_path, 3, 490, 700) == whole[490:1190]
    assert await read(long_path, 2, 1400) == whole[1400:]
    assert await read(long_path, 2, LONG) == []


async def test_whole_frames_and_short_videos_are_not_shared(
    long_path: Path, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    short = make_video(tmp_path / "short.mp4", frames=60, options={"g": "10"})
    async with DecodeWorkers(1, processes=3) as workers:
        for path, asked in ((long_path, {}), (short, {"color": None, "inputs": (GRAY,)})):
            async with workers.open(path, **asked) as reader:
                assert not isinstance(reader, SharedReader)
                assert len(workers.process_ids) == 1
                assert [frame.frame_index async for frame in reader][-1] in (59, LONG - 1)


async def test_a_reader_that_leaves_gives_all_workers_back(long_path: Path) -> None:
    async with DecodeWorkers(1, processes=3) as workers:
        for _ in range(3):
            async with workers.open(long_path, color=None, inputs=(GRAY,)) as reader:
                async for frame in reader:
                    if frame.frame_index == 300:
                        break
        assert len(workers.process_ids) == 3
        async with workers.open(long_path, color=None, inputs=(GRAY,)) as reader:
            assert [frame.frame_index async for frame in reader] == list(range(LONG))


async def test_a_worker_that_dies_fails_the_video_and_is_replaced(long_path: Path) -> None:
    async with DecodeWorkers(1, processes=2) as workers:

        async def read_and_kill() -> None:
            async with workers.open(long_path, color=None, inputs=(GRAY,)) as reader:
                async for frame in reader:
                    if frame.frame_index == 260:
                        os.kill(workers.process_ids[-1], signal.SIGKILL)

        with pytest.raises(DecoderFailed, match=r"ended by signal 9 .*long\.mp4"):
            await read_and_kill()
        async with workers.open(long_path, color=None, inputs=(GRAY,)) as reader:
            assert len([frame async for frame in reader]) == LONG


def write_hole(whole: Path, path: Path) -> Path:
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    return path


async def test_damage_is_told_as_by_one_worker(long_path: Path, tmp_path: Path) -> None:
    path = write_hole(long_path, tmp_path / "damaged.mp4")
    told = []
    for processes in (1, 3):
        async with (
            DecodeWorkers(1, processes=processes, threads=1) as workers,
            workers.open(path, color=None, inputs=(GRAY,)) as reader,
        ):
            rows = [seen(frame) async for frame in reader]
            told.append((rows, reader.faults, reader.message))
    assert told[0] == told[1]
    assert told[0][1], "the damage was seen"
    assert f"of {LONG} frames" in told[0][2]


@pytest.mark.parametrize("name", ["h264 with B-frames", "h264 in ts", "mpeg4 in avi", "vp9"])
def test_damaged_files_give_the_rows_of_one_reader(
    clip_path: Callable[[Clip], Path], tmp_path: Path, name: str
) -> None:
    for path, _ in write_variants(clip_path(find_clip(name)), tmp_path, range(8)):
        try:
            whole = see(VideoFile(path))
        except InvalidVideo:
            continue
        assert see_shared(path, 3) == whole


def test_where_a_seek_is_not_exact_each_reader_decodes_from_the_begin(long_path: Path) -> None:
    whole = see(VideoFile(long_path))
    rows: list[int] = []
    for share in range(3):
        video = VideoFile(long_path)
        limits = share_limits(video.index, 0, video.frames)
        assert len(limits) > 4
        video.can_seek = False
        rows += [row.frame_index for row in rows_of_share(video, limits, share, 3)]
    assert sorted(rows) == [one.frame_index for one in whole]


def test_limits_are_those_of_whole_stretches_inside_what_is_wanted(long_path: Path) -> None:
    index = VideoFile(long_path).index
    limits = share_limits(index, 120, 900)
    assert limits[0] == 120
    assert limits[-1] == 900
    assert np.diff(limits)[1:-1].min() >= 250
    assert np.all(index.flags[index.shown[limits[1:-1]]] & KEY)
