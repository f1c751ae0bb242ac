"""Every station is kept busy, and what one leaves undone the others do."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from service.cluster.pool import StationLost, StationPool
from service.cluster.station import Task
from service.jobs.reports import VideoReport
from service.jobs.runner import run_videos
from service.jobs.work import VideoProgress
from service.results.plan import PlannedVideo, plan_videos


class LocalStation:
    """Answers after `works` says so.

    Args:
        name: for people.
        works: is given the video; may raise StationLost, or return None.
    """

    def __init__(
        self, name: str, works: Callable[[PlannedVideo], VideoReport | None] | None = None
    ) -> None:
        self.name = name
        self.done: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.is_held: Callable[[], bool] = lambda: False
        """Whether its videos stay in work."""
        self._works = works

    async def run(self, task: Task) -> VideoReport | None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)
        while self.is_held():  # noqa: ASYNC110 - a video that begins sets no event
            await asyncio.sleep(0.01)
        self.at_once -= 1
        report = self._works(task.video) if self._works else done(task.video)
        if report is not None:
            self.done.append(task.video.stem)
        return report


def done(video: PlannedVideo) -> VideoReport:
    return VideoReport(str(video.path), "done", frames=1)


def lose(video: PlannedVideo) -> VideoReport:
    raise StationLost("the node is gone")


@pytest.fixture
def videos(tmp_path: Path) -> list[PlannedVideo]:
    for name in "abcdef":
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    return plan_videos([tmp_path], tmp_path / "out")


@pytest.fixture
def told() -> list[VideoProgress]:
    return []


@pytest.fixture
def pool(told: list[VideoProgress]) -> StationPool:
    return StationPool(told.append, parallel=2)


async def work(pool: StationPool, videos: list[PlannedVideo]) -> list[VideoReport]:
    async with asyncio.timeout(60):
        return await run_videos(videos, pool, parallel=len(videos))


async def test_all_stations_work_on_as_many_videos_as_allowed(
    pool: StationPool, videos: list[PlannedVideo]
) -> None:
    one, other = LocalStation("one"), LocalStation("other")
    one.is_held = other.is_held = lambda: min(one.most_at_once, other.most_at_once) < 2
    pool.add(one)
    pool.add(other)
    reports = await work(pool, videos)
    assert [one.video for one in reports] == [str(one.path) for one in videos]
    assert {one.state for one in reports} == {"done"}
    assert sorted(one.done + other.done) == list("abcdef")
    assert one.most_at_once == other.most_at_once == 2


async def test_idle_stations_come_first(pool: StationPool, videos: list[PlannedVideo]) -> None:
    one, other = LocalStation("one"), LocalStation("other")
    pool.add(one)
    pool.add(other)
    await work(pool, videos[:2])
    assert len(one.done) == len(other.done) == 1


async def test_the_videos_of_a_lost_station_go_to_the_others(
    pool: StationPool, videos: list[PlannedVideo]
) -> None:
    lost, other = LocalStation("lost", lose), LocalStation("other")
    pool.add(lost)
    pool.add(other)
    reports = await work(pool, videos)
    assert {one.state for one in reports} == {"done"}
    assert sorted(other.done) == list("abcdef")


async def test_a_station_that_comes_later_is_used(
    pool: StationPool, videos: list[PlannedVideo]
) -> None:
    working = asyncio.create_task(work(pool, videos))
    await asyncio.sleep(0.02)
    assert not working.done()
    late = LocalStation("late")
    pool.add(late)
    await working
    assert sorted(late.done) == list("abcdef")


async def test_a_video_that_takes_every_station_with_it_fails_and_the_rest_is_done(
    pool: StationPool, videos: list[PlannedVideo]
) -> None:
    def works(video: PlannedVideo) -> VideoReport:
        if video.stem == "c":
            # A new process in its place, as the keeper of a cluster opens one.
            asyncio.get_running_loop().call_soon(pool.add, LocalStation("next", works))
            raise StationLost("killed for its memory")
        return done(video)

    pool.add(LocalStation("first", works))
    reports = await work(pool, videos)
    assert [one.state for one in reports] == ["done", "done", "failed", "done", "done", "done"]
    assert "3 processes that worked on it were lost, the last one on next" in reports[2].message
    assert "--parallel 1" in reports[2].message


async def test_a_station_with_another_disk_gets_no_more_videos(
    pool: StationPool, videos: list[PlannedVideo]
) -> None:
    blind, other = LocalStation("blind", lambda _: None), LocalStation("other")
    pool.add(blind)
    pool.add(other)
    reports = await work(pool, videos)
    assert {one.state for one in reports} == {"done"}
    assert sorted(other.done) == list("abcdef")
    assert pool.unshared[blind] in {str(one.path) for one in videos}


async def test_a_video_that_goes_away_is_not_blamed_on_the_station(
    pool: StationPool, videos: list[PlannedVideo]
) -> None:
    def works(video: PlannedVideo) -> VideoReport | None:
        if video.path.exists():
            video.path.unlink()
            return None
        return VideoReport(str(video.path), "failed", message="it is gone")

    station = LocalStation("one", works)
    pool.add(station)
    (report,) = await work(pool, videos[:1])
    assert report.message == "it is gone"
    assert not pool.unshared


async def test_videos_fail_with_the_reason_where_no_station_will_come(
    pool: StationPool, videos: list[PlannedVideo]
) -> None:
    working = asyncio.create_task(work(pool, videos))
    await asyncio.sleep(0.02)
    pool.give_up("no machine can compute")
    reports = await working
    assert {(one.state, one.message) for one in reports} == {("failed", "no machine can compute")}


async def test_a_video_that_others_work_on_is_tried_again(
    pool: StationPool, videos: list[PlannedVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.runner._BUSY_SECONDS", 0.01)
    left = 2

    def works(video: PlannedVideo) -> VideoReport:
        nonlocal left
        left -= 1
        return VideoReport(str(video.path), "busy") if left else done(video)

    pool.add(LocalStation("one", works))
    settled: list[VideoReport] = []
    (report,) = await run_videos(
        videos[:1], pool, parallel=1, settle=lambda _, one: settled.append(one)
    )
    assert settled == [report]
    assert report.state == "done"


async def test_progress_is_told_of_videos_that_are_in_work_there(
    pool: StationPool, videos: list[PlannedVideo], told: list[VideoProgress]
) -> None:
    here, elsewhere = (VideoProgress(one, "analyzing", 3, 9) for one in videos[:2])
    station = LocalStation("one")

    def works(video: PlannedVideo) -> VideoReport:
        pool.show(station, [here, elsewhere])
        return done(video)

    station._works = works
    pool.add(station)
    await work(pool, videos[:1])
    pool.show(station, [here])  # late news of a video that is over
    assert told == [here, VideoProgress(videos[0], "over")]


async def test_a_task_says_what_is_seen_here(videos: list[PlannedVideo]) -> None:
    task = Task(videos[0], is_there=False, has_work_folder=True)
    assert task.sees() == Task(videos[0], is_there=True, has_work_folder=False)
