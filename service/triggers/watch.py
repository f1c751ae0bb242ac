"""Follows the answers of one stream and says when triggers switch."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from service.repository import Selection
from service.triggers.conditions import (
    AllOf,
    Angle,
    AnyOf,
    Circle,
    Condition,
    Distance,
    InRegion,
    Keypoint,
    Not,
    Polygon,
    Probability,
    Speed,
    Trigger,
    TriggerEvent,
    check_triggers,
    find_selection,
    keypoints,
    parts,
)
from service.values import BehaviorAnswer, BundleVersion, Poses

_Point = tuple[float, float]
_Answers = dict[BundleVersion, Poses | BehaviorAnswer | None]
"""What the bundles that a trigger looks at say of a frame; None: no answer."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an answer of a bundle holds what a condition asks for."""

    bundle: BundleVersion
    index: tuple[int, ...]
    """(animal, keypoint) of poses, (behavior,) of probabilities."""
    min_confidence: float = 0.0
    """From which a keypoint counts as found."""


@dataclass(slots=True)
class _Frame:
    """A frame of which a trigger waits for answers."""

    index: int
    time_s: float
    answers: _Answers = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _State:
    """Where one trigger stands."""

    trigger: Trigger
    bundles: frozenset[BundleVersion]
    waiting: deque[_Frame] = field(default_factory=deque)
    last_seen: dict[int, tuple[_Point, float]] = field(default_factory=dict)
    """Of each `Speed`, by its id: the newest place of its keypoint, and when it was there."""
    is_on: bool = False
    run: int = 0
    """Frames in a row that speak for switching."""


