"""How figures of predicted behaviors change with the threshold, and how true probabilities are.

Arrays are as in `service.behavior_statistics`, which holds the figures at one threshold.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.behavior_statistics import mean_defined, ratio, reached

CURVE_THRESHOLDS = 200
"""From 1e-4 to 1, as DeepEthogram looks at them."""


@dataclass(frozen=True, slots=True)
class ThresholdCurves:
    """Figures of each behavior at each of N thresholds; (N, C) float64, NaN where undefined."""

    thresholds: NDArray[np.float64]
    """(N,) rising."""
    f1: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    """Also the true positive rate of the ROC."""
    false_positive_rate: NDArray[np.float64]
    """Share of the negative frames that are predicted."""

    @property
    def informedness(self) -> NDArray[np.float64]:
        """(N, C) recall minus false positive rate, in [-1, 1]."""
        return self.recall - self.false_positive_rate

    def best(self, figure: Literal["f1", "informedness"] = "f1") -> NDArray[np.float64]:
        """(C,) first threshold with the highest figure; NaN where it is nowhere defined."""
        values = getattr(self, figure)
        defined = ~np.isnan(values).all(axis=0)
        places = np.where(np.isnan(values), -np.inf, values).argmax(axis=0)
        return np.where(defined, self.thresholds[places], np.nan)


def threshold_curves(
    labelled: NDArray[np.bool_],
    values: NDArray[np.float32],
    thresholds: NDArray[np.float64] | None = None,
) -> ThresholdCurves:
    """Measure (T, C) probabilities against labels at each threshold.

    Args:
        labelled: (T, C) bool.
        values: (T, C) probabilities, not NaN.
        thresholds: (N,) rising; None: 200 from 1e-4 to 1.
    """
    if thresholds is None:
        thresholds = np.linspace(1e-4, 1.0, CURVE_THRESHOLDS)
    columns = range(labelled.shape[1])
    hits = np.column_stack(
        [reached(values[labelled[:, one], one, None], thresholds) for one in columns]
    )
    claims, positives = reached(values, thresholds), labelled.sum(axis=0)
    negatives = len(labelled) - positives
    return ThresholdCurves(
        thresholds=thresholds,
        f1=ratio(2 * hits, claims + positives),
        precision=ratio(hits, claims),
        recall=ratio(hits, np.broadcast_to(positives, hits.shape)),
        false_positive_rate=ratio(claims - hits, np.broadcast_to(negatives, hits.shape)),
    )


@dataclass(frozen=True, slots=True)
class ExactCurve:
    """One behavior at each probability that occurs, from the highest; (N,) float64 each.

    The first point stands for a threshold above all probabilities (nothing is predicted).
    """

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    false_positive_rate: NDArray[np.float64]

    def thinned(self, most: int) -> "ExactCurve":
        """Return at most `most` of the points, evenly taken, the first and the last among them."""
        places = np.linspace(0, len(self.recall) - 1, min(most, len(self.recall)))
        chosen = np.unique(np.rint(places).astype(np.intp))
        return ExactCurve(
            self.thresholds[chosen],
            self.precision[chosen],
            self.recall[chosen],
            self.false_positive_rate[chosen],
        )


def exact_curve(labelled: NDArray[np.bool_], values: NDArray[np.float32]) -> ExactCurve | None:
    """Return the precision-recall and ROC curve of one behavior, every distinct threshold a point.

    Args:
        labelled: (T,) bool.
        values: (T,) probabilities, not NaN.

    Returns:
        The curve, or None where the behavior is in no frame or in all.
    """
    positives = int(labelled.sum())
    negatives = len(labelled) - positives
    if not positives or not negatives:
        return None
    order = np.argsort(-values, kind="stable")
    ordered = values[order].astype(np.float64)
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hits = labelled[order].cumsum()[last]
    return ExactCurve(
        thresholds=np.concatenate([[np.inf], ordered[last]]),
        precision=np.concatenate([[1.0], hits / (last + 1)]),
        recall=np.concatenate([[0.0], hits / positives]),
        false_positive_rate=np.concatenate([[0.0], (last + 1 - hits) / negatives]),
    )


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often a behavior is present where it got some probability; N bins of equal width."""

    counts: NDArray[np.int64]
    """(N, C) frames in each bin."""
    mean_probability: NDArray[np.float64]
    """(N, C); NaN in an empty bin."""
    present_share: NDArray[np.float64]
    """(N, C) share of the frames in which the behavior is labelled; NaN in an empty bin."""

    @property
    def error(self) -> NDArray[np.float64]:
        """(C,) expected calibration error: mean distance of the two, weighted by frames."""
        distance = np.nan_to_num(np.abs(self.mean_probability - self.present_share))
        total = np.maximum(self.counts.sum(axis=0), 1)
        return np.asarray((distance * self.counts).sum(axis=0) / total)

    @property
    def mean_error(self) -> float:
        """Mean of `error` over the behaviors."""
        return mean_defined(self.error)


def calibration(
    labelled: NDArray[np.bool_], values: NDArray[np.float32], *, bins: int = 10
) -> Calibration:
    """Compare probabilities with the share of frames in which they come true.

    The reliability diagram and expected calibration error of Guo et al. 2017 (ICML), for each
    behavior as an answer of its own.

    Args:
        labelled: (T, C) bool.
        values: (T, C) probabilities, not NaN.
        bins: number of bins of equal width over [0, 1].
    """
    places = np.minimum((values.astype(np.float64) * bins).astype(np.intp), bins - 1)
    shape = (bins, labelled.shape[1])
    counts, sums, present = (np.zeros(shape) for _ in range(3))
    for column in range(labelled.shape[1]):
        place = places[:, column]
        counts[:, column] = np.bincount(place, minlength=bins)
        sums[:, column] = np.bincount(place, values[:, column], minlength=bins)
        present[:, column] = np.bincount(place, labelled[:, column], minlength=bins)
    return Calibration(counts.astype(np.int64), ratio(sums, counts), ratio(present, counts))
