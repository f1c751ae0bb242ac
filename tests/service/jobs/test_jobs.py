"""Jobs are worked on by urgency, survive their server, and end as they should."""

import asyncio
import errno
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from service.errors import BundleNotFound, InvalidRequest, JobNotFound
from service.jobs import work
from service.jobs.analyzer import Analyzer
from service.jobs.finish import Outputs
from service.jobs.jobs import JobRunner
from service.jobs.reports import VideoReport
from service.jobs.status import JobSpeed, JobStatus, look
from service.jobs.store import JobPlan, JobStore, StoredJob
from service.jobs.submit import JobRequest, plan_job
from service.results import RequestOptions, read_results
from tests.service.jobs.counting import FRAMES, CountingAnalyzer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "bad.mp4", "c.mp4"):
        (tmp_path / "videos" / name).write_bytes(name.encode() * 100)
    return tmp_path


def plan(folder: Path, paths: tuple[str, ...] = ("videos",), **changes: object) -> JobPlan:
    settings = {
        "paths": paths,
        "bundles": ("mouse@1",),
        "options": RequestOptions(),
        "outputs": Outputs(("dlc-csv",)),
        **changes,
    }
    return plan_job(
        JobRequest(**settings),  # type: ignore[arg-type]
        folder / "jobs",
        roots=[folder],
        result_roots=[folder],
    )


@asynccontextmanager
async def running(
    folder: Path, analyzer: Analyzer | Callable[[JobPlan], Analyzer], *, parallel: int = 1
) -> AsyncIterator[JobRunner]:
    async def open_analyzer(job: JobPlan) -> Analyzer:
        return analyzer(job) if callable(analyzer) else analyzer

    runner = JobRunner(JobStore(folder / "jobs"), open_analyzer, parallel=parallel)
    runner.start()
    try:
        yield runner
    finally:
        await runner.stop()


async def last(runner: JobRunner, job_id: str) -> JobStatus:
    async with asyncio.timeout(120):
        return [status async for status in runner.watch(job_id)][-1]


async def test_a_job_is_done_and_names_what_failed_and_what_was_left_out(folder: Path) -> None:
    (folder / "videos" / "notes.txt").write_text("no video")
    async with running(folder, CountingAnalyzer(), parallel=2) as runner:
        first = await runner.submit(
            plan(folder, outputs=Outputs(("dlc-csv",), report=True), title="a <week>")
        )
        assert first.state == "queued"
        status = await last(runner, first.job.plan.job_id)
        assert status.state == "failed"
        assert [one.state for one in status.videos] == ["done", "failed", "done"]
        assert status.videos[1].report is not None
        assert "cut off after frame 5" in status.videos[1].report.message
        assert status.progress == 1.0
        assert status.frames == 2 * FRAMES
        assert [(one.state, one.job.plan.title) for one in await runner.statuses()] == [
            ("failed", "a <week>")
        ]
    results = status.job.folder / "results"
    assert len(read_results(results / "a.parquet")) == FRAMES
    page = (status.job.folder / "report.html").read_text()
    for told in ("a &lt;week&gt;", "cut off after frame 5", "notes.txt", "none of a video"):
        assert told in page


async def test_the_most_urgent_job_goes_first_at_the_next_video(folder: Path) -> None:
    analyzer = CountingAnalyzer(hang_at=0)
    async with running(folder, analyzer) as runner:
        await runner.submit(plan(folder, ("videos/a.mp4", "videos/c.mp4")))
        await asyncio.wait_for(analyzer.hangs.wait(), 60)
        urgent = plan(folder, ("videos/bad.mp4",), priority=5, out="x")
        await runner.submit(urgent)
        analyzer.goes_on.set()
        await asyncio.wait_for(runner.wait_until_done(), 120)
    assert analyzer.analyzed == ["a.mp4", "bad.mp4", "c.mp4"]


async def test_a_new_server_goes_on_with_what_is_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "CHUNK_SECONDS", 0.0)
    hanging = CountingAnalyzer(hang_at=10)
    async with running(folder, hanging) as runner:
        job = plan(folder, ("videos/a.mp4", "videos/c.mp4"))
        job_id = (await runner.submit(job)).job.plan.job_id
        await asyncio.wait_for(hanging.hangs.wait(), 60)
        status = await runner.status(job_id)
        assert status.state == "running"
        assert [(one.state, one.frames, one.total_frames) for one in status.videos] == [
            ("running", 10, FRAMES),
            ("queued", 0, 0),
        ]
        assert 0.4 < status.progress < 0.5
    again = CountingAnalyzer()
    async with running(folder, again) as runner:
        status = await last(runner, job_id)
    assert status.state == "done"
    assert again.first_frames == [10, 0]
    assert status.videos[0].report is not None
    assert status.videos[0].report.resumed_frames == 10


