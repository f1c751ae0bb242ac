"""Triggers and predictions of a live stream, from the client's classes to the server and back."""

from itertools import pairwise

import cv2
import ethostream
import numpy as np
import pytest
from ethostream.errors import InvalidRequest
from ethostream.triggers import (
    AllOf,
    Angle,
    AnyOf,
    Circle,
    Distance,
    InRegion,
    Keypoint,
    Not,
    Polygon,
    Probability,
    Speed,
    Trigger,
    ValueRange,
)

from service.video.pyav import VideoFile

POSE, BEHAVIOR = "openfield-mouse", "openfield-activity"
SNOUT, TAIL = Keypoint("snout", min_confidence=0.0), Keypoint("tailbase", min_confidence=0.0)
ANYWHERE = Polygon([(-1e4, -1e4), (1e4, -1e4), (1e4, 1e4), (-1e4, 1e4)])


@pytest.fixture(scope="module")
def frames(recordings) -> list[np.ndarray]:
    """A second of a mouse, RGB."""
    video = VideoFile(recordings / "short.mp4")
    return [video.view(row.picture).copy() for row in video.rows(0, 30)]


def stream(server, frames, bundles, **options):
    """All answers, in the order in which they came."""
    with (
        ethostream.Client(server.address) as client,
        client.stream(bundles, frame_rate_hz=30, **options) as live,
    ):
        for index, pixels in enumerate(frames):
            live.send(pixels, capture_time_ns=(index + 1) * 33_333_333)
        live.finish()
        return list(live)


def events(answers, name: str) -> list[tuple[str, int]]:
    return [
        (one.kind, one.frame_index)
        for one in answers
        if isinstance(one, ethostream.TriggerEvent) and one.trigger == name
    ]


def switched(holds) -> list[tuple[str, int]]:
    """What a trigger of one frame should tell of a condition that holds in these frames."""
    padded = [False, *map(bool, holds)]
    return [
        ("on" if now else "off", index)
        for index, (before, now) in enumerate(pairwise(padded))
        if before != now
    ]


