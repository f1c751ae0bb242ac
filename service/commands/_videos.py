"""Works through planned videos with bars that show how far each is."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from service.errors import EthostreamError
from service.jobs.analyzer import Analyzer
from service.jobs.finish import Finisher, JobPage
from service.jobs.lease import LeaseTaker
from service.jobs.planning import PlannedWork
from service.jobs.reports import VideoReport
from service.jobs.runner import Worker, run_videos
from service.jobs.video import Request, VideoWorker
from service.jobs.work import VideoProgress
from service.results.plan import PlannedVideo

OpenWorker = Callable[
    [Finisher, Callable[[VideoProgress], None]], AbstractAsyncContextManager[Worker]
]
"""Opens what works on videos, which may write with the finisher, and tells how far it is."""


async def analyze_videos(
    work: PlannedWork,
    open_worker: OpenWorker,
    *,
    parallel: int,
    page: Path | None,
    show_progress: bool,
) -> tuple[list[VideoReport], str]:
    """Analyze the videos whose results are not there yet.

    Args:
        work: videos and where their results go.
        open_worker: gives what does the work.
        parallel: videos at once.
        page: that tells what became of all; None writes none.
        show_progress: draw bars on standard error.

    Returns:
        One report for each video, in their order; and why there is no page, empty where there is.
    """
    console = Console(stderr=True)
    finisher = Finisher()
    try:
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not (show_progress and console.is_terminal),
        ) as progress:
            bars = _Bars(progress, len(work.videos))
            async with open_worker(finisher, bars.show) as worker:
                reports = await run_videos(
                    work.videos, worker, parallel=parallel, settle=bars.count
                )
        if page is not None:
            try:
                await finisher.write_page(
                    JobPage(tuple(reports), work.left_out, page.parent, "ethostream analyze")
                )
            except (EthostreamError, OSError) as error:  # the reports are worth more
                return reports, f"the report {page} cannot be written ({error}); run again"
        return reports, ""
    finally:
        await finisher.close()


def with_analyzer(opening: AbstractAsyncContextManager[Analyzer], request: Request) -> OpenWorker:
    """Return what works in this process, and computes where an analyzer does.

    Args:
        opening: opens the analyzer.
        request: what is wanted of each video.
    """

    @asynccontextmanager
    async def open_worker(
        finisher: Finisher, on_progress: Callable[[VideoProgress], None]
    ) -> AsyncIterator[Worker]:
        async with opening as analyzer:
            yield VideoWorker(analyzer, finisher, LeaseTaker(), request, on_progress)

    return open_worker


class _Bars:
    """One bar for each video in work, and one for all where there are several."""

    def __init__(self, progress: Progress, videos: int) -> None:
        self._progress = progress
        self._bars: dict[Path, TaskID] = {}
        self._all = progress.add_task("videos", total=videos) if videos > 1 else None

    def count(self, video: PlannedVideo, report: VideoReport) -> None:
        """Count a video that needs no more work."""
        if self._all is not None:
            self._progress.advance(self._all)

    def show(self, one: VideoProgress) -> None:
        """Draw how far a video is."""
        if one.state == "over":
            if (bar := self._bars.pop(one.video.path, None)) is not None:
                self._progress.remove_task(bar)
            return
        if one.video.path not in self._bars:
            self._bars[one.video.path] = self._progress.add_task(one.video.path.name, total=None)
        name = one.video.path.name
        self._progress.update(
            self._bars[one.video.path],
            description=f"{name} (writing)" if one.state == "writing" else name,
            completed=one.frames,
            total=one.total or None,
        )


class _RateColumn(ProgressColumn):
    """Frames a second."""

    def render(self, task: Task) -> Text:
        """Show the speed of the last half minute."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} frames/s" if speed else "")