async def test_a_cancelled_job_puts_its_videos_down_and_can_be_taken_up_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "CHUNK_SECONDS", 0.0)
    analyzer = CountingAnalyzer(hang_at=10)
    async with running(folder, analyzer) as runner:
        job_id = (await runner.submit(plan(folder))).job.plan.job_id
        await asyncio.wait_for(analyzer.hangs.wait(), 60)
        with pytest.raises(InvalidRequest, match="not over yet"):
            await runner.retry(job_id)
        await runner.cancel(job_id)
        status = await last(runner, job_id)
        assert status.state == "cancelled"
        assert {one.state for one in status.videos} == {"cancelled"}
        assert analyzer.at_once == 0
        analyzer.goes_on.set()
        assert (await runner.retry(job_id)).job.attempt == 2
        status = await last(runner, job_id)
    assert [one.state for one in status.videos] == ["done", "failed", "done"]
    assert analyzer.first_frames[:2] == [0, 10]


async def test_the_last_that_is_told_of_a_cancelled_job_is_how_its_videos_were_put_down(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "CHUNK_SECONDS", 0.0)
    looked, is_put_down = threading.Event(), threading.Event()

    def look_slowly(job: StoredJob, speed: JobSpeed) -> JobStatus:
        status = look(job, speed)
        looked.set()
        assert is_put_down.wait(60)
        return status

    analyzer = CountingAnalyzer(hang_at=10)
    async with running(folder, analyzer) as runner:
        job_id = (await runner.submit(plan(folder, ("videos/a.mp4",)))).job.plan.job_id
        await asyncio.wait_for(analyzer.hangs.wait(), 60)
        monkeypatch.setattr("service.jobs.jobs.look", look_slowly)
        runner.store.cancel(job_id)
        told = asyncio.create_task(last(runner, job_id))
        assert await asyncio.to_thread(looked.wait, 60)  # the video is in work still
        runner._put_down(job_id)
        async with asyncio.timeout(60):
            while runner._is_in_work(job_id):  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.01)
        is_put_down.set()
        assert [one.state for one in (await told).videos] == ["cancelled"]


async def test_what_failed_is_tried_again_and_nothing_else(folder: Path) -> None:
    analyzer = CountingAnalyzer()
    async with running(folder, analyzer) as runner:
        job_id = (await runner.submit(plan(folder))).job.plan.job_id
        await last(runner, job_id)
        (folder / "videos" / "bad.mp4").rename(folder / "videos" / "repaired.mp4")
        await runner.retry(job_id)
        status = await last(runner, job_id)
        assert analyzer.analyzed == ["a.mp4", "bad.mp4", "c.mp4"]
        assert status.videos[1].report is not None
        assert "cannot be read" in status.videos[1].report.message
        (folder / "videos" / "repaired.mp4").rename(folder / "videos" / "bad.mp4")
        await runner.retry(job_id)
        await last(runner, job_id)
        assert analyzer.analyzed == ["a.mp4", "bad.mp4", "c.mp4", "bad.mp4"]
        done = (await runner.submit(plan(folder, ("videos/a.mp4",), out="other"))).job.plan.job_id
        assert (await last(runner, done)).state == "done"
        with pytest.raises(InvalidRequest, match="nothing to retry"):
            await runner.retry(done)


async def test_two_servers_share_the_videos_of_a_job(folder: Path) -> None:
    (folder / "videos" / "bad.mp4").unlink()
    for name in "defgh":
        (folder / "videos" / f"{name}.mp4").write_bytes(name.encode() * 50)
    one, other = CountingAnalyzer(), CountingAnalyzer()
    async with running(folder, one) as first, running(folder, other) as second:
        job = plan(folder, overwrite=True)
        await first.submit(job)
        statuses = [await last(runner, job.job_id) for runner in (first, second)]
    assert sorted(one.analyzed + other.analyzed) == [f"{name}.mp4" for name in "acdefgh"]
    assert {status.state for status in statuses} == {"done"}


