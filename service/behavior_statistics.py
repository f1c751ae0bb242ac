"""How well predicted behaviors match labelled ones, frame by frame, and what chance would give.

Arrays are (T, C): frames of all recordings one after another, and behaviors. Definitions as in
DeepEthogram (Bohnslav et al. 2021, eLife 10:e63377). A figure that is not defined, such as the
F1 of a behavior that is neither labelled nor predicted, is NaN and left out of means.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest

CHANCE_SHUFFLES = 100
"""Circular shuffles that the chance level is the mean of, as in the paper."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Figures of predicted against labelled frames; arrays are (C,) float64 in [0, 1] or NaN."""

    f1: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    frames: NDArray[np.int64]
    """(C,) labelled positive frames."""
    accuracy: float
    """Share of equal entries over all frames and behaviors."""

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the behaviors that have one."""
        return mean_defined(self.f1)


def agreement(labelled: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Agreement:
    """Compare (T, C) bool predictions with labels.

    Raises:
        InvalidRequest: the shapes differ or there is no frame.
    """
    if labelled.shape != predicted.shape or not len(labelled):
        raise InvalidRequest(
            f"labels are {labelled.shape} and predictions {predicted.shape} (frames, behaviors); "
            "give the same frames of both, at least one"
        )
    hits = (labelled & predicted).sum(axis=0)
    positives, claims = labelled.sum(axis=0), predicted.sum(axis=0)
    return Agreement(
        f1=_ratio(2 * hits, positives + claims),
        precision=_ratio(hits, claims),
        recall=_ratio(hits, positives),
        frames=positives.astype(np.int64),
        accuracy=float((labelled == predicted).mean()),
    )


def frame_accuracy(labelled: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """Share of frames whose behaviors are all right; for exclusive ones the usual accuracy."""
    return float((labelled == predicted).all(axis=1).mean())


def auroc(labelled: NDArray[np.bool_], values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Area under the ROC curve of each behavior, by ranks; ties count half (Mann-Whitney U).

    Args:
        labelled: (T, C) bool.
        values: (T, C) probabilities, not NaN.

    Returns:
        (C,) float64; NaN where a behavior is in no frame or in all.
    """
    areas = np.full(labelled.shape[1], np.nan)
    for column in range(labelled.shape[1]):
        truth = labelled[:, column]
        positives = int(truth.sum())
        negatives = len(truth) - positives
        if positives and negatives:
            ranks = _mean_ranks(values[:, column])
            above = ranks[truth].sum() - positives * (positives + 1) / 2
            areas[column] = above / (positives * negatives)
    return areas


def chance_f1(
    labelled: Sequence[NDArray[np.bool_]],
    predicted: Sequence[NDArray[np.bool_]],
    *,
    shuffles: int = CHANCE_SHUFFLES,
    seed: int = 0,
) -> float:
    """Macro F1 that predictions of the same amount and rhythm get at random times.

    The predictions of each recording are turned around by a random number of frames (circular
    shuffle), which keeps their bouts; the answer is the mean over `shuffles` draws.

    Args:
        labelled: one (T, C) bool array per recording.
        predicted: the same recordings.
        shuffles: number of draws.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    truth = np.concatenate(labelled)
    found = []
    for _ in range(shuffles):
        turned = [np.roll(one, int(random.integers(len(one))), axis=0) for one in predicted]
        found.append(agreement(truth, np.concatenate(turned)).macro_f1)
    return mean_defined(np.array(found))


def best_thresholds(
    labelled: NDArray[np.bool_], values: NDArray[np.float32], *, candidates: int = 199
) -> NDArray[np.float64]:
    """Return the (C,) thresholds in [0.02, 0.98] with the highest F1, 0.5 where no F1 is defined.

    Of neighboring equally good thresholds the middle one is taken, since it is the safest.

    Args:
        labelled: (T, C) bool of validation frames.
        values: (T, C) probabilities of the same frames.
        candidates: number of thresholds that are tried.
    """
    grid = np.linspace(0.02, 0.98, candidates)
    chosen = np.full(labelled.shape[1], 0.5)
    for column in range(labelled.shape[1]):
        truth = labelled[:, column]
        if truth.any():
            claimed = values[:, column, None] >= grid
            figures = _ratio(2 * (truth[:, None] & claimed).sum(0), truth.sum() + claimed.sum(0))
            best = np.flatnonzero(figures >= np.nanmax(figures) - 1e-9)
            chosen[column] = grid[best[len(best) // 2]]
    return chosen


def mean_defined(values: NDArray[np.float64]) -> float:
    """Mean of the entries that are not NaN; NaN where there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    result = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=result, where=np.asarray(whole) > 0)
    return result


def _mean_ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return ranks
