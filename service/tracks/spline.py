"""Fills short gaps of a keypoint's path with a cubic spline."""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from service.behavior import runs


def bridge_gaps(
    frame_index: NDArray[np.int64], path_xy: NDArray[np.float64], longest_frames: int
) -> NDArray[np.float64]:
    """Return the (T, 2) path with gaps of at most `longest_frames` filled.

    The spline goes through every point that is there, so those stay as they are. A path of fewer
    than four points has no gap filled.

    Args:
        frame_index: (T,) numbers of the frames, rising.
        path_xy: (T, 2) px; NaN where the point is missing.
        longest_frames: in rows of the path.
    """
    there = np.asarray(np.isfinite(path_xy).all(axis=-1))
    filled = np.where(there[:, None], path_xy, np.nan)
    if there.sum() < 4:
        return filled
    spline = CubicSpline(frame_index[there], path_xy[there])
    for onset, offset in runs(~there):
        if onset > 0 and offset < len(there) and offset - onset <= longest_frames:
            filled[onset:offset] = spline(frame_index[onset:offset])
    return filled
