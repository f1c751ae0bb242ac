"""A live stream gives every frame one answer, also when the server breaks, drains or refuses."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from ethostream import (
    AsyncClient,
    AsyncLiveStream,
    BehaviorResult,
    BehaviorStatus,
    FrameOutcome,
    _answers,
    errors,
    live,
)
from ethostream.v1 import inference_service_pb2 as pb
from ethostream.values import Freshness

from tests.clients.conftest import (
    Context,
    Requests,
    answer_all,
    behavior,
    ended,
    frames,
    result,
    serving,
    started,
)

IMAGE = np.zeros((4, 6), dtype=np.uint8)
BUNDLES = ("mouse", "cage")

Responses = AsyncIterator[pb.StreamFramesResponse]


async def read(stream: AsyncLiveStream) -> tuple[list[FrameOutcome], list[BehaviorResult]]:
    """All answers of a stream until it is over."""
    answers = [answer async for answer in stream]
    outcomes = [answer for answer in answers if isinstance(answer, FrameOutcome)]
    return outcomes, [answer for answer in answers if isinstance(answer, BehaviorResult)]


async def send_frames(stream: AsyncLiveStream, count: int) -> None:
    for _ in range(count):
        await stream.send(IMAGE)


async def cut_after_two(requests: Requests, context: Context) -> Responses:
    """Answer frame 0, take frame 1, and go away."""
    yield started(session="first")
    async for frame_index in frames(requests):
        if frame_index == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        yield result(frame_index)


async def stall(requests: Requests, context: Context) -> Responses:
    """Agree, and answer nothing."""
    yield started()
    async for _ in frames(requests):
        pass
    await asyncio.sleep(60)


async def refuse(requests: Requests, context: Context) -> Responses:
    """Know no bundle."""
    await context.abort(grpc.StatusCode.NOT_FOUND, "no bundle 'mouse'; load it")
    yield started()


async def fail_within(stream: AsyncLiveStream) -> None:
    async with stream:
        await stream.send(IMAGE)
        raise ZeroDivisionError


async def collect(stream: AsyncLiveStream, kinds: list[tuple[int, str]]) -> None:
    async for answer in stream:
        if isinstance(answer, FrameOutcome):
            kinds.append((answer.frame_index, answer.kind))


async def test_answers_arrive_in_order_with_numpy_arrays() -> None:
    async with (
        serving(answer_all) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES, camera="top", freshness="all") as stream,
    ):
        assert stream.session_id == "good"
        assert [str(info.bundle) for info in stream.bundles] == ["mouse@2", "cage@1"]
        for _ in range(20):
            await stream.send(IMAGE)
        counts = await stream.finish()
        outcomes, behaviors = await read(stream)
    assert [outcome.frame_index for outcome in outcomes] == list(range(20))
    assert [answer.frame_index for answer in behaviors] == list(range(20))
    assert (counts.accepted, counts.results, counts.is_closed) == (20, 20, True)
    pose = outcomes[3].poses[0]
    assert (pose.bundle, pose.version) == ("mouse", 2)
    np.testing.assert_array_equal(pose.keypoints_xy, [[[3, 3.5], [7, 8]]])
    np.testing.assert_array_equal(pose.confidence, [[0.25, 0.5]])
    assert pose.keypoints_xy.dtype == np.float32
    assert outcomes[3].timings is not None
    assert outcomes[3].timings.engine_ns == 5
    assert outcomes[3].round_trip_ns > 0
    assert behaviors[3].behaviors == ("rest", "rear", "groom")
    assert behaviors[3].status is BehaviorStatus.OK
    np.testing.assert_array_equal(behaviors[3].probabilities, [0.5, 0.25, 0.75])
    np.testing.assert_array_equal(behaviors[3].present, [False, False, True])
    assert server.starts[0].camera == "top"


@pytest.mark.usefixtures("quick_backoff")
async def test_a_broken_connection_loses_what_was_in_flight_and_goes_on() -> None:
    async with (
        serving(cut_after_two, answer_all) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES) as stream,
    ):
        for _ in range(6):
            await stream.send(IMAGE)
        counts = await stream.finish()
        outcomes, behaviors = await read(stream)
        assert stream.reconnects == 1
    assert [outcome.frame_index for outcome in outcomes] == list(range(6))
    lost = [outcome for outcome in outcomes if outcome.kind == "error"]
    assert {outcome.reason for outcome in lost} == {"lost"}
    assert 1 in [outcome.frame_index for outcome in lost]
    assert outcomes[0].kind == outcomes[-1].kind == "result"
    assert counts.is_closed
    assert (counts.accepted, counts.lost, counts.errors) == (6, len(lost), 0)
    assert counts.results == 6 - len(lost)
    assert [start.resumes_session_id for start in server.starts] == ["", "first"]
    assert [answer.frame_index for answer in behaviors] == list(range(6))
    assert behaviors[0].status is BehaviorStatus.ERROR  # answered, but its behavior was lost
    assert behaviors[0].probabilities is None
    assert behaviors[-1].status is BehaviorStatus.OK


@pytest.mark.usefixtures("quick_backoff")
async def test_a_draining_server_answers_what_it_has_and_the_stream_reconnects() -> None:
    async def drain(requests: Requests, context: Context) -> Responses:
        yield started(session="old", credit_count=3)
        seen = []
        async for frame_index in frames(requests):
            if not seen:
                yield pb.StreamFramesResponse(drain=pb.DrainNotice(grace_ms=5000))
            seen.append(frame_index)
        for frame_index in seen:
            yield result(frame_index)
            yield behavior(frame_index)
        yield ended()

    async with (
        serving(drain, answer_all) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES) as stream,
    ):
        for _ in range(8):
            await stream.send(IMAGE)
        counts = await stream.finish()
        outcomes, behaviors = await read(stream)
    assert [outcome.kind for outcome in outcomes] == ["result"] * 8
    assert [answer.status for answer in behaviors] == [BehaviorStatus.OK] * 8
    assert (counts.results, counts.lost) == (8, 0)
    assert server.starts[1].resumes_session_id == "old"


async def test_a_refused_stream_raises_what_the_server_said() -> None:
    async with serving(refuse) as server, AsyncClient(server.address) as client:
        with pytest.raises(errors.NotFound, match="no bundle 'mouse'; load it") as raised:
            async with client.stream(BUNDLES):
                pass
    assert raised.value.status == "NOT_FOUND"
    assert len(server.starts) == 1


async def test_no_server_at_the_address_is_told_at_once() -> None:
    async with serving(answer_all) as server:
        address = server.address
    async with AsyncClient(address) as client, asyncio.timeout(60):
        with pytest.raises(errors.Unavailable, match=address):
            await client.stream(BUNDLES, reconnect_seconds=3600).open()


async def test_a_server_that_stays_away_fails_the_stream_after_the_time_allowed() -> None:
    async with serving(cut_after_two) as server, AsyncClient(server.address) as client:
        stream = client.stream(BUNDLES, reconnect_seconds=0.3)
        await stream.open()
        server.scripts.append(cut_before_start)
        with pytest.raises(errors.Unavailable):
            await send_frames(stream, 10)
        with pytest.raises(errors.Unavailable):
            await stream.finish()
        with pytest.raises(errors.Unavailable):
            await read(stream)
        assert stream.ledger.is_closed


async def cut_before_start(requests: Requests, context: Context) -> Responses:
    """Refuse as a stopping server does."""
    await context.abort(grpc.StatusCode.UNAVAILABLE, "stopping")
    yield started()


async def test_a_server_that_never_opens_the_stream_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def say_nothing(requests: Requests, context: Context) -> Responses:
        async for _ in requests:
            pass
        yield started()

    monkeypatch.setattr(live, "_START_SECONDS", 0.2)
    async with serving(say_nothing) as server, AsyncClient(server.address) as client:
        with pytest.raises(errors.Unavailable, match=r"did not open the stream within 0\.2 s"):
            await client.stream(BUNDLES).open()


async def test_a_server_that_stands_still_is_given_up_and_its_frames_are_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def stand_still(requests: Requests, context: Context) -> Responses:
        yield started()
        async for index in frames(requests):
            if index == 0:
                yield result(index)

    async with serving(stand_still) as server, AsyncClient(server.address) as client:
        stream = client.stream(BUNDLES, reconnect=False)
        await stream.send(IMAGE)
        answer = await anext(aiter(stream))
        assert isinstance(answer, FrameOutcome)
        outcomes = [(answer.frame_index, answer.kind)]
        monkeypatch.setattr(live, "_SILENCE_SECONDS", 1.0)
        await asyncio.sleep(1.5)  # nothing is owed: silence is no fault
        with pytest.raises(errors.Unavailable, match="answered nothing for 1 s"):
            await send_frames(stream, 10)
        with pytest.raises(errors.Unavailable, match="answered nothing"):
            await collect(stream, outcomes)
    assert outcomes[0] == (0, "result")
    assert {kind for _, kind in outcomes[1:]} == {"error"}
    assert stream.ledger.is_closed


async def test_without_reconnect_a_break_ends_the_stream_after_its_answers() -> None:
    async with serving(cut_after_two) as server, AsyncClient(server.address) as client:
        stream = client.stream(BUNDLES, reconnect=False)
        with pytest.raises(errors.Unavailable, match="gone"):
            await send_frames(stream, 10)
        outcomes: list[tuple[int, str]] = []
        with pytest.raises(errors.Unavailable, match="gone"):
            await collect(stream, outcomes)
    assert outcomes[0] == (0, "result")
    assert (1, "error") in outcomes
    assert len(server.starts) == 1


async def test_a_fatal_error_in_mid_stream_is_not_retried() -> None:
    async def fail(requests: Requests, context: Context) -> Responses:
        yield started()
        async for _ in frames(requests):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "frame 0 is bad")

    async with serving(fail) as server, AsyncClient(server.address) as client:
        stream = client.stream(BUNDLES)
        with pytest.raises(errors.InvalidRequest, match="frame 0 is bad"):
            await send_frames(stream, 10)
    assert len(server.starts) == 1
    assert stream.ledger.is_closed


async def test_sending_waits_while_all_credits_are_in_use() -> None:
    async with serving(stall) as server, AsyncClient(server.address) as client:
        stream = client.stream(BUNDLES)
        await stream.send(IMAGE)
        await stream.send(IMAGE)
        third = asyncio.ensure_future(stream.send(IMAGE))
        await asyncio.sleep(0.05)
        assert not third.done()
        assert (stream.ledger.accepted, stream.ledger.in_flight) == (2, 2)
        third.cancel()
        await stream.aclose()
    assert stream.ledger.lost == 2


async def test_a_cancelled_send_costs_no_frame() -> None:
    release = asyncio.Event()

    async def answer_late(requests: Requests, context: Context) -> Responses:
        yield started(credit_count=1)
        async for frame_index in frames(requests):
            await release.wait()
            yield result(frame_index)
            yield behavior(frame_index)
        yield ended()

    async with (
        serving(answer_late) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES) as stream,
    ):
        await stream.send(IMAGE)
        impatient = asyncio.ensure_future(stream.send(IMAGE))
        await asyncio.sleep(0.02)
        impatient.cancel()
        release.set()
        assert await stream.send(IMAGE) == 1
        counts = await stream.finish()
    assert (counts.accepted, counts.results, counts.unexpected) == (2, 2, 0)


@pytest.mark.parametrize("freshness", ["latest", "deadline"])
async def test_a_fresh_stream_skips_what_finds_no_credit_and_keeps_the_order(
    freshness: Freshness,
) -> None:
    release = asyncio.Event()

    async def answer_late(requests: Requests, context: Context) -> Responses:
        yield started(credit_count=2)
        async for frame_index in frames(requests):
            await release.wait()
            yield result(frame_index)
            yield behavior(frame_index)
        yield ended()

    async with (
        serving(answer_late) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES, freshness=freshness, max_age_ms=50) as stream,
    ):
        for _ in range(50):
            await asyncio.wait_for(stream.send(IMAGE), timeout=60)
        assert len(stream._outbox) <= stream.credits
        release.set()
        counts = await stream.finish()
        outcomes, behaviors = await read(stream)
    assert (counts.accepted, counts.results, counts.skipped) == (50, 2, 48)
    assert [outcome.frame_index for outcome in outcomes] == list(range(50))
    assert [outcome.kind for outcome in outcomes] == ["result"] * 2 + ["skipped"] * 48
    assert {outcome.reason for outcome in outcomes[2:]} == {"no_credit"}
    assert [answer.frame_index for answer in behaviors] == list(range(50))
    assert {answer.status for answer in behaviors[2:]} == {BehaviorStatus.NO_FRAME}


async def test_an_answer_that_fits_no_frame_is_counted_and_not_delivered() -> None:
    async def twice(requests: Requests, context: Context) -> Responses:
        yield started()
        async for frame_index in frames(requests):
            yield result(frame_index)
            yield result(frame_index)
            yield behavior(frame_index + 100)
            yield behavior(frame_index)
        yield ended()

    async with (
        serving(twice) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES) as stream,
    ):
        await stream.send(IMAGE)
        counts = await stream.finish()
        outcomes, behaviors = await read(stream)
    assert (counts.results, counts.unexpected) == (1, 2)
    assert (len(outcomes), len(behaviors)) == (1, 1)


async def test_what_a_server_leaves_unanswered_at_the_end_is_closed_as_lost() -> None:
    async def forget(requests: Requests, context: Context) -> Responses:
        yield started()
        async for _ in frames(requests):
            pass
        yield ended()

    async with (
        serving(forget) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES) as stream,
    ):
        await stream.send(IMAGE)
        counts = await stream.finish()
    assert (counts.accepted, counts.lost) == (1, 1)


async def test_frame_numbers_may_leave_gaps_but_only_grow() -> None:
    async with (
        serving(answer_all) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES) as stream,
    ):
        assert await stream.send(IMAGE, frame_index=5, capture_time_ns=50) == 5
        assert await stream.send(IMAGE) == 6
        with pytest.raises(errors.InvalidFrame, match="frame 6 after frame 6"):
            await stream.send(IMAGE, frame_index=6)
        await stream.finish()
        outcomes, _ = await read(stream)
    assert [outcome.frame_index for outcome in outcomes] == [5, 6]


async def test_a_frame_over_the_message_limit_is_refused_here() -> None:
    async with (
        serving(answer_all) as server,
        AsyncClient(server.address, max_message_bytes=5000) as client,
        client.stream(BUNDLES) as stream,
    ):
        with pytest.raises(errors.InvalidFrame, match="10000 bytes"):
            await stream.send(np.zeros((100, 100), dtype=np.uint8))
        await stream.send(IMAGE)
        assert (await stream.finish()).results == 1


async def test_a_finished_stream_takes_no_frames() -> None:
    async with serving(answer_all) as server, AsyncClient(server.address) as client:
        stream = client.stream(BUNDLES)
        await stream.send(IMAGE)
        await stream.finish()
        with pytest.raises(errors.StreamClosed):
            await stream.send(IMAGE)


async def test_nobody_reading_answers_is_an_error_and_not_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_answers, "_UNREAD_LIMIT", 10)
    monkeypatch.setattr(_answers, "_UNREAD_SECONDS", 0.1)
    async with (
        serving(answer_all) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES) as stream,
    ):
        with pytest.raises(errors.AnswersUnread, match="while sending"):
            await send_frames(stream, 100)
        await stream.finish()
        outcomes, _ = await read(stream)
        assert len(outcomes) == stream.ledger.accepted < 20


async def test_an_error_in_the_callers_block_ends_the_stream_at_once() -> None:
    async with serving(stall) as server, AsyncClient(server.address) as client:
        stream = client.stream(BUNDLES)
        with pytest.raises(ZeroDivisionError):
            await fail_within(stream)
    assert stream.ledger.lost == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bundles": ()}, "no bundle"),
        ({"bundles": "mouse@x"}, "mouse@x"),
        ({"bundles": "mouse", "freshness": "newest"}, "all, latest, deadline"),
        ({"bundles": "mouse", "freshness": "deadline"}, "max_age_ms is 0"),
        ({"bundles": "mouse", "max_frames_in_flight": -1}, "0 or more"),
        ({"bundles": "mouse", "frame_rate_hz": -1.0}, "frame_rate_hz is -1; it is 0 or more"),
        ({"bundles": "mouse", "frame_rate_hz": float("nan")}, "frame_rate_hz is nan"),
        ({"bundles": "mouse", "frame_rate_hz": float("inf")}, "frame_rate_hz is inf"),
        ({"bundles": "mouse", "frame_rate_hz": 1e300}, "at most 1000000"),
    ],
)
async def test_a_wrong_option_is_told_before_connecting(options: dict, text: str) -> None:
    client = AsyncClient("127.0.0.1:1")
    with pytest.raises(errors.InvalidRequest, match=text):
        client.stream(**options)


@pytest.mark.parametrize("rate_hz", [-1.0, float("nan"), float("inf"), 1e300])
async def test_a_frame_rate_that_no_video_has_is_told_before_connecting(rate_hz: float) -> None:
    client = AsyncClient("127.0.0.1:1")
    with pytest.raises(errors.InvalidRequest, match="frame_rate_hz is"):
        client.analyze("a.mp4", bundles="mouse", frame_rate_hz=rate_hz)
