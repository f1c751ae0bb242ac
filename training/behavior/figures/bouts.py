"""Figures of bouts: how many were found, and statistics of recordings by labels and prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.bouts import (
    BoutMatch,
    BoutStatistics,
    bout_statistics,
    correlation,
    match_bouts,
    total_statistics,
)

StatisticName = Literal["count", "mean_length_s", "time_spent_s"]
STATISTICS: tuple[StatisticName, ...] = ("count", "mean_length_s", "time_spent_s")
"""Those of Figure 5 of Bohnslav et al. 2021."""

Stretches = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class BoutComparison:
    """The bouts of one set of answers against those of another, over R recordings."""

    recordings: tuple[str, ...]
    labelled: tuple[BoutStatistics, ...]
    """One a recording."""
    predicted: tuple[BoutStatistics, ...]
    """One a recording."""
    match: BoutMatch
    """Over all recordings."""

    @property
    def total_labelled(self) -> BoutStatistics:
        """Over all recordings."""
        return total_statistics(self.labelled)

    @property
    def total_predicted(self) -> BoutStatistics:
        """Over all recordings."""
        return total_statistics(self.predicted)

    def values(self, statistic: StatisticName) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the statistic by labels and by prediction, (R, C) each."""
        by_labels, by_prediction = (
            np.stack([getattr(one, statistic) for one in part]).astype(np.float64)
            for part in (self.labelled, self.predicted)
        )
        return by_labels, by_prediction

    def correlation(self, statistic: StatisticName) -> NDArray[np.float64]:
        """(C,) Pearson's r of the statistic over recordings, as `service.bouts.correlation`."""
        return correlation(*self.values(statistic))


def compare_bouts(
    names: Sequence[str],
    labelled: Sequence[NDArray[np.bool_]],
    predicted: Sequence[NDArray[np.bool_]],
    stretches: Sequence[Stretches],
    frame_rate_hz: float,
) -> BoutComparison:
    """Compare the bouts of recordings.

    Args:
        names: of the recordings, one at least.
        labelled: (T, C) bool of each.
        predicted: (T, C) bool of each.
        stretches: (first, first after) of what is looked at in each.
        frame_rate_hz: frames a second.
    """
    by_labels, by_prediction = (
        tuple(
            bout_statistics(one, limits, frame_rate_hz)
            for one, limits in zip(part, stretches, strict=True)
        )
        for part in (labelled, predicted)
    )
    match = match_bouts(labelled, predicted, stretches, frame_rate_hz)
    return BoutComparison(tuple(names), by_labels, by_prediction, match)
