"""Requests without a session: every frame is answered in its row, or the request fails as one."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from prometheus_client import REGISTRY

from service.engine import FakeEngine
from service.errors import EngineFailed, FrameTooLarge, InvalidFrame, InvalidRequest, Overloaded
from service.frame_requests import FrameRequests
from service.scheduler import Graph, Scheduler, SchedulerConfig, Work
from service.session_options import SessionConfig
from service.values import BehaviorStatus
from tests.service.conftest import HEIGHT_PX, WIDTH_PX

SMALL = (HEIGHT_PX, WIDTH_PX)


def dots(columns: list[int], size_hw: tuple[int, int] = SMALL, channels: int = 1) -> np.ndarray:
    """One frame for each column, with a bright block there in row 8."""
    frames = np.zeros((len(columns), *size_hw, channels), np.uint8)
    for frame, column in zip(frames, columns, strict=True):
        frame[8:12, column : column + 4] = 255
    return frames


def counted(outcome: str) -> float:
    labels = {"work": "live", "outcome": outcome}
    return REGISTRY.get_sample_value("ethostream_frames_total", labels) or 0.0


@pytest.fixture
def requests(scheduler):
    with ThreadPoolExecutor(1) as threads:
        yield FrameRequests(scheduler, SessionConfig(), threads)


async def test_each_frame_is_answered_in_its_row(requests, pose_bundle):
    before = counted("result")
    columns = [20, 4, 12, 36, 28]
    poses, timings = await requests.poses(pose_bundle, dots(columns))
    assert [one.keypoints_xy[0, 0].tolist() for one in poses] == [[one, 8] for one in columns]
    assert len(timings.batches) == 5
    assert counted("result") - before == 5


@pytest.mark.parametrize(("size", "channels"), [((64, 96), 3), ((640, 960), 3)])
async def test_positions_are_px_of_the_frame_as_sent(requests, pose_bundle, size, channels):
    scale = size[0] // HEIGHT_PX  # the larger one is resized on a thread
    frames = np.zeros((2, *size, channels), np.uint8)
    frames[:, 8 * scale : 12 * scale, 20 * scale : 24 * scale] = 255
    poses, _ = await requests.poses(pose_bundle, frames)
    x_px, y_px = poses[1].keypoints_xy[0, 0]
    assert (x_px, y_px) == ((20 + 0.5) * scale - 0.5, (8 + 0.5) * scale - 0.5)


async def test_a_clip_is_a_recording_of_its_own(requests, behavior_bundle):
    answers, _ = await requests.behavior(behavior_bundle(), dots([4, 8, 12, 16]))
    status = [one.status for one in answers]
    assert status == [BehaviorStatus.NO_CONTEXT] * 2 + [BehaviorStatus.OK] * 2
    assert [one.frame_index for one in answers] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("shape", "error", "words"),
    [
        ((0, *SMALL, 1), InvalidRequest, "0 frames"),
        ((33, *SMALL, 1), InvalidRequest, "send 1 to 32"),
        ((1, *SMALL, 2), InvalidFrame, "2 channels"),
        ((1, 0, 8, 1), InvalidFrame, "8x0 px"),
        ((1, 2, 5000, 1), FrameTooLarge, "5000x2 px"),
    ],
)
async def test_what_no_session_would_take_is_refused(requests, pose_bundle, shape, error, words):
    with pytest.raises(error, match=words):
        await requests.poses(pose_bundle, np.zeros(shape, np.uint8))


async def test_a_failed_batch_fails_the_request(requests, pose_bundle):
    failing = Graph("failing", FakeEngine(fail_when=lambda inputs: inputs["frames"].max() > 0))
    pose_bundle.graphs["pose"] = failing
    before = counted("error")
    with pytest.raises(EngineFailed, match="told to fail"):
        await requests.poses(pose_bundle, dots([4, 8, 12]))
    assert counted("error") - before == 3


async def test_rows_of_a_request_that_found_no_room_are_given_up(pose_bundle):
    scheduler = Scheduler(SchedulerConfig(batch_sizes=(1,), max_queued=2))
    scheduler.start()
    busy, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(_: float) -> None:
        loop.call_soon_threadsafe(busy.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(60)

    slow = FakeEngine(batch_seconds=1.0, sleep=hold)
    held = scheduler.submit(Graph("slow", slow), {"frames": dots([4])[0]}, work=Work.LIVE)
    await busy.wait()
    try:
        with ThreadPoolExecutor(1) as threads:
            requests = FrameRequests(scheduler, SessionConfig(), threads)
            with pytest.raises(Overloaded):
                await requests.poses(pose_bundle, dots([4, 8, 12]))
            go_on.set()
            await held
            later = Graph("later", FakeEngine())
            for _ in range(1000):  # the device thread drops them when it looks for work again
                try:
                    await scheduler.submit(later, {"frames": dots([16])[0]}, work=Work.LIVE)
                    break
                except Overloaded:
                    await asyncio.sleep(0.01)
        assert later.engine.batch_sizes == [1]
        assert pose_bundle.graphs["pose"].engine.batch_sizes == []
    finally:
        go_on.set()
        await scheduler.stop()
