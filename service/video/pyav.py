"""Reads one video file with PyAV: every frame of its packet index, under its own number."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidVideo
from service.values import FrameStatus, VideoInfo
from service.video.base import Color, VideoLimits
from service.video.containers import DECODER, find_video, open_container
from service.video.contexts import OpenContext, open_pyav
from service.video.keys import KeyPictures
from service.video.ledger import Settled
from service.video.packets import (
    EMPTY,
    LOST,
    NOT_CODED,
    PacketIndex,
    Progress,
    find_rate_hz,
    index_packets,
)
from service.video.pixels import PixelConverter, describe_picture, is_mirrored
from service.video.runs import DecodeAgain, DecodeRun


@dataclass(frozen=True, slots=True)
class PictureRow:
    """One row of a file before its pixels are converted."""

    frame_index: int
    pts_ns: int
    status: FrameStatus
    picture: av.VideoFrame | None
    """None where the status has no pixels."""
    reason: str
    """Why there are none; empty otherwise."""


class VideoFile:
    """An open video file; `rows` and then `convert` are called from one thread.

    The index of the packets is read at once (the whole file goes by, undecoded), frames when
    they are asked for. Memory does not grow with the file but for 10 bytes a packet.
    """

    note = ""
    """What another decoder had to do; see `GuardedFile`."""

    def __init__(
        self,
        path: Path,
        *,
        color: Color = "rgb",
        limits: VideoLimits | None = None,
        threads: int = 1,
        progress: Progress = lambda: None,
    ) -> None:
        """Open `path` and decode its first frame, which tells size and rotation.

        Args:
            path: a regular file.
            color: what `convert` makes.
            limits: the largest picture that is decoded.
            threads: of the decoder.
            progress: called between packets; may raise to leave the job.

        Raises:
            VideoNotFound: nothing is at `path`.
            InvalidVideo: it holds no video of which a frame can be decoded.
            FrameTooLarge: its pictures are over the limits.
        """
        self._path = path
        self._limits = limits or VideoLimits()
        self._threads = threads
        self._progress = progress
        self._open_context: OpenContext = open_pyav
        self.can_seek = True
        """False once it was seen that what a seek gives is not exact: readings start at 0."""
        with open_container(path, self._limits) as container:
            stream = find_video(container, path)
            self._limits.check(f"{path}", stream.codec_context.width, stream.codec_context.height)
            self._index = index_packets(container, stream, path, progress)
            times = self._index.times
            self._ticks = np.empty(0, np.int64) if self._index.by_time else times
            tick_ns = (stream.time_base or Fraction(1)) * 1_000_000_000
            self._ns, self._per = tick_ns.numerator, tick_ns.denominator
            self._frame_rate_hz = find_rate_hz(stream, times)
            codec = stream.codec_context.codec.canonical_name
            claimed_frames = stream.frames
        first = next((row.picture for row in self._decoded(0) if row.picture is not None), None)
        if first is None:
            raise InvalidVideo(
                f"none of the {len(self._index.pts)} packets of {path} ({codec}) can be decoded; "
                "the file is damaged, record or convert it again"
            )
        if is_mirrored(first):
            raise InvalidVideo(
                f"{path} asks to be shown mirrored, and frames are only turned here; convert it "
                "(ffmpeg stores pictures as they are shown), or take the display matrix out"
            )
        self._converter = PixelConverter(color, first.width, first.height, first.rotation)
        self.shape = self._converter.shape
        """(H, W, 3) or (H, W) of every converted frame."""
        self.quarter_turns = self._converter.quarter_turns
        """Counterclockwise, from the stored grid to `shape`."""
        self.stored = describe_picture(first)
        self.info = VideoInfo(
            width_px=self.shape[1],
            height_px=self.shape[0],
            frame_rate_hz=self._frame_rate_hz,
            claimed_frames=claimed_frames,
            codec=codec,
            decoder=DECODER,
        )

    @property
    def index(self) -> PacketIndex:
        """Of all packets of the file."""
        return self._index

    @property
    def frames(self) -> int:
        """Number of rows of the whole file."""
        return len(self._index.shown) + self._index.missing

    def decoded_by(self, open_context: OpenContext) -> "VideoFile":
        """Return this file with its packets decoded by another decoder."""
        other = copy(self)
        other._open_context = open_context
        other._threads = 1
        return other

    def open_keys(self) -> KeyPictures:
        """Open the file once more, for single key frames."""
        return KeyPictures(self._path, self._limits)

    def frame_time_ns(self, frame_index: int) -> int:
        """Return the presentation time of a frame; counted at the frame rate where there are none.

        In whole numbers, rounded half up: a Fraction a frame costs more than the rest of a row.
        """
        if self._index.by_time:
            ticks = self._index.pts.item(self._index.shown.item(frame_index))
        elif len(self._ticks):
            ticks = self._ticks.item(frame_index)
        else:
            return round(frame_index * 1e9 / self._frame_rate_hz) if self._frame_rate_hz else 0
        return (2 * ticks * self._ns + self._per) // (2 * self._per)

    def rows(
        self, first_frame: int = 0, frame_limit: int | None = None, *, is_closed: bool = False
    ) -> Iterator[PictureRow]:
        """Yield the rows from `first_frame` on, at most `frame_limit` of them, in order.

        A picture is valid until the next row is asked for.

        Args:
            first_frame: number of the first row.
            frame_limit: None takes all.
            is_closed: what follows is a `service.video.stretches.Stretch`: no packet of it is
                needed, and so none is decoded.
        """
        end = self.frames if frame_limit is None else min(self.frames, first_frame + frame_limit)
        if first_frame >= end:
            return
        last = len(self._index.pts)
        if is_closed and end < len(self._index.shown):
            last = self._index.shown.item(end)
        for row in chain(self._decoded(first_frame, last), self._missing(first_frame)):
            if row.frame_index >= first_frame:
                yield self._checked(row)
            if row.frame_index + 1 >= end:
                return

    def convert(self, picture: av.VideoFrame, out: NDArray[np.uint8]) -> None:
        """Write the pixels of a row into `out`, uint8 of `shape`."""
        self._converter.convert(picture, out)

    def view(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the pixels of a row, uint8 of `shape`, in memory that the next one takes."""
        return self._converter.view(picture)

    def _checked(self, row: PictureRow) -> PictureRow:
        if row.picture is None or self._converter.takes(row.picture):
            return row
        reason = (
            f"is {row.picture.width}x{row.picture.height} px, unlike the first frame of the video"
        )
        return PictureRow(row.frame_index, row.pts_ns, FrameStatus.CORRUPT, None, reason)

    def _decoded(self, first_rank: int, end: int | None = None) -> Iterator[PictureRow]:
        """Yield a row for each shown packet before `end`, from `first_rank` on or earlier."""
        rank = first_rank if self._index.by_time else 0
        shown, flags = self._index.shown, self._index.flags
        while 0 < rank < len(shown) and flags.item(shown.item(rank)) & (EMPTY | NOT_CODED):
            rank -= 1  # to the picture that is shown again
        # A decoder with frame threads tells errors late and swallows frames that follow one, so
        # damaged files are decoded by one thread from the first error on.
        threads = self._threads if self._index.by_time else 1
        previous: av.VideoFrame | None = None
        while rank < len(self._index.shown):
            run = DecodeRun(
                self._path,
                self._index,
                self._limits,
                rank,
                threads,
                self._open_context,
                end=len(self._index.pts) if end is None else end,
                seek=self.can_seek,
            )
            try:
                for settled, reason in run.pictures(self._progress):
                    row = self._row(rank, settled, reason, previous)
                    previous = row.picture or previous
                    rank += 1
                    yield row
            except DecodeAgain as again:
                threads, self.can_seek = 1, self.can_seek and again.seek
                continue
            return

    def _row(
        self,
        rank: int,
        settled: Settled[av.VideoFrame],
        reason: str,
        previous: av.VideoFrame | None,
    ) -> PictureRow:
        time_ns = self.frame_time_ns(rank)
        flags = self._index.flags.item(settled.position)
        is_repeated = flags & EMPTY or (flags & NOT_CODED and settled.picture is None)
        if is_repeated and previous is not None and not settled.is_suspect:
            return PictureRow(rank, time_ns, FrameStatus.REPEATED, previous, "")
        if flags & LOST:
            reason = "the container lists it, but it is not where it should be"
            return PictureRow(rank, time_ns, FrameStatus.MISSING, None, reason)
        if settled.picture is None:
            reason = reason or "no picture came from its packet"
        elif settled.is_suspect:
            reason = "is damaged, or refers to a frame that is"
        else:
            return PictureRow(rank, time_ns, FrameStatus.OK, settled.picture, "")
        return PictureRow(rank, time_ns, FrameStatus.CORRUPT, None, reason)

    def _missing(self, first_frame: int) -> Iterator[PictureRow]:
        shown = len(self._index.shown)
        step_ns = round(1e9 / self._frame_rate_hz) if self._frame_rate_hz else 0
        last_ns = self.frame_time_ns(shown - 1) if shown else 0
        for place in range(max(0, first_frame - shown), self._index.missing):
            yield PictureRow(
                shown + place,
                last_ns + (place + 1) * step_ns,
                FrameStatus.MISSING,
                None,
                "the container lists it, but the file ends before it",
            )
