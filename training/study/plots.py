"""The pictures of studies: points with their standard errors, as lines or as bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from service.drawing.colors import fraction, series_color
from training.study.tables import Record


@dataclass(frozen=True, slots=True)
class Part:
    """One figure of the records, as it is drawn."""

    name: str
    """In the records; `<name>_sem` is its standard error."""
    label: str
    style: str = "o-"
    """Of a line."""


def new_picture(title: str, y_title: str) -> tuple[Figure, Axes]:
    """Return an empty picture."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11)
    axes.set_ylabel(y_title)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_picture(figure: Figure, axes: Axes, path: Path) -> None:
    """Add the legend, below where it hides nothing, and write the PNG."""
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    figure.savefig(path, dpi=140)


def draw_lines(axes: Axes, points: Sequence[Record], x_name: str, parts: Sequence[Part]) -> None:
    """Draw one line a series and part, against the figure `x_name` of the points."""
    for place, series in enumerate(dict.fromkeys(one["series"] for one in points)):
        chosen = sorted(
            (one for one in points if one["series"] == series), key=lambda one: value(one[x_name])
        )
        for part in parts:
            axes.errorbar(
                [value(one[x_name]) for one in chosen],
                [value(one[part.name]) for one in chosen],
                yerr=spreads([one[f"{part.name}_sem"] for one in chosen]),
                fmt=part.style,
                ms=4,
                capsize=3,
                lw=1.4,
                color=color(place),
                label=f"{series}, {part.label}",
            )
    axes.grid(alpha=0.3, which="both")


def draw_bars(
    axes: Axes, points: Sequence[Record], runs: Sequence[Record], parts: Sequence[Part]
) -> None:
    """Draw a bar for each part of each point, with a dot for each of its runs."""
    width = 0.76 / len(parts)
    for place, part in enumerate(parts):
        x = np.arange(len(points)) + (place - (len(parts) - 1) / 2) * width
        axes.bar(
            x,
            [value(one[part.name]) for one in points],
            width * 0.92,
            yerr=spreads([one[f"{part.name}_sem"] for one in points]),
            capsize=3,
            color=color(place),
            label=part.label,
        )
        for middle, point in zip(x, points, strict=True):
            of_point = [one for one in runs if one["series"] == point["series"]]
            found = [value(one[part.name]) for one in of_point]
            axes.plot([middle] * len(found), found, ".", c="black", ms=4)
    axes.set_xticks(range(len(points)), [str(one["series"]) for one in points])


def value(found: object) -> float:
    """Return a figure to draw; NaN, which is not drawn, where it is undefined."""
    return float(found) if isinstance(found, int | float) else float("nan")


def spreads(found: Sequence[object]) -> list[float]:
    """Return standard errors; none is drawn where there is none."""
    return [float(one) if isinstance(one, int | float) else 0.0 for one in found]


def color(place: int) -> tuple[float, float, float]:
    """Return the color of a series by its number."""
    return fraction(series_color(place))
