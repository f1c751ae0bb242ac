"""Analyzes planned videos one after the other, a few at once; a bad one stops no other."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ethostream import EthostreamError as ClientError
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

from service.commands._analyzers import Analyzer, Finished, Started
from service.errors import EthostreamError, InvalidRequest
from service.results import (
    Provenance,
    RequestOptions,
    VideoResults,
    count_frames,
    gather_results,
    read_provenance,
    read_results,
    record_path,
    result_paths,
    same_work,
    write_results,
)
from service.results.formats import write_derived
from service.results.plan import PlannedVideo
from service.results.provenance import describe_source
from service.results.video_results import ChunkLike
from service.values import FrameStatus
from service.version import program_version

_TRAIL_FRAMES = 20


@dataclass(frozen=True, slots=True)
class VideoReport:
    """What became of one video."""

    video: str
    state: Literal["done", "skipped", "failed"]
    frames: int = 0
    seconds: float = 0.0
    """Time of the analysis, without writing."""
    files: tuple[str, ...] = ()
    """The record first."""
    message: str = ""
    """Why it failed, or what was wrong with the file."""
    decoder: str = ""
    """What decoded it, with its version; empty where nothing was decoded now."""
    statuses: dict[str, int] = field(default_factory=dict)
    """Frames by what decoding gave: ok, repeated, missing, corrupt."""


async def analyze_videos(
    planned: Sequence[PlannedVideo],
    analyzer: Analyzer,
    options: RequestOptions,
    *,
    formats: Sequence[str],
    overlay: bool,
    overwrite: bool,
    parallel: int,
    show_progress: bool,
) -> list[VideoReport]:
    """Analyze the videos whose results are not there yet.

    Args:
        planned: videos and where their results go.
        analyzer: where to compute.
        options: what to ask.
        formats: what to write besides the record.
        overlay: also draw overlay videos.
        overwrite: analyze finished videos again.
        parallel: videos at once.
        show_progress: draw bars on standard error.

    Returns:
        One report for each video, in their order.
    """
    places = asyncio.Semaphore(parallel)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (show_progress and console.is_terminal),
    ) as progress:
        job = _Job(analyzer, options, tuple(formats), overlay, overwrite, progress)

        async def one(video: PlannedVideo) -> VideoReport:
            async with places:
                return await job.run(video)

        return list(await asyncio.gather(*(one(video) for video in planned)))


@dataclass(frozen=True, slots=True)
class _Job:
    """What all videos have in common."""

    analyzer: Analyzer
    options: RequestOptions
    formats: tuple[str, ...]
    overlay: bool
    overwrite: bool
    progress: Progress

    async def run(self, video: PlannedVideo) -> VideoReport:
        """Analyze one video, or find that it was; never raises for what the video does."""
        try:
            if not self.overwrite and await asyncio.to_thread(self._is_finished, video):
                await asyncio.to_thread(self._complete, video)
                frames = count_frames(record_path(video.out, video.stem))
                return VideoReport(str(video.path), "skipped", frames, files=self._files(video))
            return await self._analyze(video)
        except (EthostreamError, ClientError, OSError) as error:
            return VideoReport(str(video.path), "failed", message=str(error))

    async def _analyze(self, video: PlannedVideo) -> VideoReport:
        task = self.progress.add_task(video.path.name, total=None)
        try:
            # Hashing reads the file while the engine computes.
            source = asyncio.create_task(asyncio.to_thread(describe_source, video.source))
            began = time.perf_counter()
            try:
                started, chunks, finished = await self._gather(video, task)
                seconds = time.perf_counter() - began
                described = await source
            finally:
                source.cancel()
                await asyncio.gather(source, return_exceptions=True)
            provenance = Provenance(
                ethostream=program_version(),
                source=described,
                info=started.info,
                bundles=started.bundles,
                options=self.options,
                message=finished.message,
            )
            results = gather_results(provenance, chunks)
            await asyncio.to_thread(self._write, video, results, task)
        finally:
            self.progress.remove_task(task)
        return VideoReport(
            str(video.path),
            "done",
            len(results),
            round(seconds, 3),
            self._files(video),
            finished.message,
            started.info.decoder,
            _count_statuses(chunks),
        )

    async def _gather(
        self, video: PlannedVideo, task: TaskID
    ) -> tuple[Started, list[ChunkLike], Finished]:
        started, finished = None, None
        chunks: list[ChunkLike] = []
        async with aclosing(self.analyzer.analyze(video.source, self.options)) as events:
            async for event in events:
                if isinstance(event, Started):
                    started = event
                    total = event.info.claimed_frames or None
                    if self.options.frame_limit:
                        total = min(total or self.options.frame_limit, self.options.frame_limit)
                    self.progress.update(task, total=total)
                elif isinstance(event, Finished):
                    finished = event
                else:
                    chunks.append(event)
                    self.progress.advance(task, len(event.frame_index))
        assert started is not None
        assert finished is not None  # otherwise the analyzer has raised
        return started, chunks, finished

    def _is_finished(self, video: PlannedVideo) -> bool:
        record = record_path(video.out, video.stem)
        if not (record.is_file() and video.path.exists()):
            return False
        try:
            stored = read_provenance(record)
        except InvalidRequest:  # damaged, or of another version: the analysis replaces it
            return False
        return same_work(stored, video.source, self.analyzer.bundles, self.options)

    def _complete(self, video: PlannedVideo) -> None:
        """Make what is asked for and is not there from the record."""
        missing = [path for path in self._files(video) if not Path(path).exists()]
        if missing:
            results = read_results(record_path(video.out, video.stem))
            write_derived(results, video.out, self.formats, stem=video.stem)
            if str(video.overlay) in missing:
                self._draw(video, results)

    def _write(self, video: PlannedVideo, results: VideoResults, task: TaskID) -> None:
        video.overlay.unlink(missing_ok=True)  # one of older results would look finished
        write_results(results, video.out, self.formats, stem=video.stem)
        if self.overlay:
            self._draw(video, results, task)

    def _draw(self, video: PlannedVideo, results: VideoResults, task: TaskID | None = None) -> None:
        from service.drawing import OverlayOptions, draw_overlay  # plots and fonts: only if asked

        def show(drawn: int) -> None:
            if task is not None:
                self.progress.update(task, completed=drawn)

        if task is not None:
            self.progress.reset(
                task, total=len(results), description=f"{video.path.name} (overlay)"
            )
        options = OverlayOptions(trail_frames=_TRAIL_FRAMES)
        draw_overlay(video.path, results, video.overlay, options, on_frame=show)

    def _files(self, video: PlannedVideo) -> tuple[str, ...]:
        paths = result_paths(video.out, video.stem, self.analyzer.bundles, self.formats)
        return tuple(str(path) for path in (*paths, *([video.overlay] if self.overlay else [])))


def _count_statuses(chunks: Sequence[ChunkLike]) -> dict[str, int]:
    counts = Counter(status for chunk in chunks for status in chunk.status.tolist())
    return {FrameStatus(status).name.lower(): counts[status] for status in sorted(counts)}


class _RateColumn(ProgressColumn):
    """Frames a second."""

    def render(self, task: Task) -> Text:
        """Show the speed of the last half minute."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} frames/s" if speed else "")
