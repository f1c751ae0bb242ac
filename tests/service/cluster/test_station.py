"""A station does what a command on its machine would do."""

import asyncio
from pathlib import Path

import pytest

from service.cluster.station import Station, StationSetup, Task
from service.commands._shipped import SHIPPED_MODELS
from service.config import ServiceConfig, VideoConfig
from service.jobs.finish import Outputs
from service.jobs.lease import LeaseTaker
from service.jobs.manifest import work_folder
from service.jobs.video import Request
from service.results import RequestOptions, read_results
from service.results.plan import PlannedVideo, plan_videos
from service.simulation import SimulationSettings, simulate, write_recording
from service.version import program_version

SETUP = StationSetup(
    models=SHIPPED_MODELS,
    bundles=("openfield-mouse@1",),
    config=ServiceConfig(video=VideoConfig(decode_workers=1)),
)
REQUEST = Request(options=RequestOptions(), outputs=Outputs(()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, seconds in (("short", 0.5), ("long", 20.0)):
        settings = SimulationSettings(width_px=160, height_px=120, duration_s=seconds, seed=4)
        write_recording(simulate(settings), folder, name=name)
    return folder


def plan(folder: Path, name: str, out: Path) -> PlannedVideo:
    (video,) = plan_videos([folder / f"{name}.mp4"], out)
    work_folder(video).mkdir(parents=True)
    return video


async def test_a_video_is_brought_to_its_results_where_it_is_seen(
    folder: Path, tmp_path: Path
) -> None:
    video = plan(folder, "short", tmp_path)
    station = Station(SETUP)
    try:
        opened = await station.open()
        assert opened.version == program_version()
        assert [str(one.key) for one in opened.bundles] == ["openfield-mouse@1"]
        task = Task(video, is_there=True, has_work_folder=True)
        elsewhere = Task(video, is_there=True, has_work_folder=False)
        assert await station.run(elsewhere, REQUEST) is None
        report = await station.run(task, REQUEST)
        assert report is not None
        assert (report.state, report.frames) == ("done", 15)
        assert len(read_results(tmp_path / "short.parquet")) == 15
        assert await station.progress() == ()
    finally:
        await station.close()


async def test_a_station_that_is_closed_leaves_its_video_to_the_next_one_at_once(
    folder: Path, tmp_path: Path
) -> None:
    video = plan(folder, "long", tmp_path)
    station = Station(SETUP)
    await station.open()
    task = Task(video, is_there=True, has_work_folder=True)
    running = asyncio.create_task(station.run(task, REQUEST))
    async with asyncio.timeout(120):
        begun = False
        while not begun:
            await asyncio.sleep(0.01)
            begun = any(one.frames for one in await station.progress())
    await station.close()
    (result,) = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(result, asyncio.CancelledError)
    assert not (tmp_path / "long.parquet").exists()
    assert LeaseTaker(stale_seconds=1e6).take(work_folder(video)) is not None
