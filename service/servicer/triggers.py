"""Between the protocol's triggers and the service's."""

from collections.abc import Sequence

from ethostream.v1 import trigger_pb2 as pb2

from service import triggers
from service.errors import InvalidRequest
from service.outcomes import LiveTrigger

_KINDS = {"on": pb2.TRIGGER_EVENT_KIND_ON, "off": pb2.TRIGGER_EVENT_KIND_OFF}


def to_triggers(messages: Sequence[pb2.Trigger]) -> tuple[triggers.Trigger, ...]:
    """Read the triggers of a StreamStart.

    Raises:
        InvalidRequest: a trigger, or a part of one, says nothing.
    """
    return tuple(
        triggers.Trigger(
            name=one.name,
            condition=_to_condition(one.condition, one.name),
            frames_on=one.frames_on or 1,
            frames_off=one.frames_off or 1,
        )
        for one in messages
    )


def from_trigger(told: LiveTrigger) -> pb2.TriggerEvent:
    """Write a TriggerEvent."""
    return pb2.TriggerEvent(
        trigger=told.event.trigger,
        kind=_KINDS[told.event.kind],
        frame_index=told.event.frame_index,
        capture_time_ns=told.capture_time_ns,
        latency_ns=round(told.latency_seconds * 1e9),
    )


def _to_condition(message: pb2.Condition, name: str) -> triggers.Condition:
    match message.WhichOneof("condition"):
        case "in_region":
            asked = message.in_region
            return triggers.InRegion(_to_keypoint(asked.keypoint), _to_region(asked, name))
        case "distance":
            ends = _to_keypoint(message.distance.first), _to_keypoint(message.distance.second)
            return triggers.Distance(*ends, _to_range(message.distance.px))
        case "angle":
            angle = message.angle
            return triggers.Angle(
                _to_keypoint(angle.first),
                _to_keypoint(angle.vertex),
                _to_keypoint(angle.second),
                _to_range(angle.deg),
            )
        case "speed":
            speed = message.speed
            return triggers.Speed(_to_keypoint(speed.keypoint), _to_range(speed.px_per_s))
        case "behavior":
            return triggers.Probability(
                behavior=message.behavior.behavior,
                probability=_to_range(message.behavior.probability),
                bundle=message.behavior.bundle,
            )
        case "all_of":
            return triggers.AllOf(_to_conditions(message.all_of, name))
        case "any_of":
            return triggers.AnyOf(_to_conditions(message.any_of, name))
        case "negation":
            return triggers.Not(_to_condition(message.negation, name))
        case _:
            raise InvalidRequest(
                f"trigger {name} has an empty condition; set one, such as in_region or all_of"
            )


def _to_conditions(message: pb2.Conditions, name: str) -> tuple[triggers.Condition, ...]:
    return tuple(_to_condition(one, name) for one in message.conditions)


def _to_region(message: pb2.InRegion, name: str) -> triggers.Polygon | triggers.Circle:
    if message.HasField("polygon"):
        # One more than are taken is read, and refused with what else is wrong of a trigger.
        corners = message.polygon.corners[: triggers.MAX_CORNERS + 1]
        return triggers.Polygon(tuple((one.x_px, one.y_px) for one in corners))
    if message.HasField("circle"):
        center, radius_px = message.circle.center, message.circle.radius_px
        return triggers.Circle(x_px=center.x_px, y_px=center.y_px, radius_px=radius_px)
    raise InvalidRequest(f"trigger {name} has an empty region; set polygon or circle")


def _to_keypoint(message: pb2.KeypointReference) -> triggers.Keypoint:
    return triggers.Keypoint(
        name=message.keypoint,
        bundle=message.bundle,
        animal=message.animal,
        min_confidence=message.min_confidence if message.HasField("min_confidence") else None,
        predicted=message.predicted,
    )


def _to_range(message: pb2.ValueRange) -> triggers.ValueRange:
    return triggers.ValueRange(
        at_least=message.at_least if message.HasField("at_least") else None,
        at_most=message.at_most if message.HasField("at_most") else None,
    )
