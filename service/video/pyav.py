"""Reads one video file with PyAV: every frame of its packet index, under its own number."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidVideo, VideoNotFound
from service.values import FrameStatus, VideoInfo
from service.video.base import Color, VideoLimits
from service.video.ledger import Ledger, Settled, create_ledger, find_start
from service.video.packets import (
    DAMAGED,
    EMPTY,
    NO_TIME,
    PacketIndex,
    Progress,
    index_packets,
    read_packets,
)
from service.video.pixels import PixelConverter

DECODER = f"pyav {av.__version__}"
# Only containers that hold their own pictures: playlists and lists of files would have the server
# open other paths.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,ogg,flv,asf,mjpeg,"
    "mpjpeg,h264,hevc,vvc,obu,ivf,gif,nut,dv,mxf,yuv4mpegpipe,swf,rm,wtv"
)
# Packets that a decoder may hold back before it gives their picture (VVC: more than 24); its
# threads come on top. Pictures pile up to this number only behind one that never comes.
_HELD_BACK = 48


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
    they are asked for. Memory does not grow with the file but for 9 bytes a packet.
    """

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
        with _open_container(path, self._limits) as container:
            stream = _find_video(container, path)
            self._limits.check(f"{path}", stream.codec_context.width, stream.codec_context.height)
            self._index = index_packets(container, stream, path, progress)
            tick_ns = (stream.time_base or Fraction(1)) * 1_000_000_000
            self._ns, self._per = tick_ns.numerator, tick_ns.denominator
            rate = stream.average_rate or stream.guessed_rate
            codec = stream.codec_context.codec.canonical_name
            claimed_frames = stream.frames
        first = next((row.picture for row in self._decoded(0) if row.picture is not None), None)
        if first is None:
            raise InvalidVideo(
                f"none of the {len(self._index.pts)} packets of {path} ({codec}) can be decoded; "
                "the file is damaged, record or convert it again"
            )
        self._converter = PixelConverter(color, first.width, first.height, first.rotation)
        self.shape = self._converter.shape
        """(H, W, 3) or (H, W) of every converted frame."""
        self.info = VideoInfo(
            width_px=self.shape[1],
            height_px=self.shape[0],
            frame_rate_hz=float(rate) if rate else 0.0,
            claimed_frames=claimed_frames,
            codec=codec,
            decoder=DECODER,
        )

    @property
    def frames(self) -> int:
        """Number of rows of the whole file."""
        return len(self._index.shown) + self._index.missing

    def rows(self, first_frame: int = 0, frame_limit: int | None = None) -> Iterator[PictureRow]:
        """Yield the rows from `first_frame` on, at most `frame_limit` of them, in order.

        A picture is valid until the next row is asked for.
        """
        end = self.frames if frame_limit is None else min(self.frames, first_frame + frame_limit)
        if first_frame >= end:
            return
        for row in chain(self._decoded(first_frame), self._missing(first_frame)):
            if row.frame_index >= first_frame:
                yield self._checked(row)
            if row.frame_index + 1 >= end:
                return

    def convert(self, picture: av.VideoFrame, out: NDArray[np.uint8]) -> None:
        """Write the pixels of a row into `out`, uint8 of `shape`."""
        self._converter.convert(picture, out)

    def _checked(self, row: PictureRow) -> PictureRow:
        if row.picture is None or self._converter.takes(row.picture):
            return row
        reason = (
            f"is {row.picture.width}x{row.picture.height} px, unlike the first frame of the video"
        )
        return PictureRow(row.frame_index, row.pts_ns, FrameStatus.CORRUPT, None, reason)

    def _decoded(self, first_rank: int) -> Iterator[PictureRow]:
        """Yield a row for each shown packet, from `first_rank` on or earlier."""
        rank = first_rank if self._index.by_time else 0
        # A decoder with frame threads tells errors late and swallows frames that follow one, so
        # damaged files are decoded by one thread from the first error on.
        threads = self._threads if self._index.by_time else 1
        seek = True
        previous: av.VideoFrame | None = None
        while rank < len(self._index.shown):
            run = _DecodeRun(self._path, self._index, self._limits, rank, threads, seek=seek)
            try:
                for settled, reason in run.pictures(self._progress):
                    row = self._row(rank, settled, reason, previous)
                    previous = row.picture or previous
                    rank += 1
                    yield row
            except _DecodeAgain as again:
                threads, seek = 1, seek and again.seek
                continue
            return

    def _row(
        self,
        rank: int,
        settled: Settled[av.VideoFrame],
        reason: str,
        previous: av.VideoFrame | None,
    ) -> PictureRow:
        time_ns = self._time_ns(rank, settled.position)
        is_empty = self._index.flags.item(settled.position) & EMPTY
        if is_empty and previous is not None and not settled.is_suspect:
            return PictureRow(rank, time_ns, FrameStatus.REPEATED, previous, "")
        if settled.picture is None:
            reason = reason or "no picture came from its packet"
        elif settled.is_suspect:
            reason = "is damaged, or refers to a frame that is"
        else:
            return PictureRow(rank, time_ns, FrameStatus.OK, settled.picture, "")
        return PictureRow(rank, time_ns, FrameStatus.CORRUPT, None, reason)

    def _missing(self, first_frame: int) -> Iterator[PictureRow]:
        shown = len(self._index.shown)
        step_ns = round(1e9 / self.info.frame_rate_hz) if self.info.frame_rate_hz else 0
        last_ns = self._time_ns(shown - 1, int(self._index.shown[-1])) if shown else 0
        for place in range(max(0, first_frame - shown), self._index.missing):
            yield PictureRow(
                shown + place,
                last_ns + (place + 1) * step_ns,
                FrameStatus.MISSING,
                None,
                "the container lists it, but the file ends before it",
            )

    def _time_ns(self, rank: int, position: int) -> int:
        # Without presentation times, the packets' times in rising order are those of the frames.
        place = position if self._index.by_time else self._index.shown.item(rank)
        ticks = self._index.pts.item(place)
        # In whole numbers, rounded half up: a Fraction a frame costs more than the rest of a row.
        return 0 if ticks == NO_TIME else (2 * ticks * self._ns + self._per) // (2 * self._per)


