"""Bouts of behaviors as a person would count them, and how far two sets of them agree.

Bouts are cut at the limits of clips and where frames are not known, so that nothing that was not
seen is counted. Arrays are (T, C): frames of one recording, and behaviors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.behavior import apply_bout_rule, runs
from service.behavior_statistics import ratio

MATCH_IOU = 0.5
"""Overlap of matched bouts: intersection over union, the F1@50 of Lea et al. 2017."""
_FEWEST_RECORDINGS = 3
"""Two points always lie on a line, so that a correlation of two says nothing."""


@dataclass(frozen=True, slots=True)
class BoutStatistics:
    """Bouts of one recording or more; arrays are (C,)."""

    count: NDArray[np.int64]
    time_spent_s: NDArray[np.float64]
    mean_length_s: NDArray[np.float64]
    """NaN where there is no bout."""
    watched_s: float
    """Time that was looked at."""

    @property
    def share(self) -> NDArray[np.float64]:
        """(C,) part of the time in [0, 1]; NaN where nothing was looked at."""
        seconds = self.watched_s or float("nan")
        return self.time_spent_s / seconds


@dataclass(frozen=True, slots=True)
class BoutMatch:
    """How many bouts were found again; arrays are (C,)."""

    labelled: NDArray[np.int64]
    predicted: NDArray[np.int64]
    found: NDArray[np.int64]
    """Pairs of a labelled and a predicted bout that overlap enough; each bout is in one at most."""
    onset_error_s: NDArray[np.float64]
    """Mean distance of the onsets of a pair; NaN where there is none."""
    offset_error_s: NDArray[np.float64]
    """Mean distance of the offsets of a pair; NaN where there is none."""

    @property
    def recall(self) -> NDArray[np.float64]:
        """(C,) share of the labelled bouts that were found."""
        return ratio(self.found, self.labelled)

    @property
    def precision(self) -> NDArray[np.float64]:
        """(C,) share of the predicted bouts that are labelled."""
        return ratio(self.found, self.predicted)

    @property
    def f1(self) -> NDArray[np.float64]:
        """(C,) NaN where there is neither a labelled nor a predicted bout."""
        return ratio(2 * self.found, self.labelled + self.predicted)


def known_stretches(
    known: NDArray[np.bool_], clips: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return (first, first after) of each stretch of (T,) `known` frames within one clip."""
    return [
        (first + onset, first + offset)
        for first, end in clips
        for onset, offset in runs(known[first:end])
    ]


def apply_bout_rule_by_clip(
    shown: NDArray[np.bool_],
    clips: Sequence[tuple[int, int]],
    min_bout_frames: Sequence[int],
    *,
    exclusive: bool = False,
) -> NDArray[np.bool_]:
    """Apply `service.behavior.apply_bout_rule` to each clip by itself; frames of none stay."""
    result = shown.copy()
    for first, end in clips:
        result[first:end] = apply_bout_rule(shown[first:end], min_bout_frames, exclusive=exclusive)
    return result


def bout_statistics(
    shown: NDArray[np.bool_], stretches: Sequence[tuple[int, int]], frame_rate_hz: float
) -> BoutStatistics:
    """Count and measure the bouts of each behavior (Bohnslav et al. 2021, Figure 5).

    Args:
        shown: (T, C) bool.
        stretches: (first, first after) of what is looked at, as of `known_stretches`.
        frame_rate_hz: frames a second.
    """
    lengths = [
        [off - on for first, end in stretches for on, off in runs(shown[first:end, column])]
        for column in range(shown.shape[1])
    ]
    count = np.array([len(one) for one in lengths], np.int64)
    frames = np.array([sum(one) for one in lengths], np.int64)
    return BoutStatistics(
        count=count,
        time_spent_s=frames / frame_rate_hz,
        mean_length_s=ratio(frames, count) / frame_rate_hz,
        watched_s=sum(end - first for first, end in stretches) / frame_rate_hz,
    )


