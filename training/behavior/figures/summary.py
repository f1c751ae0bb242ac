"""The figures of an evaluation as plain values for JSON, cards and tables; None is undefined."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.behavior import BACKGROUND
from service.behavior_statistics import CHANCE_SHUFFLES, Agreement, mean_defined
from service.bouts import BoutMatch
from service.bundle import BehaviorSpec
from training.behavior.figures.answers import Prediction, from_logits
from training.behavior.figures.bouts import STATISTICS, BoutComparison
from training.behavior.figures.measure import BehaviorFigures, RecordingFigures, measure
from training.behavior.figures.second import Pairing, SecondLabeller, SecondLabels


def summarize(
    found: Sequence[Prediction],
    spec: BehaviorSpec,
    *,
    second: SecondLabels | None = None,
    shuffles: int = CHANCE_SHUFFLES,
) -> dict[str, object]:
    """Measure predictions and return `as_dict` of the figures; arguments as of `measure`.

    Raises:
        InvalidConfig: no frame is both labelled and answered, or the second labels do not fit.
    """
    answers = from_logits(found, exclusive=spec.exclusive)
    return as_dict(measure(answers, spec, second=second, shuffles=shuffles))


def as_dict(figures: BehaviorFigures) -> dict[str, object]:
    """Return the figures by name, for JSON.

    Returns:
        `macro_f1` (all behaviors of the model), the same `_without_background` and
        `_with_background` (recomputed as none of the others where it is no column of its own),
        `_after_bout_rule`; micro F1; macro and micro precision, recall; `macro_f2`; `accuracy`
        (exclusive: share of frames that are right; else of entries) and `entry_accuracy`;
        `auroc`, `map`, `kappa` and `calibration_error` (means over behaviors); `chance_f1` and
        further chance levels; `bouts`; for clips `clip_accuracy` and `clip_macro_f1`; then
        `per_class`, `per_recording`, `confusion` and `second_labeller` where there are such.
    """
    match = figures.match
    result: dict[str, object] = {
        "frames": figures.frames,
        "frames_without_context": figures.frames_without_context,
        "macro_f1": _number(match.macro_f1),
        "macro_f1_without_background": _number(figures.macro_f1_without_background),
        "macro_f1_with_background": _number(figures.match_with_background.macro_f1),
        "macro_f1_after_bout_rule": _number(figures.match_after_bout_rule.macro_f1),
        "micro_f1": _number(match.micro_f1),
        "accuracy": figures.accuracy,
        "entry_accuracy": match.accuracy,
        "auroc": _number(mean_defined(figures.auroc)),
        "map": _number(mean_defined(figures.average_precision)),
        "kappa": _number(mean_defined(figures.kappa)),
        "macro_precision": _number(mean_defined(match.precision)),
        "macro_recall": _number(mean_defined(match.recall)),
        "macro_f2": _number(mean_defined(match.f_beta(2))),
        "micro_precision": _number(match.micro_precision),
        "micro_recall": _number(match.micro_recall),
        "calibration_error": _number(figures.calibration.mean_error),
    }
    if figures.chance is not None:
        result |= {
            "chance_f1": _number(figures.chance.macro_f1),
            "chance_f1_95th": _number(_percentile(figures.chance.macro_f1s, 95)),
            "chance_micro_f1": _number(figures.chance.micro_f1),
            "chance_entry_accuracy": figures.chance.accuracy,
            "chance_map": _number(mean_defined(_shares(match))),
        }
    if figures.clips is not None:
        result |= {
            "clips": figures.clips.clips,
            "clip_accuracy": figures.clips.accuracy,
            "clip_macro_f1": _number(figures.clips.match.macro_f1),
        }
    result["bouts"] = _bout_totals(figures.bouts, figures.behaviors)
    if figures.confusion is not None:
        result["confusion"] = figures.confusion.tolist()
    result["per_class"] = {
        name: _of_class(figures, column) for column, name in enumerate(figures.behaviors)
    }
    result["per_recording"] = {
        one.name: _of_recording(one, figures.behaviors) for one in figures.recordings
    }
    if figures.second is not None:
        result["second_labeller"] = _of_second(figures.second, figures.behaviors)
    return result


def _of_class(figures: BehaviorFigures, column: int) -> dict[str, object]:
    match, spec = figures.match, figures.spec
    arrays = {
        "f1": match.f1,
        "precision": match.precision,
        "recall": match.recall,
        "auroc": figures.auroc,
        "average_precision": figures.average_precision,
        "f2": match.f_beta(2),
        "accuracy": match.class_accuracy,
        "informedness": match.informedness,
        "kappa": figures.kappa,
        "f1_after_bout_rule": figures.match_after_bout_rule.f1,
        "calibration_error": figures.calibration.error,
    }
    row: dict[str, object] = {name: _number(one[column]) for name, one in arrays.items()}
    if figures.chance is not None:
        row["chance_f1"] = _number(figures.chance.f1[column])
    return row | {
        "threshold": None if spec.exclusive else spec.thresholds[column],
        "min_bout_frames": spec.min_bout_frames[column],
        "frames": int(match.frames[column]),
        "predicted_frames": int(match.claims[column]),
        "confusion": match.confusion[column].tolist(),
        "bouts": _of_bouts(figures.bouts, column),
    }


def _of_recording(one: RecordingFigures, behaviors: Sequence[str]) -> dict[str, object]:
    row: dict[str, object] = {
        "frames": one.frames,
        "frames_without_context": one.frames_without_context,
        "macro_f1": None if one.match is None else _number(one.match.macro_f1),
        "micro_f1": None if one.match is None else _number(one.match.micro_f1),
        "accuracy": one.accuracy,
    }
    if one.clips is not None:
        row |= {"clips": one.clips.clips, "clip_accuracy": one.clips.accuracy}
    if one.match is not None:
        row["f1"] = _by_name(behaviors, one.match.f1)
    return row


def _bout_totals(bouts: BoutComparison, behaviors: Sequence[str]) -> dict[str, object]:
    """Over the named behaviors; background is what is between bouts."""
    named = np.array([name != BACKGROUND for name in behaviors])
    row: dict[str, object] = {
        "macro_f1": _number(mean_defined(bouts.match.f1[named])),
        "labelled": int(bouts.match.labelled[named].sum()),
        "predicted": int(bouts.match.predicted[named].sum()),
        "found": int(bouts.match.found[named].sum()),
    }
    for statistic in STATISTICS:
        mean = mean_defined(bouts.correlation(statistic)[named])
        row[f"correlation_{statistic}"] = _number(mean)
    return row


def _of_bouts(bouts: BoutComparison, column: int) -> dict[str, object]:
    row: dict[str, object] = _of_match(bouts.match, column)
    for title, part in (("labelled", bouts.total_labelled), ("predicted", bouts.total_predicted)):
        row[f"{title}_mean_length_s"] = _number(part.mean_length_s[column])
        row[f"{title}_time_spent_s"] = _number(part.time_spent_s[column])
        row[f"{title}_share"] = _number(part.share[column])
    for statistic in STATISTICS:
        row[f"correlation_{statistic}"] = _number(bouts.correlation(statistic)[column])
    return row


def _of_match(match: BoutMatch, column: int) -> dict[str, object]:
    return {
        "labelled": int(match.labelled[column]),
        "predicted": int(match.predicted[column]),
        "found": int(match.found[column]),
        "f1": _number(match.f1[column]),
        "precision": _number(match.precision[column]),
        "recall": _number(match.recall[column]),
        "onset_error_s": _number(match.onset_error_s[column]),
        "offset_error_s": _number(match.offset_error_s[column]),
    }


def _of_second(second: SecondLabeller, behaviors: Sequence[str]) -> dict[str, object]:
    return {
        "people": _of_pairing(second.people, behaviors),
        "model": _of_pairing(second.model, behaviors),
        "model_to_second": _of_pairing(second.model_to_second, behaviors),
    }


def _of_pairing(pairing: Pairing, behaviors: Sequence[str]) -> dict[str, object]:
    correlations: Mapping[str, object] = {
        f"correlation_{statistic}": _by_name(behaviors, pairing.bouts.correlation(statistic))
        for statistic in STATISTICS
    }
    return {
        "recordings": len(pairing.bouts.recordings),
        "frames": pairing.frames.total,
        "macro_f1": _number(pairing.frames.macro_f1),
        "entry_accuracy": pairing.frames.accuracy,
        "kappa": _number(
            mean_defined(pairing.kappa) if pairing.overall_kappa is None else pairing.overall_kappa
        ),
        "f1": _by_name(behaviors, pairing.frames.f1),
        "kappas": _by_name(behaviors, pairing.kappa),
        "bout_f1": _by_name(behaviors, pairing.bouts.match.f1),
        **correlations,
    }


def _by_name(behaviors: Sequence[str], values: NDArray[np.float64]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in zip(behaviors, values, strict=True)}


def _shares(match: Agreement) -> NDArray[np.float64]:
    """(C,) share of positive frames, what chance gives as average precision; NaN where none."""
    return np.where(match.frames > 0, match.frames / match.total, np.nan)


def _percentile(values: NDArray[np.float64], percent: float) -> float:
    defined = values[~np.isnan(values)]
    return float(np.percentile(defined, percent)) if len(defined) else float("nan")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