class _DecodeAgain(Exception):
    """This run cannot give exact rows; another one can."""

    def __init__(self, *, seek: bool) -> None:
        super().__init__()
        self.seek = seek


class _DecodeRun:
    """One pass of a decoder over a file, from a key frame on."""

    def __init__(
        self,
        path: Path,
        index: PacketIndex,
        limits: VideoLimits,
        first_rank: int,
        threads: int,
        *,
        seek: bool,
    ) -> None:
        self._path = path
        self._index = index
        self._limits = limits
        self._threads = threads
        self._start = find_start(index, first_rank) if seek else 0
        self._first_rank = first_rank
        self._ledger: Ledger[av.VideoFrame]
        self._errors: dict[int, str] = {}

    def pictures(self, progress: Progress) -> Iterator[tuple[Settled[av.VideoFrame], str]]:
        """Yield rows and the decoder's error on their packet, in presentation order.

        Raises:
            _DecodeAgain: a decoder with several threads met an error, or seeking is not exact.
        """
        with _open_container(self._path, self._limits) as container:
            stream = _find_video(container, self._path)
            context = stream.codec_context
            context.options = {"max_pixels": str(self._limits.max_pixels)}
            context.thread_count = self._threads
            context.thread_type = "AUTO" if self._threads > 1 else "NONE"
            context.copy_opaque = True  # carries a packet's position to its picture
            for position, packet in self._positions(container, stream):
                progress()
                # A fresh object each: PyAV keeps it under its address until the packet is freed.
                packet.opaque = (position,)
                self._feed(context, position, packet)
                yield from self._settle(position - _HELD_BACK - self._threads)
            self._drain(context)
            yield from self._settle(len(self._index.pts))

    def _positions(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[tuple[int, av.Packet]]:
        """Yield packets with their positions, checked against the index."""
        position = 0
        if self._start:
            try:
                container.seek(int(self._index.pts[self._start]), stream=stream)
            except av.FFmpegError as error:
                raise _DecodeAgain(seek=False) from error
            position = -1
        else:
            self._ledger = create_ledger(self._index, self._first_rank, 0)
        for packet in read_packets(container, stream):
            time = packet.pts if packet.pts is not None else packet.dts
            if position < 0:
                matches = np.flatnonzero(self._index.pts == time)
                if len(matches) != 1 or matches[0] > self._start:
                    raise _DecodeAgain(seek=False)
                position = int(matches[0])
                self._ledger = create_ledger(self._index, self._first_rank, position)
            if position >= len(self._index.pts):
                return  # the file has grown since it was indexed
            if self._start and self._index.pts.item(position) != (
                NO_TIME if time is None else time
            ):
                raise _DecodeAgain(seek=False)
            yield position, packet
            position += 1
        if position < 0:
            raise _DecodeAgain(seek=False)

    def _feed(self, context: av.VideoCodecContext, position: int, packet: av.Packet) -> None:
        if self._index.flags.item(position) & EMPTY:
            self._ledger.refuse(position)  # to a decoder, an empty packet would mean the end
            return
        try:
            pictures = context.decode(packet)
        except av.FFmpegError as error:
            self._fail(position, error)
            return
        self._take(pictures)

    def _drain(self, context: av.VideoCodecContext) -> None:
        try:
            self._take(context.decode(None))
        except av.FFmpegError as error:
            self._fail(len(self._index.pts) - 1, error)

    def _take(self, pictures: list[av.VideoFrame]) -> None:
        for picture in pictures:
            if picture.opaque is not None:
                position = picture.opaque[0]
                flags = self._index.flags.item(position)
                is_damaged = picture.is_corrupt or bool(flags & DAMAGED)
                if picture.is_corrupt and self._is_sought(position):
                    raise _DecodeAgain(seek=False)
                self._ledger.add(position, picture, is_damaged=is_damaged)

    def _is_sought(self, position: int) -> bool:
        """True where the picture should be whole, since it comes after the key frame sought.

        Some encoders mark frames as key frames that later ones look back beyond; only a decoder
        that began at the start of the file knows what these show.
        """
        return bool(self._start and self._index.pts[position] >= self._index.pts[self._start])

    def _fail(self, position: int, error: av.FFmpegError) -> None:
        if self._threads > 1:
            raise _DecodeAgain(seek=True) from error
        self._errors[position] = f"cannot be decoded: {error.strerror}"
        self._ledger.refuse(position)

    def _settle(self, fed: int) -> Iterator[tuple[Settled[av.VideoFrame], str]]:
        for settled in self._ledger.settle(fed):
            yield settled, self._errors.pop(settled.position, "")


def _open_container(path: Path, limits: VideoLimits) -> av.container.InputContainer:
    if not path.exists():
        raise VideoNotFound(f"no file is at {path}; check the path")
    if not path.is_file():
        raise InvalidVideo(f"{path} is not a regular file; give a video file")
    if path.stat().st_size == 0:
        raise InvalidVideo(f"{path} is empty (0 bytes); record or copy it again")
    try:
        return av.open(
            f"file:{path}",
            metadata_errors="replace",  # titles in another encoding are no reason to refuse
            options={
                "format_whitelist": _FORMATS,
                "protocol_whitelist": "file",
                "max_pixels": str(limits.max_pixels),
            },
        )
    except PermissionError as error:
        raise InvalidVideo(f"{path} may not be read by this user; change its rights") from error
    except av.FFmpegError as error:
        raise InvalidVideo(
            f"{path} cannot be opened as a video ({error.strerror}); if it was cut off while it "
            "was recorded, its index is lost: repair it, or record fragmented MP4 or MKV"
        ) from error


def _find_video(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    cover = av.stream.Disposition.attached_pic
    streams = [one for one in container.streams.video if not one.disposition & cover]
    if not streams:
        kinds = sorted({one.type for one in container.streams}) or ["nothing"]
        raise InvalidVideo(
            f"{path} holds no video stream, only {', '.join(kinds)}; give a file with a video"
        )
    if streams[0].codec_context is None:
        raise InvalidVideo(
            f"no decoder for the video stream of {path} is built into {DECODER}; convert the "
            "video to H.264"
        )
    return streams[0]
