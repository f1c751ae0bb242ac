"""The ethogram: which behavior when, truth over prediction, with the probabilities below."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.behavior import runs
from service.behavior_statistics import agreement
from service.drawing.colors import behavior_color, fraction
from service.errors import InvalidRequest
from service.results import VideoResults
from service.results.atomic import replacing
from service.results.video_results import kept_bouts, known_frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = "#1f2430"
_FAINT = "#8a93a5"
_LANE = "#f0f2f6"
_UNKNOWN = "#d5dae3"
_WIDTH_IN = 11.0
_RIGHT = 0.985  # of the width
_LANE_NAMES_IN = 0.75


def draw_ethogram(
    results: VideoResults,
    out: Path,
    truth: NDArray[np.bool_] | None = None,
    *,
    bundle: str = "",
    title: str = "",
) -> None:
    """Draw a PNG with a row for each behavior of one bundle.

    Each row shows the true bouts (where known), the predicted ones after the bout rule, and the
    probability as a filled curve with its threshold; time runs to the right in s.

    Args:
        results: of one video.
        out: file to write, .png.
        truth: (T, C) what really happened in the same frames, columns as the bundle's behaviors.
        bundle: name of the behavior bundle; empty takes the first.
        title: above the picture; empty takes the video's name and the bundle.

    Raises:
        InvalidRequest: no such behavior bundle answered, or the truth has another shape.
    """
    answers = [pair for pair in results.behavior_answers() if not bundle or pair[0].name == bundle]
    if not answers:
        names = ", ".join(one.name for one in results.provenance.behavior_bundles) or "none"
        raise InvalidRequest(f"no behavior bundle {bundle!r} answered; there are: {names}")
    answered, found = answers[0]
    assert answered.behavior is not None
    if truth is not None and truth.shape != found.present.shape:
        raise InvalidRequest(
            f"the truth is {truth.shape} and the answers are {found.present.shape} (frames, "
            "behaviors); give the same frames and behaviors"
        )
    behaviors = answered.behavior.behaviors
    kept, known = kept_bouts(answered.behavior, found), known_frames(found)
    edges_s = _edges_s(results)
    f1 = None
    if truth is not None and known.any():
        f1 = agreement(truth[known], kept[known]).f1
    with matplotlib.rc_context({"font.size": 9, "font.family": "DejaVu Sans"}):
        left_in = _LANE_NAMES_IN + 0.15 + 0.08 * max(map(len, behaviors))
        figure = Figure(figsize=(_WIDTH_IN, 0.75 + 0.88 * len(behaviors)), dpi=140)
        axes = figure.subplots(len(behaviors), 1, sharex=True, squeeze=False)[:, 0]
        for place, name in enumerate(behaviors):
            axis = axes[place]
            color = fraction(behavior_color(behaviors, place))
            lanes = [kept[:, place]] if truth is None else [truth[:, place], kept[:, place]]
            _draw_lanes(axis, lanes, edges_s, color)
            threshold = None if answered.behavior.exclusive else answered.behavior.thresholds[place]
            _draw_probability(axis, found.probabilities[:, place], edges_s, color, threshold)
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
                color=_INK,
                transform=axis.transAxes,
            )
            _clean(axis, edges_s, with_truth=truth is not None)
        axes[-1].tick_params(axis="x", bottom=True, labelbottom=True, colors=_INK)
        axes[-1].set_xlabel("time (s)", color=_INK)
        axes[0].set_title(
            title or f"{results.provenance.source.name} · {answered.key}",
            loc="left",
            fontsize=10,
            color=_INK,
            pad=8,
        )
        figure.subplots_adjust(left=left_in / _WIDTH_IN, right=_RIGHT, hspace=0.18)
        figure.subplots_adjust(
            top=1 - 0.36 / figure.get_figheight(), bottom=0.46 / figure.get_figheight()
        )
        with replacing(out) as unfinished:
            figure.savefig(unfinished)


def _draw_lanes(
    axis: "Axes",
    lanes: list[NDArray[np.bool_]],
    edges_s: NDArray[np.float64],
    color: tuple[float, float, float],
) -> None:
    """Bouts as blocks: the first lane at the top, all above the probability (0 to 1)."""
    for lane, shown in enumerate(reversed(lanes)):
        bottom = 1.16 + 0.5 * lane
        axis.axhspan(bottom, bottom + 0.4, color=_LANE, lw=0)
        bouts = [(edges_s[on], edges_s[off] - edges_s[on]) for on, off in runs(shown)]
        is_truth = lane == 1
        axis.broken_barh(
            bouts,
            (bottom, 0.4),
            facecolors=_INK if is_truth else [color],
            lw=0,
        )


def _draw_probability(
    axis: "Axes",
    values: NDArray[np.float32],
    edges_s: NDArray[np.float64],
    color: tuple[float, float, float],
    threshold: float | None,
) -> None:
    middles_s = (edges_s[:-1] + edges_s[1:]) / 2
    axis.fill_between(middles_s, values, color=color, alpha=0.28, lw=0)
    axis.plot(middles_s, values, color=color, lw=1.0)
    if threshold is not None:
        axis.axhline(threshold, color=_FAINT, lw=0.7, ls=(0, (4, 3)))


def _shade_unknown(axis: "Axes", known: NDArray[np.bool_], edges_s: NDArray[np.float64]) -> None:
    """Gray out the probability and the predicted lane where the bundle has no answer."""
    spans = [(edges_s[on], edges_s[off] - edges_s[on]) for on, off in runs(~known)]
    for bottom, height in ((0.0, 1.0), (1.16, 0.4)):
        axis.broken_barh(spans, (bottom, height), facecolors=_UNKNOWN, lw=0)


def _clean(axis: "Axes", edges_s: NDArray[np.float64], *, with_truth: bool) -> None:
    axis.set_xlim(edges_s[0], edges_s[-1])
    axis.set_ylim(-0.02, 2.1 if with_truth else 1.6)
    lanes = [(0.5, "probability"), (1.36, "predicted")]
    if with_truth:
        lanes.append((1.86, "truth"))
    axis.set_yticks([place for place, _ in lanes], [name for _, name in lanes])
    axis.tick_params(axis="y", length=0, labelsize=7, labelcolor=_FAINT)
    axis.tick_params(axis="x", bottom=False, labelbottom=False)
    for side in ("top", "right", "left", "bottom"):
        axis.spines[side].set_visible(False)


def _edges_s(results: VideoResults) -> NDArray[np.float64]:
    """(T + 1,) beginning of each frame and end of the last one, s."""
    times_s = results.times_s
    if not len(times_s):
        raise InvalidRequest("the results hold no frame; there is nothing to draw")
    step = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
    step = step or 1 / (results.frame_rate_hz or 30.0)
    return np.append(times_s, times_s[-1] + step)
