"""How far a job is: from its folder, and from what this process works on of it."""

import time
from collections import deque
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from service.jobs.manifest import read_manifest, work_folder
from service.jobs.reports import VideoReport
from service.jobs.store import StoredJob
from service.jobs.work import VideoProgress
from service.results.plan import JOB_REPORT

State = Literal["queued", "running", "done", "skipped", "failed", "cancelled"]
_OTHERS_SECONDS = 60.0
"""A video whose manifest is younger is in work somewhere."""
_SPEED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class VideoStatus:
    """How far one video of a job is."""

    path: Path
    state: State
    frames: int = 0
    """Rows that are on disk, or about to be."""
    total_frames: int = 0
    """0 where the container does not say, or it was not opened yet."""
    remaining_seconds: float = 0.0
    """0: not known."""
    report: VideoReport | None = None
    """What became of it, once it is over."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How far a job is."""

    job: StoredJob
    state: State
    videos: tuple[VideoStatus, ...]
    frames_per_second: float
    """Of late, by this process; 0: none."""
    progress: float
    """Share of the bytes of its videos, in [0, 1]."""
    remaining_seconds: float
    """0: not known."""
    report: Path | None = None
    """The page that tells what became of it, where there is one."""

    def count(self, *states: State) -> int:
        """Number of videos in any of the states."""
        return sum(one.state in states for one in self.videos)

    @property
    def frames(self) -> int:
        """Rows of all videos."""
        return sum(one.frames for one in self.videos)


@dataclass(slots=True)
class JobSpeed:
    """Follows how fast this process works on a job."""

    began: float = field(default_factory=time.monotonic)
    began_at: float = -1.0
    """Progress when it was first looked at; -1 before."""
    running: dict[int, VideoProgress] = field(default_factory=dict)
    """Videos in work here, by their place in the plan."""
    begun: dict[int, tuple[float, int]] = field(default_factory=dict)
    """When each of them was begun, and how many rows there were."""
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, place: int, progress: VideoProgress) -> None:
        """Take the progress of a video."""
        before = self.running.get(place)
        now = time.monotonic()
        if progress.state == "over":
            self.running.pop(place, None)
            self.begun.pop(place, None)
            return
        if progress.frames:
            self.begun.setdefault(place, (now, progress.frames))
        if before is not None and before.frames:
            self._recent.append((now, max(0, progress.frames - before.frames)))
        if progress.state == "analyzing" or before is None:
            self.running[place] = progress

    def frames_per_second(self) -> float:
        """Speed of the last half minute."""
        now = time.monotonic()
        while self._recent and self._recent[0][0] < now - _SPEED_SECONDS:
            self._recent.popleft()
        if not self._recent or now <= self._recent[0][0]:
            return 0.0
        return sum(frames for _, frames in self._recent) / (now - self._recent[0][0])


def look(job: StoredJob, speed: JobSpeed) -> JobStatus:
    """Return how far a job is now; reads the manifests of videos that others may work on."""
    begun = _list_begun(job)
    videos = tuple(
        _look_at_video(job, place, speed, begun) for place in range(len(job.plan.videos))
    )
    progress = _progress(job, videos)
    if speed.began_at < 0:
        speed.began_at = progress
    elapsed, gained = time.monotonic() - speed.began, progress - speed.began_at
    report = job.folder / JOB_REPORT
    state = _state(job, videos)
    return JobStatus(
        job,
        state,
        videos,
        speed.frames_per_second(),
        progress,
        elapsed * (1 - progress) / gained if gained > 0 and state == "running" else 0.0,
        report if report.exists() else None,
    )


def _state(job: StoredJob, videos: tuple[VideoStatus, ...]) -> State:
    states = {one.state for one in videos}
    if job.is_cancelled:
        return "cancelled"
    if job.is_over:
        return "failed" if "failed" in states else "done"
    return "running" if states - {"queued"} else "queued"


def _list_begun(job: StoredJob) -> set[Path]:
    """Work folders that are there: one look at each folder of results, not one for each video."""
    begun: set[Path] = set()
    for folder in {work_folder(job.plan.videos[place]).parent for place in job.unsettled}:
        with suppress(OSError):
            begun.update(folder.iterdir())
    return begun


def _look_at_video(
    job: StoredJob, place: int, speed: JobSpeed, begun: Container[Path]
) -> VideoStatus:
    video = job.plan.videos[place]
    report = job.reports.get(place)
    if report is not None:
        assert report.state != "busy", "only videos that are over are settled"
        return VideoStatus(video.path, report.state, report.frames, report.frames, report=report)
    running = speed.running.get(place)
    if running is not None:
        return VideoStatus(
            video.path,
            "running",
            running.frames,
            running.total,
            _remaining_seconds(running, speed.begun.get(place)),
        )
    state: State = "cancelled" if job.is_cancelled else "queued"
    path = work_folder(video)
    manifest = read_manifest(path) if path in begun else None
    if manifest is None or manifest.state == "failed" or manifest.start is None:
        return VideoStatus(video.path, state)
    written = (path / "manifest.json").stat().st_mtime
    is_done = manifest.state == "done"
    if is_done and written < job.plan.submitted_ns / 1e9:  # by an earlier job
        return VideoStatus(video.path, state)
    if time.time() - written < _OTHERS_SECONDS and not job.is_cancelled:
        state = "running"
    total = manifest.frames if is_done else manifest.start.info.claimed_frames
    return VideoStatus(video.path, state, manifest.frames, total)


def _remaining_seconds(running: VideoProgress, begun: tuple[float, int] | None) -> float:
    if begun is None or not running.total:
        return 0.0
    elapsed, frames = time.monotonic() - begun[0], running.frames - begun[1]
    return elapsed / frames * max(0, running.total - running.frames) if frames > 0 else 0.0


def _progress(job: StoredJob, videos: tuple[VideoStatus, ...]) -> float:
    sizes = job.plan.sizes_bytes
    done = 0.0
    for place, size in enumerate(sizes):
        one = videos[place]
        if one.report is not None:
            done += size
        elif one.total_frames:
            done += size * min(1.0, one.frames / one.total_frames)
    return done / sum(sizes) if sum(sizes) else 1.0 * job.is_over
