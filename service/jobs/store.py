"""Jobs on disk: a folder each, which any number of servers may look at and work on.

JOBS/<job id>/job.json              what is to be done, never changed
              attempt-000002        there once what failed is to be tried again
              cancelled-000002      there once the job was cancelled, in that attempt
              videos/000007-000001.json   what became of video 7 in attempt 1

How far a video in work is stands in the manifest beside its results (`service.jobs.manifest`).
"""

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from service.errors import InvalidRequest, JobNotFound, NotFound
from service.jobs.finish import Outputs
from service.jobs.planning import LeftOut
from service.jobs.reports import VideoReport
from service.results import RequestOptions
from service.results.atomic import replacing
from service.results.plan import JOB_REPORT, PlannedVideo

log = structlog.get_logger("ethostream.jobs")

FORMAT_VERSION = 1
Stored = TypeVar("Stored")


class JobPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a job is to do."""

    format_version: int = FORMAT_VERSION
    job_id: str
    submitted_ns: int
    """ns since 1970."""
    title: str = ""
    paths: tuple[str, ...]
    """As they were asked for."""
    bundles: tuple[str, ...]
    """NAME@VERSION."""
    options: RequestOptions
    outputs: Outputs
    overwrite: bool = False
    priority: int = 0
    out: str = ""
    """As it was asked for; empty with `beside_videos`, or for the job's own folder."""
    beside_videos: bool = False
    videos: tuple[PlannedVideo, ...]
    sizes_bytes: tuple[int, ...]
    """Of the videos when the job was submitted; 0 where there is no such file."""
    left_out: tuple[LeftOut, ...] = ()
    """Files below the paths that are not analyzed."""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as its folder shows it."""

    plan: JobPlan
    folder: Path
    is_cancelled: bool
    attempt: int
    """From 1."""
    reports: dict[int, VideoReport]
    """What became of videos, by their place in the plan; without those to be tried again."""

    @property
    def is_over(self) -> bool:
        """Whether no video waits or is in work."""
        return self.is_cancelled or len(self.reports) == len(self.plan.videos)

    @property
    def unsettled(self) -> list[int]:
        """Places of the videos without a report."""
        return [place for place in range(len(self.plan.videos)) if place not in self.reports]

    @property
    def waiting(self) -> list[int]:
        """Places of the videos that are not over."""
        return [] if self.is_cancelled else self.unsettled


class JobStore:
    """The jobs of one folder.

    Args:
        folder: made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()  # of plans, which another process may read
        self._unreadable: set[Path] = set()
        self._plans: dict[str, JobPlan] = {}  # they never change
        self._reports: dict[str, dict[str, VideoReport]] = {}  # nor do these, by file name
        self._complete: dict[tuple[str, int], dict[int, VideoReport]] = {}
        """Of attempts in which every video has one."""

    def check_folder(self) -> None:
        """Check that the folder is there, as that of a disk is that was mounted.

        Raises:
            NotFound: it is not.
        """
        if not self.folder.is_dir():
            raise NotFound(f"there is no folder of jobs at {self.folder}; name the one of --jobs")

    def add(self, plan: JobPlan) -> None:
        """Store a job; others see it once it is whole."""
        with replacing(self.folder / plan.job_id / "job.json") as path:
            path.write_bytes(msgspec.json.format(_encode(plan), indent=1))

    def jobs(self) -> list[StoredJob]:
        """Return all jobs that can be read, the oldest first."""
        found = []
        for path in sorted(self.folder.glob("*/job.json")):
            try:
                found.append(self.job(path.parent.name))
            except JobNotFound as error:
                self._tell_unreadable(path, str(error))
        return found

    def _tell_unreadable(self, path: Path, reason: str) -> None:
        if path not in self._unreadable:
            log.error("a job cannot be read", reason=reason)
        self._unreadable.add(path)

    def job(self, job_id: str) -> StoredJob:
        """Return a job as it is now.

        Raises:
            JobNotFound: no job has the id.
        """
        folder = self.folder / job_id
        plan = self._plan(job_id)
        attempt = max(
            (int(path.name.removeprefix("attempt-")) for path in folder.glob("attempt-*")),
            default=1,
        )
        return StoredJob(
            plan,
            folder,
            self._is_cancelled(folder, attempt),
            attempt,
            self._read_reports(plan, attempt),
        )

    def cancel(self, job_id: str) -> None:
        """Cancel a job; one that is over stays as it is.

        Raises:
            JobNotFound: no job has the id.
        """
        job = self.job(job_id)
        if not job.is_over:
            (job.folder / f"cancelled-{job.attempt:06d}").touch()

    def retry(self, job_id: str) -> None:
        """Have all videos that failed or were cancelled tried again.

        Raises:
            JobNotFound: no job has the id.
            InvalidRequest: the job is not over, or nothing of it failed.
        """
        job = self.job(job_id)
        if not job.is_over:
            raise InvalidRequest(f"the job {job_id} is not over yet; wait, or cancel it first")
        if not job.is_cancelled and all(one.state != "failed" for one in job.reports.values()):
            raise InvalidRequest(f"no video of the job {job_id} failed; there is nothing to retry")
        (job.folder / JOB_REPORT).unlink(missing_ok=True)  # another one tells of the next attempt
        (job.folder / f"attempt-{job.attempt + 1:06d}").touch()

    def settle(self, job: StoredJob, place: int, report: VideoReport) -> None:
        """Store what became of a video."""
        with replacing(_report_path(job, place)) as unfinished:
            unfinished.write_bytes(_encode(report))

    def report(self, job: StoredJob, place: int) -> VideoReport | None:
        """Read what became of a video in the job's attempt; None where it is not settled yet."""
        try:
            return _decode(_report_path(job, place).read_bytes(), VideoReport)
        except (FileNotFoundError, PermissionError, msgspec.MsgspecError):
            return None  # one that is damaged, or of another user, is written anew

    def _plan(self, job_id: str) -> JobPlan:
        if job_id not in self._plans:
            path = self.folder / job_id / "job.json"
            if not job_id or Path(job_id).name != job_id or not path.is_file():
                raise JobNotFound(f"there is no job {job_id!r}; see `ethostream jobs list`")
            try:
                self._plans[job_id] = _decode(path.read_bytes(), JobPlan)
            except msgspec.MsgspecError as error:
                raise JobNotFound(
                    f"{path} cannot be read ({error}); it is of another version or damaged: submit "
                    "the job again"
                ) from error
            except PermissionError as error:  # of another user
                raise JobNotFound(
                    f"{path} may not be read by this user; change its rights"
                ) from error
        return self._plans[job_id]

    def _is_cancelled(self, folder: Path, attempt: int) -> bool:
        return (folder / f"cancelled-{attempt:06d}").exists()

    def _read_reports(self, plan: JobPlan, attempt: int) -> dict[int, VideoReport]:
        """The newest report of each video; of earlier attempts, only of those that succeeded."""
        complete = self._complete.get((plan.job_id, attempt))
        if complete is not None:
            return complete
        known = self._reports.setdefault(plan.job_id, {})
        found: dict[int, VideoReport] = {}
        folder = self.folder / plan.job_id / "videos"
        for path in sorted(folder.glob("[0-9]*.json")):
            name = path.name
            if name not in known:
                try:
                    known[name] = _decode(path.read_bytes(), VideoReport)
                except (PermissionError, msgspec.MsgspecError) as error:  # looked at again
                    self._tell_unreadable(path, f"{path}: {error}")
                    continue
            place, number = (int(part) for part in name.removesuffix(".json").split("-"))
            if number == attempt or known[name].state != "failed":
                found[place] = known[name]
        if len(found) == len(plan.videos):
            self._complete[plan.job_id, attempt] = found
        return found


def _report_path(job: StoredJob, place: int) -> Path:
    return job.folder / "videos" / f"{place:06d}-{job.attempt:06d}.json"


def new_job_id() -> str:
    """Return an id that sorts by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def _encode(value: JobPlan | VideoReport) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)  # paths


def _decode(data: bytes, kind: type[Stored]) -> Stored:
    return msgspec.json.decode(data, type=kind, dec_hook=lambda path, text: path(text))
