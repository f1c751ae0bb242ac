"""Bouts of a live stream: told as soon as they are sure, equal to those of the whole recording."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.behavior import BACKGROUND, frames_of_bouts
from service.bundle import BehaviorSpec
from service.errors import InvalidRequest
from service.repository import Selection
from service.values import BehaviorAnswer, BoutEvent


@dataclass(slots=True)
class _Open:
    """A bout that may still go on."""

    onset: int
    last: int
    """Newest frame in which the behavior was present."""
    background: int = 0
    """Frames since then in which background was present."""
    is_told: bool = False


class BoutTracker:
    """Follows the bouts of one stream by the rule of `service.behavior.apply_bout_rule`.

    Args:
        spec: of the bundle.
        min_bout_frames: (C,) limits in frames of the stream; background has none.
    """

    def __init__(self, spec: BehaviorSpec, min_bout_frames: NDArray[np.int64]) -> None:
        self._spec = spec
        self._limits = min_bout_frames
        self._open: dict[int, _Open] = {}

    def add(self, answer: BehaviorAnswer) -> tuple[BoutEvent, ...]:
        """Take the next frame's answer; a frame without one is as if no behavior were present."""
        events: list[BoutEvent] = []
        for column, name in enumerate(self._spec.behaviors):
            if name == BACKGROUND:
                continue
            is_present = answer.present is not None and bool(answer.present[column])
            events += self._follow(column, name, answer, is_present)
        return tuple(events)

    def _follow(
        self, column: int, name: str, answer: BehaviorAnswer, is_present: bool
    ) -> list[BoutEvent]:
        frame, limit = answer.frame_index, int(self._limits[column])
        events: list[BoutEvent] = []
        bout = self._open.get(column)
        if bout is not None:
            absent = frame - bout.last - (1 if is_present else 0)
            bout.background += not is_present and _is_background(answer)
            # Of exclusive behaviors, a gap is filled only where background stands in it.
            is_filled = bout.background == absent or not self._spec.exclusive
            if absent >= limit or not is_filled:
                if bout.is_told:
                    events.append(BoutEvent(name, "offset", bout.last + 1))
                del self._open[column]
                bout = None
        if is_present:
            if bout is None:
                bout = self._open[column] = _Open(frame, frame)
            bout.last, bout.background = frame, 0
            if not bout.is_told and frame - bout.onset + 1 >= limit:
                bout.is_told = True
                events.append(BoutEvent(name, "onset", bout.onset))
        return events


def choose_min_bout_frames(
    spec: BehaviorSpec, wanted: Mapping[str, int], stride: int
) -> NDArray[np.int64]:
    """Return the (C,) shortest bouts of a request, in frames of the stream.

    Args:
        spec: of the bundle; its own limits are replaced where `wanted` says.
        wanted: frames at the bundle's rate, by behavior.
        stride: frames of the stream per frame at the bundle's rate.

    Raises:
        InvalidRequest: a behavior that the bundle does not have, or a limit below 1.
    """
    limits = list(spec.min_bout_frames)
    for name, value in wanted.items():
        if name not in spec.behaviors:
            raise InvalidRequest(
                f"there is no behavior {name!r}; the bundle has {', '.join(spec.behaviors)}"
            )
        if value < 1:
            raise InvalidRequest(f"the shortest bout of {name} is {value} frames; give 1 or more")
        limits[spec.behaviors.index(name)] = value
    return np.array(frames_of_bouts(limits, stride), np.int64)


def open_tracker(selection: Selection, stride: int) -> BoutTracker | None:
    """Return the tracker of a behavior bundle; None where no bout events are asked for.

    Raises:
        InvalidRequest: as of `choose_min_bout_frames`.
    """
    spec = selection.loaded.bundle.manifest.behavior
    assert spec is not None, "a behavior bundle has the section `behavior`"
    limits = choose_min_bout_frames(spec, selection.min_bout_frames, stride)
    return BoutTracker(spec, limits) if selection.bout_events else None


def _is_background(answer: BehaviorAnswer) -> bool:
    return answer.present is not None and bool(answer.present[0])
