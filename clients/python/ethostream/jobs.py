"""Archive jobs of a server: many videos of its disks to result files, unattended."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from ethostream import messages
from ethostream._reconnect import Reconnect
from ethostream.errors import InvalidRequest, from_rpc_error
from ethostream.frames import crop_region
from ethostream.v1 import job_service_pb2 as pb
from ethostream.v1 import job_service_pb2_grpc as job_grpc
from ethostream.values import BundleVersion, Crop, DynamicCrop

JobState = Literal["queued", "running", "done", "skipped", "failed", "cancelled"]

_STATES: dict[int, JobState] = {
    pb.JOB_STATE_QUEUED: "queued",
    pb.JOB_STATE_RUNNING: "running",
    pb.JOB_STATE_DONE: "done",
    pb.JOB_STATE_SKIPPED: "skipped",
    pb.JOB_STATE_FAILED: "failed",
    pb.JOB_STATE_CANCELLED: "cancelled",
}

_Response = TypeVar("_Response")


@dataclass(frozen=True, slots=True)
class JobVideo:
    """One video of a job."""

    path: str
    """Where it is, on the server."""
    state: JobState
    """skipped: its results were there already."""
    frames: int
    """Frames whose results are on disk."""
    total_frames: int
    """Frames that there will be; 0 where that is not known yet."""
    seconds: float
    """Time of the analysis, once it is over."""
    message: str
    """Why it failed, or what was wrong with the file."""
    decoder: str
    """Decoder and version; empty where nothing was decoded."""
    files: tuple[str, ...]
    """What was written, the Parquet record first; once it is over."""
    resumed_frames: int
    """Of `frames`, those that were there from an interrupted run."""
    remaining_seconds: float
    """Time left by the speed so far; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class LeftOutFile:
    """A file below the paths of a job that is not analyzed."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is now."""

    job_id: str
    title: str
    state: JobState
    """failed: over, but some videos failed."""
    priority: int
    paths: tuple[str, ...]
    bundles: tuple[BundleVersion, ...]
    formats: tuple[str, ...]
    submitted_ns: int
    """ns since 1970."""
    videos: int
    videos_done: int
    """Analyzed or skipped."""
    videos_failed: int
    frames: int
    """Frames whose results are on disk."""
    frames_per_second: float
    """Of late, all its videos together; 0: none."""
    progress: float
    """Share of the work that is done, in [0, 1]."""
    remaining_seconds: float
    """Time left by the speed so far; 0 where that is not known."""
    report: str
    """The page that tells what became of it, once it is over and where one was asked for."""
    listed: tuple[JobVideo, ...]
    """Its videos; empty in a list of jobs."""
    left_out: tuple[LeftOutFile, ...]
    """Files that are not analyzed, and why; empty in a list of jobs."""

    @property
    def is_over(self) -> bool:
        """Whether no video waits or is in work."""
        return self.state not in ("queued", "running")


class Ask(Protocol):
    """Makes a single call and turns its errors into typed ones."""

    async def __call__(
        self,
        method: Callable[..., Awaitable[_Response]],
        request: Message,
        timeout_seconds: float | None = None,
    ) -> _Response:
        """Return the answer."""


