"""Where the animals went: the way of each over the arena, its speed, and the confidence."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from service.drawing.colors import fraction, series_color
from service.drawing.poses import body_centers
from service.errors import InvalidRequest
from service.results import VideoResults
from service.results.atomic import replacing

_INK = "#1f2430"
_FAINT = "#8a93a5"


def draw_trajectory(
    results: VideoResults,
    out: Path,
    *,
    bundle: str = "",
    background: NDArray[np.uint8] | None = None,
    confidence_cutoff: float | None = None,
) -> None:
    """Draw a PNG: the way of the animals' centers colored by time, beside speed and confidence.

    The centers are those of `body_centers`.

    Args:
        results: of one video.
        out: file to write, .png.
        bundle: name of the pose bundle; empty takes the first.
        background: (H, W, 3) uint8 frame to draw on, dimmed; None leaves the ground plain.
        confidence_cutoff: in [0, 1]; None takes the bundle's own.

    Raises:
        InvalidRequest: no such pose bundle answered, or there is no frame.
    """
    answers = [pair for pair in results.pose_answers() if not bundle or pair[0].name == bundle]
    if not answers or not len(results):
        names = ", ".join(one.name for one in results.provenance.pose_bundles) or "none"
        raise InvalidRequest(
            f"no pose bundle {bundle!r} answered a frame; there are: {names}, {len(results)} frames"
        )
    answered, poses = answers[0]
    assert answered.pose is not None
    cutoff = answered.pose.confidence_cutoff if confidence_cutoff is None else confidence_cutoff
    centers = body_centers(poses.keypoints_xy, poses.confidence, cutoff)
    info, times_s = results.provenance.info, results.times_s
    with matplotlib.rc_context({"font.size": 9, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(11, 4.6), dpi=140)
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
        grid = figure.add_gridspec(2, 2, width_ratios=[1.25, 1])
        arena = figure.add_subplot(grid[:, 0])
        if background is not None:
            ground = background.astype(np.float64) * 0.45 + 255 * 0.55
            arena.imshow(ground.astype(np.uint8))
        span = (float(times_s[0]), float(max(times_s[-1], times_s[0] + 1e-3)))
        for animal in range(centers.shape[1]):
            lines = _colored_way(centers[:, animal], times_s, span)
            arena.add_collection(lines)
        scale = figure.colorbar(lines, ax=arena, fraction=0.035, pad=0.015)
        scale.set_label("time (s)", color=_INK)
        scale.outline.set_visible(False)
        arena.set_xlim(-0.5, info.width_px - 0.5)
        arena.set_ylim(info.height_px - 0.5, -0.5)
        arena.set_aspect("equal")
        arena.set(xlabel="x (px)", ylabel="y (px)")
        name = f"{results.provenance.source.name} · {answered.key}"
        arena.set_title(name, loc="left", fontsize=10, color=_INK)

        speed = figure.add_subplot(grid[0, 1])
        for animal in range(centers.shape[1]):
            color = fraction(series_color(animal))
            speed.plot(times_s, _speed(centers[:, animal], times_s), color=color, lw=1.0)
        speed.set(ylabel="speed (px/s)", xlim=span)
        speed.set_ylim(bottom=0)

        trust = figure.add_subplot(grid[1, 1])
        for place, keypoint in enumerate(answered.pose.keypoints):
            values = np.where(np.isnan(poses.confidence), 0, poses.confidence)[:, :, place]
            color = fraction(series_color(place))
            trust.plot(times_s, values.max(axis=1), color=color, lw=0.9, label=keypoint)
        trust.axhline(cutoff, color=_FAINT, lw=0.7, ls=(0, (4, 3)))
        trust.set(xlabel="time (s)", ylabel="confidence", xlim=span, ylim=(0, 1.03))
        trust.legend(
            loc="lower left", ncols=4, fontsize=7, frameon=False, labelcolor=_INK, borderaxespad=0.2
        )
        for axis in (arena, speed, trust):
            axis.tick_params(colors=_INK, labelsize=8, length=3)
            for side in ("top", "right"):
                axis.spines[side].set_visible(axis is arena)
            for spine in axis.spines.values():
                spine.set_color("#c6ccd8")
        with replacing(out) as unfinished:
            figure.savefig(unfinished)


def _colored_way(
    path_xy: NDArray[np.float64], times_s: NDArray[np.float64], span_s: tuple[float, float]
) -> LineCollection:
    pieces = np.stack([path_xy[:-1], path_xy[1:]], axis=1)
    whole = np.isfinite(pieces).all(axis=(1, 2))
    lines = LineCollection(list(pieces[whole]), cmap="viridis", linewidths=1.6, capstyle="round")
    lines.set_array(times_s[:-1][whole])
    lines.set_clim(*span_s)
    return lines


def _speed(path_xy: NDArray[np.float64], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) px/s over the two neighbors of a frame, which halves the jitter of single frames."""
    if len(path_xy) < 3:
        return np.full(len(path_xy), np.nan)
    steps = np.linalg.norm(path_xy[2:] - path_xy[:-2], axis=1)
    spans_s = times_s[2:] - times_s[:-2]
    inner = np.divide(steps, spans_s, out=np.full(len(steps), np.nan), where=spans_s > 0)
    return np.concatenate([inner[:1], inner, inner[-1:]])
