"""The tables of a behavior report: rows of text out of the figures."""

from collections.abc import Mapping, Sequence

import numpy as np

from service.report.page import Table
from training.behavior.figures import BehaviorFigures
from training.behavior.figures.second import Pairing

Figures = Mapping[str, object]


def summary_table(figures: BehaviorFigures, flat: Figures) -> Table:
    """Overall figures with what chance gives."""
    exclusive = figures.spec.exclusive
    rows = [
        ("macro F1", "macro_f1", "chance_f1"),
        ("macro F1 after the bout rule", "macro_f1_after_bout_rule", ""),
        ("macro F1 without background", "macro_f1_without_background", ""),
        ("macro F1 with background", "macro_f1_with_background", ""),
        ("micro F1", "micro_f1", "chance_micro_f1"),
        ("macro precision", "macro_precision", ""),
        ("macro recall", "macro_recall", ""),
        ("macro F2", "macro_f2", ""),
        ("accuracy (share of right frames)", "accuracy", "chance_micro_f1")
        if exclusive
        else ("accuracy (share of right entries)", "accuracy", "chance_entry_accuracy"),
        ("mean AUROC", "auroc", ""),
        ("mean average precision (mAP)", "map", "chance_map"),
        ("mean Cohen's kappa", "kappa", ""),
        ("mean calibration error", "calibration_error", ""),
    ]
    if figures.clips is not None:
        rows += [
            ("accuracy, one answer a clip", "clip_accuracy", ""),
            ("macro F1, one answer a clip", "clip_macro_f1", ""),
        ]
    cells = [(title, cell(flat[key]), cell(flat.get(chance))) for title, key, chance in rows]
    fixed = {"mean AUROC": "0.500", "mean Cohen's kappa": "0.000"}
    return Table(
        ("figure", "value", "chance"),
        tuple((title, value, fixed.get(title, chance)) for title, value, chance in cells),
    )


def class_table(figures: BehaviorFigures, flat: Figures) -> Table:
    """Figures of each behavior, the means first."""
    columns = (
        ("F1", "f1", "macro_f1"),
        ("chance F1", "chance_f1", "chance_f1"),
        ("F1 after bout rule", "f1_after_bout_rule", "macro_f1_after_bout_rule"),
        ("precision", "precision", "macro_precision"),
        ("recall", "recall", "macro_recall"),
        ("F2", "f2", "macro_f2"),
        ("accuracy", "accuracy", "entry_accuracy"),
        ("AUROC", "auroc", "auroc"),
        ("AP", "average_precision", "map"),
        ("kappa", "kappa", "kappa"),
        ("threshold", "threshold", ""),
        ("shortest bout", "min_bout_frames", ""),
        ("frames", "frames", ""),
        ("predicted", "predicted_frames", ""),
    )
    per_class = _by_name(flat["per_class"])
    mean = ("mean", *(cell(flat.get(key)) for _, _, key in columns))
    rows = [
        (name, *(cell(per_class[name].get(key)) for _, key, _ in columns))
        for name in figures.behaviors
    ]
    return Table(("behavior", *(title for title, _, _ in columns)), (mean, *rows), True)


def bout_table(figures: BehaviorFigures, flat: Figures) -> Table:
    """Bouts of each behavior by labels and by prediction."""
    columns = (
        ("labelled", "labelled"),
        ("predicted", "predicted"),
        ("found", "found"),
        ("bout F1", "f1"),
        ("recall", "recall"),
        ("precision", "precision"),
        ("mean length s", "labelled_mean_length_s"),
        ("predicted", "predicted_mean_length_s"),
        ("time s", "labelled_time_spent_s"),
        ("predicted", "predicted_time_spent_s"),
        ("onset error s", "onset_error_s"),
        ("r count", "correlation_count"),
        ("r length", "correlation_mean_length_s"),
        ("r time", "correlation_time_spent_s"),
    )
    per_class = _by_name(flat["per_class"])
    rows = []
    for name in figures.behaviors:
        bouts = per_class[name]["bouts"]
        assert isinstance(bouts, dict), "figures of bouts are by name"
        rows.append((name, *(cell(bouts[key]) for _, key in columns)))
    return Table(("behavior", *(title for title, _ in columns)), tuple(rows))


def recording_table(figures: BehaviorFigures, flat: Figures) -> Table:
    """Figures of each recording."""
    per_recording = _by_name(flat["per_recording"])
    keys = ["frames", "frames_without_context", "macro_f1", "micro_f1", "accuracy"]
    if figures.clips is not None:
        keys += ["clips", "clip_accuracy"]
    rows = []
    for one in figures.recordings:
        row = per_recording[one.name]
        f1 = row.get("f1")
        by_behavior = f1 if isinstance(f1, dict) else {}
        rows.append(
            (
                one.name,
                *(cell(row.get(key)) for key in keys),
                *(cell(by_behavior.get(name)) for name in figures.behaviors),
            )
        )
    heads = [key.replace("_", " ").replace("f1", "F1") for key in keys]
    behaviors = [f"F1 {name}" for name in figures.behaviors]
    return Table(("recording", *heads, *behaviors), tuple(rows))


def labeller_table(figures: BehaviorFigures) -> Table | None:
    """Two people and the model, pair by pair; None without a second person."""
    second = figures.second
    if second is None:
        return None

    def pair(title: str, found: Pairing) -> list[tuple[str, ...]]:
        bouts = found.bouts
        rows = [("frame F1", found.frames.f1), ("kappa", found.kappa), ("bout F1", bouts.match.f1)]
        rows += [
            ("r count", bouts.correlation("count")),
            ("r length", bouts.correlation("mean_length_s")),
            ("r time", bouts.correlation("time_spent_s")),
        ]
        return [
            (f"{title}: {name}", cell(_mean(values)), *(cell(float(one)) for one in values))
            for name, values in rows
        ]

    rows = [
        *pair("second person to first person", second.people),
        *pair("model to first person", second.model),
        *pair("model to second person", second.model_to_second),
    ]
    return Table(("agreement", "mean", *figures.behaviors), tuple(rows))


def cell(value: object) -> str:
    """Return a value as the tables show it; undefined ones are a dash."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _mean(values: Sequence[float] | np.ndarray) -> float | None:
    defined = [float(one) for one in values if not np.isnan(one)]
    return sum(defined) / len(defined) if defined else None


def _by_name(value: object) -> dict[str, dict[str, object]]:
    assert isinstance(value, dict), "as_dict gives figures by name"
    return value