class AsyncJobs:
    """The jobs of one server; made by `AsyncClient.jobs`.

    Args:
        ask: makes a single call.
        stub: opens the service.
        metadata: goes with every call.
        address: of the server.
    """

    def __init__(
        self,
        ask: Ask,
        stub: "Callable[[], job_grpc.JobServiceAsyncStub]",
        metadata: list[tuple[str, str]],
        address: str,
    ) -> None:
        self._ask = ask
        self._stub = stub
        self._metadata = metadata
        self._address = address

    async def submit(
        self,
        paths: str | PurePath | Sequence[str | PurePath],
        *,
        bundles: str | Sequence[str],
        out: str = "",
        beside_videos: bool = False,
        formats: Sequence[str] = (),
        overlay: bool = False,
        report: bool = False,
        overwrite: bool = False,
        priority: int = 0,
        crop: Crop | None = None,
        dynamic_crop: DynamicCrop | None = None,
        frame_limit: int = 0,
        frame_rate_hz: float = 0.0,
        title: str = "",
        timeout_seconds: float = 600.0,
    ) -> Job:
        """Have videos of the server's disks analyzed; the job goes on without this client.

        Args:
            paths: Files, folders with all below them, and patterns with * and **, below the
                server's roots.
            bundles: name or name@version, at least one.
            out: Folder of the results, below one of the server's roots for results; "" = the
                folder `results` of the job.
            beside_videos: Put results beside each video instead.
            formats: What to write besides the Parquet record, by name; () = the usual ones.
            overlay: Draw each video with what was found in it.
            report: Write a page for each video, and one for the job.
            overwrite: Analyze finished videos again.
            priority: Jobs with a higher number go first, at the next video.
            crop: Part of every frame that the models look at.
            dynamic_crop: Crop each frame around the animal, within `crop`.
            frame_limit: Frames of each video; 0 = all.
            frame_rate_hz: Rate to assume where the container's is wrong; 0 = the container's.
            title: What people call it.
            timeout_seconds: Longest wait; the server looks through the folders first.

        Raises:
            InvalidRequest: No path or bundle is named, no video is there, a value is outside its
                range, or a format is unknown.
            NotFound: Nothing is at a path, or a bundle does not exist.
            PermissionDenied: A path is outside the roots, or the token lacks the scope `jobs`.
            FailedPrecondition: The server takes no jobs.
        """
        if frame_limit < 0:
            raise InvalidRequest(f"frame_limit is {frame_limit}; it is 0 or more")
        if not -(2**31) <= priority < 2**31:
            raise InvalidRequest(f"priority is {priority}; give a number of 32 bits, 0 is usual")
        listed = [paths] if isinstance(paths, (str, PurePath)) else paths
        names = [bundles] if isinstance(bundles, str) else bundles
        spec = pb.JobSpec(
            paths=[str(path) for path in listed],
            bundles=[messages.reference(name) for name in names],
            out=out,
            beside_videos=beside_videos,
            formats=formats,
            overlay=overlay,
            report=report,
            overwrite=overwrite,
            priority=priority,
            frame_limit=frame_limit,
            frame_rate_hz=messages.frame_rate(frame_rate_hz),
            title=title,
        )
        if crop is not None:
            spec.crop.CopyFrom(crop_region(crop))
        if dynamic_crop is not None:
            spec.dynamic_crop.CopyFrom(messages.dynamic_crop(dynamic_crop))
        request = pb.SubmitJobRequest(spec=spec)
        response = await self._ask(self._stub().SubmitJob, request, timeout_seconds)
        return job_value(response.job)

    async def get(self, job_id: str) -> Job:
        """One job with its videos.

        Raises:
            NotFound: No job has the id.
        """
        response = await self._ask(self._stub().GetJob, pb.GetJobRequest(job_id=job_id))
        return job_value(response.job)

    async def list(self) -> tuple[Job, ...]:
        """All jobs, the newest first, without their videos."""
        response = await self._ask(self._stub().ListJobs, pb.ListJobsRequest())
        return tuple(map(job_value, response.jobs))

    async def cancel(self, job_id: str) -> Job:
        """End a job; what is finished stays.

        Raises:
            NotFound: No job has the id.
        """
        response = await self._ask(self._stub().CancelJob, pb.CancelJobRequest(job_id=job_id))
        return job_value(response.job)

    async def retry(self, job_id: str) -> Job:
        """Have the failed and cancelled videos of a job tried once more.

        Raises:
            NotFound: No job has the id.
            InvalidRequest: The job is not over, or nothing of it failed.
        """
        response = await self._ask(self._stub().RetryJob, pb.RetryJobRequest(job_id=job_id))
        return job_value(response.job)

    async def watch(
        self, job_id: str, *, reconnect_seconds: float = 60.0
    ) -> AsyncGenerator[Job, None]:
        """A job as it is now, then whenever it has changed, until it is over.

        A server that stops is waited for: jobs outlive it.

        Args:
            job_id: Which.
            reconnect_seconds: Give up when this long without connection; a server that is not
                there at first is not waited for.

        Raises:
            NotFound: No job has the id.
        """
        reconnect = Reconnect(reconnect_seconds)
        was_seen = False
        while True:
            is_connected = False
            call = self._stub().WatchJob(pb.WatchJobRequest(job_id=job_id), metadata=self._metadata)
            try:
                async for response in call:
                    is_connected = was_seen = True
                    reconnect.works()
                    yield job_value(response.job)
                return
            except grpc.aio.AioRpcError as broken:
                error = from_rpc_error(broken, self._address)
                if not (was_seen and Reconnect.is_worth_it(error, was_connected=True)):
                    raise error from broken
                resumes_at = reconnect.resumes_at(error, was_connected=is_connected)
            finally:
                call.cancel()
            await asyncio.sleep(resumes_at - time.monotonic())


def job_value(message: pb.Job) -> Job:
    """A Job from the wire."""
    spec = message.spec
    return Job(
        job_id=message.job_id,
        title=spec.title,
        state=_STATES[message.state],
        priority=spec.priority,
        paths=tuple(spec.paths),
        bundles=tuple(BundleVersion(one.name, one.version) for one in spec.bundles),
        formats=tuple(spec.formats),
        submitted_ns=message.submitted_ns,
        videos=message.videos,
        videos_done=message.videos_done,
        videos_failed=message.videos_failed,
        frames=message.frames,
        frames_per_second=message.frames_per_second,
        progress=message.progress,
        remaining_seconds=message.remaining_seconds,
        report=message.report,
        listed=tuple(map(_video, message.listed)),
        left_out=tuple(LeftOutFile(one.path, one.reason) for one in message.left_out),
    )


def _video(message: pb.JobVideo) -> JobVideo:
    return JobVideo(
        path=message.path,
        state=_STATES[message.state],
        frames=message.frames,
        total_frames=message.total_frames,
        seconds=message.seconds,
        message=message.message,
        decoder=message.decoder,
        files=tuple(message.files),
        resumed_frames=message.resumed_frames,
        remaining_seconds=message.remaining_seconds,
    )
