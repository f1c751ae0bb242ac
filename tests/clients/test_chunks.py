"""Encoded chunks are acknowledged once each, and their frames answered, also when servers break."""

from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from ethostream import (
    AsyncClient,
    BehaviorResult,
    BehaviorStatus,
    ChunkAcknowledgement,
    FrameOutcome,
    errors,
)
from ethostream.ledger import Answer
from ethostream.v1 import inference_service_pb2 as pb

from tests.clients.conftest import Context, Requests, behavior, ended, result, serving, started

BUNDLES = ("mouse", "cage")

Responses = AsyncIterator[pb.StreamFramesResponse]


def acknowledgement(chunk: int, frames: int, corrupt: int = 0) -> pb.StreamFramesResponse:
    return pb.StreamFramesResponse(
        chunk=pb.ChunkAcknowledgement(
            chunk_index=chunk,
            frames_decoded=frames,
            packets_corrupt=corrupt,
            message="no picture came from a packet" if corrupt else "",
        )
    )


async def chunks(requests: Requests) -> AsyncIterator[int]:
    async for request in requests:
        if request.WhichOneof("request") == "chunk":
            yield request.chunk.chunk_index


async def one_behind(requests: Requests, context: Context) -> Responses:
    """Each chunk completes the picture of the one before, as a decoder does; the end the last."""
    yield started(session="good")
    frames = -1
    async for chunk in chunks(requests):
        if frames >= 0:
            yield behavior(frames)  # before its outcome: kinds have no order between them
            yield result(frames)
        yield acknowledgement(chunk, frames=int(frames >= 0))
        frames += 1
    yield result(frames)
    yield behavior(frames)
    yield ended()


async def read(stream: AsyncIterator[Answer]) -> tuple[list, list, list]:
    """Outcomes, behavior results and acknowledgements."""
    answers = [answer async for answer in stream]
    kinds = (FrameOutcome, BehaviorResult, ChunkAcknowledgement)
    outcomes, behaviors, taken = ([one for one in answers if isinstance(one, k)] for k in kinds)
    assert len(outcomes) + len(behaviors) + len(taken) == len(answers)
    return outcomes, behaviors, taken


async def send_chunks(stream, count: int) -> None:
    for index in range(count):
        await stream.send_chunk(b"x" * 10, codec="h264", capture_time_ns=100 * index)


async def test_chunks_are_acknowledged_and_their_frames_answered() -> None:
    async with (
        serving(one_behind) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES) as stream,
    ):
        await send_chunks(stream, 8)
        counts = await stream.finish()
        outcomes, behaviors, taken = await read(stream)
    assert [one.frame_index for one in outcomes] == list(range(8))
    assert [one.frame_index for one in behaviors] == list(range(8))
    assert {one.kind for one in outcomes} == {"result"}
    assert all(one.round_trip_ns > 0 for one in outcomes)
    assert [(one.chunk_index, one.capture_time_ns) for one in taken] == [
        (index, 100 * index) for index in range(8)
    ]
    assert [one.frames_decoded for one in taken] == [0, *[1] * 7]
    assert not any(one.is_lost for one in taken)
    assert (counts.accepted, counts.results, counts.unexpected) == (8, 8, 0)
    assert (counts.chunks, counts.chunks_acknowledged, counts.is_closed) == (8, 8, True)


async def test_no_more_chunks_are_in_flight_than_the_server_gave_credits() -> None:
    most = 0

    async def hold(requests: Requests, context: Context) -> Responses:
        nonlocal most
        yield started(credit_count=3)
        waiting: list[int] = []
        async for chunk in chunks(requests):
            waiting.append(chunk)
            most = max(most, len(waiting))
            if len(waiting) == 3:
                for one in waiting:
                    yield acknowledgement(one, 0)
                waiting.clear()
        for one in waiting:
            yield acknowledgement(one, 0)
        yield ended()

    async with (
        serving(hold) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES, freshness="latest") as stream,
    ):
        await send_chunks(stream, 20)
        counts = await stream.finish()
    assert most == 3
    assert (counts.chunks_acknowledged, counts.accepted) == (20, 0)


