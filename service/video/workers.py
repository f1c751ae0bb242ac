"""The server's side of decoding: a bounded set of worker processes, each reading one video."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType

import structlog

from service import errors, metrics
from service.errors import DecoderFailed, EthostreamError, InvalidConfig, ShuttingDown
from service.values import FrameStatus, VideoFrame, VideoInfo
from service.video import messages
from service.video.base import Color, FrameFault, VideoLimits, VideoReader
from service.video.messages import ToServer
from service.video.pictures import PictureList
from service.video.process import Worker, WorkerDied

log = structlog.get_logger()

_MAX_FAULTS = 100


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
        self._slots = slots
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
        path: Path | PictureList,
        *,
        color: Color = "rgb",
        first_frame: int = 0,
        frame_limit: int | None = None,
        limits: VideoLimits | None = None,
    ) -> AsyncIterator[VideoReader]:
        """Open a video, as soon as fewer than `count` are open.

        Args:
            path: a regular file, or pictures.
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
        pictures = path.files if isinstance(path, PictureList) else ()
        where = path.folder if isinstance(path, PictureList) else path
        job = messages.OpenFile(
            _absolute(where),
            color,
            first_frame,
            frame_limit,
            limits or VideoLimits(),
            self._threads,
            tuple(_absolute(one) for one in pictures),
        )
        async with self.borrow(f"{where}") as worker:
            await worker.send_large(job)  # a list of pictures may be long
            reader = _FileReader(worker, f"{where}")
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
            while not worker.is_alive():  # it died while it was idle
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
