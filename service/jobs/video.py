"""One video for one request: found finished, worked on, or left to who works on it already."""

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from service.errors import DecoderFailed, EthostreamError, LeaseLost
from service.jobs.analyzer import Analyzer
from service.jobs.chunks import ChunkStore
from service.jobs.finish import Finish, Finisher, Outputs, foreign_files
from service.jobs.lease import Lease, LeaseTaker
from service.jobs.manifest import VideoManifest, read_manifest, work_folder, write_manifest
from service.jobs.reports import VideoReport
from service.jobs.work import VideoProgress, VideoWork, stamp_of
from service.results import RequestOptions, count_frames, read_provenance, record_path, same_work
from service.results.atomic import check_names
from service.results.plan import PlannedVideo

log = structlog.get_logger("ethostream.jobs")

_DECODERS = 3
"""A decode process may have been killed for its memory, or by an operator; one that dies this often
on a video dies of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is wanted of each video."""

    options: RequestOptions
    outputs: Outputs
    overwrite: bool = False
    """Analyze finished videos again."""


class VideoWorker:
    """Works on videos for one request; `run` may be called for several at once.

    Args:
        analyzer: where to compute.
        finisher: writes the results.
        leases: takes them in the name of this process.
        request: what is wanted.
        on_progress: is told how far a video is.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        finisher: Finisher,
        leases: LeaseTaker,
        request: Request,
        on_progress: Callable[[VideoProgress], None],
    ) -> None:
        self._analyzer = analyzer
        self._finisher = finisher
        self._leases = leases
        self._request = request
        self._on_progress = on_progress

    async def run(
        self,
        video: PlannedVideo,
        settle: Callable[[VideoReport], None] = lambda _: None,
        analyzed: Callable[[], None] = lambda: None,
    ) -> VideoReport:
        """Bring one video to its results, or find that they are there.

        Never raises for what the video, its disk or its formats do. Where the task is cancelled,
        what is done stays for the next run.

        Args:
            video: what to analyze and where results go.
            settle: is given the report of a video that is over, while the lease is held still.
            analyzed: is called when only the writing is left, so that another one may begin.
        """
        try:
            if await asyncio.to_thread(self._is_complete, video):
                report = await asyncio.to_thread(self._skipped, video)
                await asyncio.to_thread(settle, report)
                return report
            async with self._leases.hold(work_folder(video)) as lease:
                if lease is None:
                    return VideoReport(str(video.path), "busy")
                report = await self._work(video, lease, analyzed)
                if report.state != "busy":
                    await asyncio.to_thread(settle, report)
                return report
        except OSError as error:  # there is no place for its work folder
            report = VideoReport(str(video.path), "failed", message=_describe(error, video))
            with suppress(OSError):
                await asyncio.to_thread(settle, report)
            return report
        finally:
            self._on_progress(VideoProgress(video, "over"))

    async def _work(
        self, video: PlannedVideo, lease: Lease, analyzed: Callable[[], None]
    ) -> VideoReport:
        try:
            names = self._request.outputs.paths(video, self._analyzer.bundles)
            foreign = await asyncio.to_thread(foreign_files, lease.folder, names)
            if foreign:
                message = (
                    f"{', '.join(map(str, foreign))} would be replaced, but was not written by "
                    "ethostream; move it away, or give another --out"
                )
                return VideoReport(str(video.path), "failed", message=message)
            if await asyncio.to_thread(self._is_finished, video):
                await self._add_files(video, lease)
                return await asyncio.to_thread(self._skipped, video)
            refused = await asyncio.to_thread(self._refuse, video, lease)
            if refused:
                return VideoReport(str(video.path), "failed", message=refused)
            await asyncio.to_thread(check_names, names)
            return _done(await self._analyze(video, lease, analyzed))
        except LeaseLost:
            return VideoReport(str(video.path), "busy")
        except Exception as error:  # a bug of ours on one video must not stop the others
            if not isinstance(error, EthostreamError | OSError):
                log.exception("video failed", video=str(video.path))
            message = _describe(error, video)
            with suppress(OSError, LeaseLost):
                await asyncio.to_thread(_note_failure, lease, message)
            return VideoReport(str(video.path), "failed", message=message)

    async def _analyze(
        self, video: PlannedVideo, lease: Lease, analyzed: Callable[[], None]
    ) -> VideoManifest:
        """Analyze and write; where the decoder dies, another one goes on from the chunks."""
        for attempt in range(_DECODERS):
            work = VideoWork(
                video,
                lease,
                self._analyzer,
                self._finisher,
                self._request.options,
                self._request.outputs,
                self._on_progress,
            )
            try:
                return await work.run(analyzed)
            except DecoderFailed as error:
                if attempt == _DECODERS - 1:
                    raise
                log.warning("video goes on with another decoder", reason=str(error))
        raise AssertionError("the last attempt returns or raises")

    def _is_complete(self, video: PlannedVideo) -> bool:
        """Whether nothing is left to do, not even to put away; needs no place to write."""
        return (
            self._is_finished(video)
            and self._has_files(video)
            and not any((work_folder(video) / "chunks").glob("*"))
        )

    def _is_finished(self, video: PlannedVideo) -> bool:
        """Whether there is a record of the very work that is wanted."""
        record = record_path(video.out, video.stem)
        if self._request.overwrite or not (record.is_file() and video.path.exists()):
            return False
        try:
            stored = read_provenance(record)
        except EthostreamError:  # damaged, or of another version: the analysis replaces it
            return False
        return same_work(stored, video.source, self._analyzer.bundles, self._request.options)

    def _refuse(self, video: PlannedVideo, lease: Lease) -> str:
        """Say what of earlier work nobody asked to replace; empty where there is none."""
        before = read_manifest(lease.folder)
        if before is None or self._request.overwrite:
            return ""
        other = _other_recording(video, before)
        if other:
            return (
                f"{other}, which was analyzed before, and {video.path} would write the same "
                f"files in {video.out}; give another --out, or --overwrite to replace them"
            )
        limit = self._request.options.frame_limit
        is_kept = before.state != "done" or record_path(video.out, video.stem).is_file()
        if 0 < limit < before.frames and is_kept:
            return (
                f"{before.frames} frames of {video.path} are in {video.out} from before, and this "
                f"would replace them by {limit}; give another --out, or --overwrite"
            )
        return ""

    def _paths(self, video: PlannedVideo) -> tuple[Path, ...]:
        """List the files of a finished video."""
        stored = read_provenance(record_path(video.out, video.stem))
        return self._request.outputs.paths(video, stored.bundles)

    def _has_files(self, video: PlannedVideo) -> bool:
        paths = self._paths(video)
        return all(path.exists() for path in paths) and not foreign_files(work_folder(video), paths)

    async def _add_files(self, video: PlannedVideo, lease: Lease) -> None:
        """Make what is asked for and is not there from the record, and put chunks away."""
        if not await asyncio.to_thread(self._has_files, video):
            self._on_progress(VideoProgress(video, "writing"))
            record = record_path(video.out, video.stem)
            provenance = await asyncio.to_thread(read_provenance, record)
            outputs = self._request.outputs
            await self._finisher.write(Finish(video, lease, provenance, (), outputs))
        await asyncio.to_thread(ChunkStore(lease.folder / "chunks", lease).clear)

    def _skipped(self, video: PlannedVideo) -> VideoReport:
        return VideoReport(
            str(video.path),
            "skipped",
            count_frames(record_path(video.out, video.stem)),
            files=tuple(map(str, self._paths(video))),
        )


def _done(manifest: VideoManifest) -> VideoReport:
    assert manifest.start is not None, "a video that is done was opened"
    return VideoReport(
        manifest.video,
        "done",
        manifest.frames,
        manifest.seconds,
        manifest.files,
        manifest.message,
        manifest.start.info.decoder,
        manifest.statuses,
        manifest.resumed_frames,
    )


def _describe(error: Exception, video: PlannedVideo) -> str:
    """Say what happened and what to do; errors of the system, and bugs, name neither."""
    if isinstance(error, EthostreamError):
        return str(error)
    if not isinstance(error, OSError):
        return (
            f"{type(error).__name__}: {error}; this is a bug of ethostream, the log has its trace"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {video.out} is full; make room and run again: what is done is kept"
    if error.errno == errno.ENAMETOOLONG:
        return (
            f"the names of the results, such as {error.filename}, are too long for the disk of "
            f"{video.out}: give {video.path.name} a shorter name"
        )
    return f"{error}; the results go to {video.out}: run again when that is there"


def _other_recording(video: PlannedVideo, before: VideoManifest) -> str:
    """Path of another recording that the results are of, where it is there still; else empty."""
    if before.start is None or before.video == str(video.path):
        return ""
    other = Path(before.video)
    if not (other.exists() and video.path.exists()) or other.samefile(video.path):
        return ""
    return "" if before.start.source == stamp_of(video) else before.video


def _note_failure(lease: Lease, message: str) -> None:
    """Store why a video failed; its chunks stay, since a disk may only have been full."""
    lease.check()
    before = read_manifest(lease.folder)
    if before is not None:
        failed = msgspec.structs.replace(before, state="failed", message=message)
        write_manifest(lease.folder, failed)
