"""Plots of a track: ways, positions, confidence and displacements; and the map of its poses."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray

from service.drawing.colors import fraction, series_color
from service.drawing.figures import (
    EDGE,
    FAINT,
    INK,
    draw_trace,
    frame_edges,
    plot_style,
    save_figure,
    to_columns,
)
from service.errors import InvalidRequest
from service.tracks.track import Track

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from service.tracks.embedding import Embedding


def draw_track(track: Track, out: Path, *, cutoff: float, animal: int = 0) -> None:
    """Draw a PNG of one animal: ways, x and y over time, confidence, displacements.

    Args:
        track: what to draw; without a frame rate time is counted in frames.
        out: file to write, .png.
        cutoff: confidence in [0, 1]; points below it are left out of all but the confidence.
        animal: number of the animal.

    Raises:
        InvalidRequest: the track has no frame or no such animal, or its rows are no animals that
            could be followed.
    """
    track.require_animals("a plot of ways")
    if not len(track) or not 0 <= animal < track.animals:
        raise InvalidRequest(
            f"{track.source} has {len(track)} frames and {track.animals} animals; there is no "
            f"animal {animal + 1} to plot"
        )
    seen = track.seen(cutoff)[:, animal]
    xy = np.where(seen[..., None], track.keypoints_xy[:, animal], np.nan).astype(np.float64)
    known_rate = track.frame_rate_hz > 0
    times = track.times_s if known_rate else track.frame_index.astype(np.float64)
    edges = frame_edges(times, track.frame_rate_hz if known_rate else 1.0)
    confidence = track.confidence[:, animal]
    unit = "time (s)" if known_rate else "frame"
    with plot_style():
        figure = Figure(figsize=(12, 7.2), dpi=130)
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
        grid = figure.add_gridspec(4, 2, width_ratios=[1.0, 1.25])
        way = figure.add_subplot(grid[:3, 0])
        over_x, over_y, trust = (figure.add_subplot(grid[row, 1]) for row in range(3))
        steps = figure.add_subplot(grid[3, :])
        traces = [to_columns(values, edges) for values in (xy[..., 0], xy[..., 1], confidence)]
        for place, name in enumerate(track.keypoints):
            color = fraction(series_color(place))
            path = xy[:, place]
            way.plot(path[:, 0], path[:, 1], color=color, lw=0.6, alpha=0.75, label=name)
            for axis, columns in zip((over_x, over_y, trust), traces, strict=True):
                draw_trace(axis, columns, place, color, width=0.8)
            _draw_displacements(steps, track, path, color)
        way.set(xlabel="x (px)", ylabel="y (px)")
        way.set_aspect("equal")
        way.invert_yaxis()
        name = f"{track.source.name} · {track.model}"
        if track.animals > 1:
            name += f" · {track.names[animal]}"
        way.set_title(name, loc="left", fontsize=10, color=INK)
        over_x.set(ylabel="x (px)")
        over_y.set(ylabel="y (px)")
        over_y.invert_yaxis()
        trust.set(ylabel="confidence", xlabel=unit, ylim=(-0.02, 1.03))
        trust.axhline(cutoff, color=FAINT, lw=0.7, ls=(0, (4, 3)))
        for axis in (over_x, over_y, trust):
            axis.set_xlim(edges[0], edges[-1])
        steps.set(xlabel="displacement from frame to frame (px)", ylabel="frames", yscale="log")
        # Powers would be written as formulas, which the style turns off.
        steps.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        figure.legend(*way.get_legend_handles_labels(), loc="outside lower center", ncols=8)
        _finish(figure, [way, over_x, over_y, trust, steps], out)


def draw_embedding(embedding: "Embedding", out: Path) -> None:
    """Draw a PNG: the map of poses colored by cluster, and the typical pose of each cluster.

    Each small picture shows the pose nearest to the middle of its cluster over others of it, in
    the animal's own frame with the front up.
    """
    from service.tracks.embedding import central_pose

    track = embedding.tracks[0]
    clusters = int(embedding.cluster.max()) + 1
    columns = 4 if clusters > 6 else 2
    rows = -(-clusters // columns)
    bones = track.places(track.skeleton)
    reach = np.percentile(np.abs(embedding.poses), 99.5, axis=(0, 1))
    with plot_style():
        figure = Figure(figsize=(7 + 1.3 * columns, 6.4), dpi=130)
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05))
        grid = figure.add_gridspec(rows, columns + 1, width_ratios=[6.2, *[1.25] * columns])
        whole = figure.add_subplot(grid[:, 0])
        for cluster in range(clusters):
            members = embedding.cluster == cluster
            color = fraction(series_color(cluster))
            x, y = embedding.places[members].T
            whole.scatter(x, y, s=5, color=color, lw=0)
            middle = central_pose(embedding, cluster)
            whole.annotate(
                str(cluster + 1),
                embedding.places[middle],
                ha="center",
                va="center",
                fontsize=10,
                weight="bold",
                color=INK,
                bbox={"boxstyle": "circle,pad=0.2", "fc": "white", "ec": color, "lw": 1.2},
            )
            axis = figure.add_subplot(grid[cluster // columns, 1 + cluster % columns])
            others = np.flatnonzero(members)
            for pose in others[:: max(1, len(others) // 25)]:
                _draw_pose(axis, embedding.poses[pose], bones, color, 0.15)
            _draw_pose(axis, embedding.poses[middle], bones, color, 1.0)
            axis.set_xlim(-1.3 * reach[1], 1.3 * reach[1])
            axis.set_ylim(-0.15 * reach[0], 1.1 * reach[0])
            axis.set_aspect("equal")
            axis.set_axis_off()
            share = members.mean()
            axis.set_title(f"{cluster + 1} · {share:.0%}", fontsize=8, color=INK, pad=2)
        whole.set_axis_off()
        explained = embedding.explained[:2].sum()
        files = ", ".join(track.source.name for track in embedding.tracks[:3])
        files += " …" if len(embedding.tracks) > 3 else ""
        whole.set_title(
            f"{files}: {len(embedding.poses)} of {embedding.found} poses, t-SNE of "
            f"{embedding.components.shape[1]} components (first two: {explained:.0%} of variance)",
            loc="left",
            fontsize=9,
            color=INK,
        )
        save_figure(figure, out)


def _draw_displacements(
    axis: "Axes", track: Track, path: NDArray[np.float64], color: tuple[float, float, float]
) -> None:
    moved = np.linalg.norm(np.diff(path, axis=0), axis=1)[np.diff(track.frame_index) == 1]
    moved = moved[np.isfinite(moved)]
    if len(moved):
        top = max(1.0, float(moved.max()))
        axis.hist(moved, bins=80, range=(0, top), histtype="step", color=color, lw=1.2)


def _draw_pose(
    axis: "Axes",
    pose: NDArray[np.float64],
    bones: list[tuple[int, int]],
    color: tuple[float, float, float],
    alpha: float,
) -> None:
    upright = pose[:, ::-1]  # the front up, the animal's right to the right
    for one, two in bones:
        axis.plot(*upright[[one, two]].T, color=INK if alpha == 1 else color, lw=1, alpha=alpha)
    for place, point in enumerate(upright):
        dot = fraction(series_color(place)) if alpha == 1 else color
        axis.plot(*point, "o", ms=4 if alpha == 1 else 2.5, color=dot, alpha=alpha, mew=0)


def _finish(figure: Figure, axes: "list[Axes]", out: Path) -> None:
    for axis in axes:
        axis.tick_params(colors=INK, labelsize=8, length=3)
        for side, spine in axis.spines.items():
            spine.set_color(EDGE)
            spine.set_visible(side in ("left", "bottom"))
    save_figure(figure, out)
