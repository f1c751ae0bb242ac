"""Encoded video from the Python client against the real server: the answers of its pictures."""

import signal

import numpy as np
import pytest
from ethostream import BehaviorResult, ChunkAcknowledgement, Client, FrameOutcome, LiveStream

from clients.testdata.encode_chunks import CODECS, encode_chunks
from clients.testdata.record import BEHAVIOR, MODELS, POSE
from clients.testdata.scenes import picture
from tests.e2e.archives import wait_until

PICTURES = 12
EXACT = ("--engine", "onnxruntime", "--precision", "fp32")


def read(stream: LiveStream) -> tuple[list, list, list]:
    answers = list(stream)
    kinds = (FrameOutcome, BehaviorResult, ChunkAcknowledgement)
    return tuple([one for one in answers if isinstance(one, kind)] for kind in kinds)


@pytest.fixture(scope="module")
def client(start_server):
    with Client(start_server(*EXACT, models=MODELS).address) as one:
        yield one


@pytest.mark.parametrize("codec", CODECS)
def test_chunks_give_the_answers_of_their_pictures(client, codec):
    with client.stream([POSE, BEHAVIOR], frame_rate_hz=30) as stream:
        for number in range(PICTURES):
            stream.send(picture(number))
        stream.finish()
        wanted, wanted_behaviors, _ = read(stream)
    chunks = encode_chunks(codec, PICTURES)
    assert len(chunks) == PICTURES
    with client.stream([POSE, BEHAVIOR], frame_rate_hz=30) as stream:
        for number, data in enumerate(chunks):
            stream.send_chunk(data, codec=codec, capture_time_ns=1000 + number)
        counts = stream.finish()
        outcomes, behaviors, taken = read(stream)
    assert (counts.accepted, counts.results, counts.unexpected) == (PICTURES, PICTURES, 0)
    assert (counts.chunks_acknowledged, counts.is_closed) == (PICTURES, True)
    assert [one.frame_index for one in outcomes] == list(range(PICTURES))
    assert [one.capture_time_ns - 1000 for one in outcomes] == list(range(PICTURES))
    assert [(one.chunk_index, one.packets_corrupt) for one in taken] == [
        (number, 0) for number in range(PICTURES)
    ]
    # the last picture is complete when the stream ends
    assert PICTURES - 1 <= sum(one.frames_decoded for one in taken) <= PICTURES
    for found, other in zip(outcomes, wanted, strict=True):
        np.testing.assert_array_equal(found.poses[0].keypoints_xy, other.poses[0].keypoints_xy)
        np.testing.assert_allclose(
            found.poses[0].confidence, other.poses[0].confidence, atol=4 / 256
        )
    assert [one.frame_index for one in behaviors] == list(range(PICTURES))
    assert [one.status for one in behaviors] == [one.status for one in wanted_behaviors]


def test_a_damaged_chunk_is_told_and_the_next_key_frame_goes_on(client):
    chunks = encode_chunks("h264", PICTURES)
    # the slice of picture 5 begins, and its data is zero
    chunks[5] = chunks[5][:6] + bytes(len(chunks[5]) - 6)
    with client.stream([POSE, BEHAVIOR], frame_rate_hz=30) as stream:
        for data in chunks:
            stream.send_chunk(data, codec="h264")
        counts = stream.finish()
        outcomes, behaviors, taken = read(stream)
    damage = [one for one in taken if one.packets_corrupt]
    assert damage
    assert all(one.message for one in damage)
    assert counts.is_closed
    assert len(behaviors) == len(outcomes) == counts.accepted
    assert [one.kind for one in outcomes[:5]] == ["result"] * 5
    assert [one.kind for one in outcomes[-4:]] == ["result"] * 4
    assert all(one.reason == "decode_failed" for one in outcomes if one.kind == "error")


def test_a_stream_of_chunks_goes_on_after_its_server_was_killed(start_server):
    first = start_server(*EXACT, models=MODELS)
    chunks = encode_chunks("h264", 40)
    with (
        Client(first.address) as client,
        client.stream([POSE, BEHAVIOR], frame_rate_hz=30) as stream,
    ):
        for number, data in enumerate(chunks):
            if number == 15:  # the server takes no more, so that the next three are lost
                wait_until(lambda: stream.ledger.chunks_acknowledged == 15)
                first.process.send_signal(signal.SIGSTOP)
            stream.send_chunk(data, codec="h264")
            if number == 17:
                first.process.kill()
                first.process.wait(10)
                start_server(*EXACT, "--listen", first.address, models=MODELS)
        counts = stream.finish()
        outcomes, behaviors, taken = read(stream)
        assert stream.reconnects == 1
    assert [one.chunk_index for one in taken] == list(range(40))
    assert counts.chunks_lost == sum(one.is_lost for one in taken) == 3
    assert [one.frame_index for one in outcomes] == list(range(counts.accepted))
    assert [one.frame_index for one in behaviors] == list(range(counts.accepted))
    # what was lost, and pictures up to the next key frame, cannot be decoded
    assert counts.results >= 40 - 3 - 4
    assert (counts.is_closed, counts.unexpected) == (True, 0)
