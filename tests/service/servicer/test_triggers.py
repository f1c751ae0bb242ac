"""The protocol's triggers are the service's, part by part."""

import pytest
from ethostream.v1 import trigger_pb2 as pb2
from google.protobuf.json_format import ParseDict

from service.errors import InvalidRequest
from service.outcomes import LiveTrigger
from service.servicer.triggers import from_trigger, to_triggers
from service.triggers import (
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
    TriggerEvent,
    ValueRange,
)

NOSE, TAIL = Keypoint(name="nose"), Keypoint(name="tail", bundle="mouse", animal=1)
NOSE_JSON, TAIL_JSON = {"keypoint": "nose"}, {"keypoint": "tail", "bundle": "mouse", "animal": 1}
CORNERS = ((0.0, 0.0), (8.0, 0.0), (8.0, 4.5))

CASES = [
    (
        {
            "inRegion": {
                "keypoint": NOSE_JSON,
                "polygon": {"corners": [{"xPx": x, "yPx": y} for x, y in CORNERS]},
            }
        },
        InRegion(NOSE, Polygon(CORNERS)),
    ),
    (
        {
            "inRegion": {
                "keypoint": {**NOSE_JSON, "minConfidence": 0.0, "predicted": True},
                "circle": {"center": {"xPx": 3, "yPx": 4}, "radiusPx": 5},
            }
        },
        InRegion(
            Keypoint(name="nose", min_confidence=0.0, predicted=True),
            Circle(x_px=3.0, y_px=4.0, radius_px=5.0),
        ),
    ),
    (
        {"distance": {"first": NOSE_JSON, "second": TAIL_JSON, "px": {"atMost": 20}}},
        Distance(NOSE, TAIL, ValueRange(at_most=20.0)),
    ),
    (
        {
            "angle": {
                "first": NOSE_JSON,
                "vertex": TAIL_JSON,
                "second": NOSE_JSON,
                "deg": {"atLeast": 90},
            }
        },
        Angle(NOSE, TAIL, NOSE, ValueRange(at_least=90.0)),
    ),
    (
        {"speed": {"keypoint": TAIL_JSON, "pxPerS": {"atLeast": 0, "atMost": 5}}},
        Speed(TAIL, ValueRange(at_least=0.0, at_most=5.0)),
    ),
    (
        {"behavior": {"bundle": "rat", "behavior": "rear", "probability": {"atLeast": 0.5}}},
        Probability(bundle="rat", behavior="rear", probability=ValueRange(at_least=0.5)),
    ),
]


@pytest.mark.parametrize(("message", "condition"), CASES)
def test_each_condition_is_read(message, condition):
    joined = {"allOf": {"conditions": [message, {"negation": message}]}}
    either = {"anyOf": {"conditions": [joined]}}
    first, second = to_triggers(
        [
            ParseDict({"name": "a", "condition": message, "framesOn": 3}, pb2.Trigger()),
            ParseDict({"name": "b", "condition": either, "framesOff": 2}, pb2.Trigger()),
        ]
    )
    assert (first.name, first.condition) == ("a", condition)
    assert (first.frames_on, first.frames_off) == (3, 1)
    assert second.condition == AnyOf((AllOf((condition, Not(condition))),))
    assert (second.frames_on, second.frames_off) == (1, 2)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({}, "trigger t has an empty condition"),
        ({"allOf": {"conditions": [{}]}}, "trigger t has an empty condition"),
        ({"inRegion": {"keypoint": NOSE_JSON}}, "trigger t has an empty region"),
    ],
)
def test_what_says_nothing_is_refused(condition, message):
    with pytest.raises(InvalidRequest, match=message):
        to_triggers([ParseDict({"name": "t", "condition": condition}, pb2.Trigger())])


def test_of_a_polygon_with_too_many_corners_no_more_are_read_than_tell_so():
    message = pb2.Trigger(name="t")
    region = message.condition.in_region
    region.keypoint.keypoint = "nose"
    region.polygon.corners.extend([pb2.Point(x_px=1)] * 5000)
    (trigger,) = to_triggers([message])
    assert trigger.condition == InRegion(NOSE, Polygon(((1.0, 0.0),) * 1001))


def test_an_event_is_written():
    told = LiveTrigger(TriggerEvent("t", "off", 7), 123, 0.0015)
    assert from_trigger(told) == pb2.TriggerEvent(
        trigger="t",
        kind=pb2.TRIGGER_EVENT_KIND_OFF,
        frame_index=7,
        capture_time_ns=123,
        latency_ns=1_500_000,
    )
