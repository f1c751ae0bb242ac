"""The server's side of decoding: a bounded set of worker processes, each reading one video."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import astuple
from pathlib import Path
from types import TracebackType

import structlog
from msgspec.structs import replace

from service import errors, metrics
from service.bundle import InputSpec
from service.errors import DecoderFailed, EthostreamError, InvalidConfig, ShuttingDown
from service.preprocess import CropRegion
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
        slots: int = 32,
        stall_timeout_s: float = 30.0,
        decoder: str = "auto",
    ) -> None:
        """Take the limits; starts no process.

        Args:
            count: videos at once.
            threads: of each decoder; 0 shares the machine's cores among `count`, 4 at most each.
                Small frames gain little from them (benchmarks/README.md): many videos are
                decoded faster side by side, by a higher `count`.
            slots: decoded frames that wait between a worker and the server, at most.
            stall_timeout_s: time without any sign of life after which a worker is ended.
            decoder: of files, one of `DECODER_CHOICES`.

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
        self._decoder = decoder
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
        color: Color | None = "rgb",
        inputs: tuple[InputSpec, ...] = (),
        crop: CropRegion | None = None,
        first_frame: int = 0,
        frame_limit: int | None = None,
        limits: VideoLimits | None = None,
    ) -> AsyncIterator[VideoReader]:
        """Open a video, as soon as fewer than `count` are open.

        Args:
            path: a regular file, or pictures.
            color: of whole frames, RGB (H, W, 3) or gray (H, W); None gives none, only `inputs`.
            inputs: of models, made in the worker: cheaper than whole frames.
            crop: the part of a frame that `inputs` show; None takes all of it.
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
            InvalidConfig: `first_frame` is negative or `frame_limit` is not positive, or nothing
                is asked for.
            InvalidFrame: the crop reaches outside the frame.
            ShuttingDown: the pool was closed.
        """
        if first_frame < 0 or (frame_limit is not None and frame_limit < 1):
            raise InvalidConfig(
                f"first_frame={first_frame}, frame_limit={frame_limit} are not possible; give at "
                "least 0 and at least 1"
            )
        if color != "rgb" and bool(color) == bool(inputs):
            raise InvalidConfig(
                f"color={color} with {len(inputs)} inputs; ask for whole frames, RGB frames and "
                "inputs, or inputs"
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
            inputs,
            astuple(crop) if crop else None,
            tuple(_absolute(one) for one in pictures),
            self._decoder,
        )
        async with AsyncExitStack() as stack:

            async def send(job: messages.OpenFile) -> Worker:
                await stack.aclose()
                worker = await stack.enter_async_context(self.borrow(f"{where}"))
                await worker.send_large(job)  # a list of pictures may be long
                return worker

            reader = _FileReader(job, send)
            await reader.open()
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

    def __init__(
        self, job: messages.OpenFile, send: Callable[[messages.OpenFile], Awaitable[Worker]]
    ) -> None:
        """Take what to read, and what gives it to a worker in place of the one before."""
        self._job = job
        self._send = send
        self._worker: Worker
        self._next_frame = job.first_frame
        self._info: VideoInfo | None = None
        self._faults: list[FrameFault] = []
        self._counts: Counter[FrameStatus] = Counter()
        self._over = False
        self._note = ""

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
            return self._note
        counts = ", ".join(
            f"{number} {status.name}"
            for status, number in sorted(self._counts.items())
            if not status.has_pixels
        )
        first = self._faults[0]
        told = (
            f"{counts} of {self._counts.total()} frames; frame {first.frame_index} {first.reason}"
        )
        return "; ".join(filter(None, (told, self._note)))

    async def open(self) -> None:
        """Have a worker open the file."""
        self._worker = await self._send(self._job)
        message = await self._receive()
        assert isinstance(message, messages.Opened), "a worker opens a file before it reads it"
        self._info = message.info
        if message.passed_over or not message.info.decoder.startswith("pyav"):
            log.info(
                "decoder chosen",
                path=self._job.path,
                decoder=message.info.decoder,
                passed_over=message.passed_over,
            )

    async def __aiter__(self) -> AsyncIterator[VideoFrame]:
        """Yield the rows."""
        while not self._over:
            message = await self._receive()
            if isinstance(message, messages.Done):
                self._over = True
                self._tell(message.note)
                return
            if isinstance(message, messages.Opened):
                continue  # by PyAV, in place of a decoder that died
            assert isinstance(message, messages.Rows), "rows follow the opening"
            for row in message.rows:
                frame = self._worker.frame(row, has_pixels=self._job.color is not None)
                self._next_frame = row.frame_index + 1
                self._counts[frame.status] += 1
                if not frame.status.has_pixels and len(self._faults) < _MAX_FAULTS:
                    self._faults.append(FrameFault(frame.frame_index, frame.status, row.reason))
                yield frame
                if self._over:
                    return
                self._worker.free(row)

    async def close(self) -> None:
        """Leave the job, wherever it is."""
        if not self._over:
            self._over = True
            await self._worker.leave_job()

    async def _receive(self) -> ToServer:
        try:
            message = await self._worker.receive()
        except WorkerDied as death:
            if self._is_on_fast_decoder():
                return await self._go_on(death)
            self._over = True
            raise DecoderFailed(
                f"{death} while it read {self._job.path}; the file is the suspect: convert it, or "
                "leave it out. Other videos go on"
            ) from None
        if isinstance(message, messages.Failed):
            self._over = True
            raise to_error(message)
        return message

    def _is_on_fast_decoder(self) -> bool:
        names = ("dali", "nvcodec")
        is_fast = self._info is not None and self._info.decoder.startswith(names)
        return is_fast and self._job.decoder != "pyav"

    async def _go_on(self, death: WorkerDied) -> ToServer:
        """Have PyAV read the rest: what died may have been a decoder of the GPU."""
        first, limit = self._next_frame, self._job.frame_limit
        if limit is not None:
            limit -= first - self._job.first_frame
        self._tell(f"{death}; frames from {first} on were decoded by PyAV")
        self._job = replace(self._job, decoder="pyav", first_frame=first, frame_limit=limit)
        self._worker = await self._send(self._job)
        return await self._receive()

    def _tell(self, note: str) -> None:
        if note:
            self._note = "; ".join(filter(None, (self._note, note)))
            log.warning("another decoder took over", path=self._job.path, note=note)


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
