"""The figures of a keypoint run on labelled recordings, by the functions of the service."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.behavior import BACKGROUND, apply_bout_rule
from service.behavior_statistics import (
    agreement,
    auroc,
    chance_f1,
    frame_accuracy,
    mean_defined,
)
from training.behavior.keypoints.data import PoseRecording
from training.behavior.keypoints.predict import KeypointClassifier
from training.behavior.keypoints.task import decide
from training.behavior.settings import Decisions


def evaluate_recordings(
    classifier: KeypointClassifier, recordings: Sequence[PoseRecording], decisions: Decisions
) -> dict[str, object]:
    """Compare predictions with labels, over all labelled frames of `recordings` together.

    Args:
        classifier: of the run.
        recordings: one or more.
        decisions: thresholds and shortest bouts of the run.

    Returns:
        `macro_f1`, `macro_f1_without_background`, `accuracy` (exclusive: share of frames that are
        right; else of entries), `auroc` (mean), `chance_f1`, `macro_f1_after_bout_rule`,
        `frames`, and `per_class` with f1, precision, recall, auroc and frames; None where a
        figure is not defined.
    """
    settings = classifier.settings
    truths, shown, ruled, values = [], [], [], []
    for one in recordings:
        found = classifier.probabilities(one.features, one.clips)
        decided = _decide(found, decisions, exclusive=settings.exclusive)
        known = (one.labels >= 0).all(axis=1) & ~np.isnan(found).any(axis=1)
        after = decided.copy()
        for first, end in one.clips:
            after[first:end] = apply_bout_rule(
                decided[first:end], decisions.min_bout_frames, exclusive=settings.exclusive
            )
        truths.append(one.labels[known] == 1)
        shown.append(decided[known])
        ruled.append(after[known])
        values.append(found[known])
    truth, predicted = np.concatenate(truths), np.concatenate(shown)
    if not len(truth):
        return {"frames": 0}
    figures = agreement(truth, predicted)
    areas = auroc(truth, np.concatenate(values))
    named = [one for one, name in enumerate(settings.behaviors) if name != BACKGROUND]
    right = frame_accuracy(truth, predicted) if settings.exclusive else figures.accuracy
    filled = [(one, two) for one, two in zip(truths, shown, strict=True) if len(one)]
    return {
        "frames": len(truth),
        "macro_f1": _rounded(figures.macro_f1),
        "macro_f1_without_background": _rounded(mean_defined(figures.f1[named])),
        "accuracy": _rounded(right),
        "auroc": _rounded(mean_defined(areas)),
        "chance_f1": _rounded(chance_f1([one for one, _ in filled], [two for _, two in filled])),
        "macro_f1_after_bout_rule": _rounded(agreement(truth, np.concatenate(ruled)).macro_f1),
        "per_class": {
            name: {
                "f1": _rounded(figures.f1[column]),
                "precision": _rounded(figures.precision[column]),
                "recall": _rounded(figures.recall[column]),
                "auroc": _rounded(areas[column]),
                "frames": int(figures.frames[column]),
            }
            for column, name in enumerate(settings.behaviors)
        },
    }


def _decide(
    values: NDArray[np.float32], decisions: Decisions, *, exclusive: bool
) -> NDArray[np.bool_]:
    """As `decide`; frames without an answer show nothing."""
    known = ~np.isnan(values).any(axis=1, keepdims=True)
    shown = decide(np.nan_to_num(values), np.array(decisions.thresholds), exclusive=exclusive)
    return np.asarray(shown & known)


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
