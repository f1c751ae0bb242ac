"""Confidence over time: one lane for each keypoint, with what lies below the cut-off."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from service.drawing.colors import fraction, series_color
from service.drawing.figures import (
    FAINT,
    INK,
    LANE,
    column_starts,
    draw_trace,
    find_answer,
    plot_style,
    save_figure,
    time_axis,
    to_columns,
)
from service.results import VideoResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BELOW = np.array([200, 40, 50], np.float64) / 255
_UNKNOWN = np.array([213, 218, 227], np.float64) / 255
_LANE_IN, _LEAST_LANE_IN, _TALLEST_IN = 0.62, 0.3, 14.0


def draw_confidence(
    results: VideoResults,
    out: Path | BytesIO,
    *,
    bundle: str = "",
    confidence_cutoff: float | None = None,
    title: str = "",
) -> None:
    """Draw a PNG with a lane for each keypoint of each animal.

    A lane shows the confidence in [0, 1] with the cut-off, and a strip below it: the redder, the
    more of these frames are below the cut-off; gray where frames have no result. In long videos
    the line is the mean of a column of the picture, over the band from its lowest to its highest
    value; one frame below the cut-off leaves its mark.

    Args:
        results: of one video.
        out: file to write, .png, or memory.
        bundle: name, or name@version, of the pose bundle; empty takes the first.
        confidence_cutoff: in [0, 1]; None takes the bundle's own.
        title: above the picture; empty takes the video's name and the bundle.

    Raises:
        InvalidRequest: no such pose bundle answered, or there is no frame.
    """
    answered, poses = find_answer(results, results.pose_answers(), bundle)
    assert answered.pose is not None
    cutoff = answered.pose.confidence_cutoff if confidence_cutoff is None else confidence_cutoff
    edges_s, time_name = time_axis(results)
    lanes = [
        (animal, place)
        for animal in range(answered.pose.max_animals)
        for place, name in enumerate(answered.pose.keypoints)
        if animal == 0 or name not in answered.pose.unique_keypoints
    ]
    lane_in = max(_LEAST_LANE_IN, min(_LANE_IN, _TALLEST_IN / len(lanes)))
    with plot_style():
        figure = Figure(figsize=(11, 0.8 + lane_in * len(lanes)), dpi=140)
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.02, hspace=0.02))
        axes = figure.subplots(len(lanes), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (animal, place) in zip(axes, lanes, strict=True):
            confidence = poses.confidence[:, animal, place]
            traces = to_columns(confidence[:, None], edges_s)
            draw_trace(axis, traces, 0, fraction(series_color(place)))
            axis.axhline(cutoff, color=FAINT, lw=0.7, ls=(0, (4, 3)))
            strip = _strip(confidence, cutoff)
            axis.imshow(
                strip[None],
                aspect="auto",
                interpolation="nearest",
                extent=(edges_s[0], edges_s[-1], -0.34, -0.1),
            )
            name = answered.pose.keypoints[place]
            if answered.pose.max_animals > 1:
                name = f"{animal + 1}: {name}"
            _clean(axis, name)
        axes[-1].set_xlim(edges_s[0], edges_s[-1])
        axes[-1].tick_params(axis="x", bottom=True, labelbottom=True, colors=INK, labelsize=8)
        axes[-1].set_xlabel(time_name, color=INK)
        title = title or f"{results.provenance.source.name} · {answered.key}"
        axes[0].set_title(title, loc="left", fontsize=10, color=INK)
        save_figure(figure, out)


def _strip(confidence: NDArray[np.float32], cutoff: float) -> NDArray[np.float64]:
    """(W, 3) colors in [0, 1]: red by the share of frames below the cut-off, gray of unknown."""
    starts = column_starts(len(confidence))
    frames = np.diff(np.append(starts, len(confidence)))
    unknown = np.add.reduceat(np.isnan(confidence), starts, dtype=np.int64) / frames
    below = np.add.reduceat(confidence < cutoff, starts, dtype=np.int64) / frames
    strength = np.where(below > 0, 0.45 + 0.55 * below, 0.0)[:, None]
    ground = np.where(unknown[:, None] > 0, _UNKNOWN, np.array([240, 242, 246]) / 255)
    return np.asarray(strength * _BELOW + (1 - strength) * ground)


def _clean(axis: "Axes", name: str) -> None:
    axis.set_ylim(-0.36, 1.06)
    axis.axhspan(0, 1, color=LANE, lw=0, zorder=0)
    axis.set_yticks([0.5], [name])
    axis.tick_params(axis="y", length=0, labelsize=8, labelcolor=INK)
    axis.tick_params(axis="x", bottom=False, labelbottom=False)
    for side in ("top", "right", "left", "bottom"):
        axis.spines[side].set_visible(False)
