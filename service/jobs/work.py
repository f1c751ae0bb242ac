"""The work on one video under its lease: rows to chunks on disk, chunks to results."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import structlog

from service.errors import InvalidVideo, VideoNotFound
from service.jobs.analyzer import Analyzer, Finished, Resume, Started
from service.jobs.chunks import ChunkStore, read_chunks
from service.jobs.finish import Finish, Finisher, Outputs
from service.jobs.lease import Lease
from service.jobs.manifest import (
    SourceStamp,
    VideoManifest,
    WorkStart,
    read_manifest,
    write_manifest,
)
from service.results import Provenance, RequestOptions
from service.results.parquet import last_poses, to_table
from service.results.plan import PlannedVideo
from service.results.provenance import (
    VideoSource,
    describe_source,
    modified_ns,
    size_bytes,
    without_stride,
)
from service.results.video_results import ChunkLike
from service.values import FrameFault, FrameStatus, Poses
from service.version import program_version
from service.video.base import describe_faults

log = structlog.get_logger("ethostream.jobs")

CHUNK_SECONDS = 2.0
"""Rows go to disk about this often: as much is lost with a process that is killed."""
_MOST_CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class VideoProgress:
    """How far a video is."""

    video: PlannedVideo
    state: Literal["analyzing", "writing", "over"]
    frames: int = 0
    """Rows that are there."""
    total: int = 0
    """Rows that there will be; 0 where the container does not say."""


class VideoWork:
    """Brings one video to its results; `run` is called once.

    Args:
        video: what to analyze and where results go.
        lease: of its work folder.
        analyzer: where to compute.
        finisher: writes the results.
        options: what to ask.
        outputs: what to write.
        on_progress: is told how far it is.
    """

    def __init__(
        self,
        video: PlannedVideo,
        lease: Lease,
        analyzer: Analyzer,
        finisher: Finisher,
        options: RequestOptions,
        outputs: Outputs,
        on_progress: Callable[[VideoProgress], None],
    ) -> None:
        self._video = video
        self._lease = lease
        self._analyzer = analyzer
        self._finisher = finisher
        self._options = options
        self._outputs = outputs
        self._on_progress = on_progress
        self._store = ChunkStore(lease.folder / "chunks", lease)
        self._waiting: list[ChunkLike] = []
        """Rows that are not on disk yet."""
        self._written = time.monotonic()

    async def run(self, analyzed: Callable[[], None]) -> VideoManifest:
        """Analyze what is not there yet and write the results.

        Args:
            analyzed: is called when only the writing is left.

        Returns:
            The manifest, state done, as it was stored.

        Raises:
            LeaseLost: another process has taken over.
            InvalidVideo: the file was changed while it was read.
            EthostreamError, OSError: what the video, its disk or its formats did.
        """
        began = time.perf_counter()
        begun = await asyncio.to_thread(stamp_of, self._video)
        before = await asyncio.to_thread(read_manifest, self._lease.folder)
        known = before if before and self._is_same(before.start, begun) else None
        await asyncio.to_thread(self._store.recover if known else self._store.clear)
        # Hashing reads the file while the engine computes.
        hashing = asyncio.create_task(self._describe(known))
        try:
            start, resumed = await self._analyze(begun, known.start if known else None)
            source = await hashing
        finally:
            hashing.cancel()
            await asyncio.gather(hashing, return_exceptions=True)
        now = await asyncio.to_thread(stamp_of, self._video)
        read = SourceStamp(size_bytes=source.size_bytes, modified_ns=source.modified_ns)
        if not begun == read == now:
            await asyncio.to_thread(self._store.clear)
            raise InvalidVideo(
                f"{self._video.path} was changed while it was analyzed; analyze it again when it "
                "is complete"
            )
        seconds = time.perf_counter() - began
        analyzed()
        return await self._write(start, source, seconds, resumed)

    def _is_same(self, start: WorkStart | None, stamp: SourceStamp) -> bool:
        """Whether chunks that began like this may be gone on with; the decoder is seen later."""
        return (
            start is not None
            and start.ethostream == program_version()
            and start.source == stamp
            and start.options == self._options
            and tuple(map(without_stride, start.bundles))
            == tuple(map(without_stride, self._analyzer.bundles))
            and self._analyzer.can_resume(self._options)
        )

    async def _describe(self, known: VideoManifest | None) -> VideoSource:
        if known is not None and known.source is not None:
            return known.source
        return await asyncio.to_thread(describe_source, self._video.source)

    async def _analyze(self, stamp: SourceStamp, before: WorkStart | None) -> tuple[WorkStart, int]:
        """Fill the store; return what the rows depend on, and how many were there already."""
        resume = await asyncio.to_thread(self._resume, before)
        resumed = self._store.rows
        async with aclosing(
            self._analyzer.analyze(self._video.source, self._options, resume)
        ) as events:
            async for event in events:
                if isinstance(event, Started):
                    start = WorkStart(
                        ethostream=program_version(),
                        source=stamp,
                        options=self._options,
                        bundles=event.bundles,
                        info=event.info,
                    )
                    if resume is not None and start != before:
                        break
                    if resumed:
                        log.info("video goes on", video=str(self._video.path), frames=resumed)
                    await asyncio.to_thread(self._note, start)
                elif not isinstance(event, Finished):
                    self._waiting.append(event)
                    await self._keep(start)
            else:
                await self._keep(start, all_of_it=True)
                return start, resumed
        # Another decoder than before, or another rate: rows of the two are not mixed.
        await asyncio.to_thread(self._store.clear)
        return await self._analyze(stamp, None)

    def _resume(self, before: WorkStart | None) -> Resume | None:
        last = self._store.last_table() if before else None
        if before is None or last is None:
            return None
        poses: tuple[tuple[int, Poses], ...] = ()
        if self._options.dynamic_crop is not None:
            newest_first = read_chunks(self._store.paths[::-1])
            found = (last_poses(before.bundles, table) for table in newest_first)
            poses = next(filter(None, found), ())
        return Resume(int(last.column("frame_index")[-1].as_py()) + 1, poses)

    async def _keep(self, start: WorkStart, *, all_of_it: bool = False) -> None:
        """Bring rows to disk where it is time."""
        rows = sum(len(one.frame_index) for one in self._waiting)
        total = start.info.claimed_frames
        if self._options.frame_limit:
            total = min(total or self._options.frame_limit, self._options.frame_limit)
        self._on_progress(VideoProgress(self._video, "analyzing", self._store.rows + rows, total))
        is_time = time.monotonic() - self._written >= CHUNK_SECONDS or rows >= _MOST_CHUNK_ROWS
        if rows and (is_time or all_of_it):
            chunks, self._waiting = self._waiting, []
            await asyncio.to_thread(self._append, start, chunks)
            self._written = time.monotonic()

    def _append(self, start: WorkStart, chunks: Sequence[ChunkLike]) -> None:
        tables = [to_table(start.bundles, one) for one in chunks]
        self._store.append(pa.concat_tables(tables).combine_chunks())
        self._note(start)

    def _note(self, start: WorkStart) -> None:
        write_manifest(
            self._lease.folder,
            VideoManifest(
                video=str(self._video.path),
                state="working",
                start=start,
                frames=self._store.rows,
            ),
        )

    async def _write(
        self, start: WorkStart, source: VideoSource, seconds: float, resumed: int
    ) -> VideoManifest:
        rows = self._store.rows
        self._on_progress(VideoProgress(self._video, "writing", rows, rows))
        statuses, faults = await asyncio.to_thread(_summarize, self._store.paths)
        provenance = Provenance(
            ethostream=start.ethostream,
            source=source,
            info=start.info,
            bundles=start.bundles,
            options=start.options,
            message=describe_faults(faults, statuses),
        )
        await self._finisher.write(
            Finish(self._video, self._lease, provenance, tuple(self._store.paths), self._outputs)
        )
        manifest = VideoManifest(
            video=str(self._video.path),
            state="done",
            start=start,
            source=source,
            frames=rows,
            resumed_frames=resumed,
            seconds=round(seconds, 3),
            message=provenance.message,
            statuses={one.name.lower(): n for one, n in sorted(statuses.items())},
            files=tuple(map(str, self._outputs.paths(self._video, provenance.bundles))),
        )
        await asyncio.to_thread(write_manifest, self._lease.folder, manifest)
        await asyncio.to_thread(self._store.clear)
        return manifest


def stamp_of(video: PlannedVideo) -> SourceStamp:
    """Look at the size and the time of a video.

    Raises:
        VideoNotFound: it is not there, or may not be read.
    """
    try:
        return SourceStamp(
            size_bytes=size_bytes(video.source), modified_ns=modified_ns(video.source)
        )
    except OSError as error:
        raise VideoNotFound(f"the video {video.path} cannot be read: {error.strerror}") from error


def _summarize(paths: list[Path]) -> tuple[Counter[FrameStatus], list[FrameFault]]:
    """Count rows by status, and find the first that has no pixels (a list of one, or of none)."""
    statuses: Counter[FrameStatus] = Counter()
    faults: list[FrameFault] = []
    for table in read_chunks(paths):
        status = table.column("status").to_numpy()
        numbers, counts = np.unique(status, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            statuses[FrameStatus(number)] += count
        if not faults:
            reasons = table.column("reason").to_pylist()
            row = next((row for row, reason in enumerate(reasons) if reason is not None), None)
            if row is not None:
                frame = int(table.column("frame_index")[row].as_py())
                faults.append(FrameFault(frame, FrameStatus(int(status[row])), reasons[row]))
    return statuses, faults
