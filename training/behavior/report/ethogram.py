"""Ethogram pictures: labels over probabilities over predictions, one row a behavior."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.drawing.colors import behavior_color
from service.errors import InvalidRequest

MOST_COLUMNS = 1600
"""Longer recordings are averaged down to so many columns, so that no short bout vanishes."""
_WIDTH_IN = 11.0
_ROW_IN = 0.19
_LANE = np.array([240, 242, 246]) / 255
_UNKNOWN = np.array([205, 211, 221]) / 255
_INK = "#1f2430"
_FAINT = "#8a93a5"


def ethogram(
    labels: NDArray[np.int8],
    probabilities: NDArray[np.float32],
    behaviors: Sequence[str],
    frame_rate_hz: float,
    *,
    predicted: NDArray[np.bool_] | None = None,
    second: NDArray[np.int8] | None = None,
    limits: Sequence[int] = (),
    first_frame: int = 0,
    title: str = "",
) -> Figure:
    """Draw labels over probabilities over predictions against time.

    A row is a behavior in its color; the stronger it is, the more probable the behavior. Dark gray
    is not labelled, or not answered.

    Args:
        labels: (T, C): 1 present, 0 absent, -1 not labelled.
        probabilities: (T, C) in [0, 1]; NaN where a frame has no answer.
        behaviors: (C,) names.
        frame_rate_hz: frames a second.
        predicted: (T, C) bool, what is present after thresholds and bout rule.
        second: (T, C) another person's labels.
        limits: frames at which a clip begins; marked by a line.
        first_frame: number of row 0, which the time axis begins at.
        title: above the picture.

    Raises:
        InvalidRequest: the shapes differ, or there is no frame.
    """
    shape = (len(labels), len(behaviors))
    parts: list[tuple[str, NDArray[np.float64]]] = [("labels", _unknown_as_nan(labels))]
    if second is not None:
        parts.append(("second\nlabels", _unknown_as_nan(second)))
    parts.append(("probability", probabilities.astype(np.float64)))
    if predicted is not None:
        answered = ~np.isnan(probabilities).any(axis=1, keepdims=True)
        parts.append(("predicted", np.where(answered, predicted, np.nan)))
    for name, values in parts:
        if values.shape != shape or not len(values):
            raise InvalidRequest(
                f"the {name.split()[-1]} are {values.shape} and should be {shape} (frames, "
                "behaviors); give the same frames of all, at least one"
            )
    with mpl.rc_context({"font.size": 8.5, "font.family": "DejaVu Sans"}):
        height_in = 0.75 + len(parts) * (len(behaviors) * _ROW_IN + 0.1)
        figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(parts), 1, sharex=True, squeeze=False)[:, 0]
        span_s = (first_frame / frame_rate_hz, (first_frame + len(labels)) / frame_rate_hz)
        for axes, (name, values) in zip(grid, parts, strict=True):
            _draw_rows(axes, values, behaviors, span_s)
            axes.set_ylabel(name, color=_INK)
            for frame in limits:
                axes.axvline((first_frame + frame) / frame_rate_hz, color=_FAINT, lw=0.5, ls=":")
        grid[-1].set_xlabel("time (s)", color=_INK)
        grid[0].set_title(title, loc="left", fontsize=9.5, color=_INK)
    return figure


def raster(values: NDArray[np.float64], behaviors: Sequence[str]) -> NDArray[np.float64]:
    """Color (T, C) values in [0, 1] or NaN as (C, W, 3) in [0, 1]; W is at most MOST_COLUMNS."""
    edges = np.linspace(0, len(values), min(len(values), MOST_COLUMNS) + 1).astype(np.intp)[:-1]
    widths = np.diff(np.append(edges, len(values)))[:, None]
    unknown = np.isnan(values)
    strength = np.add.reduceat(np.where(unknown, 0.0, values), edges) / widths
    missing = np.add.reduceat(unknown.astype(np.float64), edges) / widths
    colors = np.array([behavior_color(tuple(behaviors), at) for at in range(len(behaviors))]) / 255
    ground = 1 - strength - missing
    return np.moveaxis(
        strength[..., None] * colors + ground[..., None] * _LANE + missing[..., None] * _UNKNOWN,
        0,
        1,
    )


def _draw_rows(
    axes: Axes,
    values: NDArray[np.float64],
    behaviors: Sequence[str],
    span_s: tuple[float, float],
) -> None:
    count = len(behaviors)
    axes.imshow(
        np.clip(raster(values, behaviors), 0, 1),
        aspect="auto",
        interpolation="nearest",
        extent=(*span_s, count - 0.5, -0.5),
    )
    axes.set_yticks(range(count), [name.replace("_", " ") for name in behaviors])
    axes.tick_params(axis="y", length=0, labelcolor=_INK)
    axes.tick_params(axis="x", colors=_INK)
    for place in range(1, count):
        axes.axhline(place - 0.5, color="white", lw=1.5)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _unknown_as_nan(labels: NDArray[np.int8]) -> NDArray[np.float64]:
    return np.where(labels < 0, np.nan, labels.astype(np.float64))
