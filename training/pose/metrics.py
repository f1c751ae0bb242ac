"""Figures of found against labelled keypoints: distances, PCK, detections, OKS; arrays only.

Axes: F frames, N labelled animals, M found rows, K keypoints. Found rows of several animals are
local maxima, not grouped into animals (`service/bundle.py`), so each keypoint is matched alone.
DeepLabCut calls the mean Euclidean distance RMSE; here `mean_error_px` is that mean, and
`rmse_px` is the root of the mean squared distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from training.statistics import standard_error

OKS_SIGMA = 0.1
OKS_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Both as DeepLabCut takes them for every keypoint."""
_FAR_PX = 1e9
"""Cost of pairs that may not be matched; finite, since the solver takes no infinities."""

Figures = dict[str, float | int | None]


@dataclass(frozen=True, slots=True)
class Matches:
    """What was found of each labelled point."""

    errors_px: NDArray[np.float32]
    """(F, N, K) distance to the row assigned to it, px of the frame; NaN where the point is not
    labelled or no row is left for it."""
    confidence: NDArray[np.float32]
    """(F, N, K) of that row; 0 where there is none."""
    rows: NDArray[np.intp]
    """(F, N, K) index of that row on axis M; -1 where there is none."""
    labelled: NDArray[np.bool_]
    """(F, N, K)"""


def match_points(
    found_xy: NDArray[np.float32], confidence: NDArray[np.float32], labelled_xy: NDArray[np.float32]
) -> Matches:
    """Assign found rows to labelled points, per frame and keypoint, at the least total distance.

    One row and one label are a pair however far apart they are. Rows beyond the first with
    confidence 0 hold nothing and are left out, and so is NaN.

    Args:
        found_xy: (F, M, K, 2) px of the frame.
        confidence: (F, M, K) in [0, 1].
        labelled_xy: (F, N, K, 2) px of the frame; NaN where not labelled.
    """
    frames, animals, keypoints = labelled_xy.shape[:3]
    labelled = _complete(labelled_xy)
    usable = confidence > 0
    usable[:, 0] = True
    usable &= _complete(found_xy)
    rows = np.full((frames, animals, keypoints), -1, np.intp)
    for frame, keypoint in np.argwhere(labelled.any(axis=1)):
        labels = np.flatnonzero(labelled[frame, :, keypoint])
        found = np.flatnonzero(usable[frame, :, keypoint])
        costs = _distances(labelled_xy[frame, labels, keypoint], found_xy[frame, found, keypoint])
        first, second = linear_sum_assignment(costs)
        rows[frame, labels[first], keypoint] = found[second]
    taken = np.maximum(rows, 0)
    distances = np.linalg.norm(
        np.take_along_axis(found_xy, taken[..., None], axis=1) - labelled_xy, axis=3
    )
    return Matches(
        errors_px=np.where(rows >= 0, distances, np.nan).astype(np.float32),
        confidence=np.where(rows >= 0, np.take_along_axis(confidence, taken, axis=1), 0).astype(
            np.float32
        ),
        rows=rows,
        labelled=labelled,
    )


def error_figures(errors_px: NDArray[np.floating]) -> Figures:
    """Summarize distances in px; NaN are left out.

    Returns:
        `points` (number), `mean_error_px` (mean Euclidean distance, what DeepLabCut calls RMSE),
        `sem_px` (standard error of that mean over the points), `rmse_px` (root of the mean squared
        distance), `median_error_px`; None where nothing is there.
    """
    known = errors_px[np.isfinite(errors_px)].astype(np.float64)
    if not known.size:
        empty = ("mean_error_px", "sem_px", "rmse_px", "median_error_px")
        return {"points": 0, **dict.fromkeys(empty)}
    return {
        "points": int(known.size),
        "mean_error_px": float(known.mean()),
        "sem_px": standard_error(known),
        "rmse_px": float(np.sqrt((known**2).mean())),
        "median_error_px": float(np.median(known)),
    }