async def test_a_cancel_at_one_server_reaches_the_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyzer = CountingAnalyzer(hang_at=0)
    async with running(folder, analyzer) as works:
        job = plan(folder, ("videos/a.mp4",))
        await works.submit(job)
        await asyncio.wait_for(analyzer.hangs.wait(), 60)
        async with running(folder, CountingAnalyzer()) as other:
            await other.cancel(job.job_id)
        async with asyncio.timeout(60):
            while analyzer.at_once:  # noqa: ASYNC110 - the runner sets no event for this
                await asyncio.sleep(0.05)


async def test_a_bundle_that_is_gone_fails_the_videos_with_its_reason(folder: Path) -> None:
    def missing(job: JobPlan) -> Analyzer:
        raise BundleNotFound(f"no bundle {job.bundles[0]} is stored")

    async with running(folder, missing) as runner:
        job_id = (await runner.submit(plan(folder, ("videos/a.mp4",)))).job.plan.job_id
        status = await last(runner, job_id)
    assert status.state == "failed"
    assert status.videos[0].report is not None
    assert status.videos[0].report.message == "no bundle mouse@1 is stored"


async def test_unknown_and_damaged_jobs_are_told(folder: Path) -> None:
    store = JobStore(folder / "jobs")
    for job_id in ("20260101-000000-abcdef", "", "../videos", "."):
        with pytest.raises(JobNotFound, match="no job"):
            store.job(job_id)
    job = plan(folder)
    store.add(job)
    assert JobStore(store.folder).job(job.job_id).plan == job
    path = store.folder / job.job_id / "job.json"
    path.write_bytes(path.read_bytes().replace(b'"priority"', b'"urgency"'))
    with pytest.raises(JobNotFound, match="another version or damaged"):
        JobStore(store.folder).job(job.job_id)


async def test_a_damaged_job_keeps_no_other_from_being_done(folder: Path) -> None:
    damaged = folder / "jobs" / "20260101-000000-abcdef"
    damaged.mkdir(parents=True)
    (damaged / "job.json").write_text("{")
    async with running(folder, CountingAnalyzer()) as runner:
        job_id = (await runner.submit(plan(folder, ("videos/a.mp4",)))).job.plan.job_id
        assert (await last(runner, job_id)).state == "done"
        assert [one.job.plan.job_id for one in await runner.statuses()] == [job_id]


async def test_what_another_user_alone_may_read_keeps_no_other_job_from_being_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = JobStore(folder / "jobs")
    theirs, settled = plan(folder, ("videos/a.mp4",)), plan(folder, ("videos/c.mp4",))
    store.add(theirs)
    store.add(settled)
    report = VideoReport(str(folder / "videos/c.mp4"), "done")
    store.settle(store.job(settled.job_id), 0, report)
    (store.folder / theirs.job_id / "job.json").chmod(0)
    (store.folder / settled.job_id / "videos" / "000000-000001.json").chmod(0)
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:  # the tests may run as root, who may read all
        if not path.stat().st_mode & 0o444:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    async with running(folder, CountingAnalyzer()) as runner:
        mine = await runner.submit(plan(folder, ("videos/a.mp4",)))
        assert (await last(runner, mine.job.plan.job_id)).state == "done"
        with pytest.raises(JobNotFound, match="may not be read by this user; change its rights"):
            await runner.status(theirs.job_id)
        assert theirs.job_id not in [one.job.plan.job_id for one in await runner.statuses()]
        assert (await last(runner, settled.job_id)).state == "done"  # analyzed, and told anew


async def test_a_damaged_report_has_its_video_looked_at_again(folder: Path) -> None:
    async with running(folder, CountingAnalyzer(), parallel=2) as runner:
        before = await runner.submit(plan(folder, ("videos/a.mp4", "videos/c.mp4")))
        assert (await last(runner, before.job.plan.job_id)).state == "done"
    (before.job.folder / "videos" / "000001-000001.json").write_bytes(b"")  # a power cut
    async with running(folder, CountingAnalyzer()) as runner:
        after = await runner.submit(plan(folder, ("videos/a.mp4",)))
        assert (await last(runner, after.job.plan.job_id)).state == "done"
        mended = await last(runner, before.job.plan.job_id)
        assert [one.state for one in mended.videos] == ["done", "skipped"]


