"""What came out of a study: its points with mean and standard error, as tables."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.statistics import standard_error

Record = dict[str, str | float | int | None]
"""Figures of one run or one point by name; `series` and `x` tell which."""
Columns = Sequence[tuple[str, str]]
"""Names in a record and titles in a table."""


def summarize_records(
    records: Sequence[Record], measured: Sequence[str], counted: Sequence[str]
) -> list[Record]:
    """Return one record for each point of a series: means over its runs, and the standard error.

    Args:
        records: of the runs.
        measured: names whose standard error is wanted, too, as `<name>_sem` (None for one run).
        counted: names of which the mean is enough.
    """
    points: dict[tuple[object, object], list[Record]] = {}
    for record in records:
        points.setdefault((record["series"], record["x"]), []).append(record)
    return [_point(several, measured, counted) for several in points.values()]


def markdown_rows(records: Sequence[Record], columns: Columns, x_title: str | None) -> list[str]:
    """Return points as the lines of a Markdown table; figures are mean ± standard error."""
    titles = ["series", *([x_title] if x_title else []), *(title for _, title in columns)]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for record in records:
        cells = [str(record["series"])]
        if x_title:
            cells.append(f"{record['x']:g}")
        cells += [cell(record, name) for name, _ in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def cell(record: Record, name: str) -> str:
    """Return a figure of a point, with its standard error where it has one; `-` without any."""
    value = record.get(name)
    if not isinstance(value, int | float):
        return "-"
    if name == "runs":
        return str(value)
    if name.endswith("frames"):
        return f"{value:.0f}"
    spread = record.get(f"{name}_sem")
    return f"{value:.2f}" + (f" ± {spread:.2f}" if isinstance(spread, float) else "")


def text_table(markdown: str) -> str:
    """Return a Markdown table with aligned columns, for a terminal."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else [line]
        for line in markdown.splitlines()
        if not line.startswith("|---")
    ]
    widths: dict[int, int] = {}
    for row in rows:
        for place, text in enumerate(row if len(row) > 1 else []):
            widths[place] = max(widths.get(place, 0), len(text))
    return "\n".join(
        "  ".join(
            text.rjust(widths[place]) if place else text.ljust(widths[place])
            for place, text in enumerate(row)
        )
        if len(row) > 1
        else row[0]
        for row in rows
    )


def write_csv(path: Path, records: Sequence[Record]) -> None:
    """Write one line a run."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def number(value: object) -> float | None:
    """Return a figure of an evaluation as a number; None where it is undefined."""
    return float(value) if isinstance(value, int | float) else None


def _point(records: Sequence[Record], measured: Sequence[str], counted: Sequence[str]) -> Record:
    point: Record = {"series": records[0]["series"], "x": records[0]["x"], "runs": len(records)}
    for name in (*measured, *counted):
        values = [value for one in records if isinstance(value := one[name], int | float)]
        point[name] = float(np.mean(values)) if values else None
        if name in measured:
            point[f"{name}_sem"] = standard_error(values)
    return point
