"""JobService: takes archives, tells how far they are, ends them; translates and delegates."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from ethostream.v1 import bundle_pb2
from ethostream.v1 import job_service_pb2 as pb2
from ethostream.v1 import job_service_pb2_grpc as pb2_grpc

from service.config import ServiceConfig
from service.errors import InvalidRequest, JobsUnavailable
from service.format_names import DEFAULT_FORMATS
from service.jobs.finish import Outputs
from service.jobs.jobs import JobRunner
from service.jobs.status import JobStatus, VideoStatus
from service.jobs.store import JobPlan
from service.jobs.submit import JobRequest, plan_job
from service.repository import Repository
from service.results import RequestOptions
from service.results.provenance import DynamicCropOptions
from service.runtime import parse_bundle
from service.servicer.requests import to_crop, to_dynamic_crop, to_frame_rate

if TYPE_CHECKING:  # the class takes no parameters at run time
    Context = grpc.aio.ServicerContext[Any, Any]

_STATES = {
    "queued": pb2.JOB_STATE_QUEUED,
    "running": pb2.JOB_STATE_RUNNING,
    "done": pb2.JOB_STATE_DONE,
    "skipped": pb2.JOB_STATE_SKIPPED,
    "failed": pb2.JOB_STATE_FAILED,
    "cancelled": pb2.JOB_STATE_CANCELLED,
}


class JobServicer(pb2_grpc.JobServiceServicer):
    """Owns nothing; without a runner every call says how to get one.

    Args:
        runner: works on the jobs; None where the server has no folder for them.
        repository: knows the bundles.
        config: of the server.
    """

    def __init__(
        self, runner: JobRunner | None, repository: Repository, config: ServiceConfig
    ) -> None:
        self._optional_runner = runner
        self._repository = repository
        self._roots = [Path(root) for root in config.video.roots]
        self._result_roots = [Path(root) for root in config.jobs.results]

    async def SubmitJob(
        self, request: pb2.SubmitJobRequest, context: "Context"
    ) -> pb2.SubmitJobResponse:
        """Plan a job and queue it."""
        runner = self._runner()
        asked = to_request(request.spec, self._repository)
        plan = await asyncio.to_thread(
            plan_job,
            asked,
            runner.store.folder,
            roots=self._roots,
            result_roots=self._result_roots,
        )
        return pb2.SubmitJobResponse(job=from_status(await runner.submit(plan)))

    async def GetJob(self, request: pb2.GetJobRequest, context: "Context") -> pb2.GetJobResponse:
        """Show a job."""
        return pb2.GetJobResponse(job=from_status(await self._runner().status(request.job_id)))

    async def ListJobs(
        self, request: pb2.ListJobsRequest, context: "Context"
    ) -> pb2.ListJobsResponse:
        """List all jobs without their videos."""
        statuses = await self._runner().statuses()
        return pb2.ListJobsResponse(jobs=[from_status(one, videos=False) for one in statuses])

    async def CancelJob(
        self, request: pb2.CancelJobRequest, context: "Context"
    ) -> pb2.CancelJobResponse:
        """End a job."""
        return pb2.CancelJobResponse(job=from_status(await self._runner().cancel(request.job_id)))

    async def RetryJob(
        self, request: pb2.RetryJobRequest, context: "Context"
    ) -> pb2.RetryJobResponse:
        """Queue again what failed or was cancelled."""
        return pb2.RetryJobResponse(job=from_status(await self._runner().retry(request.job_id)))

    async def WatchJob(
        self, request: pb2.WatchJobRequest, context: "Context"
    ) -> AsyncIterator[pb2.WatchJobResponse]:
        """Send a job as it is now, and after each change, until it is over."""
        async for status in self._runner().watch(request.job_id):
            yield pb2.WatchJobResponse(job=from_status(status))

    def _runner(self) -> JobRunner:
        if self._optional_runner is None:
            raise JobsUnavailable(
                "this server takes no jobs; start it with a folder for them: `ethostream serve "
                "--jobs DIR`, or `directory` in section [jobs] of its config"
            )
        return self._optional_runner


def to_request(spec: pb2.JobSpec, repository: Repository) -> JobRequest:
    """Read what is asked for, with the versions of the bundles.

    Raises:
        BundleNotFound: a bundle is not there.
        InvalidRequest: a value is outside its range.
    """
    crop = to_crop(spec.crop) if spec.HasField("crop") else None
    follow = to_dynamic_crop(spec)
    if follow is not None and follow.confidence_cutoff is not None:
        raise InvalidRequest("jobs follow animals by the bundle's own cut-off; leave it out")
    return JobRequest(
        paths=tuple(spec.paths),
        bundles=tuple(str(repository.status(one.name, one.version).key) for one in spec.bundles),
        options=RequestOptions(
            crop_xywh=None
            if crop is None
            else (crop.x_px, crop.y_px, crop.width_px, crop.height_px),
            frame_limit=spec.frame_limit,
            frame_rate_hz=to_frame_rate(spec),
            dynamic_crop=None
            if follow is None
            else DynamicCropOptions(margin_px=follow.margin_px, max_zoom=follow.max_zoom),
        ),
        outputs=Outputs(tuple(spec.formats) or DEFAULT_FORMATS, spec.overlay, spec.report),
        out=spec.out,
        beside_videos=spec.beside_videos,
        overwrite=spec.overwrite,
        priority=spec.priority,
        title=spec.title,
    )


def from_status(status: JobStatus, *, videos: bool = True) -> pb2.Job:
    """Write a JobStatus; without `videos`, its files are only counted."""
    plan = status.job.plan
    return pb2.Job(
        job_id=plan.job_id,
        spec=_from_plan(plan),
        state=_STATES[status.state],
        submitted_ns=plan.submitted_ns,
        videos=len(status.videos),
        videos_done=status.count("done", "skipped"),
        videos_failed=status.count("failed"),
        frames=status.frames,
        frames_per_second=status.frames_per_second,
        progress=status.progress,
        remaining_seconds=status.remaining_seconds,
        report=str(status.report or ""),
        listed=[_from_video(one) for one in status.videos] if videos else (),
        left_out=[pb2.LeftOutFile(path=one.path, reason=one.reason) for one in plan.left_out]
        if videos
        else (),
    )


def _from_plan(plan: JobPlan) -> pb2.JobSpec:
    options = plan.options
    spec = pb2.JobSpec(
        paths=plan.paths,
        out=plan.out,
        beside_videos=plan.beside_videos,
        formats=plan.outputs.formats,
        overlay=plan.outputs.overlay,
        report=plan.outputs.report,
        overwrite=plan.overwrite,
        priority=plan.priority,
        frame_limit=options.frame_limit,
        frame_rate_hz=options.frame_rate_hz,
        title=plan.title,
    )
    for text in plan.bundles:
        name, version = parse_bundle(text)
        spec.bundles.append(bundle_pb2.BundleReference(name=name, version=version))
    if options.crop_xywh is not None:
        x_px, y_px, width_px, height_px = options.crop_xywh
        spec.crop.x_px, spec.crop.y_px = x_px, y_px
        spec.crop.width_px, spec.crop.height_px = width_px, height_px
    if options.dynamic_crop is not None:
        spec.dynamic_crop.margin_px = options.dynamic_crop.margin_px
        spec.dynamic_crop.max_zoom = options.dynamic_crop.max_zoom
    return spec


def _from_video(video: VideoStatus) -> pb2.JobVideo:
    message = pb2.JobVideo(
        path=str(video.path),
        state=_STATES[video.state],
        frames=video.frames,
        total_frames=video.total_frames,
        remaining_seconds=video.remaining_seconds,
    )
    if (report := video.report) is not None:
        message.seconds = report.seconds
        message.message = report.message
        message.decoder = report.decoder
        message.files.extend(report.files)
        message.resumed_frames = report.resumed_frames
    return message
