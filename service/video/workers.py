"""The server's side of decoding: a bounded set of worker processes."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import astuple
from pathlib import Path
from types import TracebackType

import structlog

from service import metrics
from service.bundle import InputSpec
from service.errors import InvalidConfig, ShuttingDown
from service.paths import check_name
from service.preprocess import CropRegion
from service.video import messages
from service.video.base import Color, VideoLimits, VideoReader
from service.video.pictures import PictureList
from service.video.process import Worker
from service.video.readers import FileReader, SharedReader

log = structlog.get_logger()

_MOST_PROCESSES = 4  # of one video, and threads of one decoder, unless told otherwise


class DecodeWorkers:
    """At most `count` videos are decoded at once, each in processes of its own.

    Processes are started when they are first needed and used again; one that dies fails the video
    it was on and no other, and is replaced. Videos over the count wait in order.

    A video of which only inputs of models are wanted, and that PyAV reads, is shared among several
    processes where it is long enough and its key frames allow it (`service.video.shares`).
    """

    def __init__(
        self,
        count: int,
        *,
        processes: int = 0,
        threads: int = 0,
        slots: int = 32,
        stall_timeout_s: float = 30.0,
        decoder: str = "auto",
    ) -> None:
        """Take the limits; starts no process.

        Args:
            count: videos at once.
            processes: that share a long video; 0 shares the machine's cores among `count`, 4 at
                most each.
            threads: of each decoder; 0 shares the cores that are left among all processes. Small
                frames gain little from them (benchmarks/README.md).
            slots: decoded frames that wait between a worker and the server, at most; of a video
                that is shared, a stretch of it.
            stall_timeout_s: time without any sign of life after which a worker is ended.
            decoder: of files, one of `DECODER_CHOICES`.

        Raises:
            InvalidConfig: a number is out of range.
        """
        if count < 1 or processes < 0 or threads < 0 or slots < 1 or stall_timeout_s <= 0:
            raise InvalidConfig(
                f"count={count}, processes={processes}, threads={threads}, slots={slots}, "
                f"stall_timeout_s={stall_timeout_s} are not possible; give at least 1, 0, 0, 1 and "
                "more than 0"
            )
        cores = os.cpu_count() or 1
        self._processes = processes or _share(cores, count)
        self._threads = threads or _share(cores, count * self._processes)
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
        on_device: bool = False,
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
            on_device: leave `inputs` in the GPU's memory where its decoder makes them there; all
                of a frame's are on the host, or none.

        Yields:
            The reader, to be iterated once.

        Raises:
            VideoNotFound: nothing is at `path`.
            InvalidVideo: it holds no video of which a frame can be decoded, or its name is not
                UTF-8.
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
            on_device,
        )
        async with self._permits, AsyncExitStack() as stack:
            reader = await stack.enter_async_context(self._open(job))
            shares = min(self._processes, reader.stretches)
            reader.begin(0, shares)
            if shares == 1:
                yield reader
                return
            readers = [reader]
            for share in range(1, shares):
                readers.append(await stack.enter_async_context(self._open(job)))
                readers[share].begin(share, shares)
            yield SharedReader(readers, job.path)

    @asynccontextmanager
    async def borrow(self, what: str) -> AsyncIterator[Worker]:
        """Lend a worker for one job; `what` names the job in logs. For jobs of this package."""
        async with self._permits, self._lend(what) as worker:
            yield worker

    @asynccontextmanager
    async def _open(self, job: messages.OpenFile) -> AsyncIterator[FileReader]:
        async with AsyncExitStack() as stack:

            async def send(job: messages.OpenFile) -> Worker:
                await stack.aclose()
                worker = await stack.enter_async_context(self._lend(job.path))
                await worker.send_large(job)  # a list of pictures may be long
                return worker

            reader = FileReader(job, send)
            await reader.open()
            try:
                yield reader
            finally:
                await reader.close()

    @asynccontextmanager
    async def _lend(self, what: str) -> AsyncIterator[Worker]:
        if self._closed:
            raise ShuttingDown("decoding has been shut down; open the video after a restart")
        worker = self._idle.pop() if self._idle else self._create()
        while not worker.is_alive():  # it died while it was idle
            await worker.wait_end()
            worker = self._idle.pop() if self._idle else self._create()
        worker.max_slots = self._slots
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
        return Worker(stall_timeout_s=self._stall_timeout_s)

    async def _end(self, workers: list[Worker]) -> None:
        for worker in workers:
            worker.kill()
        for worker in workers:
            await worker.wait_end()


def _share(cores: int, processes: int) -> int:
    return max(1, min(_MOST_PROCESSES, cores // processes))


def _absolute(path: Path) -> str:
    check_name(path)
    # The worker's own folder is the one that the server had when the worker started.
    return str(path.absolute())


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
