"""Works through many videos, a few at once; a bad one stops no other."""

import asyncio
from collections.abc import Callable, Sequence

from service.jobs.reports import VideoReport
from service.jobs.video import VideoWorker
from service.results.plan import PlannedVideo

_BUSY_SECONDS = 2.0
"""Wait before a video that another process works on is looked at again."""


async def run_videos(
    planned: Sequence[PlannedVideo],
    worker: VideoWorker,
    *,
    parallel: int,
    settle: Callable[[PlannedVideo, VideoReport], None] = lambda video, report: None,
) -> list[VideoReport]:
    """Bring all videos to their results, and wait for those that other processes work on.

    Args:
        planned: the videos, in the order in which they are begun.
        worker: does the work.
        parallel: videos at once.
        settle: is given each report as soon as it is there, see `VideoWorker.run`.

    Returns:
        One report for each video, in their order; none is busy.
    """
    places = asyncio.Semaphore(parallel)

    async def run(video: PlannedVideo) -> VideoReport:
        while True:
            async with places:
                report = await worker.run(video, lambda one: settle(video, one))
            if report.state != "busy":
                return report
            await asyncio.sleep(_BUSY_SECONDS)

    return list(await asyncio.gather(*(run(video) for video in planned)))
