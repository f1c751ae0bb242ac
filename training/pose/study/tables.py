"""What came out of a pose study: its points with mean and standard error, as tables."""

from collections.abc import Sequence

import numpy as np

from training.pose.settings import PoseChoices
from training.pose.study.settings import TITLES, StudyKind
from training.statistics import standard_error
from training.study.rows import RowResult
from training.study.tables import Record, cell, markdown_rows, number, summarize_records

PoseResult = RowResult[PoseChoices]
_MEASURED = {
    "test_error_px": ("test", "mean_error_px"),
    "training_error_px": ("training", "mean_error_px"),
    "test_median_px": ("test", "median_error_px"),
    "test_rmse_px": ("test", "rmse_px"),
    "test_confident_error_px": ("test", "confident_mean_error_px"),
    "test_confident_share": ("test", "confident_share"),
}
"""Figures of one run: part of the split and name in evaluation.json."""
_X_TITLES: dict[StudyKind, str] = {"size": "training share", "radius": "radius px"}
_COUNTED = ("training_frames", "test_frames", "parameters_million", "minutes")
_COLUMNS = (
    ("runs", "runs"),
    ("training_frames", "frames trained"),
    ("test_frames", "tested"),
    ("training_error_px", "train px"),
    ("test_error_px", "test px"),
    ("test_median_px", "median px"),
    ("test_rmse_px", "RMSE px"),
    ("test_confident_error_px", "confident px"),
    ("parameters_million", "million parameters"),
    ("minutes", "minutes"),
)


def run_record(result: PoseResult) -> Record:
    """Return the figures of one run; those of the watched part count as the test of `steps`."""
    figures = _figures(result)
    record: Record = {
        "key": result.row.key,
        "series": result.row.series,
        "x": result.row.x,
        "split_seed": result.row.choices.split.seed,
        "training_frames": result.frames["training"],
        "test_frames": result.frames["test"] or result.frames["validation"],
        "parameters_million": result.parameters / 1e6,
        "minutes": None if result.seconds is None else result.seconds / 60,
    }
    for name, (part, figure) in _MEASURED.items():
        record[name] = number(figures.get(part, {}).get(figure))
    return record


def summarize_rows(results: Sequence[PoseResult]) -> list[Record]:
    """Return one record for each point of a series: means over its splits, and the standard error.

    A record has `series`, `x`, `runs`, and of each figure of a run the mean, with `<name>_sem`
    (None for one run) for those that are measured.
    """
    records = [run_record(one) for one in results]
    return summarize_records(records, list(_MEASURED), _COUNTED)


def keypoint_records(results: Sequence[PoseResult]) -> list[Record]:
    """Return the test error of each keypoint, by series: mean over splits and standard error."""
    errors: dict[tuple[str, str], list[float]] = {}
    for result in results:
        per_keypoint = _figures(result).get("test", {}).get("per_keypoint")
        assert isinstance(per_keypoint, dict), "evaluate_run gives figures by keypoint"
        for name, figures in per_keypoint.items():
            error = number(figures["mean_error_px"])
            if error is not None:
                errors.setdefault((name, result.row.series), []).append(error)
    return [
        {
            "keypoint": name,
            "series": series,
            "runs": len(several),
            "test_error_px": float(np.mean(several)),
            "test_error_px_sem": standard_error(several),
        }
        for (name, series), several in errors.items()
    ]


def markdown_table(kind: StudyKind, results: Sequence[PoseResult]) -> str:
    """Return the points of a study as Markdown; errors are mean ± s.e.m. over the splits."""
    lines = [
        f"{TITLES[kind].capitalize()}: error in px of the frame, mean ± s.e.m. over random splits.",
        "",
        *markdown_rows(summarize_rows(results), _COLUMNS, _X_TITLES.get(kind)),
    ]
    if kind == "subsets":
        lines += ["", *_keypoint_table(results)]
    return "\n".join(lines) + "\n"


def _figures(result: PoseResult) -> dict[str, dict[str, object]]:
    watched = result.figures.get("validation")
    return result.figures if watched is None else {"test": watched, **result.figures}


def _keypoint_table(results: Sequence[PoseResult]) -> list[str]:
    records = keypoint_records(results)
    names = list(dict.fromkeys(str(one["keypoint"]) for one in records))
    series = list(dict.fromkeys(str(one["series"]) for one in records))
    cells = {(one["keypoint"], one["series"]): cell(one, "test_error_px") for one in records}
    return [
        "| keypoint | " + " | ".join(series) + " |",
        "|" + "---|" * (len(series) + 1),
        *(
            f"| {name} | " + " | ".join(cells.get((name, one), "-") for one in series) + " |"
            for name in names
        ),
    ]
