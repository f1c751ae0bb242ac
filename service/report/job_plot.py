"""The picture of a job: how fast each video was, and what the animals did in each."""

from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from service.drawing.colors import behavior_color, fraction
from service.drawing.figures import EDGE, FAINT, INK, LANE, plot_style, save_figure
from service.report.job_videos import JobVideo
from service.report.values import State

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_IN, _TOP_IN, _ROW_IN = 11.0, 1.8, 0.6
_MOST_SEPARATED = 120
"""Videos that are set apart by white lines; more would leave only the lines."""
_STATES: dict[State, str] = {
    "done": "#2ecc8b",
    "skipped": "#b9c0cc",
    "busy": "#38a0ff",
    "cancelled": "#facc32",
    "failed": "#c8323c",
}


def draw_job(videos: Sequence[JobVideo], out: Path | BytesIO, *, title: str = "") -> None:
    """Draw a PNG: states and speeds of the videos, then for each behavior time spent and bouts.

    The videos stand beside each other in the order of the job. Behaviors of which no video has an
    answer are not there.

    Args:
        videos: of the job, at least one.
        out: file to write, .png, or memory.
        title: above the picture.
    """
    rows = _behavior_rows(videos)
    with plot_style():
        height_in = 0.75 + _TOP_IN + _ROW_IN * len(rows)
        figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=120)
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.03, hspace=0.03))
        grid = figure.add_gridspec(
            1 + len(rows), 2, height_ratios=[_TOP_IN, *[_ROW_IN] * len(rows)]
        )
        top = figure.add_subplot(grid[0, :])
        _draw_speeds(top, videos)
        top.set_title(title, loc="left", fontsize=10, color=INK)
        last = [top]
        for place, (name, color, spent_s, count) in enumerate(rows, start=1):
            last = [figure.add_subplot(grid[place, side]) for side in range(2)]
            for axis, values, what in zip(
                last, (spent_s, count), ("time spent (s)", "bouts"), strict=True
            ):
                _draw_bars(axis, values, color)
                if place == 1:
                    axis.set_title(what, fontsize=9, color=INK)
            last[1].yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
            last[0].set_ylabel(name, rotation=0, ha="right", va="center", color=INK)
        for axis in figure.axes:
            _clean(axis, len(videos), has_numbers=axis is top or axis in last)
        save_figure(figure, out)


_Row = tuple[str, tuple[float, float, float], NDArray[np.float64], NDArray[np.float64]]


def _behavior_rows(videos: Sequence[JobVideo]) -> list[_Row]:
    """Name, color, time spent in s and bouts by video (NaN without an answer) of each behavior."""
    behaviors = {key: bouts.behaviors for one in videos for key, bouts in one.bouts.items()}
    rows: list[_Row] = []
    for key, names in behaviors.items():
        for place, name in enumerate(names):
            spent_s, count = np.full(len(videos), np.nan), np.full(len(videos), np.nan)
            for at, one in enumerate(videos):
                if key in one.bouts:
                    spent_s[at] = one.bouts[key].statistics.time_spent_s[place]
                    count[at] = one.bouts[key].statistics.count[place]
            label = name.replace("_", " ") + (f"\n{key}" if len(behaviors) > 1 else "")
            rows.append((label, fraction(behavior_color(names, place)), spent_s, count))
    return rows


def _draw_speeds(axis: "Axes", videos: Sequence[JobVideo]) -> None:
    """Bars of frames/s, over a strip in the colors of the states."""
    speeds = np.array([one.frames_per_s for one in videos])
    top = float(np.nan_to_num(speeds).max()) or 1.0
    _draw_bars(axis, speeds, (0.34, 0.42, 0.56))
    axis.set_ylim(-0.3 * top, 1.08 * top)
    states = [one.video.state for one in videos]
    for state, color in _STATES.items():
        at = [(number + 0.5, 1.0) for number, one in enumerate(states) if one == state]
        axis.broken_barh(at, (-0.26 * top, 0.18 * top), facecolors=color, lw=0)
    axis.set_yticks([tick for tick in axis.get_yticks() if 0 <= tick <= 1.08 * top])
    axis.set_ylabel("frames/s", color=INK)
    counts = Counter(states)
    axis.legend(
        handles=[
            Patch(color=color, label=f"{counts[state]} {state}")
            for state, color in _STATES.items()
            if counts[state]
        ],
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(_STATES),
        frameon=False,
        labelcolor=INK,
        borderaxespad=0.1,
    )


def _draw_bars(
    axis: "Axes", values: NDArray[np.float64], color: tuple[float, float, float]
) -> None:
    edges = np.arange(len(values) + 1) + 0.5
    axis.stairs(np.nan_to_num(values, nan=0.0), edges, fill=True, color=color, lw=0)
    for at in np.flatnonzero(np.isnan(values)):
        axis.axvspan(edges[at], edges[at + 1], color=LANE, lw=0, zorder=0)
    axis.set_ylim(0, 1.08 * (float(np.nan_to_num(values).max(initial=0.0)) or 1.0))


def _clean(axis: "Axes", videos: int, *, has_numbers: bool) -> None:
    axis.set_xlim(0.5, videos + 0.5)
    if videos <= _MOST_SEPARATED:
        for edge in range(1, videos):
            axis.axvline(edge + 0.5, color="white", lw=0.6)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.tick_params(colors=INK, labelsize=8, length=3)
    axis.tick_params(axis="x", labelbottom=has_numbers, labelcolor=FAINT)
    if has_numbers:
        axis.set_xlabel("number of the video", color=INK)
    for side, spine in axis.spines.items():
        spine.set_color(EDGE)
        spine.set_visible(side in ("left", "bottom"))
