"""What a rig waits for: conditions that the server decides frame by frame, told as events.

    nose = Keypoint("snout")
    Trigger("reward", InRegion(nose, Circle(320, 240, 40)), frames_on=3)

A condition is true, false, or unknown where a keypoint is not found or a frame has no answer; an
unknown one counts as one that does not hold. Positions are px of the frame as sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ethostream.errors import InvalidRequest
from ethostream.v1 import trigger_pb2 as pb


@dataclass(frozen=True, slots=True)
class Keypoint:
    """One keypoint of one animal."""

    name: str
    bundle: str = ""
    """Name of a pose bundle of the stream; may be left out where it has only one."""
    animal: int = 0
    min_confidence: float | None = None
    """Confidence in [0, 1] from which it counts as found; None = the bundle's own."""
    predicted: bool = False
    """Look at where it is expected, whether it was found or not; needs the stream's
    `prediction`."""


@dataclass(frozen=True, slots=True)
class ValueRange:
    """Values from `at_least` to `at_most`, both included; None leaves a side open."""

    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True)
class Polygon:
    """The inside and the edge of a closed line."""

    corners_xy: Sequence[tuple[float, float]]
    """Three to 1000."""


@dataclass(frozen=True, slots=True)
class Circle:
    """The inside and the edge of a circle."""

    x_px: float
    y_px: float
    radius_px: float


@dataclass(frozen=True, slots=True)
class InRegion:
    """A keypoint is in a region."""

    keypoint: Keypoint
    region: Polygon | Circle


@dataclass(frozen=True, slots=True)
class Distance:
    """The distance of two keypoints, px, is in a range."""

    first: Keypoint
    second: Keypoint
    px: ValueRange


@dataclass(frozen=True, slots=True)
class Angle:
    """The angle at `vertex` between the lines to two others, degrees in [0, 180], is in a range."""

    first: Keypoint
    vertex: Keypoint
    second: Keypoint
    deg: ValueRange


@dataclass(frozen=True, slots=True)
class Speed:
    """The speed of a keypoint since it was last found, px a second, is in a range."""

    keypoint: Keypoint
    px_per_s: ValueRange


@dataclass(frozen=True, slots=True)
class Probability:
    """The probability of a behavior, in [0, 1], is in a range."""

    behavior: str
    probability: ValueRange
    bundle: str = ""
    """Name of a behavior bundle of the stream; may be left out where it has only one."""


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of them hold."""

    conditions: "Sequence[Condition]"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of them holds."""

    conditions: "Sequence[Condition]"


@dataclass(frozen=True, slots=True)
class Not:
    """It is false; what is unknown stays unknown."""

    condition: "Condition"


Condition: TypeAlias = InRegion | Distance | Angle | Speed | Probability | AllOf | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Trigger:
    """Switches on and off with a condition; it is off when a connection begins."""

    name: str
    """Told in its events."""
    condition: Condition
    frames_on: int = 1
    """It switches on with the last of so many frames in a row in which the condition holds."""
    frames_off: int = 1
    """It switches off with the last of so many in a row in which it does not."""


def trigger_message(trigger: Trigger) -> pb.Trigger:
    """The protocol's form of a trigger.

    Raises:
        InvalidRequest: It waits for less than one frame.
    """
    if min(trigger.frames_on, trigger.frames_off) < 1:
        raise InvalidRequest(
            f"trigger {trigger.name} has frames_on {trigger.frames_on} and frames_off "
            f"{trigger.frames_off}; give 1 or more"
        )
    return pb.Trigger(
        name=trigger.name,
        condition=_condition(trigger.condition),
        frames_on=trigger.frames_on,
        frames_off=trigger.frames_off,
    )


def _condition(condition: Condition) -> pb.Condition:
    match condition:
        case InRegion(keypoint, Polygon(corners)):
            polygon = pb.Polygon(corners=[pb.Point(x_px=x, y_px=y) for x, y in corners])
            asked = pb.InRegion(keypoint=_keypoint(keypoint), polygon=polygon)
            return pb.Condition(in_region=asked)
        case InRegion(keypoint, Circle(x_px, y_px, radius_px)):
            circle = pb.Circle(center=pb.Point(x_px=x_px, y_px=y_px), radius_px=radius_px)
            asked = pb.InRegion(keypoint=_keypoint(keypoint), circle=circle)
            return pb.Condition(in_region=asked)
        case Distance(first, second, px):
            distance = pb.KeypointDistance(
                first=_keypoint(first), second=_keypoint(second), px=_range(px)
            )
            return pb.Condition(distance=distance)
        case Angle(first, vertex, second, deg):
            angle = pb.KeypointAngle(
                first=_keypoint(first),
                vertex=_keypoint(vertex),
                second=_keypoint(second),
                deg=_range(deg),
            )
            return pb.Condition(angle=angle)
        case Speed(keypoint, px_per_s):
            speed = pb.KeypointSpeed(keypoint=_keypoint(keypoint), px_per_s=_range(px_per_s))
            return pb.Condition(speed=speed)
        case Probability(behavior, probability, bundle):
            likely = pb.BehaviorProbability(
                bundle=bundle, behavior=behavior, probability=_range(probability)
            )
            return pb.Condition(behavior=likely)
        case AllOf(conditions):
            return pb.Condition(all_of=_conditions(conditions))
        case AnyOf(conditions):
            return pb.Condition(any_of=_conditions(conditions))
        case Not(inner):
            return pb.Condition(negation=_condition(inner))
        case _:
            raise InvalidRequest(f"{condition!r} is no condition; see ethostream.triggers")


def _conditions(conditions: Sequence[Condition]) -> pb.Conditions:
    return pb.Conditions(conditions=[_condition(one) for one in conditions])


def _keypoint(keypoint: Keypoint) -> pb.KeypointReference:
    return pb.KeypointReference(
        bundle=keypoint.bundle,
        keypoint=keypoint.name,
        animal=keypoint.animal,
        min_confidence=keypoint.min_confidence,
        predicted=keypoint.predicted,
    )


def _range(asked: ValueRange) -> pb.ValueRange:
    return pb.ValueRange(at_least=asked.at_least, at_most=asked.at_most)
