"""Works through many videos, a few at once; a bad one stops no other."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

from service.jobs.reports import VideoReport
from service.results.plan import PlannedVideo

_BUSY_SECONDS = 2.0
"""Wait before a video that another process works on is looked at again."""


class Worker(Protocol):
    """What works on videos: `VideoWorker` here, `service.cluster` on many machines."""

    async def run(
        self,
        video: PlannedVideo,
        settle: Callable[[VideoReport], None] = ...,
        analyzed: Callable[[], None] = ...,
    ) -> VideoReport:
        """See `VideoWorker.run`."""


async def run_videos(
    planned: Sequence[PlannedVideo],
    worker: Worker,
    *,
    parallel: int,
    settle: Callable[[PlannedVideo, VideoReport], None] = lambda video, report: None,
) -> list[VideoReport]:
    """Bring all videos to their results, and wait for those that other processes work on.

    Args:
        planned: the videos, in the order in which they are begun.
        worker: does the work.
        parallel: videos that are analyzed at once; others may be written meanwhile.
        settle: is given each report as soon as it is there, see `VideoWorker.run`.

    Returns:
        One report for each video, in their order; none is busy.
    """
    places = asyncio.Semaphore(parallel)

    async def run(video: PlannedVideo) -> VideoReport:
        while True:
            await places.acquire()
            with ExitStack() as place:
                place.callback(places.release)
                report = await worker.run(video, lambda one: settle(video, one), place.close)
            if report.state != "busy":
                return report
            await asyncio.sleep(_BUSY_SECONDS)

    return list(await asyncio.gather(*(run(video) for video in planned)))
