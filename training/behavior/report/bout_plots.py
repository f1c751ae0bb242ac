"""Plots of bouts: statistics of recordings by labels and prediction, and their correlations."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from service.behavior_statistics import mean_defined
from training.behavior.figures import BehaviorFigures
from training.behavior.figures.bouts import STATISTICS, BoutComparison
from training.behavior.report.plots import color_of, titles

_TITLES = {
    "count": "bouts",
    "mean_length_s": "mean length (s)",
    "time_spent_s": "time spent (s)",
}
_BARS = ("#5b6474", "#c3c9d4")  # no color of a behavior


def draw_bout_plots(figures: BehaviorFigures) -> dict[str, tuple[str, Figure]]:
    """Draw the scatter of statistics and, with a second labeller, the correlations beside it.

    Returns:
        By name: a caption, and the picture.
    """
    plots = {
        "bouts": (
            "Bouts of each recording: predicted (after the bout rule) against labelled; a dot is "
            "a recording, its color the behavior",
            _scatter(figures, figures.bouts, "labelled", "predicted"),
        )
    }
    if figures.second is not None:
        plots["bouts_second"] = (
            "Bouts of each recording: second person against the first",
            _scatter(figures, figures.second.people.bouts, "first person", "second person"),
        )
        plots["correlations"] = (
            "Mean correlation (Pearson's r over recordings) of bout statistics with the first "
            "person's, mean of the behaviors; dots: each behavior",
            _correlations(figures),
        )
    return plots


def _scatter(figures: BehaviorFigures, bouts: BoutComparison, across: str, up: str) -> Figure:
    figure = _new_figure((10.5, 4.2 + 0.08 * len(figures.behaviors)))
    for place, statistic in enumerate(STATISTICS, start=1):
        axes = figure.add_subplot(1, len(STATISTICS), place)
        by_labels, by_prediction = bouts.values(statistic)
        r = bouts.correlation(statistic)
        for column, name in enumerate(titles(figures)):
            shown = f"{r[column]:.2f}" if not np.isnan(r[column]) else "-"
            axes.plot(
                by_labels[:, column],
                by_prediction[:, column],
                "o",
                ms=5,
                alpha=0.8,
                c=color_of(figures, column),
                label=f"{name} ({shown})",
            )
        top = float(np.nan_to_num([by_labels, by_prediction]).max(initial=0.0)) * 1.06 or 1.0
        axes.plot([0, top], [0, top], c="#c3c9d4", ls="--", lw=1, zorder=0)
        axes.set(xlim=(0, top), ylim=(0, top), xlabel=across, ylabel=up)
        axes.set_title(_TITLES[statistic], fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(
            frameon=False,
            fontsize=7,
            title="Pearson's r",
            title_fontsize=7,
            ncols=2,
            loc="upper left",
            bbox_to_anchor=(-0.1, -0.18),
        )
    return figure


def _correlations(figures: BehaviorFigures) -> Figure:
    assert figures.second is not None, "drawn where a second person labelled"
    figure = _new_figure((6.4, 3.8))
    axes = figure.add_subplot()
    pairings = (("second person", figures.second.people), ("model", figures.second.model))
    lowest = 0.0
    for number, (name, pairing) in enumerate(pairings):
        for place, statistic in enumerate(STATISTICS):
            r = pairing.bouts.correlation(statistic)
            across = place + (number - 0.5) * 0.4
            lowest = float(np.nan_to_num(r).min(initial=lowest))
            label = name if place == 0 else None
            axes.bar(across, np.nan_to_num(mean_defined(r)), 0.37, color=_BARS[number], label=label)
            for column, value in enumerate(r):
                axes.plot(across, value, "o", ms=4, mec="white", c=color_of(figures, column))
    axes.set_xticks(range(len(STATISTICS)), [_TITLES[one] for one in STATISTICS])
    axes.axhline(0, c="black", lw=0.7)
    axes.set_ylim(lowest * 1.05, 1.05)
    axes.set_ylabel("Pearson's r with the first person")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def _new_figure(size_in: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size_in, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