def total_statistics(parts: Sequence[BoutStatistics]) -> BoutStatistics:
    """Add up the statistics of one recording or more."""
    count = np.sum([one.count for one in parts], axis=0)
    time_spent_s = np.sum([one.time_spent_s for one in parts], axis=0)
    return BoutStatistics(
        count=count,
        time_spent_s=time_spent_s,
        mean_length_s=ratio(time_spent_s, count),
        watched_s=sum(one.watched_s for one in parts),
    )


def match_bouts(
    labelled: Sequence[NDArray[np.bool_]],
    predicted: Sequence[NDArray[np.bool_]],
    stretches: Sequence[Sequence[tuple[int, int]]],
    frame_rate_hz: float,
    *,
    min_iou: float = MATCH_IOU,
) -> BoutMatch:
    """Pair the bouts of recordings, those that overlap most first (Lea et al. 2017, CVPR, F1@k).

    A predicted bout finds a labelled one when the frames that they share are at least `min_iou`
    of the frames that either covers; a labelled bout can be found once.

    Args:
        labelled: one (T, C) bool array per recording.
        predicted: the same recordings.
        stretches: what is looked at in each, as of `known_stretches`.
        frame_rate_hz: frames a second.
        min_iou: smallest overlap, in (0, 1].
    """
    behaviors = labelled[0].shape[1]
    counts = np.zeros((3, behaviors), np.int64)
    distances = np.zeros((2, behaviors))
    for truth, claims, parts in zip(labelled, predicted, stretches, strict=True):
        for first, end in parts:
            for column in range(behaviors):
                true_runs, claimed_runs = (runs(one[first:end, column]) for one in (truth, claims))
                pairs = _pairs(true_runs, claimed_runs, min_iou)
                counts[:, column] += len(true_runs), len(claimed_runs), len(pairs)
                for (on, off), (claimed_on, claimed_off) in pairs:
                    distances[:, column] += abs(on - claimed_on), abs(off - claimed_off)
    return BoutMatch(*counts, *(ratio(one, counts[2]) / frame_rate_hz for one in distances))


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's r over recordings, for each behavior.

    Args:
        one: (R, C) a bout statistic of R recordings; NaN where it is not defined.
        other: (R, C) the same statistic by another labeller, or predicted.

    Returns:
        (C,) float64 in [-1, 1]; NaN where fewer than three recordings have both or one of the
        two never changes.
    """
    found = np.full(one.shape[1], np.nan)
    for column in range(one.shape[1]):
        both = ~np.isnan(one[:, column]) & ~np.isnan(other[:, column])
        pair = np.stack([one[both, column], other[both, column]])
        if pair.shape[1] >= _FEWEST_RECORDINGS:
            away = pair - pair.mean(axis=1, keepdims=True)
            scale = np.sqrt((away**2).sum(axis=1).prod())
            if scale > 1e-12 * (1 + np.abs(pair).max() ** 2):
                found[column] = np.clip((away[0] * away[1]).sum() / scale, -1, 1)
    return found


_Run = tuple[int, int]


def _pairs(
    labelled: Sequence[_Run], predicted: Sequence[_Run], min_iou: float
) -> list[tuple[_Run, _Run]]:
    """Pair two lists of runs, each in order and without overlaps of its own."""
    candidates = []
    start = 0
    for place, (on, off) in enumerate(labelled):
        while start < len(predicted) and predicted[start][1] <= on:
            start += 1
        for other in range(start, len(predicted)):
            claimed_on, claimed_off = predicted[other]
            if claimed_on >= off:
                break
            shared = min(off, claimed_off) - max(on, claimed_on)
            iou = shared / (max(off, claimed_off) - min(on, claimed_on))
            if iou >= min_iou:
                candidates.append((-iou, place, other))
    pairs = []
    taken: tuple[set[int], set[int]] = set(), set()
    for _, place, other in sorted(candidates):
        if place not in taken[0] and other not in taken[1]:
            taken[0].add(place)
            taken[1].add(other)
            pairs.append((labelled[place], predicted[other]))
    return pairs