class TriggerWatch:
    """The triggers of one stream.

    Every accepted frame is announced by `begin`, in order; then each bundle's answer to it is
    told once, in the order of the frames: a trigger decides on a frame when it has all answers.
    """

    def __init__(self, triggers: Sequence[Trigger], selections: Sequence[Selection]) -> None:
        """Take the triggers.

        Raises:
            InvalidRequest: see `check_triggers`.
        """
        check_triggers(triggers, selections)
        self._selections = selections
        self._places: dict[Keypoint | Probability, _Place] = {}
        self._outlines: dict[int, NDArray[np.float32]] = {}
        """The corners of each polygon as OpenCV takes them, by its id."""
        self._states = [_State(one, self._bundles(one)) for one in triggers]

    def begin(self, frame_index: int, time_s: float) -> None:
        """Take a new frame.

        Args:
            frame_index: its number.
            time_s: when it was captured, on any clock that runs evenly.
        """
        for state in self._states:
            state.waiting.append(_Frame(frame_index, time_s))

    def tell(
        self, frame_index: int, bundle: BundleVersion, answer: Poses | BehaviorAnswer | None
    ) -> tuple[TriggerEvent, ...]:
        """Take what a bundle says of a frame; return what switches by it.

        Args:
            frame_index: the frame.
            bundle: one of the stream.
            answer: None where the frame was left out or failed.
        """
        events: list[TriggerEvent] = []
        for state in self._states:
            if bundle not in state.bundles:
                continue
            for frame in state.waiting:
                if frame.index == frame_index:
                    frame.answers[bundle] = answer
                    break
            while state.waiting and len(state.waiting[0].answers) == len(state.bundles):
                frame = state.waiting.popleft()
                if (event := self._step(state, frame)) is not None:
                    events.append(event)
        return tuple(events)

    def _bundles(self, trigger: Trigger) -> frozenset[BundleVersion]:
        """Find the places and lines that a trigger looks at; return the bundles that answer."""
        asked: list[Keypoint | Probability] = []
        for one in parts(trigger.condition):
            asked += (one,) if isinstance(one, Probability) else keypoints(one)
            if isinstance(one, InRegion) and isinstance(one.region, Polygon):
                self._outlines[id(one.region)] = np.array(one.region.corners_xy, np.float32)
        self._places |= {one: self._place(one) for one in asked}
        return frozenset(self._places[one].bundle for one in asked)

    def _place(self, asked: Keypoint | Probability) -> _Place:
        task: Literal["pose", "behavior"] = "pose" if isinstance(asked, Keypoint) else "behavior"
        loaded = find_selection(asked.bundle, self._selections, task).loaded
        manifest = loaded.bundle.manifest
        if isinstance(asked, Probability):
            assert manifest.behavior is not None, "a behavior bundle has the section `behavior`"
            return _Place(loaded.key, (manifest.behavior.behaviors.index(asked.behavior),))
        assert manifest.pose is not None, "a pose bundle has the section `pose`"
        least = asked.min_confidence
        return _Place(
            loaded.key,
            (asked.animal, manifest.pose.keypoints.index(asked.name)),
            manifest.pose.confidence_cutoff if least is None else least,
        )

    def _step(self, state: _State, frame: _Frame) -> TriggerEvent | None:
        trigger = state.trigger
        # All parts are looked at, whatever the others say: a speed must see every frame.
        holds = self._judge(trigger.condition, state, frame) is True
        state.run = state.run + 1 if holds != state.is_on else 0
        if state.run < (trigger.frames_off if state.is_on else trigger.frames_on):
            return None
        state.is_on, state.run = not state.is_on, 0
        return TriggerEvent(trigger.name, "on" if state.is_on else "off", frame.index)

    def _judge(self, condition: Condition, state: _State, frame: _Frame) -> bool | None:
        """Whether a condition holds; None where it is not known."""
        match condition:
            case InRegion(keypoint, region):
                point = self._find(keypoint, frame)
                return None if point is None else self._is_inside(point, region)
            case Distance(first, second, px):
                ends = self._find(first, frame), self._find(second, frame)
                if ends[0] is None or ends[1] is None:
                    return None
                return px.holds(math.dist(ends[0], ends[1]))
            case Angle(first, vertex, second, deg):
                found = [self._find(one, frame) for one in (first, vertex, second)]
                angle = _angle_deg(*found) if None not in found else None  # type: ignore[arg-type]
                return None if angle is None else deg.holds(angle)
            case Speed(keypoint, px_per_s):
                speed = self._speed(condition, self._find(keypoint, frame), state, frame.time_s)
                return None if speed is None else px_per_s.holds(speed)
            case Probability():
                value = self._probability(condition, frame)
                return None if value is None else condition.probability.holds(value)
            case Not(inner):
                held = self._judge(inner, state, frame)
                return None if held is None else not held
            case AllOf(conditions):
                held_all = [self._judge(one, state, frame) for one in conditions]
                return False if False in held_all else None if None in held_all else True
            case AnyOf(conditions):
                held_any = [self._judge(one, state, frame) for one in conditions]
                return True if True in held_any else None if None in held_any else False

    def _find(self, keypoint: Keypoint, frame: _Frame) -> _Point | None:
        """Where a keypoint is, px; None where it was not found."""
        place = self._places[keypoint]
        poses = frame.answers[place.bundle]
        if not isinstance(poses, Poses):
            return None
        places = poses.predicted_xy if keypoint.predicted else poses.keypoints_xy
        confidence = float(poses.confidence[place.index])
        is_found = keypoint.predicted or confidence >= place.min_confidence
        if places is None or not is_found:
            return None
        x_px, y_px = places[place.index].tolist()
        return (x_px, y_px) if math.isfinite(x_px + y_px) else None

    def _probability(self, condition: Probability, frame: _Frame) -> float | None:
        place = self._places[condition]
        answer = frame.answers[place.bundle]
        if not isinstance(answer, BehaviorAnswer) or answer.probabilities is None:
            return None
        return float(answer.probabilities[place.index])

    def _is_inside(self, point: _Point, region: Polygon | Circle) -> bool:
        if isinstance(region, Circle):
            return math.dist(point, (region.x_px, region.y_px)) <= region.radius_px
        outline = self._outlines[id(region)]
        return bool(cv2.pointPolygonTest(outline, point, measureDist=False) >= 0)

    @staticmethod
    def _speed(
        condition: Speed, point: _Point | None, state: _State, time_s: float
    ) -> float | None:
        """The speed of a keypoint since it was last found, px/s."""
        if point is None:
            return None
        last = state.last_seen.get(id(condition))
        if last is not None and time_s == last[1]:
            return None  # pictures of one chunk: the way to the next one begins at the first
        state.last_seen[id(condition)] = (point, time_s)
        if last is None or time_s < last[1]:
            return None
        return math.dist(point, last[0]) / (time_s - last[1])


def _angle_deg(first: _Point, vertex: _Point, second: _Point) -> float | None:
    """The angle at `vertex`; None where a side has no length."""
    one = first[0] - vertex[0], first[1] - vertex[1]
    other = second[0] - vertex[0], second[1] - vertex[1]
    if not (any(one) and any(other)):
        return None
    cross, dot = one[0] * other[1] - one[1] * other[0], one[0] * other[0] + one[1] * other[1]
    return abs(math.degrees(math.atan2(cross, dot)))
