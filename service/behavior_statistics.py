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
    claims: NDArray[np.int64]
    """(C,) predicted positive frames."""
    hits: NDArray[np.int64]
    """(C,) frames that are both."""
    total: int
    """All frames, T."""

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the behaviors that have one."""
        return mean_defined(self.f1)

    @property
    def micro_f1(self) -> float:
        """F1 of all frames and behaviors together; for exclusive ones the share of right frames."""
        return self._micro(2 * self.hits, self.frames + self.claims)

    @property
    def micro_precision(self) -> float:
        """Share of all predicted entries that are labelled."""
        return self._micro(self.hits, self.claims)

    @property
    def micro_recall(self) -> float:
        """Share of all labelled entries that are predicted."""
        return self._micro(self.hits, self.frames)

    @property
    def class_accuracy(self) -> NDArray[np.float64]:
        """(C,) share of frames in which the answer on a behavior is right."""
        return 1.0 - (self.frames + self.claims - 2 * self.hits) / self.total

    @property
    def false_positive_rate(self) -> NDArray[np.float64]:
        """(C,) share of the negative frames that are predicted."""
        return ratio(self.claims - self.hits, self.total - self.frames)

    @property
    def informedness(self) -> NDArray[np.float64]:
        """(C,) recall minus false positive rate, in [-1, 1] (Youden's J)."""
        return self.recall - self.false_positive_rate

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(C, 2, 2) frames by label (absent, present), then by prediction (absent, present)."""
        misses, false_alarms = self.frames - self.hits, self.claims - self.hits
        rejections = self.total - self.hits - misses - false_alarms
        rows = [[rejections, false_alarms], [misses, self.hits]]
        return np.moveaxis(np.array(rows, np.int64), 2, 0)

    def f_beta(self, beta: float) -> NDArray[np.float64]:
        """(C,) F-beta: recall counts `beta` times as much as precision (van Rijsbergen 1979)."""
        weight = beta**2
        return ratio((1 + weight) * self.hits, weight * self.frames + self.claims)

    def _micro(self, part: NDArray[np.int64], whole: NDArray[np.int64]) -> float:
        return float(part.sum() / whole.sum()) if whole.any() else float("nan")


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
    return _from_counts(hits, labelled.sum(axis=0), predicted.sum(axis=0), len(labelled))


def frame_accuracy(labelled: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """Share of frames whose behaviors are all right; for exclusive ones the usual accuracy."""
    return float((labelled == predicted).all(axis=1).mean())


def confusion(labelled: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the frames of exclusive behaviors by label (rows) and prediction (columns).

    Args:
        labelled: (T, C) bool, one True a frame.
        predicted: (T, C) bool, one True a frame.

    Returns:
        (C, C) int64.
    """
    return np.asarray(labelled.T.astype(np.int64) @ predicted.astype(np.int64))


def kappa(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cohen's kappa (1960): agreement beyond what the two shares of each answer would give.

    Args:
        counts: (..., K, K) frames by the answers of one and of the other labeller, such as
            `confusion` or `Agreement.confusion` give them.

    Returns:
        (...) float64, at most 1; NaN where both always gave the same one answer.
    """
    shares = counts / np.maximum(counts.sum(axis=(-2, -1), keepdims=True), 1)
    agreed = np.trace(shares, axis1=-2, axis2=-1)
    expected = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
    result = np.full(agreed.shape, np.nan)
    np.divide(agreed - expected, 1 - expected, out=result, where=expected < 1 - 1e-12)
    return result


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


def average_precision(
    labelled: NDArray[np.bool_], values: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Average precision of each behavior: precision at each threshold, weighted by gained recall.

    The area under the precision-recall steps without interpolation; its mean over behaviors is
    the mAP. Chance gives the share of positive frames.

    Args:
        labelled: (T, C) bool.
        values: (T, C) probabilities, not NaN.

    Returns:
        (C,) float64; NaN where a behavior is in no frame.
    """
    areas = np.full(labelled.shape[1], np.nan)
    for column in range(labelled.shape[1]):
        truth = labelled[:, column]
        if truth.any():
            order = np.argsort(-values[:, column], kind="stable")
            ordered = values[order, column]
            last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
            hits = truth[order].cumsum()[last]
            gained = np.diff(hits, prepend=0) / truth.sum()
            areas[column] = (gained * hits / (last + 1)).sum()
    return areas


@dataclass(frozen=True, slots=True)
class Chance:
    """What predictions of the same amount and rhythm get at random times; arrays may hold NaN."""

    f1: NDArray[np.float64]
    """(C,) mean over the shuffles."""
    accuracy: float
    """Mean share of equal entries."""
    macro_f1s: NDArray[np.float64]
    """(shuffles,) macro F1 of each shuffle."""
    micro_f1: float
    """Mean; for exclusive behaviors the share of right frames."""

    @property
    def macro_f1(self) -> float:
        """Mean macro F1."""
        return mean_defined(self.macro_f1s)


def chance(
    labelled: Sequence[NDArray[np.bool_]],
    predicted: Sequence[NDArray[np.bool_]],
    *,
    shuffles: int = CHANCE_SHUFFLES,
    seed: int = 0,
) -> Chance:
    """Measure what chance gives.

    The predictions of each recording are turned around by a random number of frames (circular
    shuffle), which keeps their bouts.

    Args:
        labelled: one (T, C) bool array per recording, each of one frame at least.
        predicted: the same recordings.
        shuffles: number of draws, at least 1.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    turns = [[int(random.integers(len(one))) for one in predicted] for _ in range(shuffles)]
    hits = np.zeros((shuffles, labelled[0].shape[1]), np.int64)
    for place, (truth, claims) in enumerate(zip(labelled, predicted, strict=True)):
        hits += _turned_hits(truth, claims)[[turn[place] for turn in turns]]
    frames = np.sum([one.sum(axis=0) for one in labelled], axis=0)
    claimed = np.sum([one.sum(axis=0) for one in predicted], axis=0)
    total = sum(map(len, labelled))
    found = [_from_counts(one, frames, claimed, total) for one in hits]
    f1 = np.stack([one.f1 for one in found])
    return Chance(
        f1=f1.mean(axis=0),  # a behavior without an F1 has none in any draw
        accuracy=float(np.mean([one.accuracy for one in found])),
        macro_f1s=np.array([one.macro_f1 for one in found]),
        micro_f1=float(np.mean([one.micro_f1 for one in found])),
    )


def chance_f1(
    labelled: Sequence[NDArray[np.bool_]],
    predicted: Sequence[NDArray[np.bool_]],
    *,
    shuffles: int = CHANCE_SHUFFLES,
    seed: int = 0,
) -> float:
    """Return the mean macro F1 of `chance`, which see."""
    return chance(labelled, predicted, shuffles=shuffles, seed=seed).macro_f1


def best_thresholds(
    labelled: NDArray[np.bool_],
    values: NDArray[np.float32],
    *,
    candidates: int = 199,
    lowest_f1: float = 0.0,
) -> NDArray[np.float64]:
    """Return the (C,) thresholds in [0.02, 0.98] with the highest F1, 0.5 where no F1 is defined.

    Of neighboring equally good thresholds the middle one is taken, since it is the safest.

    Args:
        labelled: (T, C) bool of validation frames.
        values: (T, C) probabilities of the same frames.
        candidates: number of thresholds that are tried.
        lowest_f1: a behavior whose best F1 is below it gets 0.5 (DeepEthogram: 0.05).
    """
    grid = np.linspace(0.02, 0.98, candidates)
    claims = reached(values, grid)
    chosen = np.full(labelled.shape[1], 0.5)
    for column in range(labelled.shape[1]):
        truth = labelled[:, column]
        if truth.any():
            hits = reached(values[truth, column, None], grid)[:, 0]
            figures = ratio(2 * hits, truth.sum() + claims[:, column])
            if np.nanmax(figures) >= lowest_f1:
                best = np.flatnonzero(figures >= np.nanmax(figures) - 1e-9)
                chosen[column] = grid[best[len(best) // 2]]
    return chosen


def reached(values: NDArray[np.float32], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the frames whose probability is at or above each threshold.

    Args:
        values: (T, C), not NaN.
        thresholds: (N,).

    Returns:
        (N, C) int64.
    """
    ordered = np.sort(values.astype(np.float64), axis=0)
    below = [np.searchsorted(column, thresholds, side="left") for column in ordered.T]
    return len(values) - np.stack(below, axis=1).astype(np.int64)


def mean_defined(values: NDArray[np.float64]) -> float:
    """Mean of the entries that are not NaN; NaN where there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def ratio(part: NDArray[np.generic], whole: NDArray[np.generic]) -> NDArray[np.float64]:
    """Divide two arrays of one shape; NaN where `whole` is not positive."""
    result = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=result, where=np.asarray(whole) > 0)
    return result


def _from_counts(
    hits: NDArray[np.int64], frames: NDArray[np.int64], claims: NDArray[np.int64], total: int
) -> Agreement:
    size = total * len(frames)
    return Agreement(
        f1=ratio(2 * hits, frames + claims),
        precision=ratio(hits, claims),
        recall=ratio(hits, frames),
        frames=frames.astype(np.int64),
        accuracy=float((size - (frames + claims - 2 * hits).sum()) / size),
        claims=claims.astype(np.int64),
        hits=hits.astype(np.int64),
        total=total,
    )


def _turned_hits(truth: NDArray[np.bool_], claims: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(T, C) frames that are both when `claims` is turned around by 0 to T - 1 frames.

    A circular cross-correlation; counts are whole numbers, so that rounding makes it exact.
    """
    length = len(truth)
    spectrum = np.fft.rfft(truth.astype(np.float64), axis=0)
    spectrum *= np.conj(np.fft.rfft(claims.astype(np.float64), axis=0))
    return np.rint(np.fft.irfft(spectrum, length, axis=0)).astype(np.int64)


def _mean_ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return ranks
