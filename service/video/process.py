"""One decode worker as the server sees it: a process, its socket, the memory they share."""

import asyncio
import math
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray

from service.engine.device import Array, Copies
from service.errors import EngineFailed, EngineUnavailable
from service.values import FrameStatus, VideoFrame
from service.video import messages
from service.video.messages import ServerEnd, ToServer, ToWorker
from service.video.ring import FrameRing, Shapes, create_ring

if TYPE_CHECKING:
    from service.video.device_ring import DeviceRing

log = structlog.get_logger()

# Small enough for a container's memory, large enough to even out key frames.
_RING_BYTES = 96 << 20
# Two are written and read at the same time, one more evens out.
_MIN_SLOTS = 3
# Slots that are given back in one message, once there are as many.
_MOST_FREED = 4
# A worker that does not leave a job in this time is ended.
_STOP_S = 2.0


class WorkerDied(Exception):
    """The process ended, or hung and was ended; the text says how."""


class Worker:
    """One worker process and its socket; used by one job at a time."""

    def __init__(self, *, stall_timeout_s: float) -> None:
        """Start the process.

        Args:
            stall_timeout_s: time without any sign of life after which the process is ended.
        """
        self.max_slots = _MIN_SLOTS
        """Frames that may lie between the worker and the server, at most."""
        self._stall_timeout_s = stall_timeout_s
        ours, theirs = socket.socketpair()
        with theirs:
            # Not multiprocessing: that runs the program's main module again in each worker, and
            # needs every script that decodes to be guarded.
            module_folders = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "service.video.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": module_folders},
            )
        self._end = ServerEnd(ours)
        self._inbox: deque[ToServer] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._gone = False
        self._is_leaving = False
        self._has_stalled = False
        self._ring: FrameRing | DeviceRing | None = None
        self._shapes: Shapes = ()
        self._freed: list[int] = []
        self._copies = Copies()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(ours.fileno(), self._on_readable)

    @property
    def process_id(self) -> int:
        """Id of the worker process."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """Whether the process is known to have ended."""
        return self._gone

    def is_alive(self) -> bool:
        """Look whether the process runs."""
        if not self._gone and self._process.poll() is not None:
            self.kill()
        return not self._gone

    def send(self, message: ToWorker) -> None:
        """Send a small message; one to a worker that is gone is lost, `receive` will tell."""
        with suppress(OSError):
            self._end.send(message)

    async def send_large(self, message: ToWorker) -> None:
        """Send a message of any size."""
        with suppress(OSError):
            await self._loop.sock_sendall(self._end.socket, messages.pack(message))

    async def receive(self) -> ToServer:
        """Wait for the next message other than a sign of life; sets up memory where asked to.

        Raises:
            WorkerDied: the process ended, or gave no sign of life for too long.
        """
        while True:
            while self._inbox:
                message = self._inbox.popleft()
                if isinstance(message, messages.NeedRing):
                    # What came for a job that is left would be taken for the next one's memory.
                    if not self._is_leaving:
                        self._make_ring(message)
                elif not isinstance(message, messages.Beat):
                    return message
            self._send_freed()
            if self._gone:
                raise WorkerDied(await self._describe_end())
            self._waiter = self._loop.create_future()
            timer = self._loop.call_later(self._stall_timeout_s, self._on_stall)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None

    def take(self, rows: Sequence[messages.Row], *, has_pixels: bool) -> list[VideoFrame]:
        """Return the rows of a message: inputs are copies, whole frames are valid until `free`.

        Args:
            rows: as they came.
            has_pixels: the first array of a row is the whole frame; the others are inputs of
                models. Without it, the rows are free from now on.

        Raises:
            EngineFailed: the GPU's memory is full.
        """
        views = [self._views(row) for row in rows]
        first = 1 if has_pixels else 0
        # All at once: the GPU is waited for once a message, which may take long where it is busy.
        inputs = iter(self._copies.copy([one for arrays in views for one in arrays[first:]]))
        if not has_pixels:
            self.free(*rows)
        return [
            VideoFrame(
                row.frame_index,
                row.pts_ns,
                FrameStatus(row.status),
                next(map(_on_host, arrays[:first]), None),
                tuple(islice(inputs, len(arrays[first:]))),
                *row.size,
                row.reason,
            )
            for row, arrays in zip(rows, views, strict=True)
        ]

    def free(self, *rows: messages.Row) -> None:
        """Give memory back to the worker, at the latest when the next rows are awaited."""
        self._freed += [row.slot for row in rows if row.slot >= 0]
        if len(self._freed) >= _MOST_FREED:
            self._send_freed()

    async def leave_job(self) -> bool:
        """End the job that runs, if one does; False where the process had to be ended for it."""
        self._freed = []
        self._is_leaving = True
        self.send(messages.Stop())
        try:
            async with asyncio.timeout(_STOP_S):
                while not isinstance(await self.receive(), messages.Stopped):
                    pass
        except (TimeoutError, WorkerDied):
            self.kill()
            return False
        except asyncio.CancelledError:  # its answer would be taken for one to the next job
            self.kill()
            raise
        finally:
            self._ring, self._is_leaving = None, False
        return True

    def kill(self) -> None:
        """End the process at once."""
        if not self._gone:
            self._gone = True
            self._loop.remove_reader(self._end.socket.fileno())
            self._end.socket.close()
        # The memory stays until the job ends: rows that came before are still to be read.
        with suppress(OSError):
            self._process.kill()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait_end(self) -> int:
        """Wait for the end of a process that was killed or whose socket closed; its exit code."""
        return await asyncio.to_thread(self._process.wait)

    def _views(self, row: messages.Row) -> tuple[Array, ...]:
        if row.slot < 0:
            return ()
        assert self._ring is not None, "a worker sends pixels only into memory that it was given"
        return self._ring.views(row.slot, self._shapes)

    def _send_freed(self) -> None:
        if self._freed:
            self.send(messages.FreeSlots(self._freed))
            self._freed = []

    def _make_ring(self, wanted: messages.NeedRing) -> None:
        self._freed = []  # slots of the memory before, which the worker has let go
        self._shapes = wanted.shapes
        slot_bytes = sum(math.prod(shape) for shape in wanted.shapes)
        slots = max(_MIN_SLOTS, min(self.max_slots, _RING_BYTES // slot_bytes))
        on_device = wanted.on_device
        if on_device:
            from service.video.device_ring import create_device_ring

            try:
                self._ring, descriptor = create_device_ring(slots, slot_bytes)
            except (EngineFailed, EngineUnavailable) as error:
                log.warning("frames of the GPU come through the host", reason=str(error))
                on_device = False
        if not on_device:
            self._ring, descriptor = create_ring(slots, slot_bytes)
        try:
            with suppress(OSError):
                self._end.send(messages.Ring(slots, slot_bytes, on_device), descriptor)
        finally:
            os.close(descriptor)

    def _on_readable(self) -> None:
        try:
            self._inbox.extend(self._end.receive())
        except BlockingIOError:
            return
        except EOFError:
            self.kill()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _on_stall(self) -> None:
        # Bytes that came while this process was busy count: they are seen before the verdict.
        self._on_readable()
        if not self._inbox and not self._gone:
            log.warning("decode worker hangs", process_id=self.process_id)
            self._has_stalled = True
            self.kill()

    async def _describe_end(self) -> str:
        code = await self.wait_end()
        if self._has_stalled:
            return f"the decoder gave no sign of life for {self._stall_timeout_s:g} s and was ended"
        return (
            f"the decode process was ended by signal {-code}"
            if code < 0
            else (f"the decode process ended with code {code}")
        )


def _on_host(pixels: Array) -> NDArray[np.uint8]:
    assert isinstance(pixels, np.ndarray), "whole frames come to the host"
    return pixels