async def test_a_report_that_cannot_be_stored_holds_up_no_other_job(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = LogCapture()
    kept = structlog.wrap_logger(structlog.PrintLogger(), processors=[logged])
    monkeypatch.setattr("service.jobs.jobs.log", kept)
    monkeypatch.setattr("service.jobs.jobs._BUSY_SECONDS", 3600.0)
    analyzer = CountingAnalyzer()
    async with running(folder, analyzer) as runner:
        job = plan(folder, ("videos/a.mp4",), priority=1)
        reports = runner.store.folder / job.job_id / "videos"
        in_the_way = reports / f".000000-000001.{os.getpid()}.unfinished.json"
        in_the_way.mkdir(parents=True)  # nothing can be written there, as on a disk that is full
        await runner.submit(job)
        other = await runner.submit(plan(folder, ("videos/c.mp4",), out="x"))
        assert (await last(runner, other.job.plan.job_id)).state == "done"
        assert analyzer.analyzed == ["a.mp4", "c.mp4"]
        told = [one for one in logged.entries if one["log_level"] == "error"]
        assert [one["event"] for one in told] == ["what became of a video cannot be stored"]
        assert "Is a directory" in told[0]["reason"]
    in_the_way.rmdir()
    async with running(folder, analyzer) as runner:
        status = await last(runner, job.job_id)
    assert [one.state for one in status.videos] == ["skipped"]
    assert analyzer.analyzed == ["a.mp4", "c.mp4"]


async def test_a_video_that_was_settled_while_jobs_were_listed_is_not_begun_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_jobs = JobStore.jobs

    def list_slowly(self: JobStore) -> list[StoredJob]:
        found = list_jobs(self)
        time.sleep(0.3)  # as of a folder with many jobs on a network disk
        return found

    monkeypatch.setattr(JobStore, "jobs", list_slowly)
    (folder / "videos" / "bad.mp4").unlink()
    for number in range(4):
        (folder / "videos" / f"{number}.mp4").write_bytes(bytes([number]) * 100)
    analyzer = CountingAnalyzer()
    async with running(folder, analyzer) as runner:
        job = await runner.submit(plan(folder, overwrite=True))
        status = await last(runner, job.job.plan.job_id)
    assert [one.state for one in status.videos] == ["done"] * 6
    assert len(analyzer.analyzed) == 6


async def test_a_page_that_a_killed_server_owed_is_written_by_the_next(folder: Path) -> None:
    outputs = Outputs(("dlc-csv",), report=True)
    async with running(folder, CountingAnalyzer()) as runner:
        job_id = (await runner.submit(plan(folder, outputs=outputs))).job.plan.job_id
        status = await last(runner, job_id)
        assert status.report is not None
        await asyncio.to_thread(status.report.unlink)
    async with running(folder, CountingAnalyzer()) as runner, asyncio.timeout(120):
        while (await runner.status(job_id)).report is None:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0.05)


async def test_who_waits_for_the_end_finds_the_page_of_each_attempt(folder: Path) -> None:
    outputs = Outputs(("dlc-csv",), report=True)
    async with running(folder, CountingAnalyzer()) as runner:
        job_id = (await runner.submit(plan(folder, outputs=outputs))).job.plan.job_id
        await asyncio.wait_for(runner.wait_until_done(), 120)
        status = await runner.status(job_id)
        assert status.report is not None
        assert "bad.mp4" in status.report.read_text()
        assert (await runner.retry(job_id)).report is None
        await asyncio.wait_for(runner.wait_until_done(), 120)
        assert (await runner.status(job_id)).report is not None


async def test_a_video_that_another_server_has_just_written_is_in_work_until_it_is_settled(
    folder: Path,
) -> None:
    analyzer = CountingAnalyzer()
    async with running(folder, analyzer) as runner:
        job = plan(folder, ("videos/a.mp4",), out="out")
        await runner.submit(job)
        await last(runner, job.job_id)
        (settled,) = (runner.store.folder / job.job_id / "videos").iterdir()
    store = JobStore(folder / "jobs")
    settled.unlink()
    (video,) = look(store.job(job.job_id), JobSpeed()).videos
    assert (video.state, video.frames, video.total_frames) == ("running", FRAMES, FRAMES)
    later = plan(folder, ("videos/a.mp4",), out="out", overwrite=True)
    store.add(later)
    (video,) = look(store.job(later.job_id), JobSpeed()).videos
    assert (video.state, video.frames) == ("queued", 0)


async def test_a_runner_stops_also_when_it_is_woken_at_that_moment(folder: Path) -> None:
    async with asyncio.timeout(60):
        for _ in range(3):
            async with running(folder, CountingAnalyzer()) as runner:
                await asyncio.sleep(0.2)  # it has looked at its folder, and waits
                runner._wake.set()
