"""What came out of a study: its points with mean and standard error, as tables."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.pose.metrics import standard_error
from training.pose.study.settings import TITLES, StudyKind
from training.pose.study.worker import RowResult

Record = dict[str, str | float | int | None]
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


def run_record(result: RowResult) -> Record:
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
        record[name] = _number(figures.get(part, {}).get(figure))
    return record


def summarize_rows(results: Sequence[RowResult]) -> list[Record]:
    """Return one record for each point of a series: means over its splits, and the standard error.

    A record has `series`, `x`, `runs`, and of each figure of a run the mean, with `<name>_sem`
    (None for one run) for those that are measured.
    """
    points: dict[tuple[str, float | None], list[Record]] = {}
    for result in results:
        points.setdefault((result.row.series, result.row.x), []).append(run_record(result))
    return [_point(series, x, records) for (series, x), records in points.items()]


def keypoint_records(results: Sequence[RowResult]) -> list[Record]:
    """Return the test error of each keypoint, by series: mean over splits and standard error."""
    errors: dict[tuple[str, str], list[float]] = {}
    for result in results:
        per_keypoint = _figures(result).get("test", {}).get("per_keypoint")
        assert isinstance(per_keypoint, dict), "evaluate_run gives figures by keypoint"
        for name, figures in per_keypoint.items():
            error = _number(figures["mean_error_px"])
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


def markdown_table(kind: StudyKind, results: Sequence[RowResult]) -> str:
    """Return the points of a study as Markdown; errors are mean ± s.e.m. over the splits."""
    records = summarize_rows(results)
    x_title = _X_TITLES.get(kind)
    titles = ["series", *([x_title] if x_title else []), *(title for _, title in _COLUMNS)]
    lines = [
        f"{TITLES[kind].capitalize()}: error in px of the frame, mean ± s.e.m. over random splits.",
        "",
        "| " + " | ".join(titles) + " |",
        "|" + "---|" * len(titles),
    ]
    for record in records:
        cells = [str(record["series"])]
        if x_title:
            cells.append(f"{record['x']:g}")
        cells += [_cell(record, name) for name, _ in _COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    if kind == "subsets":
        lines += ["", *_keypoint_table(results)]
    return "\n".join(lines) + "\n"


def text_table(markdown: str) -> str:
    """Return a Markdown table with aligned columns, for a terminal."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else [line]
        for line in markdown.splitlines()
        if not line.startswith("|---")
    ]
    widths: dict[int, int] = {}
    for row in rows:
        for place, cell in enumerate(row if len(row) > 1 else []):
            widths[place] = max(widths.get(place, 0), len(cell))
    return "\n".join(
        "  ".join(
            cell.rjust(widths[place]) if place else cell.ljust(widths[place])
            for place, cell in enumerate(row)
        )
        if len(row) > 1
        else row[0]
        for row in rows
    )


def write_csv(path: Path, results: Sequence[RowResult]) -> None:
    """Write one line a run."""
    records = [run_record(result) for result in results]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def _point(series: str, x: float | None, records: Sequence[Record]) -> Record:
    point: Record = {"series": series, "x": x, "runs": len(records)}
    for name in (*_MEASURED, "training_frames", "test_frames", "parameters_million", "minutes"):
        values = [value for one in records if isinstance(value := one[name], int | float)]
        point[name] = float(np.mean(values)) if values else None
        if name in _MEASURED:
            point[f"{name}_sem"] = standard_error(values)
    return point


def _figures(result: RowResult) -> dict[str, dict[str, object]]:
    watched = result.figures.get("validation")
    return result.figures if watched is None else {"test": watched, **result.figures}


def _keypoint_table(results: Sequence[RowResult]) -> list[str]:
    records = keypoint_records(results)
    names = list(dict.fromkeys(str(one["keypoint"]) for one in records))
    series = list(dict.fromkeys(str(one["series"]) for one in records))
    cells = {(one["keypoint"], one["series"]): _cell(one, "test_error_px") for one in records}
    return [
        "| keypoint | " + " | ".join(series) + " |",
        "|" + "---|" * (len(series) + 1),
        *(
            f"| {name} | " + " | ".join(cells.get((name, one), "-") for one in series) + " |"
            for name in names
        ),
    ]


def _cell(record: Record, name: str) -> str:
    value = record.get(name)
    if not isinstance(value, int | float):
        return "-"
    if name == "runs":
        return str(value)
    if name.endswith("frames"):
        return f"{value:.0f}"
    spread = record.get(f"{name}_sem")
    return f"{value:.2f}" + (f" ± {spread:.2f}" if isinstance(spread, float) else "")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
