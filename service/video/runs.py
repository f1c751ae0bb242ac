"""One pass of a decoder over a file, from a key frame on: packets in, rows in order out."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from service.video.base import VideoLimits
from service.video.containers import find_video, open_container
from service.video.contexts import OpenContext, PacketDecoder
from service.video.ledger import Ledger, Settled, create_ledger, find_start
from service.video.packets import (
    DAMAGED,
    EMPTY,
    FIELD,
    LOST,
    NO_TIME,
    PacketIndex,
    Progress,
    read_packets,
)

# Packets that a decoder may hold back before it gives their picture (VVC: more than 24); its
# threads come on top. Pictures pile up to this number only behind one that never comes.
_HELD_BACK = 48


class DecodeAgain(Exception):
    """This run cannot give exact rows; another one can."""

    def __init__(self, *, seek: bool) -> None:
        super().__init__()
        self.seek = seek


class DecodeRun:
    """Decodes the packets of a file; `pictures` is iterated once."""

    def __init__(
        self,
        path: Path,
        index: PacketIndex,
        limits: VideoLimits,
        first_rank: int,
        threads: int,
        open_context: OpenContext,
        *,
        end: int,
        seek: bool,
    ) -> None:
        """Take what to decode.

        Args:
            path: of the file.
            index: of its packets.
            limits: the largest picture that is decoded.
            first_rank: place of the first picture in presentation order.
            threads: of the decoder.
            open_context: opens the decoder.
            end: file position of the first packet that is not decoded any more.
            seek: begin at a key frame; else at the begin of the file.
        """
        self._path = path
        self._end = end
        self._open_context = open_context
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
            DecodeAgain: a decoder with several threads met an error, or seeking is not exact.
        """
        with open_container(self._path, self._limits) as container:
            stream = find_video(container, self._path)
            context = self._open_context(stream, self._limits, self._threads)
            try:
                for position, packet in self._positions(container, stream):
                    progress()
                    # A fresh object each: PyAV keeps it under its address while the packet lives.
                    packet.opaque = (position,)
                    self._feed(context, position, packet)
                    yield from self._settle(position - _HELD_BACK - self._threads)
                self._drain(context)
                yield from self._settle(self._end)
            finally:
                # A context that is freed waits for its threads, and they may wait for the
                # interpreter to take an opaque object back. Here they end without it.
                stream.codec_context.flush_buffers()

    def _positions(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[tuple[int, av.Packet]]:
        """Yield packets with their positions, checked against the index."""
        position = 0
        if self._start:
            try:
                container.seek(int(self._index.pts[self._start]), stream=stream)
            except av.FFmpegError as error:
                raise DecodeAgain(seek=False) from error
            position = -1
        else:
            self._ledger = create_ledger(self._index, self._first_rank, 0)
        for packet in read_packets(container, stream):
            time = packet.pts if packet.pts is not None else packet.dts
            if position < 0:
                matches = np.flatnonzero(self._index.pts == time)
                if len(matches) != 1 or matches[0] > self._start:
                    raise DecodeAgain(seek=False)
                position = int(matches[0])
                self._ledger = create_ledger(self._index, self._first_rank, position)
            while position < len(self._index.pts) and self._index.flags.item(position) & LOST:
                position += 1
            if position >= self._end:
                return  # or the file has grown since it was indexed
            if self._start and self._index.pts.item(position) != (
                NO_TIME if time is None else time
            ):
                raise DecodeAgain(seek=False)
            yield position, packet
            position += 1
        if position < 0:
            raise DecodeAgain(seek=False)

    def _feed(self, context: PacketDecoder, position: int, packet: av.Packet) -> None:
        if self._index.flags.item(position) & EMPTY:
            self._ledger.refuse(position)  # to a decoder, an empty packet would mean the end
            return
        try:
            pictures = context.decode(packet)
        except av.FFmpegError as error:
            self._fail(position, error)
            return
        self._take(pictures)

    def _drain(self, context: PacketDecoder) -> None:
        try:
            self._take(context.decode(None))
        except av.FFmpegError as error:
            self._fail(self._end - 1, error)

    def _take(self, pictures: list[av.VideoFrame]) -> None:
        for picture in pictures:
            if picture.opaque is not None:
                position = picture.opaque[0]
                flags = self._index.flags.item(position)
                is_damaged = picture.is_corrupt or bool(flags & DAMAGED) or position in self._errors
                if picture.is_corrupt and self._is_sought(position):
                    raise DecodeAgain(seek=False)
                self._ledger.add(position, picture, is_damaged=is_damaged)

    def _is_sought(self, position: int) -> bool:
        """True where the picture should be whole, since it comes after the key frame sought.

        Some encoders mark frames as key frames that later ones look back beyond; only a decoder
        that began at the start of the file knows what these show.
        """
        return bool(self._start and self._index.pts[position] >= self._index.pts[self._start])

    def _fail(self, position: int, error: av.FFmpegError) -> None:
        if self._threads > 1:
            raise DecodeAgain(seek=True) from error
        if self._index.flags.item(position) & FIELD:
            position -= 1  # one picture comes of both
        self._errors[position] = f"cannot be decoded: {error.strerror}"
        self._ledger.refuse(position)

    def _settle(self, fed: int) -> Iterator[tuple[Settled[av.VideoFrame], str]]:
        for settled in self._ledger.settle(fed):
            yield settled, self._errors.pop(settled.position, "")
