"""The server's side of decoding: a bounded set of worker processes, each reading one video."""

import asyncio
import os
import socket
import subprocess
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType

import structlog

from service import errors, metrics
from service.errors import DecoderFailed, EthostreamError, InvalidConfig, ShuttingDown
from service.values import FrameStatus, VideoFrame, VideoInfo
from service.video import messages
from service.video.base import Color, FrameFault, VideoLimits, VideoReader
from service.video.messages import ServerEnd, ToServer, ToWorker
from service.video.ring import FrameRing, create_memory

log = structlog.get_logger()

# Small enough for a container's memory, large enough to even out key frames.
_RING_BYTES = 96 << 20
# Two are written and read at the same time, one more evens out.
_MIN_SLOTS = 3
# A worker that does not leave a job in this time is ended.
_STOP_S = 2.0
_MAX_FAULTS = 100


class WorkerDied(Exception):
    """The process ended, or hung and was ended; the text says how."""


class Worker:
    """One worker process and its socket; used by one job at a time."""

    def __init__(self, *, slots: int, stall_timeout_s: float) -> None:
        """Start the process.

        Args:
            slots: frames that may lie between the worker and the server, at most.
            stall_timeout_s: time without any sign of life after which the process is ended.
        """
        self._max_slots = slots
        self._stall_timeout_s = stall_timeout_s
        ours, theirs = socket.socketpair()
        with theirs:
            # Not multiprocessing: that runs the program's main module again in each worker, and
            # needs every script that decodes to be guarded.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "service.video.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._end = ServerEnd(ours)
        self._inbox: deque[ToServer] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._gone = False
        self._ring: FrameRing | None = None
        self._shape: tuple[int, ...] = ()
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
                    self._make_ring(message.shape)
                elif not isinstance(message, messages.Beat):
                    return message
            if self._gone:
                raise WorkerDied(await self._describe_end())
            self._waiter = self._loop.create_future()
            timer = self._loop.call_later(self._stall_timeout_s, self._on_stall)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None

    def frame(self, row: messages.Row) -> VideoFrame:
        """Return a row with its pixels, which stay valid until `free(row)`."""
        pixels = None
        if row.slot >= 0:
            assert self._ring is not None, (
                "a worker sends pixels only into memory that it was given"
            )
            pixels = self._ring.view(row.slot, self._shape)
        return VideoFrame(row.frame_index, row.pts_ns, FrameStatus(row.status), pixels)

    def free(self, row: messages.Row) -> None:
        """Give a row's memory back to the worker."""
        if row.slot >= 0:
            self.send(messages.FreeSlot(row.slot))

    async def leave_job(self) -> bool:
        """End the job that runs, if one does; False where the process had to be ended for it."""
        self.send(messages.Stop())
        try:
            async with asyncio.timeout(_STOP_S):
                while not isinstance(await self.receive(), messages.Stopped):
                    pass
        except (TimeoutError, WorkerDied):
            self.kill()
            return False
        finally:
            self._ring = None
        return True

    def kill(self) -> None:
        """End the process at once."""
        if not self._gone:
            self._gone = True
            self._loop.remove_reader(self._end.socket.fileno())
            self._end.socket.close()
        self._ring = None
        with suppress(OSError):
            self._process.kill()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait_end(self) -> int:
        """Wait for the end of a process that was killed or whose socket closed; its exit code."""
        return await asyncio.to_thread(self._process.wait)

    def _make_ring(self, shape: tuple[int, ...]) -> None:
        slot_bytes = 1
        for size in shape:
            slot_bytes *= size
        slots = max(_MIN_SLOTS, min(self._max_slots, _RING_BYTES // slot_bytes))
        descriptor = create_memory(slots * slot_bytes)
        try:
            self._ring = FrameRing(descriptor, slots, slot_bytes)
            self._shape = shape
            with suppress(OSError):
                self._end.send(messages.Ring(slots, slot_bytes), descriptor)
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
            self._stalled = True
            self.kill()

    _stalled = False

    async def _describe_end(self) -> str:
        code = await self.wait_end()
        if self._stalled:
            return f"the decoder gave no sign of life for {self._stall_timeout_s:g} s and was ended"
        return (
            f"the decode process was ended by signal {-code}"
            if code < 0
            else (f"the decode process ended with code {code}")
        )


class DecodeWorkers:
    """At most `count` videos are decoded at once, each in a process of its own.

    Processes are started when they are first needed and used again; one that dies fails the video
    it was on and no other, and is replaced. Videos over the count wait in order.
    """

    def __init__(
        self,
        count: int,
        *,
        threads: int = 0,
        slots: int = 12,
        stall_timeout_s: float = 30.0,
    ) -> None:
        """Take the limits; starts no process.

        Args:
            count: videos at once.
            threads: of each decoder; 0 shares the machine's cores among `count`, 4 at most each.
            slots: decoded frames that wait between a worker and the server, at most.
            stall_timeout_s: time without any sign of life after which a worker is ended.

        Raises:
            InvalidConfig: a number is out of range.
        """
        if count < 1 or threads < 0 or slots < 1 or stall_timeout_s <= 0:
            raise InvalidConfig(
                f"count={count}, threads={threads}, slots={slots}, "
                f"stall_timeout_s={stall_timeout_s} are not possible; give at least 1, 0, 1 and "
                "more than 0"
            )
        self._threads = threads or max(1, min(4, (os.cpu_count() or 1) // count))
        self._slots = max(slots, _MIN_SLOTS)
        self._stall_timeout_s = stall_timeout_s
        self._permits = asyncio.Semaphore(count)
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._closed = False

    async def __aenter__(self) -> "DecodeWorkers":
        """Return the pool itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all workers."""
        await self.close()

    @property
    def process_ids(self) -> tuple[int, ...]:
        """Ids of all worker processes that run."""
        return tuple(worker.process_id for worker in (*self._idle, *self._busy))

    def start(self, count: int = 1) -> None:
        """Start processes ahead of need, so that the first video does not wait for one."""
        while len(self._idle) + len(self._busy) < count:
            self._idle.append(self._create())

    @asynccontextmanager
    async def open(
        self,
        path: Path,
        *,
        color: Color = "rgb",
        first_frame: int = 0,
        frame_limit: int | None = None,
        limits: VideoLimits | None = None,
    ) -> AsyncIterator[VideoReader]:
        """Open a video, as soon as fewer than `count` are open.

        Args:
            path: a regular file.
            color: RGB (H, W, 3) or gray (H, W) pixels.
            first_frame: index of the first row, counted in presentation order from 0.
            frame_limit: number of rows at most; None takes all.
            limits: the largest picture that is decoded.

        Yields:
            The reader, to be iterated once.

        Raises:
            VideoNotFound: nothing is at `path`.
            InvalidVideo: it holds no video of which a frame can be decoded.
            FrameTooLarge: its pictures are over the limits.
            DecoderFailed: the worker died or hung on it, now or in the iteration.
            InvalidConfig: `first_frame` is negative or `frame_limit` is not positive.
            ShuttingDown: the pool was closed.
        """
        if first_frame < 0 or (frame_limit is not None and frame_limit < 1):
            raise InvalidConfig(
                f"first_frame={first_frame}, frame_limit={frame_limit} are not possible; give at "
                "least 0 and at least 1"
            )
        job = messages.OpenFile(
            _absolute(path),
            color,
            first_frame,
            frame_limit,
            limits or VideoLimits(),
            self._threads,
        )
        async with self.borrow(f"{path}") as worker:
            worker.send(job)
            reader = _FileReader(worker, f"{path}")
            await reader.wait_opened()
            try:
                yield reader
            finally:
                await reader.close()

    @asynccontextmanager
    async def borrow(self, what: str) -> AsyncIterator[Worker]:
        """Lend a worker for one job; `what` names the job in logs. For jobs of this package."""
        async with self._permits:
            if self._closed:
                raise ShuttingDown("decoding has been shut down; open the video after a restart")
            worker = self._idle.pop() if self._idle else self._create()
            while worker.gone:
                await worker.wait_end()
                worker = self._idle.pop() if self._idle else self._create()
            self._busy.add(worker)
            try:
                yield worker
            except BaseException:
                # Whatever went wrong, the job must not run on; an idle worker answers at once.
                if not worker.gone:
                    await worker.leave_job()
                raise
            finally:
                self._busy.discard(worker)
                if worker.gone:
                    code = await worker.wait_end()
                    metrics.DECODE_WORKER_RESTARTS.inc()
                    log.warning("decode worker ended", job=what, exit_code=code)
                elif self._closed:
                    await self._end([worker])
                else:
                    self._idle.append(worker)

    async def close(self) -> None:
        """End all workers; videos that are open fail with `DecoderFailed`."""
        self._closed = True
        idle, self._idle = self._idle, []
        await self._end([*idle, *self._busy])

    def _create(self) -> Worker:
        return Worker(slots=self._slots, stall_timeout_s=self._stall_timeout_s)

    async def _end(self, workers: list[Worker]) -> None:
        for worker in workers:
            worker.kill()
        for worker in workers:
            await worker.wait_end()


class _FileReader:
    """See `VideoReader`."""

    def __init__(self, worker: Worker, path: str) -> None:
        self._worker = worker
        self._path = path
        self._info: VideoInfo | None = None
        self._faults: list[FrameFault] = []
        self._counts: Counter[FrameStatus] = Counter()
        self._held: messages.Row | None = None
        self._over = False

    @property
    def info(self) -> VideoInfo:
        """See `VideoReader`."""
        assert self._info is not None, "a reader is handed out when it is open"
        return self._info

    @property
    def faults(self) -> tuple[FrameFault, ...]:
        """See `VideoReader`."""
        return tuple(self._faults)

    @property
    def message(self) -> str:
        """See `VideoReader`."""
        if not self._faults:
            return ""
        counts = ", ".join(
            f"{number} {status.name}"
            for status, number in sorted(self._counts.items())
            if not status.has_pixels
        )
        first = self._faults[0]
        return (
            f"{counts} of {self._counts.total()} frames; frame {first.frame_index} {first.reason}"
        )

    async def wait_opened(self) -> None:
        """Wait until the worker has opened the file."""
        message = await self._receive()
        assert isinstance(message, messages.Opened), "a worker opens a file before it reads it"
        self._info = message.info

    async def __aiter__(self) -> AsyncIterator[VideoFrame]:
        """Yield the rows."""
        while not self._over:
            message = await self._receive()
            if isinstance(message, messages.Done):
                self._over = True
                return
            assert isinstance(message, messages.Row), "rows follow the opening"
            frame = self._worker.frame(message)
            self._counts[frame.status] += 1
            if frame.pixels is None and len(self._faults) < _MAX_FAULTS:
                self._faults.append(FrameFault(frame.frame_index, frame.status, message.reason))
            self._held = message
            yield frame
            self._free()

    async def close(self) -> None:
        """Leave the job, wherever it is."""
        if not self._over:
            self._over = True
            await self._worker.leave_job()

    def _free(self) -> None:
        if self._held is not None and not self._over:
            self._worker.free(self._held)
        self._held = None

    async def _receive(self) -> ToServer:
        try:
            message = await self._worker.receive()
        except WorkerDied as death:
            self._over = True
            raise DecoderFailed(
                f"{death} while it read {self._path}; the file is the suspect: convert it, or "
                "leave it out. Other videos go on"
            ) from None
        if isinstance(message, messages.Failed):
            self._over = True
            raise to_error(message)
        return message


def _absolute(path: Path) -> str:
    # The worker's own folder is the one that the server had when the worker started.
    return str(path.absolute())


def to_error(failure: messages.Failed) -> EthostreamError:
    """Return the error that a worker reported."""
    kind = getattr(errors, failure.error, DecoderFailed)
    if not (isinstance(kind, type) and issubclass(kind, EthostreamError)):
        kind = DecoderFailed
    return kind(failure.message)


@asynccontextmanager
async def _open_once(
    path: Path,
    color: Color,
    first_frame: int,
    frame_limit: int | None,
    limits: VideoLimits | None,
) -> AsyncIterator[VideoReader]:
    async with (
        DecodeWorkers(1) as workers,
        workers.open(
            path, color=color, first_frame=first_frame, frame_limit=frame_limit, limits=limits
        ) as reader,
    ):
        yield reader


def open_video(
    path: Path,
    *,
    color: Color = "rgb",
    first_frame: int = 0,
    frame_limit: int | None = None,
    limits: VideoLimits | None = None,
) -> AbstractAsyncContextManager[VideoReader]:
    """Open one video with a worker process of its own; see `DecodeWorkers.open`."""
    return _open_once(path, color, first_frame, frame_limit, limits)
