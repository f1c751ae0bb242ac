"""What a trigger asks of a frame: where keypoints are, how they move, what the animal does.

Each condition is true, false, or unknown where a keypoint is not found or a frame has no answer.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from service.errors import InvalidRequest
from service.repository import Selection

_MAX_TRIGGERS = 32
_MAX_CONDITIONS = 64
_MAX_FRAMES = 100_000
MAX_CORNERS = 1000
"""Of one polygon: each frame is compared with all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keypoint:
    """One keypoint of one animal."""

    name: str
    bundle: str = ""
    """Name of a pose bundle of the stream; empty where it has only one."""
    animal: int = 0
    min_confidence: float | None = None
    """Confidence in [0, 1] from which it counts as found; None takes the bundle's own."""
    predicted: bool = False
    """Look at where it is expected, whether it was found or not; needs the stream's
    `prediction`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRange:
    """Values from `at_least` to `at_most`, both included; None leaves a side open."""

    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range."""
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )


@dataclass(frozen=True, slots=True)
class Polygon:
    """The inside and the edge of a closed line, by the even-odd rule."""

    corners_xy: tuple[tuple[float, float], ...]
    """px of the frame as sent; the last one is joined to the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
    """The distance of two keypoints, px of the frame as sent, is in a range."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Probability:
    """The probability of a behavior, in [0, 1], is in a range."""

    behavior: str
    probability: ValueRange
    bundle: str = ""
    """Name of a behavior bundle of the stream; empty where it has only one."""


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of them hold."""

    conditions: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of them holds."""

    conditions: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """It is false; what is unknown stays unknown."""

    condition: "Condition"