def pck(errors_px: NDArray[np.floating], limits_px: NDArray[np.floating] | float) -> float | None:
    """Share of points that lie within a limit: percentage of correct keypoints.

    Args:
        errors_px: (...) distances; NaN where not labelled, infinity where nothing was found.
        limits_px: one limit, or one for each point; NaN leaves the point out.

    Source: Yang and Ramanan 2013 (doi 10.1109/TPAMI.2012.261).
    """
    limits = np.broadcast_to(np.asarray(limits_px, np.float64), errors_px.shape)
    known = ~np.isnan(errors_px) & np.isfinite(limits)
    return float((errors_px[known] <= limits[known]).mean()) if known.any() else None


def body_lengths_px(
    labelled_xy: NDArray[np.float32], ends: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Return (F, N) lengths of the labelled animals; NaN where they cannot be told.

    Args:
        labelled_xy: (F, N, K, 2) px.
        ends: places on axis K of two keypoints whose distance is the length; None takes the
            longer side of the box around the labelled points of the animal, at least two.
    """
    if ends is not None:
        lengths: NDArray[np.float32] = np.linalg.norm(
            labelled_xy[:, :, ends[0]] - labelled_xy[:, :, ends[1]], axis=2
        )
        return lengths
    several = _complete(labelled_xy).sum(axis=2) >= 2
    sides = _box_sides(labelled_xy)
    return np.where(several, sides.max(axis=2), np.nan).astype(np.float32)


def detection_figures(
    found_xy: NDArray[np.float32],
    confidence: NDArray[np.float32],
    labelled_xy: NDArray[np.float32],
    *,
    radius_px: float,
    cutoff: float,
) -> dict[str, Figures]:
    """Count what was found, missed and made up of each keypoint, without grouping.

    In each frame the rows of a keypoint that are at or above `cutoff` are assigned to its labels
    within `radius_px`, as many as possible and then at the least total distance.

    Args:
        found_xy: (F, M, K, 2) px of the frame.
        confidence: (F, M, K) in [0, 1].
        labelled_xy: (F, N, K, 2) px of the frame; NaN where not labelled.
        radius_px: largest distance of a match.
        cutoff: confidence from which a row counts.

    Returns:
        For `all` and each place on axis K (as text): `labelled`, `found`, `matched` (numbers),
        `recall`, `precision` and `mean_error_px` of the matched; None where not defined.
    """
    keypoints = labelled_xy.shape[2]
    counts = np.zeros((keypoints, 3), np.int64)
    distances: list[list[float]] = [[] for _ in range(keypoints)]
    for frame in range(len(labelled_xy)):
        for keypoint in range(keypoints):
            labels = labelled_xy[frame, :, keypoint]
            labels = labels[np.isfinite(labels).all(axis=1)]
            rows = found_xy[frame, confidence[frame, :, keypoint] >= cutoff, keypoint]
            matched = _match_within(labels, rows, radius_px)
            counts[keypoint] += (len(labels), len(rows), len(matched))
            distances[keypoint] += matched
    figures = {
        str(place): _detection(counts[place], distances[place]) for place in range(keypoints)
    }
    return {"all": _detection(counts.sum(axis=0), list(chain(*distances))), **figures}


def oks(found_xy: NDArray[np.float32], labelled_xy: NDArray[np.float32]) -> float:
    """Object keypoint similarity of one animal: mean of exp(-d^2 / (2 s^2 (2 sigma)^2)).

    d is the distance of a labelled keypoint, s^2 the area of the box around the labelled points;
    sigma is `OKS_SIGMA` for every keypoint. A keypoint that was not found counts 0.

    Args:
        found_xy: (K, 2) px; NaN where not found.
        labelled_xy: (K, 2) px; NaN where not labelled.

    Returns:
        In [0, 1]; NaN where fewer than two points, or points on one line along an axis, give no
        area.

    Source: COCO keypoint evaluation (Lin et al. 2014, arXiv 1405.0312), with the area of the
    labels in the place of that of a mask, as DeepLabCut does.
    """
    known = _complete(labelled_xy)
    if known.sum() < 2:
        return float("nan")
    area_px2 = float(np.prod(_box_sides(labelled_xy[None, None])[0, 0].astype(np.float64)))
    if area_px2 <= 0:
        return float("nan")
    squared = ((found_xy[known].astype(np.float64) - labelled_xy[known]) ** 2).sum(axis=1)
    similarity = np.exp(-squared / (2 * area_px2 * (2 * OKS_SIGMA) ** 2))
    return float(np.nan_to_num(similarity).mean())


def oks_precision_recall(
    found_xy: NDArray[np.float32], confidence: NDArray[np.float32], labelled_xy: NDArray[np.float32]
) -> Figures:
    """Mean average precision and recall of whole animals over `OKS_THRESHOLDS`.

    Rows must be animals: found poses are ranked by their mean confidence; each takes the free
    label of its frame with the highest similarity, from the threshold on. Precision is averaged
    at 101 recalls, as COCO does. Labels of which the similarity is not defined are left out, and
    so are the rows of frames that have no other.

    Args:
        found_xy: (F, M, K, 2) px.
        confidence: (F, M, K) in [0, 1].
        labelled_xy: (F, N, K, 2) px; NaN where not labelled.

    Returns:
        `oks_map` and `oks_mar` in [0, 1]; None where no label has an area.
    """
    similarities = []
    for found, labels in zip(found_xy, labelled_xy, strict=True):
        table = np.array([[oks(row, label) for label in labels] for row in found])
        similarities.append(table[:, ~np.isnan(table).all(axis=0)])
    total = sum(table.shape[1] for table in similarities)
    if not total:
        return {"oks_map": None, "oks_mar": None}
    scores = confidence.mean(axis=2)
    best_first = np.argsort(-scores, axis=None, kind="stable")
    ranked = [
        (int(frame), int(row))
        for frame, row in np.stack(np.unravel_index(best_first, scores.shape), axis=1)
        if similarities[frame].shape[1]
    ]
    averages, recalls = [], []
    for threshold in OKS_THRESHOLDS:
        hits = _hits(ranked, similarities, threshold)
        recall = hits.cumsum() / total
        precision = hits.cumsum() / np.arange(1, len(hits) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(recall, np.linspace(0, 1, 101))
        averages.append(np.append(precision, 0.0)[places].mean())
        recalls.append(recall[-1])
    return {"oks_map": float(np.mean(averages)), "oks_mar": float(np.mean(recalls))}


def _hits(
    ranked: Sequence[tuple[int, int]], similarities: Sequence[NDArray[np.float64]], threshold: float
) -> NDArray[np.bool_]:
    """(rows,) whether each ranked row takes a label that no better row has taken."""
    free = [np.ones(table.shape[1], np.bool_) for table in similarities]
    hits = np.zeros(len(ranked), np.bool_)
    for place, (frame, row) in enumerate(ranked):
        left = np.where(free[frame], similarities[frame][row], -1.0)
        best = int(left.argmax())
        if left[best] >= threshold:
            free[frame][best] = False
            hits[place] = True
    return hits


def _match_within(
    labels: NDArray[np.float32], rows: NDArray[np.float32], radius_px: float
) -> list[float]:
    """Distances of the matched pairs of (L, 2) and (R, 2) px."""
    if not len(labels) or not len(rows):
        return []
    distances = _distances(labels, rows)
    costs = np.where(distances <= radius_px, distances, _FAR_PX)
    pairs = linear_sum_assignment(costs)
    return [float(one) for one in distances[pairs] if one <= radius_px]


def _detection(counts: NDArray[np.int64], distances: Sequence[float]) -> Figures:
    labelled, found, matched = (int(one) for one in counts)
    return {
        "labelled": labelled,
        "found": found,
        "matched": matched,
        "recall": matched / labelled if labelled else None,
        "precision": matched / found if found else None,
        "mean_error_px": float(np.mean(distances)) if distances else None,
    }


def _distances(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """(A, B) distances of (A, 2) from (B, 2)."""
    apart = first[:, None].astype(np.float64) - second[None]
    return np.asarray(np.linalg.norm(apart, axis=2), np.float64)


def _complete(points_xy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(...) whether both coordinates of (..., 2) are there."""
    return np.asarray(np.isfinite(points_xy).all(axis=-1), np.bool_)


def _box_sides(labelled_xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """(F, N, 2) width and height of the box around the labelled points; 0 where there are none."""
    known = _complete(labelled_xy)[..., None]
    high = np.where(known, labelled_xy, -np.inf).max(axis=2)
    low = np.where(known, labelled_xy, np.inf).min(axis=2)
    return np.where(np.isfinite(high), high - low, 0).astype(np.float32)
