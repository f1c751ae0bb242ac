"""Measures the answers on labelled recordings: all figures of one evaluation as a value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.behavior import with_background
from service.behavior_curves import (
    Calibration,
    ExactCurve,
    ThresholdCurves,
    calibration,
    exact_curve,
    threshold_curves,
)
from service.behavior_statistics import (
    CHANCE_SHUFFLES,
    Agreement,
    Chance,
    agreement,
    auroc,
    average_precision,
    chance,
    confusion,
    frame_accuracy,
    kappa,
    mean_defined,
)
from service.bundle import BehaviorSpec
from service.errors import InvalidConfig
from training.behavior.figures.answers import Answers
from training.behavior.figures.bouts import BoutComparison, compare_bouts
from training.behavior.figures.second import SecondLabeller, SecondLabels, compare_labellers


@dataclass(frozen=True, slots=True)
class ClipFigures:
    """One answer a clip: the behavior of the highest mean probability; exclusive ones only."""

    clips: int
    accuracy: float
    match: Agreement


@dataclass(frozen=True, slots=True)
class RecordingFigures:
    """Figures of one recording; those that need a known frame are None where there is none."""

    name: str
    frames: int
    """Both labelled and answered."""
    frames_without_context: int
    """Labelled, but not answered."""
    accuracy: float | None
    match: Agreement | None
    clips: ClipFigures | None


@dataclass(frozen=True, slots=True)
class BehaviorFigures:
    """Figures over all known frames together; (C,) arrays hold NaN where undefined."""

    spec: BehaviorSpec
    """Behaviors, thresholds and bout rule that they were measured with."""
    frames: int
    """Both labelled and answered."""
    frames_without_context: int
    """Labelled, but not answered."""
    accuracy: float
    """Exclusive: share of the frames that are right; else of the entries."""
    match: Agreement
    """Frame by frame, by the thresholds alone."""
    match_with_background: Agreement
    """The same with background = none of the others as column 0."""
    match_after_bout_rule: Agreement
    auroc: NDArray[np.float64]
    average_precision: NDArray[np.float64]
    chance: Chance | None
    """None where no shuffle was wanted."""
    confusion: NDArray[np.int64] | None
    """(C, C) frames by label, then prediction; exclusive behaviors only."""
    curves: ThresholdCurves
    exact_curves: tuple[ExactCurve | None, ...]
    """Precision-recall and ROC of each behavior; None where it is in no frame or in all."""
    calibration: Calibration
    bouts: BoutComparison
    """After the bout rule, over the recordings with a known frame."""
    clips: ClipFigures | None
    """Where recordings consist of several clips and behaviors are exclusive."""
    recordings: tuple[RecordingFigures, ...]
    second: SecondLabeller | None
    """Where another person's labels were given."""

    @property
    def behaviors(self) -> tuple[str, ...]:
        """Names in the order of axis C."""
        return self.spec.behaviors

    @property
    def named(self) -> slice:
        """The columns of axis C that are not background."""
        return slice(1, None) if self.spec.exclusive else slice(None)

    @property
    def macro_f1_without_background(self) -> float:
        """Mean F1 of the named behaviors: what DeepEthogram chooses feature extractors by."""
        return mean_defined(self.match.f1[self.named])

    @property
    def kappa(self) -> NDArray[np.float64]:
        """(C,) Cohen's kappa of labels and predictions."""
        return kappa(self.match.confusion)


