"""What a client asks of archive jobs reaches the server, and watching outlives a break."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from ethostream import AsyncClient, Client, Crop, DynamicCrop, Job, errors
from ethostream.v1 import job_service_pb2 as pb
from ethostream.v1 import job_service_pb2_grpc as pb_grpc


class JobServer(pb_grpc.JobServiceServicer):
    """Remembers what it is asked; breaks off each watch as `breaks` tells, then ends it."""

    def __init__(self, *breaks: grpc.StatusCode) -> None:
        self.specs: list[pb.JobSpec] = []
        self.watched = 0
        self._breaks = list(breaks)

    async def SubmitJob(self, request, context):
        self.specs.append(request.spec)
        return pb.SubmitJobResponse(job=pb.Job(job_id="j", state=pb.JOB_STATE_QUEUED))

    async def WatchJob(self, request, context):
        self.watched += 1
        state = pb.JOB_STATE_RUNNING if self._breaks else pb.JOB_STATE_DONE
        yield pb.WatchJobResponse(job=pb.Job(job_id=request.job_id, state=state))
        if self._breaks:
            await context.abort(self._breaks.pop(0), "broken off")


@asynccontextmanager
async def serving(servicer: JobServer) -> AsyncIterator[str]:
    server = grpc.aio.server()
    pb_grpc.add_JobServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def watch(address: str, **settings: float) -> list[Job]:
    async with AsyncClient(address) as client:
        return [job async for job in client.jobs.watch("j", **settings)]


async def test_all_that_is_asked_for_is_sent() -> None:
    server = JobServer()
    async with serving(server) as address, AsyncClient(address) as client:
        job = await client.jobs.submit(
            [Path("day1"), "day2/*.mp4"],
            bundles=["mouse@2", "cage"],
            out="x",
            beside_videos=True,
            formats=["slp"],
            overlay=True,
            report=True,
            overwrite=True,
            priority=-3,
            crop=Crop(1, 2, 30, 40),
            dynamic_crop=DynamicCrop(margin_px=20, max_zoom=2),
            frame_limit=9,
            frame_rate_hz=25.0,
            title="week",
        )
        assert (job.job_id, job.state, job.is_over) == ("j", "queued", False)
        await client.jobs.submit("all", bundles="mouse")
    asked, plain = server.specs
    assert list(asked.paths) == ["day1", "day2/*.mp4"]
    assert [(one.name, one.version) for one in asked.bundles] == [("mouse", 2), ("cage", 0)]
    assert (asked.crop.x_px, asked.crop.height_px, asked.dynamic_crop.margin_px) == (1, 40, 20)
    given = {field.name for field, _ in asked.ListFields()}
    assert given == {field.name for field in pb.JobSpec.DESCRIPTOR.fields}
    assert {field.name for field, _ in plain.ListFields()} == {"paths", "bundles"}


async def test_watching_goes_on_after_breaks() -> None:
    server = JobServer(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    async with serving(server) as address:
        states = [job.state for job in await watch(address)]
    assert states == ["running", "running", "done"]
    assert server.watched == 3


async def test_watching_ends_with_what_no_waiting_mends() -> None:
    async with serving(JobServer(grpc.StatusCode.INTERNAL)) as address:
        with pytest.raises(errors.ServerFailed, match="broken off"):
            await watch(address)
    async with serving(JobServer(grpc.StatusCode.UNAVAILABLE)) as address:
        with pytest.raises(errors.Unavailable):
            await watch(address, reconnect_seconds=0)
    with pytest.raises(errors.Unavailable):  # nobody was there at first
        await watch("127.0.0.1:1")


async def test_the_blocking_client_watches_too_and_may_leave_early() -> None:
    def use(address: str) -> list[str]:
        with Client(address) as client:
            for job in client.jobs.watch("j"):
                assert job.job_id == "j"
                break
            return [job.state for job in client.jobs.watch("j")]

    async with serving(JobServer(grpc.StatusCode.UNAVAILABLE)) as address:
        assert await asyncio.to_thread(use, address) in (["done"], ["running", "done"])


@pytest.mark.parametrize(
    "setting", [{"frame_limit": -1}, {"frame_rate_hz": -1.0}, {"frame_rate_hz": float("nan")}]
)
async def test_what_is_out_of_range_is_never_sent(setting: dict[str, float]) -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(errors.InvalidRequest, match="0 or more"):
            await client.jobs.submit("a", bundles="mouse", **setting)
        with pytest.raises(errors.InvalidRequest, match="32 bits"):
            await client.jobs.submit("a", bundles="mouse", priority=2**31)
