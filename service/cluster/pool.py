"""Hands videos to stations: each is kept busy, one that is lost leaves its videos to the others."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

import structlog

from service.cluster.station import Task
from service.jobs.manifest import work_folder
from service.jobs.reports import VideoReport
from service.jobs.work import VideoProgress
from service.results.plan import PlannedVideo

log = structlog.get_logger("ethostream.cluster")

_MOST_LOSSES = 3
"""Stations that may be lost over one video, before the video counts as the cause."""


class StationLost(Exception):
    """The process of a station, or its machine, is gone; the text says what is known."""


class AnyStation(Protocol):
    """A station as the pool uses it."""

    @property
    def name(self) -> str:
        """Where it runs, for people."""

    async def run(self, task: Task) -> VideoReport | None:
        """Bring a video to its results; None where the driver's files are not seen there.

        Raises:
            StationLost: it is gone.
        """


class StationPool:
    """Works on videos by the stations that there are; `run` may be called for any number at once.

    Args:
        on_progress: is told how far a video is.
        parallel: videos at once on each station.
    """

    def __init__(self, on_progress: Callable[[VideoProgress], None], *, parallel: int) -> None:
        self._on_progress = on_progress
        self._parallel = parallel
        self._stations: dict[AnyStation, dict[Path, Callable[[], None]]] = {}
        """Videos in work on each, and what gives their place there to the next one."""
        # At most `parallel` for each station: the idle one is taken first, as its place is 0.
        self._places: asyncio.PriorityQueue[tuple[int, int, AnyStation | None]] = (
            asyncio.PriorityQueue()
        )
        self._numbers = itertools.count()
        self._reason = ""
        """Why no station will come any more."""
        self.unshared: dict[AnyStation, str] = {}
        """Stations that do not see the driver's files, and which."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no station now."""
        return not self._stations

    def add(self, station: AnyStation) -> None:
        """Use a station from now on."""
        self._stations[station] = {}
        for place in range(self._parallel):
            self._places.put_nowait((place, next(self._numbers), station))

    def remove(self, station: AnyStation) -> None:
        """Give no more videos to a station."""
        self._stations.pop(station, None)

    def show(self, station: AnyStation, progress: Sequence[VideoProgress]) -> None:
        """Tell how far the videos of a station are."""
        working = self._stations.get(station, {})
        for one in progress:
            if one.video.path in working:
                self._on_progress(one)
                if one.state == "writing":
                    working[one.video.path]()

    def give_up(self, reason: str) -> None:
        """Fail all videos that wait: no station will come."""
        self._reason = reason
        self._places.put_nowait((0, next(self._numbers), None))

    async def run(
        self,
        video: PlannedVideo,
        settle: Callable[[VideoReport], None] = lambda _: None,
        analyzed: Callable[[], None] = lambda: None,
    ) -> VideoReport:
        """See `VideoWorker.run`; but that the lease is given back when `settle` is called."""
        try:
            report = await self._run(video, analyzed)
        finally:
            self._on_progress(VideoProgress(video, "over"))
        if report.state != "busy":
            await asyncio.to_thread(settle, report)
        return report

    async def _run(self, video: PlannedVideo, analyzed: Callable[[], None]) -> VideoReport:
        losses = 0
        while True:
            number, _, station = await self._places.get()
            if station is None:
                self.give_up(self._reason)  # for all others that wait
                return VideoReport(str(video.path), "failed", message=self._reason)
            if station not in self._stations:
                continue
            with ExitStack() as place:
                place.callback(self._give_back, number, station)
                place.callback(analyzed)
                self._stations[station][video.path] = place.close
                task = await asyncio.to_thread(_describe, video)
                try:
                    report = await station.run(task)
                except StationLost as error:
                    self.remove(station)
                    losses += 1
                    log.error("station lost", station=station.name, reason=str(error))
                    if losses == _MOST_LOSSES:
                        return VideoReport(
                            str(video.path), "failed", message=_tell(losses, station)
                        )
                    continue
                finally:
                    self._stations.get(station, {}).pop(video.path, None)
            if report is not None:
                return report
            if await asyncio.to_thread(_describe, video) == task:  # it was not moved meanwhile
                self.remove(station)
                self.unshared[station] = str(video.path)

    def _give_back(self, number: int, station: AnyStation) -> None:
        """Let the next video have the place."""
        self._places.put_nowait((number, next(self._numbers), station))


def _describe(video: PlannedVideo) -> Task:
    """Say what is seen here of a video, once there is a folder for its work."""
    with suppress(OSError):
        work_folder(video).mkdir(parents=True, exist_ok=True)
    return Task(video, is_there=False, has_work_folder=False).sees()


def _tell(losses: int, station: AnyStation) -> str:
    return (
        f"{losses} processes that worked on it were lost, the last one on {station.name}; is there "
        "memory enough for it? analyze it alone, with --parallel 1"
    )
