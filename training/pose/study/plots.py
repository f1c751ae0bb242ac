"""The picture of a study: its points with their standard errors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from service.drawing.colors import fraction, series_color
from training.pose.study.settings import TITLES, StudyKind
from training.pose.study.tables import Record, keypoint_records, summarize_rows
from training.pose.study.worker import RowResult


def draw_study(
    kind: StudyKind, results: Sequence[RowResult], path: Path, *, human_px: float | None = None
) -> None:
    """Write the PNG of a study.

    Args:
        kind: of the study.
        results: at least one.
        path: file to write.
        human_px: mean distance between two people's labels, drawn as a line.
    """
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if kind == "steps":
        _draw_steps(axes, results)
    elif kind == "subsets":
        _draw_keypoints(axes, keypoint_records(results))
    elif kind in ("size", "radius"):
        _draw_lines(axes, kind, summarize_rows(results))
    else:
        _draw_bars(axes, results)
    if human_px is not None:
        axes.axhline(human_px, c="black", ls="--", lw=1, label=f"people ({human_px:g} px)")
    axes.set_title(TITLES[kind], fontsize=11)
    axes.set_ylabel("mean error (px of the frame)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=140)


def _draw_lines(axes: Axes, kind: StudyKind, records: Sequence[Record]) -> None:
    """Test and training error against the place in the series; as in Figure 2 of the paper."""
    for number, series in enumerate(dict.fromkeys(one["series"] for one in records)):
        points = sorted(
            (one for one in records if one["series"] == series), key=lambda one: _value(one["x"])
        )
        for part, style in (("test", "o-"), ("training", "s:")):
            axes.errorbar(
                [_value(one["training_frames" if kind == "size" else "x"]) for one in points],
                [_value(one[f"{part}_error_px"]) for one in points],
                yerr=_spreads([one[f"{part}_error_px_sem"] for one in points]),
                fmt=style,
                ms=4,
                capsize=3,
                lw=1.4,
                color=_color(number),
                label=f"{series}, {part}",
            )
    if kind == "size":
        _use_logarithms(axes)
    axes.set_xlabel("frames trained on" if kind == "size" else "radius (px of the model input)")
    axes.grid(alpha=0.3, which="both")


def _draw_bars(axes: Axes, results: Sequence[RowResult]) -> None:
    """Test and training error of each series, with a dot for each split."""
    records = summarize_rows(results)
    for number, part in enumerate(("test", "training")):
        places = np.arange(len(records)) + (number - 0.5) * 0.38
        axes.bar(
            places,
            [_value(one[f"{part}_error_px"]) for one in records],
            0.35,
            yerr=_spreads([one[f"{part}_error_px_sem"] for one in records]),
            capsize=3,
            color=_color(number),
            label=part,
        )
        for place, record in zip(places, records, strict=True):
            errors = [
                _value(result.figures.get(part, {}).get("mean_error_px"))
                for result in results
                if result.row.series == record["series"]
            ]
            axes.plot([place] * len(errors), errors, ".", c="black", ms=4)
    axes.set_xticks(range(len(records)), [str(one["series"]) for one in records])


def _draw_keypoints(axes: Axes, records: Sequence[Record]) -> None:
    """Test error of each keypoint, trained with the others and apart."""
    names = list(dict.fromkeys(str(one["keypoint"]) for one in records))
    together = list(dict.fromkeys(str(one["series"]) for one in records))[:1]
    for number, apart in enumerate((False, True)):
        chosen = [one for one in records if (one["series"] not in together) == apart]
        places = [names.index(str(one["keypoint"])) + (number - 0.5) * 0.38 for one in chosen]
        axes.bar(
            places,
            [_value(one["test_error_px"]) for one in chosen],
            0.35,
            yerr=_spreads([one["test_error_px_sem"] for one in chosen]),
            capsize=3,
            color=_color(number),
            label="in its group" if apart else "all trained together",
        )
    axes.set_xticks(range(len(names)), names, rotation=30 if len(names) > 6 else 0)


def _draw_steps(axes: Axes, results: Sequence[RowResult]) -> None:
    """Error of the watched frames at the end of each epoch, against the steps."""
    for number, result in enumerate(results):
        points = [
            (row["step"], row["heldout_error_px"])
            for row in result.curve
            if "heldout_error_px" in row
        ]
        name = f"{result.row.series}, split {result.row.choices.split.seed}"
        axes.plot(*np.array(points).T, c=_color(number), lw=1.3, label=name)
    _use_logarithms(axes)
    axes.set_xlabel("training steps")
    axes.grid(alpha=0.3, which="both")


def _value(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _spreads(values: Sequence[object]) -> list[float]:
    """Standard errors; none is drawn where there is none."""
    return [float(value) if isinstance(value, int | float) else 0.0 for value in values]


def _color(number: int) -> tuple[float, float, float]:
    return fraction(series_color(number))


def _use_logarithms(axes: Axes) -> None:
    """Scale both axes by logarithms and write plain numbers."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
