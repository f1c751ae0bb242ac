"""The picture of a pose study: its points with their standard errors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from training.pose.study.settings import TITLES, StudyKind
from training.pose.study.tables import PoseResult, keypoint_records, run_record, summarize_rows
from training.study.plots import (
    Part,
    color,
    draw_bars,
    draw_lines,
    new_picture,
    save_picture,
    spreads,
    value,
)
from training.study.tables import Record

_PARTS = (Part("test_error_px", "test"), Part("training_error_px", "training", "s:"))


def draw_study(
    kind: StudyKind, results: Sequence[PoseResult], path: Path, *, human_px: float | None = None
) -> None:
    """Write the PNG of a study.

    Args:
        kind: of the study.
        results: at least one.
        path: file to write.
        human_px: mean distance between two people's labels, drawn as a line.
    """
    figure, axes = new_picture(TITLES[kind], "mean error (px of the frame)")
    if kind == "steps":
        _draw_steps(axes, results)
    elif kind == "subsets":
        _draw_keypoints(axes, keypoint_records(results))
    elif kind in ("size", "radius"):
        is_size = kind == "size"  # as in Figure 2 of the paper
        points = summarize_rows(results)
        draw_lines(axes, points, "training_frames" if is_size else "x", _PARTS)
        axes.set_xlabel("frames trained on" if is_size else "radius (px of the model input)")
        if is_size:
            _use_logarithms(axes)
    else:
        runs = [run_record(one) for one in results]
        draw_bars(axes, summarize_rows(results), runs, _PARTS)
    if human_px is not None:
        axes.axhline(human_px, c="black", ls="--", lw=1, label=f"people ({human_px:g} px)")
    save_picture(figure, axes, path)


def _draw_keypoints(axes: Axes, records: Sequence[Record]) -> None:
    """Test error of each keypoint, trained with the others and apart."""
    names = list(dict.fromkeys(str(one["keypoint"]) for one in records))
    together = list(dict.fromkeys(str(one["series"]) for one in records))[:1]
    for number, apart in enumerate((False, True)):
        chosen = [one for one in records if (one["series"] not in together) == apart]
        places = [names.index(str(one["keypoint"])) + (number - 0.5) * 0.38 for one in chosen]
        axes.bar(
            places,
            [value(one["test_error_px"]) for one in chosen],
            0.35,
            yerr=spreads([one["test_error_px_sem"] for one in chosen]),
            capsize=3,
            color=color(number),
            label="in its group" if apart else "all trained together",
        )
    axes.set_xticks(range(len(names)), names, rotation=30 if len(names) > 6 else 0)


def _draw_steps(axes: Axes, results: Sequence[PoseResult]) -> None:
    """Error of the watched frames at the end of each epoch, against the steps."""
    for number, result in enumerate(results):
        points = [
            (row["step"], row["heldout_error_px"])
            for row in result.curve
            if "heldout_error_px" in row
        ]
        name = f"{result.row.series}, split {result.row.choices.split.seed}"
        axes.plot(*np.array(points).T, c=color(number), lw=1.3, label=name)
    _use_logarithms(axes)
    axes.set_xlabel("training steps")
    axes.grid(alpha=0.3, which="both")


def _use_logarithms(axes: Axes) -> None:
    """Scale both axes by logarithms and write plain numbers."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
