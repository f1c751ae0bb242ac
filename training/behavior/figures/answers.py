"""What a model says of recordings, beside their labels: the input of all figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.behavior import present, probabilities
from service.bouts import apply_bout_rule_by_clip, known_stretches
from service.bundle import BehaviorSpec


class Prediction(Protocol):
    """Logits of one recording beside its labels, as `training.behavior.evaluate` predicts them."""

    @property
    def name(self) -> str:
        """Of the recording."""
        ...

    @property
    def logits(self) -> NDArray[np.float32]:
        """(T, C); NaN where a frame has no answer."""
        ...

    @property
    def labels(self) -> NDArray[np.int8]:
        """(T, C): 1 present, 0 absent, -1 not labelled."""
        ...

    @property
    def clips(self) -> tuple[tuple[int, int], ...]:
        """(first, first after) frame of each uninterrupted stretch."""
        ...


@dataclass(frozen=True, slots=True)
class Answers:
    """Probabilities of one recording beside its labels."""

    name: str
    probabilities: NDArray[np.float32]
    """(T, C) in [0, 1]; NaN where a frame has no answer."""
    labels: NDArray[np.int8]
    """(T, C): 1 present, 0 absent, -1 not labelled."""
    clips: tuple[tuple[int, int], ...]
    """(first, first after) frame of each uninterrupted stretch."""

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(T,) frames whose behaviors are all labelled."""
        return np.asarray((self.labels >= 0).all(axis=1))

    @property
    def known(self) -> NDArray[np.bool_]:
        """(T,) frames that are both labelled and answered."""
        return np.asarray(self.labelled & ~np.isnan(self.probabilities).any(axis=1))

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """(first, first after) of each stretch of known frames within a clip."""
        return known_stretches(self.known, self.clips)

    def shown(self, spec: BehaviorSpec) -> NDArray[np.bool_]:
        """(T, C) behaviors that are present by the thresholds of `spec`, frame by frame."""
        return present(self.probabilities, spec)

    def kept(self, spec: BehaviorSpec) -> NDArray[np.bool_]:
        """(T, C) the same after the bout rule of `spec`, clip by clip."""
        return apply_bout_rule_by_clip(
            self.shown(spec), self.clips, spec.min_bout_frames, exclusive=spec.exclusive
        )


def from_logits(found: Sequence[Prediction], *, exclusive: bool) -> list[Answers]:
    """Turn the logits of predictions into probabilities."""
    return [
        Answers(one.name, probabilities(one.logits, exclusive=exclusive), one.labels, one.clips)
        for one in found
    ]
