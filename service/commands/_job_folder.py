"""The jobs of a folder, looked at and changed without a server."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from ethostream import Job
from ethostream.jobs import job_value

from service.jobs.status import JobSpeed, look
from service.jobs.store import JobStore, StoredJob
from service.jobs.submit import JobRequest, plan_job
from service.repository import EngineConfig, Repository
from service.runtime import parse_bundle
from service.servicer.jobs import from_status

_LOOK_SECONDS = 1.0  # nothing tells what others do in a folder, which may be on another machine


class FolderJobs:
    """Does what `ethostream.AsyncJobs` does; one's own machine forbids no path.

    Args:
        folder: of the jobs.
        is_new: it need not be there yet.

    Raises:
        NotFound: it is not there.
    """

    def __init__(self, folder: Path, *, is_new: bool) -> None:
        self._store = JobStore(folder)
        if not is_new:
            self._store.check_folder()
        self._speeds: dict[str, JobSpeed] = {}

    async def submit(self, request: JobRequest, models: Path) -> Job:
        """Store a job; its paths are absolute, its bundles NAME or NAME@VERSION of `models`.

        Raises:
            EthostreamError: see `plan_job`.
        """
        repository = Repository(models, EngineConfig(), (1,))
        await repository.scan()
        everywhere = [Path(self._store.folder.resolve().anchor)]
        versions = tuple(
            str(repository.status(*parse_bundle(name)).key) for name in request.bundles
        )
        plan = await asyncio.to_thread(
            plan_job,
            replace(request, bundles=versions),
            self._store.folder,
            roots=everywhere,
            result_roots=everywhere,
        )
        await asyncio.to_thread(self._store.add, plan)
        return await self.get(plan.job_id)

    async def get(self, job_id: str) -> Job:
        """Return a job with its videos."""
        return await asyncio.to_thread(self._look, job_id)

    async def list(self) -> tuple[Job, ...]:
        """Return all jobs, the newest first, without their videos."""
        jobs = await asyncio.to_thread(self._store.jobs)
        return tuple(self._value(job, videos=False) for job in reversed(jobs))

    async def cancel(self, job_id: str) -> Job:
        """End a job; who works on it sees so in a moment."""
        await asyncio.to_thread(self._store.cancel, job_id)
        return await self.get(job_id)

    async def retry(self, job_id: str) -> Job:
        """Have what failed or was cancelled tried again."""
        await asyncio.to_thread(self._store.retry, job_id)
        return await self.get(job_id)

    async def watch(self, job_id: str) -> AsyncIterator[Job]:
        """Yield a job as it is now, then whenever it has changed, until it is over."""
        told: Job | None = None
        while True:
            job = await self.get(job_id)
            if job != told:
                yield job
            told = job
            if job.is_over:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _look(self, job_id: str) -> Job:
        return self._value(self._store.job(job_id))

    def _value(self, job: StoredJob, *, videos: bool = True) -> Job:
        speed = self._speeds.setdefault(job.plan.job_id, JobSpeed())
        return job_value(from_status(look(job, speed), videos=videos))
