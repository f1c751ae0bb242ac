"""The decoders that the corpus goes through, each as a function from a file to what it shows."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.errors import InvalidVideo
from service.values import FrameStatus, VideoFrame
from service.video import ChunkDecoder, DecodeWorkers
from service.video.ladder import (
    DALI_CPU_CODECS,
    Wanted,
    is_installed,
    open_file,
    refuse_machine,
)
from service.video.nvdec import find_nvdec
from service.video.pyav import PictureRow, VideoFile
from service.video.shares import rows_of_share, share_limits
from tests.service.video.barcode import read_barcode
from tests.service.video.corpus import Clip


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """One row of a decoder."""

    frame_index: int
    status: FrameStatus
    number: int | None
    """What the picture shows; None without one, and where it shows no number."""
    pts_ns: int


Part = tuple[int, int | None]
"""First frame and most rows."""
Read = Callable[[Path, Sequence[Part]], Awaitable[list[list[SeenFrame]]]]
"""Reads parts of a file, each from its own first frame on."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """A way from a file to frames."""

    name: str
    read: Read
    takes: Callable[[Clip], bool] = lambda clip: True
    """Whether a clip is to be decoded by it."""

    def __str__(self) -> str:
        """Show the name, for the names of tests."""
        return self.name


def see(video: VideoFile, first_frame: int = 0, frame_limit: int | None = None) -> list[SeenFrame]:
    """Read an open file in this process."""
    return _see_rows(video, video.rows(first_frame, frame_limit))


async def decode_stream(
    decoder: ChunkDecoder, data: bytes, chunk_bytes: int
) -> tuple[list[VideoFrame], int]:
    """Feed a stream in pieces, with their places for times; return frames and corrupt packets."""
    frames: list[VideoFrame] = []
    corrupt = 0
    for start in range(0, len(data), chunk_bytes):
        decoded = await decoder.feed(data[start : start + chunk_bytes], pts_ns=start)
        frames += decoded.frames
        corrupt += decoded.packets_corrupt
    decoded = await decoder.flush()
    return frames + decoded.frames, corrupt + decoded.packets_corrupt


def see_shared(
    path: Path, shares: int, first_frame: int = 0, frame_limit: int | None = None
) -> list[SeenFrame]:
    """Read a file by several readers in turn, each of which decodes its share of it."""
    seen: list[SeenFrame] = []
    for share in range(shares):
        video = VideoFile(path)
        end = video.frames if frame_limit is None else min(video.frames, first_frame + frame_limit)
        limits = share_limits(video.index, first_frame, max(first_frame, end), least_frames=1)
        seen += _see_rows(video, rows_of_share(video, limits, share, shares))
    return sorted(seen, key=lambda one: one.frame_index)


def _see_rows(video: VideoFile, rows: Iterable[PictureRow]) -> list[SeenFrame]:
    pixels = np.empty(video.shape, np.uint8)
    seen = []
    for row in rows:
        number = None
        if row.picture is not None:
            video.convert(row.picture, pixels)
            number = read_barcode(pixels)
        seen.append(SeenFrame(row.frame_index, row.status, number, row.pts_ns))
    return seen


def _in_process(threads: int) -> Read:
    async def read(path: Path, parts: Sequence[Part]) -> list[list[SeenFrame]]:
        video = VideoFile(path, threads=threads)
        return [see(video, *part) for part in parts]

    return read


def _in_shares(shares: int) -> Read:
    async def read(path: Path, parts: Sequence[Part]) -> list[list[SeenFrame]]:
        return [see_shared(path, shares, *part) for part in parts]

    return read


def _in_worker(threads: int) -> Read:
    async def read(path: Path, parts: Sequence[Part]) -> list[list[SeenFrame]]:
        async with DecodeWorkers(1, threads=threads) as workers:
            return [await see_through(workers, path, *part) for part in parts]

    return read


async def see_through(
    workers: DecodeWorkers, path: Path, first_frame: int = 0, frame_limit: int | None = None
) -> list[SeenFrame]:
    """Read a file as the server does."""
    async with workers.open(
        path, color="gray", first_frame=first_frame, frame_limit=frame_limit
    ) as reader:
        return [
            SeenFrame(
                frame.frame_index,
                frame.status,
                None if frame.pixels is None else read_barcode(frame.pixels),
                frame.pts_ns,
            )
            async for frame in reader
        ]


def _by(name: str) -> Read:
    """Read with a decoder that was asked for; what it does not take is PyAV's."""

    async def read(path: Path, parts: Sequence[Part]) -> list[list[SeenFrame]]:
        try:
            video = open_file(path, Wanted("gray"), decoder=name, threads=2).video
        except InvalidVideo:
            return await _in_process(1)(path, parts)
        seen = [see(video, *part) for part in parts]
        assert video.note == "", "it takes the file, so it decodes all of it"
        return seen

    return read


def _dali_takes(clip: Clip) -> bool:
    return is_installed("dali") and (not find_nvdec() or clip.codec in DALI_CPU_CODECS)


DECODERS = (
    Decoder("pyav 1 thread", _in_process(1)),
    Decoder("pyav 2 threads", _in_process(2)),
    Decoder("pyav in 3 shares", _in_shares(3)),
    Decoder("worker process", _in_worker(2)),
    Decoder("dali", _by("dali"), _dali_takes),
    Decoder("nvcodec", _by("nvcodec"), lambda clip: not refuse_machine("nvcodec")),
)
