"""Whether one preset is better than another: a paired bootstrap over clips.

After Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13: clips are drawn with
replacement, the same ones for both presets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidConfig

_DRAWS = 4000
_ENDS = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Difference:
    """Macro F1 of one preset minus that of another, mean over the splits."""

    mean: float
    low: float
    """2.5th percentile of the draws."""
    high: float
    """97.5th percentile."""


def macro_f1(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the mean F1 of the behaviors that are labelled or predicted.

    Args:
        counts: (..., C, 3) frames of `training.behavior.study.worker.clip_counts`, summed.

    Returns:
        (...) in [0, 1]; NaN where no behavior occurs.
    """
    both, claimed, missed = np.moveaxis(counts.astype(np.float64), -1, 0)
    total = 2 * both + claimed + missed
    with np.errstate(invalid="ignore"):
        f1 = np.where(total > 0, 2 * both / total, np.nan)
    occurs = (total > 0).sum(axis=-1)
    summed = np.nansum(f1, axis=-1)
    return np.asarray(summed / np.where(occurs > 0, occurs, np.nan))


def compare(
    first: Sequence[NDArray[np.integer]],
    second: Sequence[NDArray[np.integer]],
    *,
    draws: int = _DRAWS,
    seed: int = 1,
) -> Difference:
    """Return how much higher the macro F1 of `first` is.

    Args:
        first: (clips, C, 3) counts of one preset, one array a split.
        second: the same clips of the other.
        draws: of the bootstrap.
        seed: of the draws.

    Raises:
        InvalidConfig: the clips are not the same.
    """
    if [one.shape for one in first] != [one.shape for one in second]:
        raise InvalidConfig("the two presets answered different clips; train both on the same data")
    random = np.random.default_rng(seed)
    means, drawn = [], []
    for one, other in zip(first, second, strict=True):
        means.append(macro_f1(one.sum(axis=0)) - macro_f1(other.sum(axis=0)))
        weights = random.multinomial(len(one), np.full(len(one), 1 / len(one)), size=draws)
        drawn.append(
            macro_f1(np.einsum("dk,kct->dct", weights, one))
            - macro_f1(np.einsum("dk,kct->dct", weights, other))
        )
    low, high = np.percentile(np.mean(drawn, axis=0), _ENDS)
    return Difference(float(np.mean(means)), float(low), float(high))