def measure(
    found: Sequence[Answers],
    spec: BehaviorSpec,
    *,
    second: SecondLabels | None = None,
    shuffles: int = CHANCE_SHUFFLES,
) -> BehaviorFigures:
    """Compare answers with labels.

    Args:
        found: answers on one recording or more; frames without a label or an answer are left out.
        spec: behaviors, thresholds, bout rule and frame rate; for other thresholds or bout rules
            give it replaced ones (`msgspec.structs.replace`).
        second: another person's labels of some of the recordings.
        shuffles: circular shuffles for the chance level; 0 leaves it out.

    Raises:
        InvalidConfig: no frame is both labelled and answered, or the second labels do not fit.
    """
    watched = [one for one in found if one.known.any()]
    if not watched:
        raise InvalidConfig(
            f"no frame is labelled and has {spec.flow_frames} earlier frames in its clip; "
            "give longer clips or more labels"
        )
    known = [one.known for one in watched]
    truths = [one.labels[flags] == 1 for one, flags in zip(watched, known, strict=True)]
    shown = [one.shown(spec)[flags] for one, flags in zip(watched, known, strict=True)]
    kept = [one.kept(spec) for one in watched]
    truth, claims = np.concatenate(truths), np.concatenate(shown)
    values = np.concatenate(
        [one.probabilities[flags] for one, flags in zip(watched, known, strict=True)]
    )
    ruled = np.concatenate([one[flags] for one, flags in zip(kept, known, strict=True)])
    whole = (with_background(one, spec.behaviors)[0] for one in (truth, claims))
    return BehaviorFigures(
        spec=spec,
        frames=len(truth),
        frames_without_context=sum(_without_context(one) for one in found),
        accuracy=_accuracy(truth, claims, spec),
        match=agreement(truth, claims),
        match_with_background=agreement(*whole),
        match_after_bout_rule=agreement(truth, ruled),
        auroc=auroc(truth, values),
        average_precision=average_precision(truth, values),
        chance=chance(truths, shown, shuffles=shuffles) if shuffles else None,
        confusion=confusion(truth, claims) if spec.exclusive else None,
        curves=threshold_curves(truth, values),
        exact_curves=tuple(
            exact_curve(truth[:, column], values[:, column])
            for column in range(len(spec.behaviors))
        ),
        calibration=calibration(truth, values),
        bouts=compare_bouts(
            [one.name for one in watched],
            [one.labels == 1 for one in watched],
            kept,
            [one.stretches for one in watched],
            spec.frame_rate_hz,
        ),
        clips=_clip_figures(watched, spec),
        recordings=tuple(_recording(one, spec) for one in found),
        second=compare_labellers(found, second, spec) if second else None,
    )


def _recording(one: Answers, spec: BehaviorSpec) -> RecordingFigures:
    known = one.known
    truth, claims = one.labels[known] == 1, one.shown(spec)[known]
    return RecordingFigures(
        name=one.name,
        frames=int(known.sum()),
        frames_without_context=_without_context(one),
        accuracy=_accuracy(truth, claims, spec) if known.any() else None,
        match=agreement(truth, claims) if known.any() else None,
        clips=_clip_figures([one], spec),
    )


def _accuracy(truth: NDArray[np.bool_], claims: NDArray[np.bool_], spec: BehaviorSpec) -> float:
    return frame_accuracy(truth, claims) if spec.exclusive else float((truth == claims).mean())


def _without_context(one: Answers) -> int:
    return int((one.labelled & ~one.known).sum())


def _clip_figures(found: Sequence[Answers], spec: BehaviorSpec) -> ClipFigures | None:
    """Figures of the clips that have a known frame; None where they say nothing."""
    if not spec.exclusive or not any(len(one.clips) > 1 for one in found):
        return None
    truth, claims = [], []
    for one in found:
        for first, end in one.clips:
            known = one.known[first:end]
            if known.any():
                mean = one.probabilities[first:end][known].mean(axis=0)
                label = one.labels[first:end][known].mean(axis=0)
                truth.append(np.arange(len(mean)) == label.argmax())
                claims.append(np.arange(len(mean)) == mean.argmax())
    if not truth:
        return None
    labelled, claimed = np.stack(truth), np.stack(claims)
    return ClipFigures(
        clips=len(truth),
        accuracy=frame_accuracy(labelled, claimed),
        match=agreement(labelled, claimed),
    )
