"""Expects a keypoint's path from its own past with an ARMA model, as DeepLabCut's filter does."""

import warnings

import numpy as np
from numpy.typing import NDArray
from statsmodels.tsa.statespace.sarimax import SARIMAX


def expected_path(
    path_xy: NDArray[np.float64], *, ar: int = 3, ma: int = 1, alpha: float = 0.01
) -> tuple[NDArray[np.float64], int]:
    """Fit SARIMAX(ar, 0, ma) to each coordinate and return what it expects of each frame.

    The expectation of a frame rests on the frames before it. The first `ar + ma` frames, which
    have too few before them, keep their measured positions, and frames before the first point have
    none. A path with fewer than ten points stays as it is.

    Args:
        path_xy: (T, 2) px; NaN where the point is missing.
        ar: degree of the autoregression.
        ma: degree of the moving average.
        alpha: points outside the (1 - alpha) confidence interval count as outliers.

    Returns:
        The (T, 2) expected path, and the number of outliers.
    """
    there = np.isfinite(path_xy).all(axis=-1)
    if there.sum() < 10:
        return path_xy.copy(), 0
    expected = np.empty_like(path_xy)
    outside = np.zeros(len(path_xy), np.bool_)
    for axis in (0, 1):
        middle = path_xy[there, axis].mean()
        with warnings.catch_warnings():
            # An optimum at the edge of what is stationary is what paths of animals give.
            warnings.simplefilter("ignore")
            model = SARIMAX(path_xy[:, axis] - middle, order=(ar, 0, ma))
            prediction = model.fit(disp=False, maxiter=50, cov_type="none").get_prediction()
        expected[:, axis] = prediction.predicted_mean + middle
        interval = prediction.conf_int(alpha=alpha) + middle
        outside |= (path_xy[:, axis] < interval[:, 0]) | (path_xy[:, axis] > interval[:, 1])
    first = ar + ma
    outside[:first] = False
    keep = np.arange(len(path_xy)) < first
    expected[keep & there] = path_xy[keep & there]
    expected[: there.argmax()] = np.nan  # the model would say the middle of the path
    return expected, int(outside.sum())
