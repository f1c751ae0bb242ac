"""Sessions of single calls whose calls end early, wait, or meet the end of the session."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from ethostream.v1 import bundle_pb2, frame_pb2
from ethostream.v1 import inference_service_pb2 as pb2

from clients.testdata.scenes import HEIGHT_PX, WIDTH_PX, picture
from service.engine import Engine, Tensors, create_engine
from service.servicer import InferenceServicer
from service.session_options import SessionConfig
from tests.e2e.archives import wait_until
from tests.service.servicer.conftest import EXACT, SHIPPED, TIMEOUT_S, Served, serving
from tests.service.servicer.wire import refused

BUNDLES = ("openfield-mouse", "openfield-activity")
"""Of which the second looks at no later frame: each answer has the behavior of its own frame."""
Status = grpc.StatusCode


class Gate:
    """Lets batches through to the engines, or holds them."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.is_open.set()
        self.is_waited_at = threading.Event()

    def create(self, path: Path, **settings: Any) -> Engine:
        return GatedEngine(create_engine(path, **settings), self)


class GatedEngine:
    """A real engine behind a gate."""

    def __init__(self, computes: Engine, gate: Gate) -> None:
        self._computes, self._gate = computes, gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._computes, name)

    def run(self, inputs: Tensors) -> Tensors:
        if not self._gate.is_open.is_set():
            self._gate.is_waited_at.set()
            assert self._gate.is_open.wait(TIMEOUT_S)
        return self._computes.run(inputs)


@pytest.fixture
def gate() -> Iterator[Gate]:
    one = Gate()
    yield one
    one.is_open.set()


