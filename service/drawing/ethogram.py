"""The ethogram: which behavior when, truth over prediction, with the probabilities below."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.behavior import runs
from service.behavior_statistics import agreement
from service.drawing.colors import behavior_color, fraction
from service.drawing.figures import (
    FAINT,
    INK,
    LANE,
    MOST_COLUMNS,
    Columns,
    draw_trace,
    find_answer,
    plot_style,
    save_figure,
    time_axis,
    to_columns,
)
from service.errors import InvalidRequest
from service.results import VideoResults
from service.results.video_results import kept_bouts, known_frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNKNOWN = "#d5dae3"
_WIDTH_IN = 11.0
_RIGHT = 0.985  # of the width
_LANE_NAMES_IN = 0.75


def draw_ethogram(
    results: VideoResults,
    out: Path | BytesIO,
    truth: NDArray[np.bool_] | None = None,
    *,
    bundle: str = "",
    title: str = "",
) -> None:
    """Draw a PNG with a row for each behavior of one bundle.

    Each row shows the true bouts (where known), the predicted ones after the bout rule, and the
    probability as a filled curve with its threshold; time runs to the right in s. In long videos
    the curve is the mean of a column of the picture over the band from its lowest to its highest
    value, and a bout is at least a column wide.

    Args:
        results: of one video.
        out: file to write, .png, or memory.
        truth: (T, C) what really happened in the same frames, columns as the bundle's behaviors.
        bundle: name, or name@version, of the behavior bundle; empty takes the first.
        title: above the picture; empty takes the video's name and the bundle.

    Raises:
        InvalidRequest: no such behavior bundle answered, there is no frame, or the truth has
            another shape.
    """
    answered, found = find_answer(results, results.behavior_answers(), bundle)
    assert answered.behavior is not None
    if truth is not None and truth.shape != found.present.shape:
        raise InvalidRequest(
            f"the truth is {truth.shape} and the answers are {found.present.shape} (frames, "
            "behaviors); give the same frames and behaviors"
        )
    behaviors = answered.behavior.behaviors
    kept, known = kept_bouts(answered.behavior, found), known_frames(found)
    edges_s, time_name = time_axis(results)
    f1 = None
    if truth is not None and known.any():
        f1 = agreement(truth[known], kept[known]).f1
    traces = to_columns(found.probabilities, edges_s)
    with plot_style():
        left_in = _LANE_NAMES_IN + 0.15 + 0.08 * max(map(len, behaviors))
        figure = Figure(figsize=(_WIDTH_IN, 0.75 + 0.88 * len(behaviors)), dpi=140)
        axes = figure.subplots(len(behaviors), 1, sharex=True, squeeze=False)[:, 0]
        for place, name in enumerate(behaviors):
            axis = axes[place]
            color = fraction(behavior_color(behaviors, place))
            lanes = [kept[:, place]] if truth is None else [truth[:, place], kept[:, place]]
            _draw_lanes(axis, lanes, edges_s, color)
            threshold = None if answered.behavior.exclusive else answered.behavior.thresholds[place]
            _draw_probability(axis, traces, place, color, threshold)
            _shade_unknown(axis, known, edges_s)
            label = name.replace("_", " ")
            if f1 is not None and f1[place] == f1[place]:
                label += f"\nF1 {f1[place]:.2f}"
            axis.text(
                -_LANE_NAMES_IN / (_RIGHT * _WIDTH_IN - left_in),
                0.5,
                label,
                ha="right",
                va="center",
                color=INK,
                transform=axis.transAxes,
            )
            _clean(axis, edges_s, with_truth=truth is not None)
        axes[-1].tick_params(axis="x", bottom=True, labelbottom=True, colors=INK)
        axes[-1].set_xlabel(time_name, color=INK)
        axes[0].set_title(
            title or f"{results.provenance.source.name} · {answered.key}",
            loc="left",
            fontsize=10,
            color=INK,
            pad=8,
        )
        figure.subplots_adjust(left=left_in / _WIDTH_IN, right=_RIGHT, hspace=0.18)
        figure.subplots_adjust(
            top=1 - 0.36 / figure.get_figheight(), bottom=0.46 / figure.get_figheight()
        )
        save_figure(figure, out)


def _draw_lanes(
    axis: "Axes",
    lanes: list[NDArray[np.bool_]],
    edges_s: NDArray[np.float64],
    color: tuple[float, float, float],
) -> None:
    """Bouts as blocks: the first lane at the top, all above the probability (0 to 1)."""
    for lane, shown in enumerate(reversed(lanes)):
        bottom = 1.16 + 0.5 * lane
        axis.axhspan(bottom, bottom + 0.4, color=LANE, lw=0)
        is_truth = lane == 1
        axis.broken_barh(
            _spans(shown, edges_s),
            (bottom, 0.4),
            facecolors=INK if is_truth else [color],
            lw=0,
        )


def _draw_probability(
    axis: "Axes",
    traces: Columns,
    place: int,
    color: tuple[float, float, float],
    threshold: float | None,
) -> None:
    axis.fill_between(traces.middles, traces.mean[:, place], color=color, alpha=0.28, lw=0)
    draw_trace(axis, traces, place, color, width=1.0)
    if threshold is not None:
        axis.axhline(threshold, color=FAINT, lw=0.7, ls=(0, (4, 3)))


def _shade_unknown(axis: "Axes", known: NDArray[np.bool_], edges_s: NDArray[np.float64]) -> None:
    """Gray out the probability and the predicted lane where the bundle has no answer."""
    for bottom, height in ((0.0, 1.0), (1.16, 0.4)):
        axis.broken_barh(_spans(~known, edges_s), (bottom, height), facecolors=_UNKNOWN, lw=0)


def _spans(shown: NDArray[np.bool_], edges_s: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Begin and length of each run, s; the shortest ones are as wide as a column of the picture."""
    least_s = (edges_s[-1] - edges_s[0]) / MOST_COLUMNS
    return [(edges_s[on], max(edges_s[off] - edges_s[on], least_s)) for on, off in runs(shown)]


def _clean(axis: "Axes", edges_s: NDArray[np.float64], *, with_truth: bool) -> None:
    axis.set_xlim(edges_s[0], edges_s[-1])
    axis.set_ylim(-0.02, 2.1 if with_truth else 1.6)
    lanes = [(0.5, "probability"), (1.36, "predicted")]
    if with_truth:
        lanes.append((1.86, "truth"))
    axis.set_yticks([place for place, _ in lanes], [name for _, name in lanes])
    axis.tick_params(axis="y", length=0, labelsize=7, labelcolor=FAINT)
    axis.tick_params(axis="x", bottom=False, labelbottom=False)
    for side in ("top", "right", "left", "bottom"):
        axis.spines[side].set_visible(False)
