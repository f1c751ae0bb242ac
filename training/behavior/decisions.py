"""What turns the probabilities of a run into behaviors: thresholds and shortest bouts."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.behavior_statistics import best_thresholds
from training.behavior.settings import Decisions
from training.data.behavior_frames import bout_lengths
from training.runs import Run

_BOUT_PERCENTILE = 1.0


class Labelled(Protocol):
    """A recording with labels."""

    @property
    def labels(self) -> NDArray[np.int8]:
        """(T, C): 1 present, 0 absent, -1 not labelled."""
        ...

    @property
    def clips(self) -> tuple[tuple[int, int], ...]:
        """(first, first after) frame of each uninterrupted stretch."""
        ...


def write_decisions(
    run: Run,
    training: Sequence[Labelled],
    held_out: tuple[NDArray[np.float32], NDArray[np.int8]] | None,
    *,
    exclusive: bool,
    min_bout_frames: int | None,
) -> Decisions:
    """Choose thresholds on validation frames and shortest bouts on training recordings; store them.

    Args:
        run: gets decisions.json.
        training: recordings that trained.
        held_out: (N, C) probabilities of validation frames, NaN where there is no answer, and
            their labels (N, C); without any, thresholds are 0.5.
        exclusive: whether one behavior a frame is present; all thresholds are 0.5 then.
        min_bout_frames: of all behaviors; None takes the 1st percentile of the labelled bouts.
    """
    count = training[0].labels.shape[1]
    thresholds = np.full(count, 0.5)
    if held_out is not None and not exclusive:
        values, labels = held_out
        known = (labels >= 0).all(axis=1) & ~np.isnan(values).any(axis=1)
        thresholds = best_thresholds(labels[known] == 1, values[known])
    shortest = _shortest_bouts(training, count)
    decisions = Decisions(
        thresholds=tuple(round(float(one), 4) for one in thresholds),
        min_bout_frames=shortest if min_bout_frames is None else (min_bout_frames,) * count,
    )
    text = msgspec.json.format(msgspec.json.encode(decisions), indent=2)
    (run.directory / "decisions.json").write_bytes(text + b"\n")
    return decisions


def label_counts(recordings: Sequence[Labelled]) -> tuple[NDArray[np.int64], int]:
    """(C,) positive frames and the number of frames whose behaviors are all labelled."""
    labels = np.concatenate([one.labels for one in recordings])
    known = labels[(labels >= 0).all(axis=1)]
    return (known == 1).sum(axis=0), len(known)


def _shortest_bouts(training: Sequence[Labelled], count: int) -> tuple[int, ...]:
    lengths: list[list[int]] = [[] for _ in range(count)]
    for one in training:
        for column, found in enumerate(bout_lengths(one.labels, one.clips)):
            lengths[column] += found
    return tuple(
        max(1, int(np.percentile(found, _BOUT_PERCENTILE))) if found else 1 for found in lengths
    )
