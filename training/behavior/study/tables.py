"""What came out of a behavior study: its points with mean and standard error, as tables."""

from collections.abc import Mapping, Sequence

import numpy as np

from training.behavior.study.bootstrap import Difference, compare
from training.behavior.study.settings import TITLES, BehaviorChoices, StudyKind
from training.study.rows import RowResult
from training.study.tables import Record, markdown_rows, number, summarize_records

BehaviorResult = RowResult[BehaviorChoices]
_MEASURED = {
    "macro_f1": ("test", "macro_f1"),
    "macro_f1_without_background": ("test", "macro_f1_without_background"),
    "chance_f1": ("test", "chance_f1"),
    "accuracy": ("test", "accuracy"),
    "auroc": ("test", "auroc"),
    "clip_macro_f1": ("test", "clip_macro_f1"),
    "clip_accuracy": ("test", "clip_accuracy"),
    "bout_f1": ("test", "bout_f1"),
    "features_macro_f1": ("features", "macro_f1"),
    "features_bout_f1": ("features", "bout_f1"),
    "sequence_gain": ("gain", "macro_f1"),
}
"""Figures of one run: what was measured and name in its evaluation."""
_COUNTED = ("training_frames", "test_frames", "parameters_million", "minutes")
_COLUMNS = (
    ("runs", "runs"),
    ("training_frames", "frames trained"),
    ("test_frames", "tested"),
    ("macro_f1", "macro F1"),
    ("macro_f1_without_background", "without background"),
    ("chance_f1", "chance"),
    ("accuracy", "accuracy"),
    ("auroc", "AUROC"),
    ("clip_macro_f1", "clips: F1"),
    ("clip_accuracy", "clips: accuracy"),
    ("features_macro_f1", "features alone: F1"),
    ("sequence_gain", "gain of the sequence"),
    ("bout_f1", "bouts: F1"),
    ("features_bout_f1", "features alone: bouts"),
    ("minutes", "minutes"),
)


def run_record(result: BehaviorResult) -> Record:
    """Return the figures of one run."""
    record: Record = {
        "key": result.row.key,
        "series": result.row.series,
        "x": result.row.x,
        "split": result.row.choices.split,
        "training_frames": result.frames["training"],
        "test_frames": result.frames["test"],
        "parameters_million": result.parameters / 1e6,
        "minutes": None if result.seconds is None else result.seconds / 60,
    }
    figures = _figures(result)
    for name, (part, figure) in _MEASURED.items():
        record[name] = number(figures.get(part, {}).get(figure))
    return record


def summarize_rows(results: Sequence[BehaviorResult]) -> list[Record]:
    """Return one record for each point of a series: means over its splits, and the standard error.

    A record has `series`, `x`, `runs`, and of each figure of a run the mean, with `<name>_sem`
    (None for one run) for those that are measured.
    """
    return summarize_records([run_record(one) for one in results], list(_MEASURED), _COUNTED)


def differences(results: Sequence[BehaviorResult]) -> dict[tuple[str, str], Difference]:
    """Compare each two presets that were trained on the same splits, by (preset, other preset).

    None are compared in a study of sizes, whose rows have a place `x`.
    """
    counts: dict[str, dict[int, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]] = {}
    for result in results:
        if result.row.x is not None:
            continue
        found = np.array(result.figures["test"]["clip_counts"], np.int64)
        counts.setdefault(result.row.series, {})[result.row.choices.split] = found
    names = list(counts)
    compared = {}
    for place, name in enumerate(names):
        for other in names[:place]:
            splits = sorted(set(counts[name]) & set(counts[other]))
            if splits:
                compared[name, other] = compare(
                    [counts[name][split] for split in splits],
                    [counts[other][split] for split in splits],
                )
    return compared


def markdown_table(kind: StudyKind, results: Sequence[BehaviorResult]) -> str:
    """Return the points of a study as Markdown; figures are mean ± s.e.m. over the splits."""
    points = summarize_rows(results)
    columns = [
        (name, title)
        for name, title in _COLUMNS
        if any(one.get(name) is not None for one in points)
    ]
    lines = [
        f"{TITLES[kind].capitalize()}: figures of whole held-out recordings, mean ± s.e.m. over "
        "splits.",
        "",
        *markdown_rows(points, columns, "training share" if kind == "size" else None),
    ]
    lines += ["", *map(_difference_line, differences(results).items())]
    return "\n".join(lines).rstrip() + "\n"


def _difference_line(item: tuple[tuple[str, str], Difference]) -> str:
    (name, other), found = item
    return (
        f"Macro F1 of {name} minus that of {other}: {found.mean:+.3f}, 95 % of a paired bootstrap "
        f"over clips in {found.low:+.3f} to {found.high:+.3f}."
    )


def _figures(result: BehaviorResult) -> dict[str, dict[str, object]]:
    figures = {part: dict(found) for part, found in result.figures.items()}
    for found in figures.values():
        bouts = found.get("bouts")
        found["bout_f1"] = bouts.get("macro_f1") if isinstance(bouts, Mapping) else None
    alone = number(figures.get("features", {}).get("macro_f1"))
    whole = number(figures["test"].get("macro_f1"))
    if alone is not None and whole is not None:
        figures["gain"] = {"macro_f1": whole - alone}
    return figures
