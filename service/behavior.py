"""From the logits of a behavior bundle to probabilities, present behaviors and bouts.

Everything up to `present` looks at one frame at a time, so that a live stream and a whole
recording give the same answers; the bout rule looks at both sides of a frame and belongs to
finished recordings. A row of NaN is a frame without an answer (NO_CONTEXT, NO_FRAME).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.bundle import BehaviorSpec
from service.errors import InvalidRequest

BACKGROUND = "background"
"""Name of the behavior that is present where no other one is."""


@dataclass(frozen=True, slots=True)
class Bout:
    """One uninterrupted stretch of a behavior."""

    behavior: str
    onset_frame: int
    """Index of its first frame."""
    offset_frame: int
    """Index of the first frame after it; its length in frames is offset - onset."""
    onset_s: float
    """Time of its first frame from the recording's first one, s."""
    duration_s: float
    """Its length, s."""


def probabilities(logits: NDArray[np.float32], *, exclusive: bool) -> NDArray[np.float32]:
    """Turn logits into probabilities.

    Args:
        logits: (..., C) float32.
        exclusive: True: softmax over C, one behavior a frame; False: a sigmoid each.

    Returns:
        (..., C) float32 in [0, 1]; rows of NaN stay NaN.
    """
    values = np.asarray(logits, np.float32)
    if exclusive:
        shifted = np.exp(values - values.max(axis=-1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)
    decay = np.exp(-np.abs(values))  # never overflows
    return np.asarray(np.where(values >= 0, 1.0, decay) / (1.0 + decay), np.float32)


def present(
    values: NDArray[np.float32],
    spec: BehaviorSpec,
    thresholds: Sequence[float] | NDArray[np.float32] | None = None,
) -> NDArray[np.bool_]:
    """Say which behaviors are present in each frame, by that frame's probabilities alone.

    Args:
        values: (..., C) probabilities; rows of NaN are frames without an answer.
        spec: exclusive bundles take the most probable behavior (the first of equal ones), and
            multi-label bundles all that reach their threshold.
        thresholds: (C,) instead of the bundle's own; exclusive bundles have none to replace.

    Returns:
        (..., C) bool; all False where the row is NaN.
    """
    known = ~np.isnan(values).any(axis=-1, keepdims=True)
    if spec.exclusive:
        best = np.where(known, values, 0.0).argmax(axis=-1)
        chosen = np.arange(values.shape[-1]) == best[..., None]
    else:
        cut = np.asarray(spec.thresholds if thresholds is None else thresholds, np.float32)
        chosen = np.where(known, values, 0.0) >= cut
    return np.asarray(chosen & known)


def frames_of_bouts(min_bout_frames: Sequence[int], stride: int) -> list[int]:
    """Return shortest bouts in frames of a recording of which every `stride`-th is evaluated.

    A bout of n evaluated frames shows for n strides, of which the last may be cut by the end.
    """
    return [(limit - 1) * stride + 1 for limit in min_bout_frames]


def apply_bout_rule(
    shown: NDArray[np.bool_], min_bout_frames: Sequence[int], *, exclusive: bool = False
) -> NDArray[np.bool_]:
    """Close short gaps, then remove short bouts, each behavior by its own limit.

    With limit n, a gap of fewer than n frames between two bouts of a behavior is filled first;
    then bouts of fewer than n frames are removed. What touches an end of the recording is no gap.

    Args:
        shown: (T, C) bool of one recording.
        min_bout_frames: (C,) limits; 1 keeps all.
        exclusive: True: column 0 is background, one behavior a frame; a gap is filled only
            where background stands in it, removed bouts become background, and the limit of
            background itself is not used.

    Returns:
        (T, C) bool, a new array.

    Raises:
        InvalidRequest: not one limit of at least 1 for each column.
    """
    if len(min_bout_frames) != shown.shape[1] or min(min_bout_frames, default=1) < 1:
        raise InvalidRequest(
            f"the shortest bouts are {', '.join(map(str, min_bout_frames))} frames for "
            f"{shown.shape[1]} behaviors; give one each, from 1"
        )
    first = 1 if exclusive else 0
    result = shown.copy()
    for column in range(first, shown.shape[1]):
        limit = min_bout_frames[column]
        fillable = shown[:, 0] if exclusive else np.ones(len(shown), np.bool_)
        kept = result[:, column]
        for onset, offset in runs(~kept):
            is_gap = onset > 0 and offset < len(kept)
            if is_gap and offset - onset < limit and fillable[onset:offset].all():
                kept[onset:offset] = True
        for onset, offset in runs(kept):
            if offset - onset < limit:
                kept[onset:offset] = False
    if exclusive:
        result[:, 0] = shown.any(axis=1) & ~result[:, 1:].any(axis=1)
    return result


def with_background(
    shown: NDArray[np.bool_], names: Sequence[str], known: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Put the column `background` = none of the others in front, where it is not there yet.

    Args:
        shown: (T, C) bool.
        names: (C,) behaviors.
        known: (T,) bool, frames that have an answer; the others are not background. None: all.

    Returns:
        (T, C + 1) bool and the names; both as they are where `names` begins with background.
    """
    if names and names[0] == BACKGROUND:
        return shown, tuple(names)
    background = ~shown.any(axis=1)
    if known is not None:
        background &= known
    return np.column_stack([background, shown]), (BACKGROUND, *names)


def bouts(shown: NDArray[np.bool_], names: Sequence[str], frame_rate_hz: float) -> list[Bout]:
    """List the bouts of a recording, by onset and then in the order of `names`.

    Args:
        shown: (T, C) bool.
        names: (C,) behaviors.
        frame_rate_hz: frames a second of the recording.
    """
    found = [
        Bout(name, onset, offset, onset / frame_rate_hz, (offset - onset) / frame_rate_hz)
        for column, name in enumerate(names)
        for onset, offset in runs(shown[:, column])
    ]
    return sorted(found, key=lambda bout: bout.onset_frame)


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (first, first after) of each stretch of True in the (T,) `flags`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(onset), int(offset)) for onset, offset in edges.reshape(-1, 2)]
