"""A second person's labels: how far two people agree, and the model with each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.behavior_statistics import Agreement, agreement, confusion, kappa
from service.bouts import known_stretches
from service.bundle import BehaviorSpec
from service.errors import InvalidConfig
from training.behavior.figures.answers import Answers
from training.behavior.figures.bouts import BoutComparison, compare_bouts

SecondLabels = Mapping[str, NDArray[np.int8]]
"""(T, C) labels of another person by the name of the recording: 1, 0, or -1 for not labelled."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two sets of answers on the same frames; the first counts as the labels."""

    frames: Agreement
    kappa: NDArray[np.float64]
    """(C,) Cohen's kappa of each behavior."""
    overall_kappa: float | None
    """Cohen's kappa of all behaviors; exclusive ones only."""
    bouts: BoutComparison


@dataclass(frozen=True, slots=True)
class SecondLabeller:
    """Frames that both people labelled and the model answered, in the recordings of both."""

    people: Pairing
    """The second person against the first."""
    model: Pairing
    """The model against the first person."""
    model_to_second: Pairing
    """The model against the second person."""


def compare_labellers(
    found: Sequence[Answers], second: SecondLabels, spec: BehaviorSpec
) -> SecondLabeller:
    """Compare two people's labels with each other and the model with both.

    The model is taken as it is reported: frames by thresholds, bouts after the bout rule.

    Raises:
        InvalidConfig: the second labels have another shape, or no frame is known to all three.
    """
    unknown = sorted(second.keys() - {one.name for one in found})
    if unknown:
        raise InvalidConfig(
            f"the second labels name the recording {unknown[0]}, which is not measured; there are "
            f"{', '.join(one.name for one in found)}"
        )
    both = [one for one in found if one.name in second]
    for one in both:
        if second[one.name].shape != one.labels.shape:
            raise InvalidConfig(
                f"the second labels of {one.name} are {second[one.name].shape} and the first "
                f"{one.labels.shape} (frames, behaviors); give the same frames and behaviors"
            )
    known = [one.known & (second[one.name] >= 0).all(axis=1) for one in both]
    if not any(one.any() for one in known):
        raise InvalidConfig(
            "no frame has labels of both people and an answer of the model; give second labels "
            "of measured recordings"
        )
    first_labels = [one.labels == 1 for one in both]
    second_labels = [second[one.name] == 1 for one in both]
    shown, kept = [one.shown(spec) for one in both], [one.kept(spec) for one in both]

    def pair(
        labelled: list[NDArray[np.bool_]],
        answered: list[NDArray[np.bool_]],
        answered_bouts: list[NDArray[np.bool_]],
    ) -> Pairing:
        truth, claims = (
            np.concatenate([one[flags] for one, flags in zip(part, known, strict=True)])
            for part in (labelled, answered)
        )
        frames = agreement(truth, claims)
        stretches = [
            known_stretches(flags, one.clips) for flags, one in zip(known, both, strict=True)
        ]
        return Pairing(
            frames=frames,
            kappa=kappa(frames.confusion),
            overall_kappa=float(kappa(confusion(truth, claims))) if spec.exclusive else None,
            bouts=compare_bouts(
                [one.name for one in both],
                labelled,
                answered_bouts,
                stretches,
                spec.frame_rate_hz,
            ),
        )

    return SecondLabeller(
        people=pair(first_labels, second_labels, second_labels),
        model=pair(first_labels, shown, kept),
        model_to_second=pair(second_labels, shown, kept),
    )
