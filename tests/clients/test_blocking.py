"""The blocking client does what the asynchronous one does, from any thread."""

import asyncio
import inspect
import threading

import numpy as np
import pytest
from ethostream import (
    Analysis,
    AsyncAnalysis,
    AsyncClient,
    AsyncFrameSession,
    AsyncLiveStream,
    BehaviorResult,
    Client,
    FrameOutcome,
    FrameSession,
    LiveStream,
    errors,
)

from tests.clients.conftest import answer_all, serving

IMAGE = np.zeros((4, 6), dtype=np.uint8)


def _stream_in_turn(address: str) -> list[int]:
    with Client(address) as client, client.stream(("mouse", "cage")) as stream:
        indexes = []
        answers = iter(stream)
        for _ in range(10):
            stream.send(IMAGE)
            answer = next(answer for answer in answers if isinstance(answer, FrameOutcome))
            indexes.append(answer.frame_index)
        assert stream.finish().results == 10
        assert any(isinstance(answer, BehaviorResult) for answer in answers)
        assert (stream.session_id, stream.credits, stream.reconnects) == ("good", 2, 0)
        return indexes


def _stream_from_two_threads(address: str) -> list[int]:
    with Client(address) as client, client.stream(("mouse", "cage")) as stream:
        indexes: list[int] = []
        reader = threading.Thread(target=lambda: indexes.extend(_outcomes(stream)))
        reader.start()
        for _ in range(100):
            stream.send(IMAGE)
        stream.finish()
        reader.join(timeout=60)
        return indexes


def _outcomes(stream: LiveStream) -> list[int]:
    return [answer.frame_index for answer in stream if isinstance(answer, FrameOutcome)]


async def test_one_thread_sends_and_reads_in_turn() -> None:
    async with serving(answer_all) as server:
        assert await asyncio.to_thread(_stream_in_turn, server.address) == list(range(10))


async def test_two_threads_send_and_read() -> None:
    async with serving(answer_all) as server:
        indexes = await asyncio.to_thread(_stream_from_two_threads, server.address)
    assert indexes == list(range(100))


def test_errors_reach_the_caller_and_a_closed_client_says_so() -> None:
    client = Client("127.0.0.1:1")
    with pytest.raises(errors.Unavailable, match=r"127\.0\.0\.1:1"):
        client.models()
    with pytest.raises(errors.InvalidRequest):
        client.stream(())
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.models()


def test_a_forgotten_client_leaves_no_thread() -> None:
    before = threading.active_count()
    client = Client("127.0.0.1:1")
    assert threading.active_count() == before + 1
    del client
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("asynchronous", "names"),
    [
        (AsyncClient, ["models", "model", "load", "unload", "upload", "analyze_all", "stream"]),
        (AsyncClient, ["analyze", "session"]),
        (AsyncLiveStream, ["open", "send", "send_chunk", "finish"]),
        (AsyncFrameSession, ["analyze", "end"]),
        (AsyncAnalysis, ["open"]),
    ],
)
def test_blocking_methods_take_the_same_arguments(asynchronous: type, names: list[str]) -> None:
    blocking = {
        AsyncClient: Client,
        AsyncLiveStream: LiveStream,
        AsyncFrameSession: FrameSession,
        AsyncAnalysis: Analysis,
    }
    for name in names:
        ours = getattr(blocking[asynchronous], name)
        theirs = getattr(asynchronous, name)
        assert inspect.signature(ours) == inspect.signature(theirs)
        assert ours.__doc__ == theirs.__doc__
