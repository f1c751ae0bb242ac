"""Flags points far from where their own past lets them be expected."""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.frames.extras import analysis_module

AR_DEGREE, MA_DEGREE = 3, 1
FIT_FRAMES = 5000
"""Longest stretch that a model is fitted on: a second a coordinate, however long the video."""
_MAX_ITERATIONS = 50
_LEAST_POINTS = 11


def misfits(
    keypoints_xy: NDArray[np.float32],
    confidence: NDArray[np.float32],
    *,
    epsilon_px: float,
    p_bound: float,
    alpha: float,
    on_series: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.bool_]:
    """Return (T, N, K): the point is far from the prediction of a time series model.

    Each coordinate gets a SARIMAX model with AR degree 3 and MA degree 1 (as DeepLabCut's outlier
    method `fitting`; Nath et al., Nature Protocols 2019;14:2152), in which uncertain points count
    as missing. A point is flagged where it is more than `epsilon_px` from the model's prediction
    one frame ahead and one of its coordinates lies outside the interval of 1 - alpha.

    Three things differ from DeepLabCut: it averages the distance over the body parts, here one
    point is enough, as for jumps; the parameters are fitted on at most `FIT_FRAMES` consecutive
    frames, so that the time is bounded; and coordinates are taken from their median, so that the
    first frames are no outliers.

    Args:
        keypoints_xy: (T, N, K, 2) px, of consecutive frames; NaN where missing.
        confidence: (T, N, K) in [0, 1].
        epsilon_px: distance from the prediction.
        p_bound: confidence below which a point counts as missing to the model.
        alpha: in (0, 1).
        on_series: called with the number of coordinates done and of all.
    """
    frames, animals, keypoints = confidence.shape
    flags = np.zeros((frames, animals, keypoints), np.bool_)
    done = 0
    for animal in range(animals):
        for keypoint in range(keypoints):
            path = keypoints_xy[:, animal, keypoint].astype(np.float64)
            sure = confidence[:, animal, keypoint] >= p_bound
            away_px = np.zeros((frames, 2))
            outside = np.zeros((frames, 2), np.bool_)
            for axis in (0, 1):
                series = np.where(sure, path[:, axis], np.nan)
                expected, low, high = _expect(series, alpha)
                away_px[:, axis] = path[:, axis] - expected
                outside[:, axis] = (path[:, axis] < low) | (path[:, axis] > high)
                done += 1
                on_series(done, 2 * animals * keypoints)
            far = np.linalg.norm(away_px, axis=1) > epsilon_px
            flags[:, animal, keypoint] = far & outside.any(axis=1)
    flags[:AR_DEGREE] = False  # the model knows nothing of the past there
    return flags


def _expect(
    series: NDArray[np.float64], alpha: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Prediction of each value from those before it, and the ends of its interval; NaN if none."""
    nothing = np.full(len(series), np.nan)
    known = np.isfinite(series)
    if known.sum() < _LEAST_POINTS or np.ptp(series[known]) == 0:
        return nothing, nothing, nothing
    sarimax = analysis_module("statsmodels.tsa.statespace.sarimax", "method fitting").SARIMAX
    threads = analysis_module("threadpoolctl", "method fitting")
    middle = float(np.median(series[known]))
    centered = series - middle
    order = (AR_DEGREE, 0, MA_DEGREE)
    # The models solve systems of four equations: threads of BLAS make that ten times slower.
    with warnings.catch_warnings(), threads.threadpool_limits(1, user_api="blas"):
        # Starting values out of range and fits that stop early still give a usable prediction.
        warnings.simplefilter("ignore")
        try:
            fitted = sarimax(centered[_densest(known)], order=order).fit(
                disp=False, maxiter=_MAX_ITERATIONS, cov_type="none"
            )
            predicted = sarimax(centered, order=order).filter(fitted.params).get_prediction()
        except (ValueError, np.linalg.LinAlgError):
            return nothing, nothing, nothing
        interval = np.asarray(predicted.conf_int(alpha=alpha), np.float64)
    expected = np.asarray(predicted.predicted_mean, np.float64)
    return expected + middle, interval[:, 0] + middle, interval[:, 1] + middle


def _densest(known: NDArray[np.bool_]) -> slice:
    """Return the stretch of `FIT_FRAMES` frames with the most known values."""
    if len(known) <= FIT_FRAMES:
        return slice(None)
    sums = np.concatenate([[0], np.cumsum(known)])
    start = int(np.argmax(sums[FIT_FRAMES:] - sums[:-FIT_FRAMES]))
    return slice(start, start + FIT_FRAMES)
