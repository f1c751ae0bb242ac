"""The process that decodes; its one argument is the descriptor of a socket to its server.

It takes one job at a time, writes frames into memory shared with the server, and ends when the
socket closes. A file that makes the decoder crash or hang costs this process only.
"""

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from service.errors import EthostreamError
from service.values import FrameStatus
from service.video import messages
from service.video.messages import WorkerEnd
from service.video.pyav import VideoFile
from service.video.ring import FrameRing
from service.video.stream import StreamDecoder

# The server is told this often that a job without frames (indexing, skipping) goes on.
_BEAT_S = 0.5
# Decoding one packet longer than this means that the decoder hangs. The server notices sooner; this
# is for a server that is gone.
_HANG_S = 120


def main() -> None:
    """Serve jobs until the server closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    av.logging.set_level(None)
    with socket.socket(fileno=int(sys.argv[1])) as end, contextlib.suppress(EOFError, OSError):
        _Worker(WorkerEnd(end)).serve()


class _LeaveJob(Exception):
    """The server wants the job to end."""


class _Worker:
    def __init__(self, channel: WorkerEnd) -> None:
        self._channel = channel
        self._ring: FrameRing | None = None
        self._shape: tuple[int, ...] = ()
        self._free: list[int] = []
        self._beat_time_s = 0.0

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
                self._channel.send(messages.Stopped())
            except EthostreamError as error:
                self._channel.send(messages.Failed(type(error).__name__, str(error)))
            except OSError:
                raise
            except Exception:
                text = traceback.format_exc(limit=-3)
                self._channel.send(messages.Failed("DecoderFailed", f"decoder error: {text}"))
            finally:
                self._ring = None

    def _read_pictures(self, job: messages.OpenFile) -> None:
        from service.video.pictures import PictureReader  # videos need no OpenCV

        reader = PictureReader(map(Path, job.pictures), color=job.color, limits=job.limits)
        self._channel.send(messages.Opened(reader.info))
        for frame in reader.frames(job.first_frame, job.frame_limit):
            self._progress()
            slot = -1
            if frame.pixels is not None:
                slot, out = self._take_slot(frame.pixels.shape)
                out[:] = frame.pixels
            self._send_row(frame.frame_index, 0, frame.status, slot, frame.reason)
        self._channel.send(messages.Done())

    def _read_file(self, job: messages.OpenFile) -> None:
        video = VideoFile(
            Path(job.path),
            color=job.color,
            limits=job.limits,
            threads=job.threads,
            progress=self._progress,
        )
        self._channel.send(messages.Opened(video.info))
        for row in video.rows(job.first_frame, job.frame_limit):
            slot = -1
            if row.picture is not None:
                slot, out = self._take_slot(video.shape)
                video.convert(row.picture, out)
            self._send_row(row.frame_index, row.pts_ns, row.status, slot, row.reason)
        self._channel.send(messages.Done())

    def _read_chunks(self, job: messages.OpenChunks) -> None:
        decoder = StreamDecoder(job.codec, job.color, job.limits)
        while True:
            signal.alarm(0)
            message = self._channel.receive()
            if isinstance(message, messages.Stop):
                raise _LeaveJob
            if isinstance(message, messages.FreeSlot):
                self._free.append(message.slot)
            elif isinstance(message, messages.Feed):
                signal.alarm(_HANG_S)
                for frame in decoder.feed(message.data, message.pts_ns, last=message.last):
                    slot = -1
                    if frame.picture is not None:
                        slot, out = self._take_slot(frame.shape)
                        frame.convert(out)
                    self._send_row(
                        frame.frame_index, frame.pts_ns, frame.status, slot, frame.reason
                    )
                fed = decoder.take_report()
                self._channel.send(messages.Fed(fed.packets_corrupt, fed.message))

    def _send_row(
        self, frame_index: int, pts_ns: int, status: FrameStatus, slot: int, reason: str
    ) -> None:
        self._channel.send(messages.Row(frame_index, pts_ns, int(status), slot, reason))

    def _progress(self) -> None:
        """Hear the server between packets, and let it hear."""
        now_s = time.monotonic()
        if now_s - self._beat_time_s > _BEAT_S:
            self._beat_time_s = now_s
            signal.alarm(_HANG_S)
            self._channel.send(messages.Beat())
        while (message := self._channel.receive_waiting()) is not None:
            self._handle(message)

    def _take_slot(self, shape: tuple[int, ...]) -> tuple[int, NDArray[np.uint8]]:
        """Wait for a slot that the server is done with."""
        if self._ring is None or shape != self._shape:
            self._ring, self._shape = None, shape
            self._channel.send(messages.NeedRing(shape))
        while self._ring is None or not self._free:
            signal.alarm(0)  # the server may take its time
            self._handle(self._channel.receive())
            signal.alarm(_HANG_S)
        slot = self._free.pop()
        return slot, self._ring.view(slot, shape)

    def _handle(self, message: messages.ToWorker) -> None:
        if isinstance(message, messages.Stop):
            raise _LeaveJob
        if isinstance(message, messages.FreeSlot):
            self._free.append(message.slot)
        elif isinstance(message, messages.Ring):
            descriptor = self._channel.take_descriptor()
            self._ring = FrameRing(descriptor, message.slots, message.slot_bytes)
            os.close(descriptor)
            self._free = list(range(message.slots))


if __name__ == "__main__":
    main()
