"""The process that decodes; its one argument is the descriptor of a socket to its server.

It takes one job at a time, writes frames into memory shared with the server, and ends when the
socket closes. A file that makes the decoder crash or hang costs this process only.
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from numpy.typing import NDArray

from service.errors import EthostreamError
from service.values import FrameStatus
from service.video import messages
from service.video.base import Wanted
from service.video.ladder import open_file
from service.video.makers import FrameMaker
from service.video.messages import ServerGone, WorkerEnd
from service.video.pyav import VideoFile
from service.video.ring import FrameRing, Shapes
from service.video.shares import rows_of_share, share_limits
from service.video.stream import StreamDecoder

if TYPE_CHECKING:
    from service.preprocess import CropRegion
    from service.video.device_ring import DeviceRing, DeviceWriter
    from service.video.guarded import GuardedFile

# The server is told this often that a job without frames (indexing, skipping) goes on.
_BEAT_S = 0.5
# Decoding one packet longer than this means that the decoder hangs. The server notices sooner; this
# is for a server that is gone.
_HANG_S = 120
# Rows travel together: at most so many, and none waits longer than this for the next packet.
_MOST_ROWS = 8
_MOST_WAIT_S = 0.02
# The server is heard this often while packets are decoded.
_HEAR_S = 0.005


def main() -> None:
    """Serve jobs until the server closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    av.logging.set_level(None)
    with socket.socket(fileno=int(sys.argv[1])) as end, contextlib.suppress(ServerGone):
        _Worker(WorkerEnd(end)).serve()


class _LeaveJob(Exception):
    """The server wants the job to end."""


