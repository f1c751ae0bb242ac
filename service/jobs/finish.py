"""Writes the results of a video whose rows are all there, in a process of its own.

Tables and pictures of a long video take memory and the interpreter's time; in a process of their
own they take neither from the frames of other videos.
"""

import asyncio
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from service.errors import EngineFailed, InvalidRequest
from service.jobs.chunks import read_chunks
from service.jobs.lease import Lease
from service.jobs.planning import LeftOut
from service.jobs.reports import VideoReport
from service.results import (
    AnsweredBundle,
    Provenance,
    VideoResults,
    read_provenance,
    read_results,
    record_path,
)
from service.results.atomic import replacing
from service.results.formats import result_paths, write_derived
from service.results.parquet import write_tables
from service.results.plan import OUTPUTS_ENDING, PlannedVideo

Task = TypeVar("Task")

_TRAIL_FRAMES = 20
_WRITTEN = "written.json"
"""In the work folder of a video."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is written of a video besides the record."""

    formats: tuple[str, ...]
    overlay: bool = False
    """Also draw the video with what was found in it."""
    report: bool = False
    """Also write a page that shows what was found."""

    def paths(self, video: PlannedVideo, bundles: Sequence[AnsweredBundle]) -> tuple[Path, ...]:
        """List the files, the record first."""
        return (
            *result_paths(video.out, video.stem, bundles, self.formats),
            *([video.overlay] if self.overlay else []),
            *([video.report] if self.report else []),
        )


@dataclass(frozen=True, slots=True)
class Finish:
    """One video to be written."""

    video: PlannedVideo
    lease: Lease
    provenance: Provenance
    chunks: tuple[Path, ...]
    """Empty where the record is there and only other files are missing."""
    outputs: Outputs


@dataclass(frozen=True, slots=True)
class JobPage:
    """The page of a job that is over."""

    reports: tuple[VideoReport, ...]
    left_out: tuple[LeftOut, ...]
    out: Path
    """Folder of the page."""
    title: str


class Finisher:
    """Writes results in worker processes; to be closed.

    Args:
        processes: videos that are written at once.
    """

    def __init__(self, processes: int = 1) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    async def write(self, task: Finish) -> None:
        """Write all files of a video; the record appears last.

        Raises:
            LeaseLost: another process has taken over; nothing of its files was touched.
            EngineUnavailable: a format needs a library that is not installed.
            OSError: the disk is full or gone.
            EngineFailed: the worker process died at it, twice.
        """
        await self._call(write_files, task, f"the results of {task.video.path}")

    async def write_page(self, task: JobPage) -> None:
        """Write the page of a job; see `write`."""
        await self._call(_write_page, task, f"the report in {task.out}")

    async def close(self) -> None:
        """End the worker processes; what is being written is finished first."""
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def _call(self, function: Callable[[Task], None], task: Task, what: str) -> None:
        for attempt in (1, 2):
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._processes,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=_end_with_parent,
                )
            pool = self._pool
            try:
                await asyncio.wrap_future(pool.submit(function, task))
                return
            except BrokenProcessPool as error:
                if self._pool is pool:  # of those that wait, the first makes a new one
                    pool.shutdown(wait=False)
                    self._pool = None
                if attempt == 2:
                    raise EngineFailed(
                        f"the process that writes {what} died twice; are there memory and disk "
                        "enough? name fewer formats"
                    ) from error


def write_files(task: Finish) -> None:
    """Write all files into a folder beside the chunks, then move them to their places."""
    video, lease, outputs = task.video, task.lease, task.outputs
    for left in lease.folder.glob("files-*"):
        shutil.rmtree(left, ignore_errors=True)
    staging = lease.folder / f"files-{lease.number:06d}"
    staging.mkdir()
    record, staged = record_path(video.out, video.stem), record_path(staging, video.stem)
    try:
        if task.chunks:
            write_tables(task.provenance, lambda: read_chunks(list(task.chunks)), staged)
        if outputs.formats or outputs.overlay or outputs.report:
            _write_derived(task, read_results(staged if task.chunks else record), staging)
        lease.check()
        if task.chunks:  # where a record is, the files beside it belong to it
            record.unlink(missing_ok=True)
            for name in _written(lease.folder):
                (video.out / name).unlink(missing_ok=True)
        names = {path.name for path in staging.iterdir() if path != staged}
        _write_names(lease, names if task.chunks else names | _written(lease.folder))
        for path in sorted(staging.iterdir(), key=lambda path: path == staged):
            path.replace(video.out / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def foreign_files(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """List the files that have the names of results and were not written here.

    Args:
        folder: the work folder of the video.
        paths: see `Outputs.paths`.
    """
    record, *others = paths
    if not (folder / _WRITTEN).exists():
        try:
            read_provenance(record)
        except InvalidRequest:
            others = [record, *others]
        else:  # results that were copied without their work folder
            return []
    known = _written(folder)
    return [
        path
        for path in others
        if path.exists() and path.name not in known and not path.name.endswith(OUTPUTS_ENDING)
    ]


def _written(folder: Path) -> set[str]:
    """Names of the files that were written beside the record, whichever run did it.

    Others are the user's own.
    """
    try:
        return set(msgspec.json.decode((folder / _WRITTEN).read_bytes(), type=list[str]))
    except (OSError, msgspec.MsgspecError):
        return set()


def _write_names(lease: Lease, names: set[str]) -> None:
    # Other programs keep groups of their own in these; ours are written anew where they are wanted.
    shared = {name for name in names if name.endswith(OUTPUTS_ENDING)}
    with replacing(lease.folder / _WRITTEN) as path:
        path.write_bytes(msgspec.json.encode(sorted(names - shared)))


def _write_derived(task: Finish, results: VideoResults, staging: Path) -> None:
    """Write what is made from the record."""
    video, outputs = task.video, task.outputs
    write_derived(
        results, staging, outputs.formats, stem=video.stem, video=video.path, home=video.out
    )
    if outputs.overlay:
        from service.drawing import OverlayOptions, draw_overlay  # plots and fonts: only if asked

        options = OverlayOptions(trail_frames=_TRAIL_FRAMES)
        draw_overlay(video.path, results, staging / video.overlay.name, options)
    if outputs.report:
        from service.report import write_video_report

        shown = None if video.pictures else video.path
        write_video_report(results, staging, video=shown, stem=video.stem)


def _write_page(task: JobPage) -> None:
    from service.jobs.pages import reported
    from service.report import write_job_report

    write_job_report(reported(task.reports, task.left_out), task.out, title=task.title)


def _end_with_parent() -> None:
    """End this process as soon as the one that began it is gone, killed or not."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