def between(values: np.ndarray) -> float:
    """A number that about half of the values are over, and that none is equal to."""
    middle = np.sort(values)[len(values) // 2 :][:2]
    return float(middle.mean())


def test_events_are_what_the_poses_say(server, frames):
    plain = stream(server, frames, POSE)
    outcomes = [one for one in plain if isinstance(one, ethostream.FrameOutcome)]
    found = np.stack([one.poses[0].keypoints_xy[0] for one in outcomes])
    with ethostream.Client(server.address) as client:
        (info,) = [one for one in client.models() if one.bundle.name == POSE]
    names = info.pose.keypoints
    snout, tail = (found[:, names.index(one.name)] for one in (SNOUT, TAIL))
    middle = np.median(snout, axis=0)
    radius = between(np.linalg.norm(snout - middle, axis=1))
    lengths = np.linalg.norm(snout - tail, axis=1)
    limit = between(lengths)
    steps = np.linalg.norm(np.diff(snout, axis=0), axis=1) / 0.033333333
    fast = between(steps)
    near = InRegion(SNOUT, Circle(float(middle[0]), float(middle[1]), radius))
    answers = stream(
        server,
        frames,
        POSE,
        triggers=[
            Trigger("near", near),
            Trigger("far", Not(near)),
            Trigger("long", Distance(SNOUT, TAIL, ValueRange(at_least=limit))),
            Trigger("fast", Speed(SNOUT, ValueRange(at_least=fast))),
            Trigger("straight", Angle(SNOUT, TAIL, SNOUT, ValueRange(at_most=180))),
            Trigger("seen", AnyOf([InRegion(SNOUT, ANYWHERE), near]), frames_on=5),
        ],
    )
    is_near = np.linalg.norm(snout - middle, axis=1) <= radius
    assert events(answers, "near") == switched(is_near)
    assert events(answers, "far") == switched(~is_near)
    assert events(answers, "long") == switched(lengths >= limit)
    assert events(answers, "fast") == switched([False, *(steps >= fast)])
    assert events(answers, "straight") == [("on", 0)]
    assert events(answers, "seen") == [("on", 4)]
    told = [one for one in answers if isinstance(one, ethostream.TriggerEvent)]
    assert all(one.latency_ns > 0 for one in told)
    assert all(one.capture_time_ns == (one.frame_index + 1) * 33_333_333 for one in told)


def test_poses_are_told_where_they_will_be(server, frames):
    ahead = ethostream.ForwardPrediction(ahead_ms=100 / 3)
    expected = Keypoint("snout", predicted=True)
    answers = stream(
        server,
        frames,
        POSE,
        prediction=ahead,
        triggers=[Trigger("expected", InRegion(expected, ANYWHERE))],
    )
    outcomes = [one for one in answers if isinstance(one, ethostream.FrameOutcome)]
    poses = [one.poses[0] for one in outcomes]
    assert all(one.predicted_xy.shape == one.keypoints_xy.shape for one in poses)
    later = np.stack([one.keypoints_xy for one in poses[11:]])
    predicted = np.stack([one.predicted_xy for one in poses[10:-1]])
    assert np.median(np.linalg.norm(predicted - later, axis=-1)) < 5  # px, a frame ahead
    assert events(answers, "expected") == [("on", 0)]
    assert stream(server, frames[:1], POSE)[0].poses[0].predicted_xy is None


def test_a_keypoint_that_was_never_found_is_expected_nowhere(server):
    stone = cv2.ellipse(
        np.full((240, 320, 3), 200, np.uint8), (160, 120), (30, 15), 0, 0, 360, (60,) * 3, -1
    )
    expected = Keypoint("tailbase", predicted=True)
    answers = stream(
        server,
        [cv2.GaussianBlur(stone, (0, 0), 2)] * 5,
        POSE,
        prediction=ethostream.ForwardPrediction(ahead_ms=30),
        triggers=[Trigger("expected", InRegion(expected, ANYWHERE))],
    )
    poses = [one.poses[0] for one in answers if isinstance(one, ethostream.FrameOutcome)]
    assert all(0.2 < one.confidence.max() < 0.6 for one in poses)  # below the bundle's cutoff
    assert all(np.isnan(one.predicted_xy).all() for one in poses)
    assert events(answers, "expected") == []


def test_behavior_and_pose_decide_together(server, frames):
    likely = Probability("locomotion", ValueRange(at_least=0.0))
    answers = stream(
        server,
        frames,
        [POSE, BEHAVIOR],
        triggers=[Trigger("both", AllOf([InRegion(SNOUT, ANYWHERE), likely]))],
    )
    known = [
        one.probabilities is not None
        for one in answers
        if isinstance(one, ethostream.BehaviorResult)
    ]
    assert events(answers, "both") == switched(known)
    assert any(known)


def test_a_session_of_single_calls_tells_triggers_too(server, frames):
    triggers = [Trigger("seen", InRegion(SNOUT, ANYWHERE), frames_on=2)]
    with (
        ethostream.Client(server.address) as client,
        client.session(POSE, triggers=triggers) as session,
    ):
        told = [session.analyze(pixels).triggers for pixels in frames[:3]]
    assert [[(one.kind, one.frame_index) for one in each] for each in told] == [
        [],
        [("on", 1)],
        [],
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"triggers": [Trigger("t", InRegion(Keypoint("paw"), ANYWHERE))]}, "no keypoint 'paw'"),
        ({"triggers": [Trigger("t", InRegion(SNOUT, ANYWHERE), frames_on=0)]}, "give 1 or more"),
        ({"triggers": [Trigger("t", AllOf([]))]}, "trigger t.*empty"),
        (
            {"triggers": [Trigger("t", InRegion(Keypoint("snout", predicted=True), ANYWHERE))]},
            "trigger t looks at a predicted keypoint.*set prediction",
        ),
        ({"prediction": ethostream.ForwardPrediction(ahead_ms=0)}, "0 ms ahead"),
    ],
)
def test_what_cannot_be_followed_is_refused(server, frames, options, message):
    with pytest.raises(InvalidRequest, match=message):
        stream(server, frames[:1], POSE, **options)
