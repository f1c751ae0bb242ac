"""Batches are formed from what waits: live first, largest full bucket, nothing lost."""

import asyncio
import threading

import numpy as np
import pytest

from service.engine import FakeEngine
from service.engine.device import DeviceCopies, Rows
from service.errors import EngineFailed, InvalidConfig, Overloaded, ShuttingDown
from service.scheduler import Graph, Sample, Scheduler, SchedulerConfig, Work, batch_size
from tests.service.conftest import OnDevice


class Gate:
    """Holds the device thread inside a batch until the test lets it go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self, _seconds: float) -> None:
        self.entered.set()
        assert self.release.wait(60)


def frame(column: int) -> Sample:
    pixels = np.zeros((4, 16, 1), np.uint8)
    pixels[2, column] = 255
    return {"frames": pixels}


def rows_of(answer) -> int:
    """Rows of the batch that an Unsteady engine was given."""
    return int(answer.outputs["keypoints"][0, 0, 2])


def column_of(answer) -> int:
    return int(answer.outputs["keypoints"][0, 0, 0])


@pytest.fixture
async def scheduler():  # smaller than the shared one, so that its limits can be met
    one = Scheduler(SchedulerConfig(batch_sizes=(1, 2, 4), max_queued=8))
    one.start()
    yield one
    await one.stop()


@pytest.fixture
async def held(scheduler):
    """A graph whose first batch is in work and waits for the gate."""
    gate = Gate()
    engine = FakeEngine(batch_seconds=1.0, sleep=gate)
    graph = Graph("fake", engine)
    first = scheduler.submit(graph, frame(0), work=Work.LIVE)
    await asyncio.to_thread(gate.entered.wait, 60)
    yield graph, engine, gate
    gate.release.set()
    await first


async def test_each_input_gets_its_own_answer(scheduler):
    graph = Graph("fake", FakeEngine())
    answers = await asyncio.gather(
        *(scheduler.submit(graph, frame(column), work=Work.LIVE) for column in range(8))
    )
    assert [column_of(answer) for answer in answers] == list(range(8))


async def test_a_lone_frame_leaves_at_once(scheduler):
    graph = Graph("fake", FakeEngine())
    answer = await asyncio.wait_for(scheduler.submit(graph, frame(3), work=Work.LIVE), 60)
    assert answer.batch_size == 1


async def test_what_gathers_while_the_device_works_becomes_the_largest_full_bucket(scheduler, held):
    graph, engine, gate = held
    waiting = [scheduler.submit(graph, frame(column), work=Work.LIVE) for column in range(7)]
    gate.release.set()
    await asyncio.gather(*waiting)
    assert engine.batch_sizes == [1, 4, 2, 1]


async def test_live_inputs_go_before_archive_inputs_that_came_earlier(scheduler, held):
    graph, _, gate = held
    order: list[str] = []
    futures = []
    for work, column in [(Work.ARCHIVE, 1)] * 4 + [(Work.LIVE, 2)]:
        future = scheduler.submit(graph, frame(column), work=work)
        future.add_done_callback(lambda _, work=work: order.append(work.value))
        futures.append(future)
    gate.release.set()
    await asyncio.gather(*futures)
    assert order[0] == "live"


PROCESSOR = {1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}
"""Seconds by batch size where each row costs the same."""
GPU = {1: 0.5, 2: 0.6, 4: 0.8, 8: 1.0}
"""The same where larger batches cost little more."""


@pytest.mark.parametrize(
    ("live", "archive", "waited", "seconds", "expected"),
    [
        (0, 9, 0.0, PROCESSOR, 8),
        (9, 0, 9.0, PROCESSOR, 8),
        (1, 20, 0.0, PROCESSOR, 1),
        (3, 20, 0.0, PROCESSOR, 2),
        (1, 20, 0.0, GPU, 8),
        (1, 2, 0.0, GPU, 2),
        (1, 20, 0.6, GPU, 4),
        (3, 20, 0.6, GPU, 8),
        (1, 20, 0.95, GPU, 1),
        (1, 20, 5.0, GPU, 1),
        (1, 20, 0.0, {8: 1.0}, 4),
        (1, 20, 0.0, {}, 8),
        (1, 20, 0.1, {}, 1),
    ],
)
def test_the_archive_fills_a_live_batch_up_where_that_is_worth_it_and_there_is_time(
    live, archive, waited, seconds, expected
):
    size = batch_size(
        (1, 2, 4, 8),
        live=live,
        waiting=live + archive,
        waited_seconds=waited,
        batch_seconds=seconds,
    )
    assert size == expected


@pytest.mark.parametrize(("waited", "expected"), [(0.0, 4), (0.95, 1)])
async def test_a_live_frame_that_waited_for_an_archive_batch_is_not_held_up_by_a_second(
    waited, expected
):
    now = 0.0
    gate = Gate()
    scheduler = Scheduler(SchedulerConfig(batch_sizes=(1, 2, 4)), clock=lambda: now)
    scheduler.start()
    other = Graph("other", FakeEngine(batch_seconds=1.0, sleep=gate))
    running = scheduler.submit(other, frame(0), work=Work.ARCHIVE)
    await asyncio.to_thread(gate.entered.wait, 60)
    graph = Graph("fake", FakeEngine())
    graph.batch_seconds.update({1: 0.7, 2: 0.8, 4: 1.0})
    archive = [scheduler.submit(graph, frame(0), work=Work.ARCHIVE) for _ in range(8)]
    live = scheduler.submit(graph, frame(1), work=Work.LIVE)
    now += waited
    gate.release.set()
    await asyncio.gather(running, *archive)
    assert (await live).batch_size == expected
    await scheduler.stop()


async def test_archive_frames_of_the_gpu_fill_a_live_batch_of_the_host_up(emulate_gpu, scheduler):
    emulate_gpu()
    gate = Gate()
    engine = OnDevice(FakeEngine())
    other = Graph("other", FakeEngine(batch_seconds=1.0, sleep=gate))
    running = scheduler.submit(other, frame(0), work=Work.LIVE)
    await asyncio.to_thread(gate.entered.wait, 60)
    graph, copies = Graph("fake", engine), DeviceCopies()
    graph.batch_seconds.update({1: 0.9, 2: 0.9, 4: 1000.0})
    archive = []
    for column in (4, 5, 6):
        (pixels,) = copies.copy([frame(column)["frames"]])
        archive.append(scheduler.submit(graph, {"frames": pixels}, work=Work.ARCHIVE))
    live = scheduler.submit(graph, frame(1), work=Work.LIVE)
    gate.release.set()
    await running
    answers = await asyncio.gather(live, *archive)
    assert [column_of(one) for one in answers] == [1, 4, 5, 6]
    assert answers[0].batch_size == 2
    assert engine.seen == {Rows}


async def test_it_learns_what_batches_take():
    now = 0.0

    class Processor(FakeEngine):
        def run(self, inputs):
            nonlocal now
            now += 3.0
            return super().run(inputs)

    scheduler = Scheduler(SchedulerConfig(), clock=lambda: now)
    scheduler.start()
    graph = Graph("fake", Processor())
    await scheduler.submit(graph, frame(0), work=Work.LIVE)
    await scheduler.stop()  # what it learns of a batch comes after the answers
    assert graph.batch_seconds == {1: pytest.approx(3.0)}


async def test_inputs_of_different_shapes_never_share_a_batch(scheduler, held):
    graph, _, gate = held
    wide = {"frames": np.zeros((4, 32, 1), np.uint8)}
    futures = [scheduler.submit(graph, one, work=Work.LIVE) for one in (frame(1), wide, frame(2))]
    gate.release.set()
    answers = await asyncio.gather(*futures)
    assert [answer.batch_size for answer in answers] == [2, 1, 2]


async def test_a_failing_batch_fails_its_own_inputs_and_no_others(scheduler):
    def is_marked(inputs) -> bool:
        return bool((inputs["frames"] == 7).any())

    graph = Graph("fake", FakeEngine(fail_when=is_marked))
    bad = {"frames": np.full((4, 8, 1), 7, np.uint8)}
    with pytest.raises(EngineFailed, match="told to fail"):
        await scheduler.submit(graph, bad, work=Work.LIVE)
    assert column_of(await scheduler.submit(graph, frame(5), work=Work.LIVE)) == 5


async def test_a_bug_in_an_engine_is_reported_and_the_device_goes_on(scheduler):
    class Broken(FakeEngine):
        def run(self, inputs):
            raise ZeroDivisionError("no luck")

    with pytest.raises(EngineFailed, match="no luck"):
        await scheduler.submit(Graph("broken", Broken()), frame(0), work=Work.LIVE)
    graph = Graph("fake", FakeEngine())
    assert column_of(await scheduler.submit(graph, frame(1), work=Work.LIVE)) == 1


async def test_a_full_queue_refuses_and_says_so(scheduler, held):
    graph, _, gate = held
    waiting = [scheduler.submit(graph, frame(0), work=Work.LIVE) for _ in range(8)]
    with pytest.raises(Overloaded, match="8 inputs wait"):
        scheduler.submit(graph, frame(0), work=Work.LIVE)
    gate.release.set()
    await asyncio.gather(*waiting)


async def test_inputs_whose_client_left_are_dropped_before_the_batch(scheduler, held):
    graph, engine, gate = held
    left = [scheduler.submit(graph, frame(0), work=Work.LIVE) for _ in range(3)]
    stays = scheduler.submit(graph, frame(6), work=Work.LIVE)
    for future in left:
        future.cancel()
    gate.release.set()
    assert column_of(await stays) == 6
    assert engine.batch_sizes == [1, 1]


async def test_stopping_refuses_what_waits():
    gate = Gate()
    scheduler = Scheduler(SchedulerConfig())
    scheduler.start()
    graph = Graph("fake", FakeEngine(batch_seconds=1.0, sleep=gate))
    working = scheduler.submit(graph, frame(1), work=Work.LIVE)
    await asyncio.to_thread(gate.entered.wait, 60)
    waiting = scheduler.submit(graph, frame(2), work=Work.LIVE)
    stopping = asyncio.create_task(scheduler.stop())
    with pytest.raises(ShuttingDown):
        await waiting
    gate.release.set()
    await stopping
    assert column_of(await working) == 1
    with pytest.raises(ShuttingDown):
        scheduler.submit(graph, frame(3), work=Work.LIVE)


@pytest.mark.parametrize("sizes", [(), (2, 4), (1, 4, 2), (1, 1)])
def test_buckets_must_begin_with_one_and_increase(sizes):
    with pytest.raises(InvalidConfig, match="batch_sizes"):
        SchedulerConfig(batch_sizes=sizes)


class Unsteady(FakeEngine):
    """Answers with the number of rows that it was given."""

    def run(self, inputs):
        answer = super().run(inputs)
        answer["keypoints"][..., 2] = len(inputs["frames"])
        return answer


async def test_rows_of_the_archive_have_batches_of_one_size_where_the_engine_tells_them_apart(
    scheduler,
):
    graph = Graph("unsteady", Unsteady(), is_steady=False)
    for count in (1, 3, 4, 7):
        futures = [scheduler.submit(graph, frame(n), work=Work.ARCHIVE) for n in range(count)]
        answers = await asyncio.gather(*futures)
        assert [column_of(answer) for answer in answers] == list(range(count))
        assert {rows_of(answer) for answer in answers} == {4}
        assert max(answer.batch_size for answer in answers) <= 4
    alone = await scheduler.submit(graph, frame(0), work=Work.LIVE)
    assert rows_of(alone) == 1  # a live frame is filled up with nothing


async def test_live_and_archive_rows_share_no_batch_of_such_an_engine(scheduler):
    gate = Gate()
    graph = Graph("unsteady", Unsteady(batch_seconds=1.0, sleep=gate), is_steady=False)
    first = scheduler.submit(graph, frame(0), work=Work.LIVE)
    await asyncio.to_thread(gate.entered.wait, 60)
    archive = [scheduler.submit(graph, frame(n), work=Work.ARCHIVE) for n in range(4)]
    live = [scheduler.submit(graph, frame(n), work=Work.LIVE) for n in range(3)]
    gate.release.set()
    answers = await asyncio.gather(first, *live, *archive)
    assert [rows_of(answer) for answer in answers] == [1, 2, 2, 1, 4, 4, 4, 4]
