"""Where the animals went: the way of each over the arena, its speed, and the confidence."""

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from service.drawing.colors import fraction, series_color
from service.drawing.figures import (
    EDGE,
    FAINT,
    INK,
    draw_trace,
    find_answer,
    plot_style,
    save_figure,
    time_axis,
    to_columns,
)
from service.drawing.poses import body_centers
from service.results import VideoResults

_GRID = 1000
"""Steps across the arena: about the pixels that it is drawn with."""


def draw_trajectory(
    results: VideoResults,
    out: Path | BytesIO,
    *,
    bundle: str = "",
    background: NDArray[np.uint8] | None = None,
    confidence_cutoff: float | None = None,
    title: str = "",
) -> None:
    """Draw a PNG: the way of the animals' centers colored by time, beside speed and confidence.

    The centers are those of `body_centers`.

    Args:
        results: of one video.
        out: file to write, .png, or memory.
        bundle: name, or name@version, of the pose bundle; empty takes the first.
        background: (H, W, 3) uint8 frame to draw on, dimmed; None leaves the ground plain.
        confidence_cutoff: in [0, 1]; None takes the bundle's own.
        title: above the picture; empty takes the video's name and the bundle.

    Raises:
        InvalidRequest: no such pose bundle answered, or there is no frame.
    """
    answered, poses = find_answer(results, results.pose_answers(), bundle)
    assert answered.pose is not None
    cutoff = answered.pose.confidence_cutoff if confidence_cutoff is None else confidence_cutoff
    centers = body_centers(poses.keypoints_xy, poses.confidence, cutoff)
    info = results.provenance.info
    edges_s, time_name = time_axis(results)
    times_s = edges_s[:-1]
    span = (float(edges_s[0]), float(edges_s[-1]))
    with plot_style():
        figure = Figure(figsize=(11, 4.6), dpi=140)
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
        grid = figure.add_gridspec(2, 2, width_ratios=[1.25, 1])
        arena = figure.add_subplot(grid[:, 0])
        if background is not None:
            ground = background.astype(np.float64) * 0.45 + 255 * 0.55
            arena.imshow(ground.astype(np.uint8))
        for animal in range(centers.shape[1]):
            size_px = max(info.width_px, info.height_px)
            lines = _colored_way(centers[:, animal], times_s, span, size_px / _GRID)
            arena.add_collection(lines)
        scale = figure.colorbar(lines, ax=arena, fraction=0.035, pad=0.015)
        scale.set_label(time_name, color=INK)
        scale.outline.set_visible(False)
        arena.set_xlim(-0.5, info.width_px - 0.5)
        arena.set_ylim(info.height_px - 0.5, -0.5)
        arena.set_aspect("equal")
        arena.set(xlabel="x (px)", ylabel="y (px)")
        title = title or f"{results.provenance.source.name} · {answered.key}"
        arena.set_title(title, loc="left", fontsize=10, color=INK)

        speed = figure.add_subplot(grid[0, 1])
        speeds = [_speed(centers[:, animal], times_s) for animal in range(centers.shape[1])]
        traces = to_columns(np.stack(speeds, axis=1), edges_s)
        for animal in range(centers.shape[1]):
            draw_trace(speed, traces, animal, fraction(series_color(animal)), width=1.0)
        unit = "px/s" if time_name == "time (s)" else "px/frame"
        speed.set(ylabel=f"speed ({unit})", xlim=span)
        speed.set_ylim(bottom=0)

        trust = figure.add_subplot(grid[1, 1])
        confidence = np.nan_to_num(poses.confidence, nan=0.0).max(axis=1)
        traces = to_columns(confidence, edges_s)
        for place, keypoint in enumerate(answered.pose.keypoints):
            draw_trace(trust, traces, place, fraction(series_color(place)), label=keypoint)
        trust.axhline(cutoff, color=FAINT, lw=0.7, ls=(0, (4, 3)))
        trust.set(xlabel=time_name, ylabel="confidence", xlim=span, ylim=(0, 1.03))
        trust.legend(
            loc="lower left", ncols=4, fontsize=7, frameon=False, labelcolor=INK, borderaxespad=0.2
        )
        for axis in (arena, speed, trust):
            axis.tick_params(colors=INK, labelsize=8, length=3)
            for side in ("top", "right"):
                axis.spines[side].set_visible(axis is arena)
            for spine in axis.spines.values():
                spine.set_color(EDGE)
        save_figure(figure, out)


def _colored_way(
    path_xy: NDArray[np.float64],
    times_s: NDArray[np.float64],
    span_s: tuple[float, float],
    step_px: float,
) -> LineCollection:
    """Return the way as lines colored by time; steps too short to be seen are put together."""
    # An unknown position differs from everything, so that gaps stay gaps.
    changed = np.not_equal(np.diff(path_xy // step_px, axis=0), 0)
    moved = np.append(True, changed.any(axis=1))
    known = np.asarray(np.isfinite(path_xy).all(axis=1))
    at = np.flatnonzero(moved | np.append(known[:-1] & ~known[1:], True))
    pieces = np.stack([path_xy[at[:-1]], path_xy[at[1:]]], axis=1)
    whole = np.isfinite(pieces).all(axis=(1, 2))
    lines = LineCollection(list(pieces[whole]), cmap="viridis", linewidths=1.6, capstyle="round")
    lines.set_array(times_s[at[:-1]][whole])
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