class _Worker:
    def __init__(self, channel: WorkerEnd) -> None:
        self._channel = channel
        self._ring: FrameRing | DeviceRing | None = None
        self._writer: DeviceWriter | None = None
        self._shapes: Shapes = ()
        self._free: list[int] = []
        self._beat_time_s = 0.0
        self._heard_time_s = 0.0
        self._rows: list[messages.Row] = []
        self._rows_time_s = 0.0

    def serve(self) -> None:
        """Take jobs, one after the other."""
        while True:
            signal.alarm(0)  # waiting for a job may take for ever
            message = self._channel.receive()
            try:
                if isinstance(message, messages.OpenFile):
                    if message.pictures:
                        self._read_pictures(message)
                    else:
                        self._read_file(message)
                elif isinstance(message, messages.OpenChunks):
                    self._read_chunks(message)
                elif isinstance(message, messages.Stop):
                    self._channel.send(messages.Stopped())
                # Slots of a job that is over may still come back; they mean nothing now.
            except _LeaveJob:
                self._send(messages.Stopped())
            except EthostreamError as error:
                self._send(messages.Failed(type(error).__name__, str(error)))
            except ServerGone:
                raise
            except Exception:
                text = traceback.format_exc(limit=-3)
                self._send(messages.Failed("DecoderFailed", f"decoder error: {text}"))
            finally:
                self._ring = self._writer = None

    def _read_pictures(self, job: messages.OpenFile) -> None:
        from service.video.pictures import PictureReader  # videos need no OpenCV

        files = map(Path, job.pictures)
        reader = PictureReader(files, color=job.color or "rgb", limits=job.limits)
        self._send(messages.Opened(reader.info))
        self._await_begin()
        for frame in reader.frames(job.first_frame, job.frame_limit):
            self._progress()
            slot, size = -1, (0, 0)
            if frame.pixels is not None:
                slot = self._write_picture(job, frame.pixels)
                size = (frame.pixels.shape[1], frame.pixels.shape[0])
            self._send_row(frame.frame_index, 0, frame.status, slot, size, frame.reason)
        self._send(messages.Done())

    def _read_file(self, job: messages.OpenFile) -> None:
        wanted = _wanted(job)
        opened = open_file(
            Path(job.path),
            wanted,
            decoder=job.decoder,
            limits=job.limits,
            threads=job.threads,
            progress=self._progress,
        )
        video = opened.video
        maker = FrameMaker(video, wanted, opened.hand_over)
        limits = _share_limits(job, video)
        lengths = np.diff(limits)
        self._send(
            messages.Opened(video.info, len(lengths), int(lengths.max()), opened.passed_over)
        )
        begin = self._await_begin()
        upright = (video.info.width_px, video.info.height_px)
        if begin.shares > 1 and isinstance(video, VideoFile):
            rows = rows_of_share(video, limits, begin.share, begin.shares)
        else:
            rows = video.rows(job.first_frame, job.frame_limit)
        is_first = True
        for row in rows:
            slot, size = -1, (0, 0)
            if row.picture is not None:
                slot, size = self._put(row.picture, maker), upright
            self._send_row(row.frame_index, row.pts_ns, row.status, slot, size, row.reason)
            if is_first:
                is_first = False
                _return_memory()
        self._send(messages.Done(video.note))

    def _await_begin(self) -> messages.Begin:
        signal.alarm(0)  # other workers may open the file first
        while not isinstance(message := self._channel.receive(), messages.Begin):
            self._handle(message)
        signal.alarm(_HANG_S)
        return message

    def _read_chunks(self, job: messages.OpenChunks) -> None:
        decoder = StreamDecoder(job.codec, _wanted(job), job.limits, decoder=job.decoder)
        while True:
            signal.alarm(0)
            message = self._channel.receive()
            if isinstance(message, messages.Stop):
                raise _LeaveJob
            if isinstance(message, messages.FreeSlots):
                self._free += message.slots
            elif isinstance(message, messages.Feed):
                signal.alarm(_HANG_S)
                for frame in decoder.feed(message.data, message.pts_ns, last=message.last):
                    slot, size = -1, (0, 0)
                    if frame.maker is not None:
                        slot, size = self._put(frame.picture, frame.maker), frame.size
                    self._send_row(
                        frame.frame_index, frame.pts_ns, frame.status, slot, size, frame.reason
                    )
                fed = decoder.take_report()
                self._send(messages.Fed(fed.packets_corrupt, fed.message))

    def _write_picture(self, job: messages.OpenFile, pixels: NDArray[np.uint8]) -> int:
        arrays = [pixels] if job.color else []
        if job.inputs:
            from service.preprocess import to_model_input

            crop = _crop(job)
            arrays += [to_model_input(pixels, spec, crop)[0] for spec in job.inputs]
        shapes = tuple(one.shape for one in arrays)
        slot, ring = self._take_slot(shapes, None)
        assert isinstance(ring, FrameRing), "memory of the GPU comes only where it is asked for"
        for out, array in zip(ring.views(slot, shapes), arrays, strict=True):
            out[:] = array
        return slot

    def _put(self, picture: Any, maker: FrameMaker) -> int:
        """Make what is wanted of a picture in a slot, whose number is returned."""
        slot, ring = self._take_slot(maker.shapes, maker.writer)
        if isinstance(ring, FrameRing):
            maker.make(picture, ring.views(slot, maker.shapes))
        elif maker.writer is not None:
            maker.writer.put(picture, ring.views(slot, maker.shapes))
        return slot

    def _send_row(
        self,
        frame_index: int,
        pts_ns: int,
        status: FrameStatus,
        slot: int,
        size: tuple[int, int],
        reason: str,
    ) -> None:
        if not self._rows:
            self._rows_time_s = time.monotonic()
        self._rows.append(messages.Row(frame_index, pts_ns, int(status), slot, size, reason))
        if len(self._rows) >= _MOST_ROWS:
            self._send_rows()

    def _send_rows(self) -> None:
        if self._rows:
            if self._writer is not None:
                self._writer.wait()
            self._channel.send(messages.Rows(self._rows))
            self._rows = []

    def _send(self, message: messages.ToServer) -> None:
        """Send a message behind the rows that came before it."""
        self._send_rows()
        self._channel.send(message)

    def _progress(self) -> None:
        """Hear the server between packets, and let it hear."""
        now_s = time.monotonic()
        if self._rows and now_s - self._rows_time_s > _MOST_WAIT_S:
            self._send_rows()
        if now_s - self._heard_time_s < _HEAR_S:
            return
        self._heard_time_s = now_s
        if now_s - self._beat_time_s > _BEAT_S:
            self._beat_time_s = now_s
            signal.alarm(_HANG_S)
            self._send(messages.Beat())
        while (message := self._channel.receive_waiting()) is not None:
            self._handle(message)

    def _take_slot(
        self, shapes: Shapes, writer: "DeviceWriter | None"
    ) -> "tuple[int, FrameRing | DeviceRing]":
        """Wait for a slot that the server is done with.

        Args:
            shapes: of the arrays that it holds.
            writer: writes to the GPU, where slots may be there.
        """
        if self._ring is None or shapes != self._shapes or writer is not self._writer:
            self._send_rows()  # of the memory before
            self._ring, self._shapes, self._writer = None, shapes, writer
            self._send(messages.NeedRing(shapes, on_device=writer is not None))
        while self._ring is None or not self._free:
            self._send_rows()
            signal.alarm(0)  # the server may take its time
            self._handle(self._channel.receive())
            signal.alarm(_HANG_S)
        return self._free.pop(), self._ring

    def _handle(self, message: messages.ToWorker) -> None:
        if isinstance(message, messages.Stop):
            raise _LeaveJob
        if isinstance(message, messages.FreeSlots):
            self._free += message.slots
        elif isinstance(message, messages.Ring):
            self._ring = self._open_ring(message)
            self._free = list(range(message.slots))

    def _open_ring(self, message: messages.Ring) -> "FrameRing | DeviceRing":
        descriptor = self._channel.take_descriptor()
        try:
            if message.on_device:
                from service.video.device_ring import open_device_ring

                return open_device_ring(descriptor, message.slots, message.slot_bytes)
            return FrameRing(descriptor, message.slots, message.slot_bytes)
        finally:
            os.close(descriptor)


def _wanted(job: messages.OpenFile | messages.OpenChunks) -> Wanted:
    return Wanted(job.color, job.inputs, _crop(job), job.on_device)


def _share_limits(job: messages.OpenFile, video: "VideoFile | GuardedFile") -> NDArray[np.int64]:
    """Limits of the stretches that workers may share; whole frames are too large to be held back.

    Decoders of GPUs share a file out themselves.
    """
    end = video.frames if job.frame_limit is None else job.first_frame + job.frame_limit
    end = max(job.first_frame, min(end, video.frames))
    if job.color is None and isinstance(video, VideoFile):
        return share_limits(video.index, job.first_frame, end)
    return np.array([job.first_frame, end], np.int64)


def _return_memory() -> None:
    """Give the system what the opening of a long file took for a moment: some 60 bytes a frame."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # only in glibc
        trim(0)


def _crop(job: messages.OpenFile | messages.OpenChunks) -> "CropRegion | None":
    if job.crop is None:
        return None
    from service.preprocess import CropRegion  # with OpenCV, which whole frames need not

    return CropRegion(*job.crop)


if __name__ == "__main__":
    main()
