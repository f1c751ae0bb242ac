"""Cuts a video at key frames into stretches that can be decoded each for itself.

Decoders of GPUs do not tell which pictures they drop, so they get only files whose packets are one
frame each, with a time of its own; all others are PyAV's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.video.packets import (
    DAMAGED,
    DISCARD,
    EMPTY,
    HIDDEN,
    KEY,
    NOT_CODED,
    REFRESH,
    PacketIndex,
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames from a key frame, before which none refers, to the next such one."""

    first: int
    """Number of the first frame, in presentation order."""
    end: int
    """Number of the first frame after it."""

    def __len__(self) -> int:
        """Frames."""
        return self.end - self.first


def refuse_index(index: PacketIndex) -> str:
    """Say why the frames of a file cannot be counted by its packets' times; empty where they can.

    Where they can, packet by packet is frame by frame: sorted by time, the frame of every decoder
    has its number.
    """
    reasons = {
        DISCARD: "an edit list cuts frames off",
        HIDDEN: "some packets hold pictures that are not shown",
        EMPTY: "some packets are empty",
        NOT_CODED: "some packets repeat the picture before",
        DAMAGED: "some packets are damaged or lost",
    }
    if not (index.by_time and index.can_seek):
        return "its packets have no times that give their order"
    for flag, reason in reasons.items():
        if np.any(index.flags & flag):
            return reason
    if len(np.unique(index.pts)) != len(index.pts):
        return "some packets have the same time"
    if not len(index.shown) or _clean_positions(index)[:1].tolist() != [0]:
        return "it does not begin with a key frame that stands alone"
    return ""


def plan_stretches(
    index: PacketIndex, least_frames: int, most: int | None = None
) -> tuple[Stretch, ...]:
    """Return the stretches of a file that `refuse_index` lets through, all frames in order.

    Args:
        index: of the file.
        least_frames: of a stretch, but for the last one.
        most: stretches, and one more; None takes any number.
    """
    frames = len(index.shown)
    least_frames = max(least_frames, frames // most if most else 0)
    starts = index.ranks[_clean_positions(index)]
    kept = [0]
    for start in starts.tolist():
        if start - kept[-1] >= least_frames:
            kept.append(start)
    return tuple(Stretch(a, b) for a, b in zip(kept, [*kept[1:], frames], strict=True))


def _clean_positions(index: PacketIndex) -> NDArray[np.int64]:
    """File positions of key frames that no other group of pictures reaches across.

    All packets stored before such a one are shown before it, and all stored after it after it: a
    decoder can begin there, and one that came from before has nothing left to show.
    """
    latest_before = np.maximum.accumulate(index.pts)
    earliest_after = np.minimum.accumulate(index.pts[::-1])[::-1]
    is_clean = (index.pts == latest_before) & (index.pts == earliest_after)
    return np.flatnonzero(is_clean & (index.flags & (KEY | REFRESH) == KEY))
