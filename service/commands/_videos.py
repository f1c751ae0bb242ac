"""Works through planned videos with bars that show how far each is."""

from collections.abc import Sequence
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

from service.jobs.analyzer import Analyzer
from service.jobs.finish import Finisher
from service.jobs.lease import LeaseTaker
from service.jobs.reports import VideoReport
from service.jobs.runner import run_videos
from service.jobs.video import Request, VideoWorker
from service.jobs.work import VideoProgress
from service.results.plan import PlannedVideo


async def analyze_videos(
    planned: Sequence[PlannedVideo],
    analyzer: Analyzer,
    request: Request,
    *,
    parallel: int,
    show_progress: bool,
) -> list[VideoReport]:
    """Analyze the videos whose results are not there yet.

    Args:
        planned: videos and where their results go.
        analyzer: where to compute.
        request: what is wanted of each.
        parallel: videos at once.
        show_progress: draw bars on standard error.

    Returns:
        One report for each video, in their order.
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
            bars = _Bars(progress, len(planned))
            worker = VideoWorker(analyzer, finisher, LeaseTaker(), request, bars.show)
            return await run_videos(planned, worker, parallel=parallel, settle=bars.count)
    finally:
        await finisher.close()


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