@dataclass
class Calls:
    """Of single frames, as the server sees them."""

    begun: int = 0
    over: int = 0


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Counts the calls at the server under test."""
    counted, analyze = Calls(), InferenceServicer.AnalyzeFrame

    async def count(self: Any, request: Any, context: Any) -> Any:
        counted.begun += 1
        try:
            return await analyze(self, request, context)
        finally:
            counted.over += 1

    monkeypatch.setattr(InferenceServicer, "AnalyzeFrame", count)
    return counted


@pytest.fixture
def serve(gate, calls) -> Callable[..., Any]:
    """Serves the shipped bundles behind the gate."""
    settings = {"create": gate.create, "engine": EXACT}
    return lambda **more: serving(SHIPPED, *BUNDLES, **settings, **more)


def frame(index: int) -> frame_pb2.Frame:
    return frame_pb2.Frame(
        frame_index=index,
        encoding=frame_pb2.FRAME_ENCODING_GRAY8,
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        data=picture(index % 6).tobytes(),
    )


def request(session_id: str = "", **fields: Any) -> pb2.AnalyzeFrameRequest:
    one = pb2.AnalyzeFrameRequest(session_id=session_id, **fields)
    if not session_id:
        for name in BUNDLES:
            one.start.bundles.add(bundle=bundle_pb2.BundleReference(name=name))
    return one


def call(served: Served, session_id: str = "", **fields: Any) -> pb2.AnalyzeFrameResponse:
    return served.native.AnalyzeFrame(request(session_id, **fields), timeout=TIMEOUT_S)


def begin(served: Served, calls: Calls, session_id: str = "", **fields: Any) -> Any:
    """Make a call; return its future when the server has it."""
    before = calls.begun
    asked = served.native.AnalyzeFrame.future(request(session_id, **fields), timeout=TIMEOUT_S)
    wait_until(lambda: calls.begun > before)
    return asked


def give_up(served: Served, calls: Calls, session_id: str = "", **fields: Any) -> None:
    """Make a call that ends before its answer; return when the server knows that, too."""
    asked = begin(served, calls, session_id, **fields)
    before = calls.over
    assert asked.cancel()
    wait_until(lambda: calls.over > before)


def indices(response: pb2.AnalyzeFrameResponse) -> list[int]:
    return [one.frame_index for one in response.behaviors]


def begin_to_stop(served: Served) -> Any:
    """Have the server stop; return when it takes no new calls."""
    stopping = asyncio.run_coroutine_threadsafe(served.server.stop(), served.loop)
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            call(served, "0" * 16)
        except grpc.RpcError as error:
            if error.code() is Status.UNAVAILABLE:
                return stopping
        time.sleep(0.01)
    pytest.fail("the server went on to take calls")


def test_calls_that_end_early_cost_their_own_outcomes_alone(gate, calls, serve):
    with serve(session=SessionConfig(default_frames_in_flight=2)) as served:
        session_id = call(served, frame=frame(0)).session_id
        gate.is_open.clear()
        for index in (1, 2, 3):  # for the last one, there is no credit left
            give_up(served, calls, session_id, frame=frame(index))
        gate.is_open.set()
        answers = [call(served, session_id, frame=frame(index)) for index in (4, 5, 6)]
        assert [one.outcome.frame_index for one in answers] == [4, 5, 6]
        assert all(one.outcome.HasField("result") for one in answers)
        assert [indices(one) for one in answers] == [[1, 2, 4], [5], [6]]


def test_the_call_that_ends_a_session_tells_what_an_earlier_one_did_not_wait_for(
    gate, calls, serve
):
    with serve() as served:
        session_id = call(served, frame=frame(0)).session_id
        gate.is_open.clear()
        give_up(served, calls, session_id, frame=frame(1))
        give_up(served, calls, session_id, end_session=True)
        refused(lambda: call(served, session_id, frame=frame(2)), Status.NOT_FOUND, "end_session")
        gate.is_open.set()
        assert indices(call(served, session_id, end_session=True)) == [1]
        refused(lambda: call(served, session_id, end_session=True), Status.NOT_FOUND, "open a new")


def test_a_session_whose_first_call_has_no_answer_gives_its_place_free(gate, calls, serve):
    with serve(server={"max_streams": 1}) as served:
        gate.is_open.clear()
        give_up(served, calls, frame=frame(0))
        gate.is_open.set()
        answer = call(served, frame=frame(0), end_session=True)
        assert answer.outcome.HasField("result")


def test_a_call_that_takes_longer_than_a_session_may_be_idle_is_answered(gate, calls, serve):
    with serve(session=SessionConfig(idle_seconds=0.2)) as served:
        gate.is_open.clear()
        answer = begin(served, calls, frame=frame(0))
        assert gate.is_waited_at.wait(TIMEOUT_S)
        time.sleep(0.5)
        gate.is_open.set()
        session_id = answer.result().session_id
        time.sleep(1.0)
        refused(lambda: call(served, session_id, frame=frame(1)), Status.NOT_FOUND, "idle")


def test_a_call_that_waits_for_one_that_ends_the_session_is_refused(gate, calls, serve):
    with serve() as served:
        session_id = call(served, frame=frame(0)).session_id
        gate.is_open.clear()
        first = begin(served, calls, session_id, frame=frame(1), end_session=True)
        assert gate.is_waited_at.wait(TIMEOUT_S)
        second = begin(served, calls, session_id, frame=frame(2))
        give_up(served, calls, session_id, frame=frame(3))  # came later, and it waits, too
        gate.is_open.set()
        assert first.result().outcome.frame_index == 1
        refused(second.result, Status.NOT_FOUND, session_id)


def test_a_server_that_stops_answers_the_frame_in_work_and_refuses_the_one_behind(
    gate, calls, serve
):
    with serve(server={"drain_seconds": TIMEOUT_S}) as served:
        idle = call(served, frame=frame(0)).session_id
        session_id = call(served, frame=frame(0)).session_id
        assert idle != session_id
        gate.is_open.clear()
        in_work = begin(served, calls, session_id, frame=frame(1))
        assert gate.is_waited_at.wait(TIMEOUT_S)
        behind = begin(served, calls, session_id, frame=frame(2))
        give_up(served, calls, session_id, frame=frame(3))
        stopping = begin_to_stop(served)
        gate.is_open.set()
        assert in_work.result().outcome.frame_index == 1
        refused(behind.result, Status.UNAVAILABLE, "shutting down")
        stopping.result(TIMEOUT_S / 2)


def test_a_server_that_stops_cuts_a_call_that_takes_too_long(gate, calls, serve):
    with serve(server={"drain_seconds": 0.2}) as served:
        session_id = call(served, frame=frame(0)).session_id
        gate.is_open.clear()
        stuck = begin(served, calls, session_id, frame=frame(1))
        assert gate.is_waited_at.wait(TIMEOUT_S)
        stopping = begin_to_stop(served)
        assert stuck.exception(TIMEOUT_S / 2) is not None
        gate.is_open.set()
        stopping.result(TIMEOUT_S / 2)