Condition: TypeAlias = InRegion | Distance | Angle | Speed | Probability | AllOf | AnyOf | Not


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Switches on and off with a condition."""

    name: str
    """Told in its events."""
    condition: Condition
    frames_on: int = 1
    """It switches on with the last of so many frames in a row in which the condition holds."""
    frames_off: int = 1
    """It switches off with the last of so many in a row in which it does not."""


@dataclass(frozen=True, slots=True)
class TriggerEvent:
    """A trigger switched."""

    trigger: str
    kind: Literal["on", "off"]
    frame_index: int
    """The frame that decided."""


def parts(condition: Condition) -> Iterator[Condition]:
    """Yield a condition and all that it is made of."""
    yield condition
    if isinstance(condition, AllOf | AnyOf):
        for one in condition.conditions:
            yield from parts(one)
    elif isinstance(condition, Not):
        yield from parts(condition.condition)


def keypoints(condition: Condition) -> tuple[Keypoint, ...]:
    """Return the keypoints that a condition itself looks at."""
    match condition:
        case InRegion(keypoint, _) | Speed(keypoint, _):
            return (keypoint,)
        case Distance(first, second, _):
            return (first, second)
        case Angle(first, vertex, second, _):
            return (first, vertex, second)
        case _:
            return ()


def looks_ahead(condition: Condition) -> bool:
    """Whether a condition looks at a predicted keypoint."""
    return any(found.predicted for one in parts(condition) for found in keypoints(one))


def check_triggers(triggers: Sequence[Trigger], selections: Sequence[Selection]) -> None:
    """Refuse triggers that a stream cannot follow.

    Raises:
        InvalidRequest: a name is missing or given twice, a number is out of range, or a bundle,
            keypoint, animal or behavior does not exist.
    """
    names = [one.name for one in triggers]
    if len(names) > _MAX_TRIGGERS:
        raise InvalidRequest(f"{len(names)} triggers are asked for; give {_MAX_TRIGGERS} at most")
    for trigger in triggers:
        if not trigger.name or names.count(trigger.name) > 1:
            raise InvalidRequest(
                f"a trigger is called {trigger.name!r}; give each a name of its own"
            )
        for frames in (trigger.frames_on, trigger.frames_off):
            if not 1 <= frames <= _MAX_FRAMES:
                raise InvalidRequest(
                    f"trigger {trigger.name} waits for {frames} frames; give 1 to {_MAX_FRAMES}"
                )
        conditions = list(parts(trigger.condition))
        if len(conditions) > _MAX_CONDITIONS:
            raise InvalidRequest(
                f"trigger {trigger.name} has {len(conditions)} conditions; give {_MAX_CONDITIONS} "
                "at most"
            )
        for one in conditions:
            try:
                _check(one, selections)
            except InvalidRequest as error:
                raise InvalidRequest(f"trigger {trigger.name}: {error}") from error


def find_selection(
    bundle: str, selections: Sequence[Selection], task: Literal["pose", "behavior"]
) -> Selection:
    """Return the bundle of a stream that a condition names.

    Raises:
        InvalidRequest: the stream has none of this name, or no or several bundles where none is
            named.
    """
    fitting = [
        one
        for one in selections
        if one.loaded.bundle.manifest.task == task and bundle in ("", one.loaded.key.name)
    ]
    if len(fitting) != 1:
        have = ", ".join(one.loaded.key.name for one in selections)
        asked = f"the {task} bundle {bundle!r}" if bundle else f"one {task} bundle"
        raise InvalidRequest(f"{asked} is needed, and the stream runs {have}; name one of these")
    return fitting[0]


def _check(condition: Condition, selections: Sequence[Selection]) -> None:
    for keypoint in keypoints(condition):
        _check_keypoint(keypoint, selections)
    match condition:
        case InRegion(_, Polygon(corners)) if len(corners) < 3:
            raise InvalidRequest(f"a polygon has {len(corners)} corners; give 3 or more")
        case InRegion(_, Polygon(corners)) if len(corners) > MAX_CORNERS:
            raise InvalidRequest(
                f"a polygon has more than {MAX_CORNERS} corners; give {MAX_CORNERS} at most"
            )
        case InRegion(_, Polygon(corners)) if not _all_finite(x for xy in corners for x in xy):
            raise InvalidRequest("a polygon has a corner that is no place; give numbers of px")
        case InRegion(_, Circle(radius_px=radius)) if not radius > 0:
            raise InvalidRequest(f"a circle has a radius of {radius} px; give more than 0")
        case InRegion(_, Circle(x_px=x, y_px=y, radius_px=radius)) if not _all_finite(
            (x, y, radius)
        ):
            raise InvalidRequest(
                f"a circle of {radius} px at ({x}, {y}) has no place; give numbers of px"
            )
        case Distance(_, _, asked) | Angle(_, _, _, asked) | Speed(_, asked):
            _check_range(asked)
        case Probability(behavior=behavior, probability=asked, bundle=bundle):
            _check_range(asked)
            found = find_selection(bundle, selections, "behavior").loaded
            spec = found.bundle.manifest.behavior
            assert spec is not None, "a behavior bundle has the section `behavior`"
            if behavior not in spec.behaviors:
                raise InvalidRequest(
                    f"{found.key} has no behavior {behavior!r}; it has {', '.join(spec.behaviors)}"
                )
        case AllOf(conditions) | AnyOf(conditions) if not conditions:
            raise InvalidRequest("a list of conditions is empty; give at least one")
        case _:
            pass


def _check_keypoint(keypoint: Keypoint, selections: Sequence[Selection]) -> None:
    found = find_selection(keypoint.bundle, selections, "pose").loaded
    spec = found.bundle.manifest.pose
    assert spec is not None, "a pose bundle has the section `pose`"
    if keypoint.name not in spec.keypoints:
        raise InvalidRequest(
            f"{found.key} has no keypoint {keypoint.name!r}; it has {', '.join(spec.keypoints)}"
        )
    if not 0 <= keypoint.animal < spec.max_animals:
        raise InvalidRequest(
            f"animal {keypoint.animal} is asked for; {found.key} finds {spec.max_animals}, counted "
            "from 0"
        )
    if keypoint.min_confidence is not None and not 0 <= keypoint.min_confidence <= 1:
        raise InvalidRequest(f"min_confidence is {keypoint.min_confidence}; give one in 0..1")


def _all_finite(numbers: Iterable[float]) -> bool:
    return all(map(math.isfinite, numbers))


def _check_range(asked: ValueRange) -> None:
    low, high = asked.at_least, asked.at_most
    given = [one for one in (low, high) if one is not None]
    if not given or not given[0] <= given[-1]:  # NaN is in order with nothing
        raise InvalidRequest(
            f"the range from {low} to {high} is empty or has no limit; give at_least, at_most or "
            "both, in order"
        )
