"""Finds the outlier frames of a track by one or several methods, and says where and why."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.tracks.track import Track
from training.outliers.fitting import misfits
from training.outliers.methods import jumps, least_confident, uncertain
from training.outliers.settings import Method, OutlierSettings

# Methods that follow a point from frame to frame: a slot must be one animal throughout.
_NEED_ANIMALS: tuple[Method, ...] = ("jump", "fitting")


@dataclass(frozen=True, slots=True)
class MethodCount:
    """What one method found."""

    method: str
    frames: int
    by_keypoint: dict[str, int]
    """Frames in which it flags each keypoint; empty for method list."""


@dataclass(frozen=True, slots=True)
class Outliers:
    """The outlier frames of one track."""

    frame_index: NDArray[np.int64]
    """(O,) rising, of all methods together."""
    reasons: dict[int, str]
    """For each outlier frame, such as `jump: snout, leftear`."""
    counts: tuple[MethodCount, ...]
    """In the order of the methods."""


def find_outliers(
    track: Track,
    settings: OutlierSettings,
    span: range,
    *,
    on_progress: Callable[[str, int, int], None] = lambda doing, done, total: None,
) -> Outliers:
    """Find the outliers among the frames of `span`.

    Args:
        track: predictions of one video.
        settings: what counts as an outlier.
        span: frames of the video that are looked at.
        on_progress: called with what is done, how much of it, and of how much.

    Raises:
        InvalidRequest: a keypoint is unknown, a listed frame is not in the predictions, or a
            method needs animals where the predictions have detections only.
    """
    chosen = _chosen_keypoints(track, settings.keypoints)
    _check_animals(track, settings)
    counts: list[MethodCount] = []
    reasons: dict[int, list[str]] = {}
    names = [track.keypoints[place] for place in chosen]
    inside = np.isin(track.frame_index, np.asarray(span, np.int64))
    for method in settings.methods:
        if method == "list":
            found = _listed(track, settings.frames)
            counts.append(MethodCount(method, len(found), {}))
            for index in found:
                reasons.setdefault(index, []).append(method)
            continue
        flags = _flags(track, method, settings, chosen, on_progress).any(axis=1)
        flags &= inside[:, None]
        rows = np.flatnonzero(flags.any(axis=1))
        per_keypoint = dict(zip(names, map(int, flags.sum(axis=0)), strict=True))
        counts.append(MethodCount(method, len(rows), per_keypoint))
        for row in rows:
            which = ", ".join(name for name, flag in zip(names, flags[row], strict=True) if flag)
            index = int(track.frame_index[row])
            reasons.setdefault(index, []).append(f"{method}: {which}")
    return Outliers(
        np.array(sorted(reasons), np.int64),
        {index: "; ".join(why) for index, why in reasons.items()},
        tuple(counts),
    )


def _check_animals(track: Track, settings: OutlierSettings) -> None:
    followed = [method for method in settings.methods if method in _NEED_ANIMALS]
    if not followed or settings.tracked or track.animals == 1 or track.rows == "animals":
        return
    what = (
        f"the {track.animals} best detections of each keypoint, which are not put together to "
        "animals"
        if track.rows == "detections"
        else f"up to {track.animals} poses a frame, which are not linked over time"
    )
    raise InvalidRequest(
        f"{track.source} holds {what}: {' and '.join(followed)} would take two animals for one "
        "that moves; use --method uncertain, or --tracked if a tracker has linked them"
    )


def _chosen_keypoints(track: Track, wanted: Sequence[str]) -> list[int]:
    unknown = [name for name in wanted if name not in track.keypoints]
    if unknown:
        raise InvalidRequest(
            f"{track.source} has no keypoint {', '.join(unknown)}; choose among "
            f"{', '.join(track.keypoints)}"
        )
    return [
        place for place, name in enumerate(track.keypoints) if not wanted or name in set(wanted)
    ]


def _flags(
    track: Track,
    method: Method,
    settings: OutlierSettings,
    chosen: Sequence[int],
    on_progress: Callable[[str, int, int], None],
) -> NDArray[np.bool_]:
    """(T, N, number of chosen keypoints) what the method flags."""
    confidence = np.asarray(track.confidence[:, :, chosen], np.float32)
    points = np.asarray(track.keypoints_xy[:, :, chosen], np.float32)
    if method == "jump":
        return jumps(points, track.frame_index, settings.epsilon_px)
    if method == "uncertain" and settings.share is not None:
        return least_confident(confidence, settings.share)
    if method == "uncertain":
        return uncertain(confidence, settings.p_bound)
    # Frames that the predictions leave out are missing ones to the model.
    rows = track.frame_index - track.frame_index[0] if len(track.frame_index) else np.empty(0, int)
    length = int(rows[-1]) + 1 if len(rows) else 0
    flags = misfits(
        _spread(points, rows, length),
        _spread(confidence, rows, length),
        epsilon_px=settings.epsilon_px,
        p_bound=settings.p_bound,
        alpha=settings.alpha,
        on_series=lambda done, total: on_progress("fitting", done, total),
    )
    return np.asarray(flags[rows])


def _spread(
    values: NDArray[np.float32], rows: NDArray[np.int64], length: int
) -> NDArray[np.float32]:
    spread = np.full((length, *values.shape[1:]), np.nan, np.float32)
    spread[rows] = values
    return spread


def _listed(track: Track, frames: Iterable[int]) -> list[int]:
    known = set(map(int, track.frame_index))
    missing = [index for index in frames if index not in known]
    if missing:
        raise InvalidRequest(
            f"{track.source} has no prediction for the frames {', '.join(map(str, missing))}; "
            "correct --frames"
        )
    return sorted(set(frames))
