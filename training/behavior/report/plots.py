"""The plots of a behavior report: F1, confusion, curves, thresholds, calibration."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from service.behavior_curves import ExactCurve
from service.drawing.colors import behavior_color, fraction
from training.behavior.figures import BehaviorFigures

_CURVE_POINTS = 1500
_MOST_CONFUSION_NUMBERS = 12
_FAINT = "#8a93a5"
_CHANCE = "#c3c9d4"
_NO_CURVE = ExactCurve(*(np.zeros(0) for _ in range(4)))  # named in the legend all the same


def draw_plots(figures: BehaviorFigures) -> dict[str, tuple[str, Figure]]:
    """Draw every plot that the figures have something for.

    Returns:
        By name: a caption, and the picture.
    """
    count = len(figures.behaviors)
    columns = min(4, count)
    rows = -(-count // columns)
    plots: dict[str, tuple[str, Figure]] = {}

    def add(name: str, caption: str, size_in: tuple[float, float]) -> Figure:
        figure = Figure(figsize=size_in, layout="constrained")
        FigureCanvasAgg(figure)
        plots[name] = (caption, figure)
        return figure

    def single(name: str, caption: str, draw: Callable[[BehaviorFigures, Axes], None]) -> None:
        axes = add(name, caption, (6.4, 4.2)).add_subplot()
        draw(figures, axes)
        axes.spines[["top", "right"]].set_visible(False)

    single("f1", "F1 of each behavior; gray: mean of circular shuffles (chance)", _f1)
    if figures.confusion is not None:
        caption = "Share of the frames of a label that got each prediction"
        _confusion(figures.confusion, figures.behaviors, add("confusion", caption, (6.4, 5.2)))
    else:
        caption = "Frames by label and prediction, of each behavior by itself"
        _binary_confusion(figures, add("confusion", caption, (2.1 * columns, 2.3 * rows)), columns)
    single(
        "precision_recall",
        "Precision against recall; dots: the thresholds of the model",
        _precision_recall,
    )
    single("roc", "Recall against false positive rate (ROC); dots: the thresholds", _roc)
    chosen = "none is used" if figures.spec.exclusive else "black: the threshold of the model"
    caption = (
        "F1 (thick), precision (dashed) and recall (dotted) by threshold; gray: the best F1 of "
        f"these frames; {chosen}"
    )
    _thresholds(figures, add("thresholds", caption, (2.6 * columns, 2.2 * rows)), columns)
    single(
        "calibration",
        "How often a behavior is present where it got a probability (reliability); "
        "the size of a dot is the number of frames",
        _calibration,
    )
    if len(figures.recordings) > 1:
        single("recordings", "F1 of each behavior in each recording; black: macro F1", _recordings)
    return plots


def color_of(figures: BehaviorFigures, column: int) -> tuple[float, float, float]:
    """Return the color of a behavior in all plots."""
    return fraction(behavior_color(figures.behaviors, column))


def titles(figures: BehaviorFigures) -> list[str]:
    """Return the behaviors as they are written beside plots."""
    return [name.replace("_", " ") for name in figures.behaviors]


def _f1(figures: BehaviorFigures, axes: Axes) -> None:
    names = ["macro", *titles(figures)]
    places = np.arange(len(names))
    values = [figures.match.macro_f1, *figures.match.f1]
    ruled = [figures.match_after_bout_rule.macro_f1, *figures.match_after_bout_rule.f1]
    colors = [(0.12, 0.14, 0.19), *(color_of(figures, at) for at in range(len(names) - 1))]
    axes.bar(places - 0.2, np.nan_to_num(values), 0.38, color=colors, label="frame by frame")
    axes.bar(
        places + 0.2, np.nan_to_num(ruled), 0.38, color=colors, alpha=0.45, label="after bout rule"
    )
    if figures.chance is not None:
        chance = np.nan_to_num([figures.chance.macro_f1, *figures.chance.f1])
        axes.hlines(chance, places - 0.42, places + 0.42, color=_FAINT, lw=2, label="chance")
    for place, value in zip(places, values, strict=True):
        if np.isnan(value):  # neither labelled nor predicted
            axes.text(
                float(place), 0.01, "not defined", rotation=90, ha="center", fontsize=7, c=_FAINT
            )
    axes.set_xticks(places, names, rotation=30 if len(names) > 5 else 0)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("F1")
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))


def _confusion(
    counts: NDArray[np.int64], behaviors: tuple[str, ...], figure: Figure | SubFigure
) -> None:
    axes = figure.add_subplot()
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    names = [name.replace("_", " ") for name in behaviors]
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("labelled")
    if len(names) <= _MOST_CONFUSION_NUMBERS:
        for row, column in np.ndindex(counts.shape):
            share = shares[row, column]
            if counts[row, column]:
                axes.text(
                    column,
                    row,
                    f"{share:.0%}\n{counts[row, column]}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if share > 0.55 else "black",
                )
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the label's frames")


def _binary_confusion(figures: BehaviorFigures, figure: Figure, columns: int) -> None:
    for column, axes in enumerate(_grid(figures, figure, columns)):
        counts = figures.match.confusion[column]
        totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(counts / totals, vmin=0, vmax=1, cmap="Blues")
        for row, place in np.ndindex(2, 2):
            share = counts[row, place] / totals[row, 0]
            axes.text(
                place,
                row,
                f"{share:.0%}\n{counts[row, place]}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if share > 0.55 else "black",
            )
        axes.set_xticks([0, 1], ["absent", "present"], fontsize=7)
        axes.set_yticks([0, 1], ["absent", "present"], fontsize=7, rotation=90, va="center")
        axes.set_xlabel("predicted", fontsize=7)
        axes.set_ylabel("labelled", fontsize=7)


def _precision_recall(figures: BehaviorFigures, axes: Axes) -> None:
    areas = _labels(figures, figures.average_precision)
    for column, curve in enumerate(figures.exact_curves):
        thin = curve.thinned(_CURVE_POINTS) if curve is not None else _NO_CURVE
        color = color_of(figures, column)
        axes.step(thin.recall, thin.precision, where="post", c=color, label=areas[column])
    _mark_chosen(figures, axes, figures.match.recall, figures.match.precision)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="recall", ylabel="precision")
    axes.legend(frameon=False, fontsize=8, title="average precision", loc="lower left")


def _roc(figures: BehaviorFigures, axes: Axes) -> None:
    areas = _labels(figures, figures.auroc)
    for column, curve in enumerate(figures.exact_curves):
        thin = curve.thinned(_CURVE_POINTS) if curve is not None else _NO_CURVE
        color = color_of(figures, column)
        axes.plot(thin.false_positive_rate, thin.recall, c=color, label=areas[column])
    _mark_chosen(figures, axes, figures.match.false_positive_rate, figures.match.recall)
    axes.plot([0, 1], [0, 1], c=_CHANCE, ls="--", lw=1)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set(xlabel="false positive rate", ylabel="recall")
    axes.legend(frameon=False, fontsize=8, title="AUROC", loc="lower right")


def _labels(figures: BehaviorFigures, values: NDArray[np.float64]) -> list[str]:
    """Each behavior with a figure, for a legend."""
    return [
        f"{name} ({'-' if np.isnan(value) else f'{value:.3f}'})"
        for name, value in zip(titles(figures), values, strict=True)
    ]


def _mark_chosen(
    figures: BehaviorFigures, axes: Axes, across: NDArray[np.float64], up: NDArray[np.float64]
) -> None:
    """Dots where the model's own decisions lie."""
    for column in range(len(figures.behaviors)):
        axes.plot(across[column], up[column], "o", ms=6, mec="black", c=color_of(figures, column))