@pytest.mark.usefixtures("quick_backoff")
async def test_a_break_loses_what_was_in_flight_and_frame_numbers_go_on() -> None:
    async def cut(requests: Requests, context: Context) -> Responses:
        """Decode 3 frames of chunk 0, answer one of them, take chunk 1, and go away."""
        yield started(session="first")
        async for chunk in chunks(requests):
            if chunk == 1:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            yield acknowledgement(0, frames=3)
            yield result(0)

    async with (
        serving(cut, one_behind) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES) as stream,
    ):
        await send_chunks(stream, 8)
        counts = await stream.finish()
        outcomes, behaviors, taken = await read(stream)
        assert stream.reconnects == 1
    assert [one.chunk_index for one in taken] == list(range(8))
    lost = [one for one in taken if one.is_lost]
    assert 1 in [one.chunk_index for one in lost]
    assert all("connection broke" in one.message for one in lost)
    rest = 8 - 1 - len(lost)  # chunks that the second server saw
    assert [one.frame_index for one in outcomes] == list(range(3 + rest))
    assert [one.kind for one in outcomes] == ["result", "error", "error", *["result"] * rest]
    assert outcomes[1].reason == "lost"
    assert [one.frame_index for one in behaviors] == list(range(3 + rest))
    assert [one.status for one in behaviors[:3]] == [BehaviorStatus.ERROR] * 3
    assert behaviors[-1].status is BehaviorStatus.OK
    assert (counts.chunks_lost, counts.lost, counts.unexpected) == (len(lost), 2, 0)
    assert counts.is_closed


async def test_damage_is_told_with_the_chunk() -> None:
    async def corrupt(requests: Requests, context: Context) -> Responses:
        yield started()
        async for chunk in chunks(requests):
            yield acknowledgement(chunk, frames=0, corrupt=2)
        yield ended()

    async with (
        serving(corrupt) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES) as stream,
    ):
        await stream.send_chunk(b"x", codec="hevc")
        await stream.finish()
        _, _, (taken,) = await read(stream)
    assert (taken.packets_corrupt, taken.message) == (2, "no picture came from a packet")
    assert not taken.is_lost


async def test_an_acknowledgement_of_no_open_chunk_is_counted_and_not_delivered() -> None:
    async def odd(requests: Requests, context: Context) -> Responses:
        yield started()
        async for chunk in chunks(requests):
            yield acknowledgement(chunk, 0)
            yield acknowledgement(chunk, 0)
        yield ended()

    async with (
        serving(odd) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES) as stream,
    ):
        await stream.send_chunk(b"x", codec="h264")
        counts = await stream.finish()
        assert len((await read(stream))[2]) == 1
    assert (counts.unexpected, counts.is_closed) == (1, True)


async def test_what_cannot_be_sent_is_told_at_once_and_the_stream_goes_on() -> None:
    async with (
        serving(one_behind) as server,
        AsyncClient(server.address, max_message_bytes=5000) as client,
        client.stream(BUNDLES) as stream,
    ):
        with pytest.raises(errors.InvalidRequest, match="'av1'; choose one of h264, hevc, mjpeg"):
            await stream.send_chunk(b"x", codec="av1")  # type: ignore[arg-type]
        assert await stream.send_chunk(memoryview(b"x"), codec="h264", chunk_index=4) == 4
        with pytest.raises(errors.InvalidFrame, match="chunk 4 after chunk 4"):
            await stream.send_chunk(b"x", codec="h264", chunk_index=4)
        with pytest.raises(errors.InvalidFrame, match="5000 bytes, over the client's limit"):
            await stream.send_chunk(bytes(5000), codec="h264")
        with pytest.raises(errors.InvalidFrame, match="not ndarray"):
            await stream.send_chunk(np.zeros(4, np.uint8), codec="h264")  # type: ignore[arg-type]
        with pytest.raises(errors.InvalidRequest, match="sends h264 chunks; open another one"):
            await stream.send_chunk(b"x", codec="hevc")
        with pytest.raises(errors.InvalidRequest, match="sends chunks; open another one"):
            await stream.send(np.zeros((4, 6), np.uint8))
        assert await stream.send_chunk(b"x", codec="h264") == 5
        assert (await stream.finish()).chunks_acknowledged == 2


async def test_a_stream_of_frames_takes_no_chunks() -> None:
    async def take(requests: Requests, context: Context) -> Responses:
        yield started()
        async for request in requests:
            yield result(request.frame.frame_index)
        yield ended()

    async with (
        serving(take) as server,
        AsyncClient(server.address) as client,
        client.stream(BUNDLES) as stream,
    ):
        await stream.send(np.zeros((4, 6), np.uint8))
        with pytest.raises(errors.InvalidRequest, match="sends frames; open another one"):
            await stream.send_chunk(b"x", codec="h264")
        assert (await stream.finish()).results == 1
