"""What every front needs to answer: the repository, the scheduler, the decode workers, threads.

The server holds one `Runtime` for its life; commands that work in-process open one of their own.
"""

import gc
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import cv2

from service.archive import (
    VideoAnalysis,
    VideoFinished,
    VideoOptions,
    VideoStarted,
)
from service.config import ServiceConfig
from service.engine import create_engine
from service.errors import InvalidRequest
from service.repository import CreateEngine, Repository, Selection
from service.scheduler import Scheduler
from service.session import LiveSession
from service.session_options import SessionOptions
from service.values import ResultChunk
from service.video import DecodeWorkers
from service.video.jpegs import JpegBatches, open_jpegs
from service.video.pictures import PictureList


class Runtime:
    """The parts that are shared by all streams and videos."""

    def __init__(
        self, models: Path, config: ServiceConfig, *, create: CreateEngine = create_engine
    ) -> None:
        self.config = config
        self.scheduler = Scheduler(config.scheduler)
        self.repository = Repository(
            models, config.engine, self.scheduler.batch_sizes, create=create
        )
        self.workers = DecodeWorkers(config.video.decode_workers, decoder=config.video.decoder)
        # Resizing and still-image decoding only; more threads than cores would only switch.
        self.threads = ThreadPoolExecutor(2, thread_name_prefix="ethostream-pixels")
        self._jpegs: JpegBatches | None = None

    async def start(self) -> None:
        """Start the device thread."""
        # Frames are resized beside one another already; threads inside each would only contend.
        cv2.setNumThreads(1)
        self.scheduler.start()

    async def stop(self) -> None:
        """End threads and decode workers."""
        await self.workers.close()
        if self._jpegs is not None:
            await self._jpegs.close()
        await self.scheduler.stop()
        self.threads.shutdown(wait=True)

    async def load(self, names: Sequence[str] = ()) -> None:
        """Load the named bundles (NAME or NAME@VERSION), or the newest of every one.

        Raises:
            BundleNotFound: one of `names` is not in the model folder.
            BundleInvalid: one of `names` is damaged. Of bundles that nobody named, a damaged one
                is only reported as FAILED, so that it keeps no other from being served.
        """
        await self.repository.scan()
        if names:
            for text in names:
                name, version = parse_bundle(text)
                await self.repository.load(name, version)
            return
        for name in sorted({status.key.name for status in self.repository.statuses()}):
            await self.repository.load_newest_valid(name)

    def live_session(self, session_id: str, options: SessionOptions) -> LiveSession:
        """Create a live session; see `LiveSession`."""
        config = self.config
        if config.video.decoder == "dali" and self._jpegs is None:
            self._jpegs = open_jpegs(config.session.limits)
        return LiveSession(
            session_id,
            options,
            self.scheduler,
            config.session,
            self.threads,
            jpegs=self._jpegs,
        )

    def analyze(
        self, path: Path | PictureList, options: VideoOptions
    ) -> AsyncIterator[VideoStarted | ResultChunk | VideoFinished]:
        """Analyze one video; see `VideoAnalysis.run`."""
        analysis = VideoAnalysis(
            options, self.scheduler, self.workers, self.config.archive, self.threads
        )
        return analysis.run(path)

    def select(self, names: Iterable[str]) -> tuple[Selection, ...]:
        """Return loaded bundles by NAME or NAME@VERSION.

        Raises:
            BundleNotFound: one is not loaded.
        """
        return tuple(Selection(self.repository.get(*parse_bundle(name))) for name in names)


def parse_bundle(text: str) -> tuple[str, int]:
    """Split NAME or NAME@VERSION; without a version it is 0, the highest.

    Raises:
        InvalidRequest: the version is not a whole number from 1.
    """
    name, _, version = text.partition("@")
    if not version:
        return name, 0
    if not version.isdecimal() or int(version) < 1:
        raise InvalidRequest(f"the bundle {text!r} has no whole version; write NAME or NAME@2")
    return name, int(version)


def pass_over_what_stays() -> None:
    """Have the garbage collector leave modules, schemas and bundles alone from now on.

    Calls and frames leave cycles behind, and after some thousands it would look at all that there
    is: over 100,000 objects, for 50 ms in which no thread of Python goes on.
    """
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def local_runtime(
    models: Path, *, bundles: Sequence[str] = (), config: ServiceConfig | None = None
) -> AsyncIterator[Runtime]:
    """Open a runtime in this process with `bundles` (all where none is named) loaded."""
    runtime = Runtime(models, config or ServiceConfig())
    await runtime.start()
    try:
        await runtime.load(bundles)
        yield runtime
    finally:
        await runtime.stop()
