"""Flags the points of predictions that look wrong: jumps, and uncertain ones."""

import numpy as np
from numpy.typing import NDArray


def jumps(
    keypoints_xy: NDArray[np.float32], frame_index: NDArray[np.int64], epsilon_px: float
) -> NDArray[np.bool_]:
    """Return (T, N, K): the point is farther than `epsilon_px` from where it was one frame before.

    Points that are missing in one of the two frames, and frames that do not follow each other in
    the video, are no jumps. The confidence plays no role, as in DeepLabCut.

    Args:
        keypoints_xy: (T, N, K, 2) px; NaN where missing.
        frame_index: (T,) rising.
        epsilon_px: of the way between two frames.
    """
    flags = np.zeros(keypoints_xy.shape[:3], np.bool_)
    way_px = np.linalg.norm(np.diff(keypoints_xy.astype(np.float64), axis=0), axis=-1)
    follows = np.diff(frame_index) == 1
    flags[1:] = (way_px > epsilon_px) & follows[:, None, None]  # NaN is not greater
    return flags


def uncertain(confidence: NDArray[np.float32], p_bound: float) -> NDArray[np.bool_]:
    """Return (T, N, K): the point's confidence is below `p_bound`.

    Points without an answer (NaN: the frame failed, or the animal is not there) are not flagged,
    nor slots that a keypoint takes in no frame of the video at all: they are of animals that are
    not there, or of keypoints that exist once.

    Args:
        confidence: (T, N, K) in [0, 1].
        p_bound: in (0, 1).
    """
    return np.asarray((confidence < p_bound) & _used(confidence, p_bound))


def least_confident(confidence: NDArray[np.float32], share: float) -> NDArray[np.bool_]:
    """Return (T, N, K): the least confident point of each frame among the `share` lowest ones.

    A frame counts by its least confident point. At least one frame is flagged where any has an
    answer; slots that are never taken are left out as in `uncertain`.

    Args:
        confidence: (T, N, K) in [0, 1].
        share: of the frames, in (0, 1).
    """
    looked_at = _used(confidence, 0.01) & ~np.isnan(confidence)
    known = np.where(looked_at, confidence, np.inf)
    points: NDArray[np.float32] = known.reshape(len(known), int(np.prod(known.shape[1:])))
    if not points.size:
        return np.zeros(confidence.shape, np.bool_)
    lowest = points.min(axis=1)
    answered = np.flatnonzero(np.isfinite(lowest))
    count = min(len(answered), max(1, round(share * len(answered))))
    rows = answered[np.argsort(lowest[answered], kind="stable")[:count]]
    is_row = np.isin(np.arange(len(points)), rows)
    return np.asarray((points == lowest[:, None]) & is_row[:, None]).reshape(confidence.shape)


def _used(confidence: NDArray[np.float32], p_bound: float) -> NDArray[np.bool_]:
    """(1, N, K) slots to look at: the first, and those where the keypoint was ever found."""
    found = np.any(np.nan_to_num(confidence, nan=-1.0) >= p_bound, axis=0)
    is_first = np.arange(confidence.shape[1]) == 0
    return np.asarray(found | is_first[:, None])[None]
