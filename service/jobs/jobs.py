"""Works on the jobs of a folder, the most urgent first; several servers may do so side by side."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import structlog

from service.errors import EthostreamError
from service.jobs.analyzer import Analyzer
from service.jobs.finish import Finisher, JobPage
from service.jobs.lease import LeaseTaker
from service.jobs.reports import VideoReport
from service.jobs.status import JobSpeed, JobStatus, look
from service.jobs.store import JobPlan, JobStore, StoredJob
from service.jobs.video import Request, VideoWorker
from service.jobs.work import VideoProgress
from service.results.plan import JOB_REPORT

log = structlog.get_logger("ethostream.jobs")

_LOOK_SECONDS = 2.0
"""How often the folder is looked at for what other servers did, and told to those who watch."""
_BUSY_SECONDS = 5.0
"""Wait before a video is tried again that another process works on, or whose report could not be
stored."""

OpenAnalyzer = Callable[[JobPlan], Awaitable[Analyzer]]
"""Gives what computes the bundles of a job."""


class JobRunner:
    """Works on the jobs of a store until it is stopped.

    Args:
        store: the jobs.
        open_analyzer: gives what computes a job's bundles.
        parallel: videos at once, of all jobs together.
    """

    def __init__(self, store: JobStore, open_analyzer: OpenAnalyzer, *, parallel: int) -> None:
        self.store = store
        self._open_analyzer = open_analyzer
        self._parallel = parallel
        self._finisher = Finisher()
        self._leases = LeaseTaker()
        self._speeds: dict[str, JobSpeed] = {}
        self._running: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._writing: set[tuple[str, int]] = set()
        """Those of them that need no place any more."""
        self._busy_until: dict[tuple[str, int], float] = {}
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Put down what is in work; the next runner goes on with it."""
        tasks = [*self._running.values(), *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._finisher.close()

    async def wait_until_done(self) -> None:
        """Wait until no job of the store has work left."""
        while self._running or _by_urgency(await asyncio.to_thread(self.store.jobs)):
            await self._wait_for_change()

    async def submit(self, plan: JobPlan) -> JobStatus:
        """Take a job."""
        await asyncio.to_thread(self.store.add, plan)
        log.info("job submitted", job=plan.job_id, videos=len(plan.videos))
        await self._tell()
        return await self.status(plan.job_id)

    async def cancel(self, job_id: str) -> JobStatus:
        """Cancel a job, and put down its videos that are in work here.

        Raises:
            JobNotFound: no job has the id.
        """
        await asyncio.to_thread(self.store.cancel, job_id)
        self._put_down(job_id)
        await self._tell()
        return await self.status(job_id)

    async def retry(self, job_id: str) -> JobStatus:
        """Have what failed or was cancelled tried again.

        Raises:
            JobNotFound: no job has the id.
            InvalidRequest: the job is not over, or nothing failed.
        """
        await asyncio.to_thread(self.store.retry, job_id)
        self._speeds.pop(job_id, None)
        await self._tell()
        return await self.status(job_id)

    async def status(self, job_id: str) -> JobStatus:
        """Return how far a job is.

        Raises:
            JobNotFound: no job has the id.
        """
        job = await asyncio.to_thread(self.store.job, job_id)
        return await asyncio.to_thread(look, job, self._speed(job_id))

    async def statuses(self) -> list[JobStatus]:
        """Return how far all jobs are, the newest first."""
        jobs = await asyncio.to_thread(self.store.jobs)
        return [
            await asyncio.to_thread(look, job, self._speed(job.plan.job_id))
            for job in reversed(jobs)
        ]

    async def watch(self, job_id: str) -> AsyncIterator[JobStatus]:
        """Yield how far a job is, now and after changes, until it is over.

        Raises:
            JobNotFound: no job has the id.
        """
        told: JobStatus | None = None
        while True:
            was_in_work = self._is_in_work(job_id)
            status = await self.status(job_id)
            if status != told:
                yield status
            told = status
            if not status.job.is_over or self._is_in_work(job_id):
                await self._wait_for_change()
            elif not was_in_work:  # else the status may be of before its end: look once more
                return

    async def _run(self) -> None:
        owes_pages = True  # those of a runner that was killed
        while True:
            self._wake.clear()
            try:
                jobs = await asyncio.to_thread(self.store.jobs)
                self._begin_what_can_be(jobs)
                for job in jobs if owes_pages else ():
                    await self._write_page(job.plan)
                owes_pages = False
            except OSError as error:  # the file system stalls: look again in a moment
                log.error("the folder of jobs cannot be read", reason=str(error))
            except Exception:  # a bug that one job meets must not stop the others for good
                log.exception("jobs cannot be looked at")
            # Not asyncio.wait_for: before Python 3.12 it forgets a cancellation that comes together
            # with what it waits for, and a runner that is stopped would work on.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()

    def _begin_what_can_be(self, jobs: Sequence[StoredJob]) -> None:
        stay = {one.plan.job_id for one in jobs if not one.is_cancelled}
        for job_id in {job_id for job_id, _ in self._running} - stay:
            self._put_down(job_id)  # another server was told to cancel it
        now = time.monotonic()
        for job in _by_urgency(jobs):
            for place in job.waiting:
                key = (job.plan.job_id, place)
                if len(self._running) - len(self._writing) >= self._parallel:
                    return
                if key in self._running or self._busy_until.get(key, 0.0) > now:
                    continue
                self._running[key] = asyncio.create_task(self._work(job, place))

    async def _work(self, job: StoredJob, place: int) -> None:
        """Bring one video of a job to its results, and a job that is over to its page."""
        key = (job.plan.job_id, place)
        try:
            report = await self._analyze(job, place)
            if report.state == "busy":
                self._look_later(key)
            self._give_place_back(key)
            await self._write_page(job.plan)
        finally:
            self._running.pop(key, None)
            self._writing.discard(key)
        await self._tell()

    async def _analyze(self, job: StoredJob, place: int) -> VideoReport:
        plan = job.plan
        key, video = (plan.job_id, place), plan.videos[place]
        settle = partial(self._settle, job, place)
        settled = await asyncio.to_thread(self.store.report, job, place)
        if settled is not None:  # since the jobs were listed
            return settled
        try:
            analyzer = await self._open_analyzer(plan)
            request = Request(options=plan.options, outputs=plan.outputs, overwrite=plan.overwrite)
            progress = partial(self._take_progress, key)
            worker = VideoWorker(analyzer, self._finisher, self._leases, request, progress)
            return await worker.run(video, settle, partial(self._give_place_back, key))
        except EthostreamError as error:  # its bundles cannot be computed here
            report = VideoReport(str(video.path), "failed", message=str(error))
            await asyncio.to_thread(settle, report)
            return report

    def _settle(self, job: StoredJob, place: int, report: VideoReport) -> None:
        fields = {"job": job.plan.job_id, "video": report.video, "state": report.state}
        try:
            self.store.settle(job, place, report)
        except OSError as error:  # the disk of the jobs is full or gone
            log.error("what became of a video cannot be stored", reason=str(error), **fields)
            self._look_later((job.plan.job_id, place))
        else:
            log.info("video settled", **fields)

    async def _write_page(self, plan: JobPlan) -> None:
        """Write the page of a job that is over, where one was asked for and is not there."""
        if not plan.outputs.report:
            return
        job = await asyncio.to_thread(self.store.job, plan.job_id)
        if not job.is_over or (job.folder / JOB_REPORT).exists():
            return
        async with self._leases.hold(job.folder) as lease:
            if lease is None:
                return
            page = JobPage(
                tuple(
                    job.reports.get(place, VideoReport(str(video.path), "cancelled"))
                    for place, video in enumerate(plan.videos)
                ),
                plan.left_out,
                job.folder,
                plan.title or plan.job_id,
            )
            try:
                await self._finisher.write_page(page)
            except (EthostreamError, OSError) as error:
                log.error("the page of a job cannot be written", job=plan.job_id, reason=str(error))

    def _look_later(self, key: tuple[str, int]) -> None:
        self._busy_until[key] = time.monotonic() + _BUSY_SECONDS

    def _give_place_back(self, key: tuple[str, int]) -> None:
        self._writing.add(key)
        self._wake.set()

    def _take_progress(self, key: tuple[str, int], progress: VideoProgress) -> None:
        self._speed(key[0]).add(key[1], progress)

    def _speed(self, job_id: str) -> JobSpeed:
        return self._speeds.setdefault(job_id, JobSpeed())

    def _is_in_work(self, job_id: str) -> bool:
        return any(running == job_id for running, _ in self._running)

    def _put_down(self, job_id: str) -> None:
        for (running, _), task in list(self._running.items()):
            if running == job_id and not task.cancelling():
                task.cancel()

    async def _tell(self) -> None:
        self._wake.set()
        async with self._changed:
            self._changed.notify_all()

    async def _wait_for_change(self) -> None:
        """Return when something was settled, or after a while: others work on disk alone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS), self._changed:
                await self._changed.wait()


def _by_urgency(jobs: Sequence[StoredJob]) -> list[StoredJob]:
    """Jobs with work left, the most urgent first, then the oldest."""
    left = [one for one in jobs if one.waiting]
    return sorted(left, key=lambda one: (-one.plan.priority, one.plan.submitted_ns))