def _thresholds(figures: BehaviorFigures, figure: Figure, columns: int) -> None:
    curves, best = figures.curves, figures.curves.best()
    for column, axes in enumerate(_grid(figures, figure, columns)):
        color = color_of(figures, column)
        axes.plot(curves.thresholds, curves.f1[:, column], c=color, lw=2.2)
        axes.plot(curves.thresholds, curves.precision[:, column], c=color, lw=1, ls="--")
        axes.plot(curves.thresholds, curves.recall[:, column], c=color, lw=1, ls=":")
        if not np.isnan(best[column]):
            axes.axvline(best[column], c=_FAINT, lw=1)
        if not figures.spec.exclusive:
            axes.axvline(figures.spec.thresholds[column], c="black", lw=1)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.tick_params(labelsize=7)
        axes.set_xlabel("threshold", fontsize=7)


def _calibration(figures: BehaviorFigures, axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], c=_CHANCE, ls="--", lw=1)
    found = figures.calibration
    errors = found.error
    for column, name in enumerate(titles(figures)):
        filled = found.counts[:, column] > 0
        across = found.mean_probability[filled, column]
        up = found.present_share[filled, column]
        sizes = 6 + 60 * np.sqrt(found.counts[filled, column] / found.counts[:, column].sum())
        color = color_of(figures, column)
        axes.plot(across, up, c=color, lw=1.2, label=f"{name} ({errors[column]:.3f})")
        axes.scatter(across, up, s=sizes, color=[color])
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set(xlabel="mean probability", ylabel="share of frames with the behavior")
    axes.legend(frameon=False, fontsize=8, title="calibration error", loc="upper left")


def _recordings(figures: BehaviorFigures, axes: Axes) -> None:
    for place, one in enumerate(figures.recordings):
        if one.match is not None:
            for column, value in enumerate(one.match.f1):
                axes.plot(place, value, "o", ms=5, alpha=0.8, c=color_of(figures, column))
            axes.plot(place, one.match.macro_f1, "_", ms=16, mew=2.5, c="black")
    names = [one.name for one in figures.recordings]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=7)
    for column, name in enumerate(titles(figures)):
        axes.plot([], [], "o", c=color_of(figures, column), label=name)
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("F1")
    axes.legend(frameon=False, fontsize=7, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))


def _grid(figures: BehaviorFigures, figure: Figure, columns: int) -> list[Axes]:
    """One plot a behavior, named in its color."""
    rows = -(-len(figures.behaviors) // columns)
    grid = []
    for column, name in enumerate(titles(figures)):
        axes = figure.add_subplot(rows, columns, column + 1)
        axes.set_title(name, fontsize=9, color=color_of(figures, column), weight="bold")
        axes.spines[["top", "right"]].set_visible(False)
        grid.append(axes)
    return grid
