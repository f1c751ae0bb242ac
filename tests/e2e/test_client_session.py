"""Sessions of single calls against the real server: the answers of a stream, call by call."""

import asyncio

import ethostream
import numpy as np
import pytest
from ethostream import (
    AsyncClient,
    BehaviorResult,
    BehaviorStatus,
    Client,
    FrameOutcome,
    FrameSession,
    errors,
)
from ethostream.v1 import inference_service_pb2 as pb2

from clients.testdata.record import BEHAVIOR, MODELS, POSE
from clients.testdata.scenes import picture

PICTURES = [picture(number) for number in range(6)]


@pytest.fixture(scope="module")
def server(start_server):
    return start_server("--engine", "onnxruntime", "--precision", "fp32", models=MODELS)


@pytest.fixture(scope="module")
def client(server):
    with Client(server.address) as one:
        yield one


def test_a_session_gives_the_same_as_a_stream(client):
    with client.stream([POSE, BEHAVIOR], frame_rate_hz=30) as stream:
        for image in PICTURES:
            stream.send(image, capture_time_ns=5)
        stream.finish()
        streamed = list(stream)
    with client.session([POSE, BEHAVIOR], frame_rate_hz=30, camera="top") as session:
        assert (session.session_id, session.bundles) == ("", ())
        answers = [session.analyze(image, capture_time_ns=5) for image in PICTURES]
        assert session.session_id
        assert [one.bundle.name for one in session.bundles] == [POSE, BEHAVIOR]
        assert session.strides == (1, 1)
        behaviors = [result for one in answers for result in one.behaviors]
        behaviors += session.end()
        assert session.end() == ()
    wanted = [one for one in streamed if isinstance(one, FrameOutcome)]
    for one, other in zip(answers, wanted, strict=True):
        assert (one.outcome.frame_index, one.outcome.capture_time_ns) == (other.frame_index, 5)
        np.testing.assert_array_equal(
            one.outcome.poses[0].keypoints_xy, other.poses[0].keypoints_xy
        )
        assert one.outcome.timings is not None
        assert one.outcome.round_trip_ns > one.outcome.timings.total_ns
    wanted_behaviors = [one for one in streamed if isinstance(one, BehaviorResult)]
    assert [one.status for one in behaviors] == [one.status for one in wanted_behaviors]
    assert behaviors[2].behaviors == ("bright", "brightening")
    assert behaviors[2].status is BehaviorStatus.OK
    np.testing.assert_array_equal(behaviors[2].probabilities, wanted_behaviors[2].probabilities)


def test_a_crop_and_bgr_are_taken(client):
    color = np.repeat(PICTURES[0][..., None], 3, axis=2)
    with client.session(POSE, color="bgr", crop=ethostream.Crop(0, 0, 64, 24)) as session:
        whole = session.analyze(color, crop=ethostream.Crop(0, 0, 64, 48)).outcome
        cropped = session.analyze(color).outcome
    assert whole.poses[0].crop == ethostream.Crop(0, 0, 64, 48)
    assert cropped.poses[0].crop == ethostream.Crop(0, 0, 64, 24)


async def test_calls_of_one_session_are_made_one_after_the_other(server):
    async with AsyncClient(server.address) as client, client.session(POSE) as session:
        answers = await asyncio.gather(*(session.analyze(image) for image in PICTURES))
        assert [one.outcome.frame_index for one in answers] == list(range(6))
        assert {one.outcome.kind for one in answers} == {"result"}


def test_a_bad_frame_costs_itself_alone(client):
    with client.session(POSE) as session:
        session.analyze(PICTURES[0])
        bad = session.analyze(b"\x89PNG\r\n\x1a\nno more").outcome
        assert (bad.kind, bad.reason) == ("error", "invalid_frame")
        with pytest.raises(errors.InvalidFrame, match="neither like JPEG nor like PNG"):
            session.analyze(b"GIF89a")
        with pytest.raises(errors.InvalidFrame, match="frame 1 after frame 1"):
            session.analyze(PICTURES[0], frame_index=1)
        assert session.analyze(PICTURES[1], frame_index=7).outcome.kind == "result"


def test_what_the_server_refuses_has_types(client, server):
    with pytest.raises(errors.InvalidRequest, match="no bundle is given"):
        client.session([])
    with pytest.raises(errors.InvalidRequest, match="0 or more"):
        client.session(POSE, frame_rate_hz=-1)
    session = client.session("cat")
    with pytest.raises(errors.NotFound, match="'cat' is not loaded; loaded are"):
        session.analyze(PICTURES[0])
    with pytest.raises(errors.InvalidRequest, match="20"):
        client.session(BEHAVIOR, frame_rate_hz=20).analyze(PICTURES[0])
    session = client.session(POSE)
    session.analyze(PICTURES[0])
    end_from_outside(server, session)
    with pytest.raises(errors.NotFound, match="open a new one"):
        session.analyze(PICTURES[1])
    with pytest.raises(errors.NotFound):
        session.end()


def test_an_error_in_the_callers_block_is_not_hidden(client, server):
    with pytest.raises(ZeroDivisionError):
        fail_within(client, server)
    with Client("127.0.0.1:1") as other, pytest.raises(errors.Unavailable, match=r"127\.0\.0\.1:1"):
        other.session(POSE).analyze(PICTURES[0])


def end_from_outside(server, session: FrameSession) -> None:
    """As the server's time limit does it."""
    request = pb2.AnalyzeFrameRequest(session_id=session.session_id, end_session=True)
    server.inference.AnalyzeFrame(request, timeout=60)


def fail_within(client: Client, server) -> None:
    with client.session(POSE) as session:
        session.analyze(PICTURES[0])
        end_from_outside(server, session)
        raise ZeroDivisionError
