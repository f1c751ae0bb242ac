"""Rows of an open video on the server's side: from one worker, or from several that share it."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import structlog
from msgspec.structs import replace

from service import errors
from service.errors import DecoderFailed, EthostreamError
from service.values import FrameFault, FrameStatus, VideoFrame, VideoInfo
from service.video import messages
from service.video.base import describe_faults
from service.video.messages import ToServer
from service.video.process import Worker, WorkerDied

log = structlog.get_logger()

_MAX_FAULTS = 100


class FileReader:
    """What one worker reads of a video; see `VideoReader`."""

    def __init__(
        self, job: messages.OpenFile, send: Callable[[messages.OpenFile], Awaitable[Worker]]
    ) -> None:
        """Take what to read, and what gives it to a worker in place of the one before."""
        self._job = job
        self._send = send
        self._worker: Worker
        self.first_frame = job.first_frame
        self._next_frame = job.first_frame
        self._info: VideoInfo | None = None
        self._faults: list[FrameFault] = []
        self.counts: Counter[FrameStatus] = Counter()
        """Rows read so far, by status."""
        self._over = False
        self._note = ""
        self.stretches = 1
        """So many workers can share the file."""
        self._stretch_frames = 0

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
        told = describe_faults(self._faults, self.counts)
        return "; ".join(filter(None, (told, self._note)))

    async def open(self) -> None:
        """Have a worker open the file; `begin` follows."""
        message = await self._open()
        self._info = message.info
        self.stretches, self._stretch_frames = message.stretches, message.stretch_frames
        if message.passed_over or not message.info.decoder.startswith("pyav"):
            log.info(
                "decoder chosen",
                path=self._job.path,
                decoder=message.info.decoder,
                passed_over=message.passed_over,
            )

    def begin(self, share: int = 0, shares: int = 1) -> None:
        """Have the worker send its rows; of a share, a whole stretch may wait."""
        if shares > 1:
            self._worker.max_slots = max(self._worker.max_slots, self._stretch_frames)
        self._worker.send(messages.Begin(share, shares))

    async def _open(self) -> messages.Opened:
        self._worker = await self._send(self._job)
        message = await self._receive()
        assert isinstance(message, messages.Opened), "a worker opens a file before it reads it"
        return message

    async def __aiter__(self) -> AsyncGenerator[VideoFrame]:
        """Yield the rows."""
        while not self._over:
            message = await self._receive()
            if isinstance(message, messages.Done):
                self._over = True
                self._tell(message.note)
                return
            assert isinstance(message, messages.Rows), "rows follow the opening"
            has_pixels = self._job.color is not None
            frames = self._worker.take(message.rows, has_pixels=has_pixels)
            for row, frame in zip(message.rows, frames, strict=True):
                self._next_frame = row.frame_index + 1
                self.counts[frame.status] += 1
                if not frame.status.has_pixels and len(self._faults) < _MAX_FAULTS:
                    self._faults.append(FrameFault(frame.frame_index, frame.status, row.reason))
                yield frame
                if self._over:
                    return
                if has_pixels:
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
        await self._open()
        self.begin()
        return await self._receive()

    def _tell(self, note: str) -> None:
        if note:
            self._note = "; ".join(filter(None, (self._note, note)))
            log.warning("another decoder took over", path=self._job.path, note=note)


class SharedReader:
    """A video whose stretches come in turn from several workers; see `VideoReader`."""

    def __init__(self, readers: Sequence[FileReader], path: str) -> None:
        """Take readers that have begun, in the order of their shares."""
        self._readers = readers
        self._path = path

    @property
    def info(self) -> VideoInfo:
        """See `VideoReader`."""
        return self._readers[0].info

    @property
    def faults(self) -> tuple[FrameFault, ...]:
        """See `VideoReader`."""
        faults = [one for reader in self._readers for one in reader.faults]
        return tuple(sorted(faults, key=lambda one: one.frame_index)[:_MAX_FAULTS])

    @property
    def message(self) -> str:
        """See `VideoReader`."""
        counts = sum((reader.counts for reader in self._readers), Counter())
        return describe_faults(self.faults, counts)

    async def __aiter__(self) -> AsyncGenerator[VideoFrame]:
        """Yield the rows: those of a reader as long as they follow, then those of the next."""
        sources = [aiter(reader) for reader in self._readers]
        waiting: dict[int, VideoFrame] = {}
        ended: set[int] = set()
        share, due, passed = 0, self._readers[0].first_frame, 0
        try:
            while len(ended) < len(sources):
                if share not in waiting and share not in ended:
                    row = await anext(sources[share], None)
                    if row is None:
                        ended.add(share)
                    else:
                        waiting[share] = row
                if share in waiting and waiting[share].frame_index == due:
                    yield waiting.pop(share)
                    due, passed = due + 1, 0
                    continue
                share, passed = (share + 1) % len(sources), passed + 1
                if passed > len(sources) and waiting:
                    raise DecoderFailed(
                        f"no worker gave frame {due} of {self._path}; was the file changed while "
                        "it was read? Analyze it again"
                    )
        finally:
            for source in sources:
                await source.aclose()


def to_error(failure: messages.Failed) -> EthostreamError:
    """Return the error that a worker reported."""
    kind = getattr(errors, failure.error, DecoderFailed)
    if not (isinstance(kind, type) and issubclass(kind, EthostreamError)):
        kind = DecoderFailed
    return kind(failure.message)
