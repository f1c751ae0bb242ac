"""What works on one device of a cluster: holds the bundles, brings one video a task to its results.

It runs in a process of its own, which Ray starts, and knows nothing of Ray.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from service.config import ServiceConfig
from service.jobs.analyzer import LocalAnalyzer
from service.jobs.finish import Finisher
from service.jobs.lease import LeaseTaker
from service.jobs.manifest import work_folder
from service.jobs.reports import VideoReport
from service.jobs.video import Request, VideoWorker
from service.jobs.work import VideoProgress
from service.logs import configure_logs
from service.results import AnsweredBundle
from service.results.plan import PlannedVideo
from service.runtime import local_runtime
from service.version import program_version


@dataclass(frozen=True, slots=True, kw_only=True)
class StationSetup:
    """What a station computes with."""

    models: Path
    """Folder of bundles, absolute."""
    bundles: tuple[str, ...]
    """NAME@VERSION, so that all stations take the same."""
    config: ServiceConfig


@dataclass(frozen=True, slots=True)
class Opened:
    """What a station found where it runs."""

    version: str
    """Of the program."""
    bundles: tuple[AnsweredBundle, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """A video, and what the driver sees of it: a station that sees less has another disk."""

    video: PlannedVideo
    is_there: bool
    has_work_folder: bool

    def sees(self) -> "Task":
        """Return what is seen here."""
        return Task(self.video, self.video.path.exists(), work_folder(self.video).is_dir())


class Station:
    """Works on the videos that it is given, several at once.

    Args:
        setup: what to compute with.
    """

    def __init__(self, setup: StationSetup) -> None:
        self._setup = setup
        self._stack = AsyncExitStack()
        self._finisher = Finisher()
        self._leases = LeaseTaker()
        self._progress: dict[Path, VideoProgress] = {}
        self._works: set[asyncio.Task[VideoReport]] = set()

    async def open(self) -> Opened:
        """Load the bundles.

        Raises:
            BundleNotFound, BundleInvalid: one is not there, or damaged.
            EngineUnavailable: the engine that was asked for is not on this machine.
        """
        configure_logs("text", "error")
        setup = self._setup
        runtime = await self._stack.enter_async_context(
            local_runtime(setup.models, bundles=setup.bundles, config=setup.config)
        )
        self._analyzer = LocalAnalyzer(runtime, setup.bundles)
        return Opened(program_version(), self._analyzer.bundles)

    async def run(self, task: Task, request: Request) -> VideoReport | None:
        """Bring a video to its results; None where the driver's files are not seen here."""
        if await asyncio.to_thread(task.sees) != task:
            return None
        worker = VideoWorker(
            self._analyzer, self._finisher, self._leases, request, self._take_progress
        )
        work = asyncio.create_task(worker.run(task.video))
        self._works.add(work)
        try:
            return await work
        finally:
            self._works.discard(work)

    async def progress(self) -> tuple[VideoProgress, ...]:
        """Return how far each video in work is."""
        return tuple(self._progress.values())

    async def close(self) -> None:
        """Put down what is in work, so that others can go on with it at once, and end all."""
        for work in self._works:
            work.cancel()
        await asyncio.gather(*self._works, return_exceptions=True)
        await self._finisher.close()
        await self._stack.aclose()

    def _take_progress(self, one: VideoProgress) -> None:
        if one.state == "over":
            self._progress.pop(one.video.path, None)
        else:
            self._progress[one.video.path] = one
