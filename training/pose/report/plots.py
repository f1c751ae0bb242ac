"""The plots of a report: errors by keypoint and confidence, shares of right points, detections."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.drawing.colors import fraction, series_color
from training.pose.evaluate import MeasuredPart, PoseMeasurement
from training.pose.metrics import error_figures

_FALLBACK_RIGHT_PX = 20.0
_BODY_SHARE = 0.2
_BINS = 20


def draw_plots(measured: PoseMeasurement, folder: Path) -> dict[str, tuple[str, Path]]:
    """Write every plot that the measurement has something for.

    Returns:
        By name: a caption, and the PNG file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, tuple[str, Callable[[PoseMeasurement, Axes], None]]] = {
        "error_per_keypoint": (
            "Mean Euclidean error of each keypoint, with its standard error",
            _error_per_keypoint,
        ),
        "cumulative_error": ("Share of points within a distance (PCK)", _cumulative_error),
        "error_against_confidence": (
            "Error against confidence; the line is the median of a tenth of the points",
            _error_against_confidence,
        ),
        "confidence_histogram": (
            "Confidence of right and wrong points, a wrong one being further away than "
            f"{right_within_px(measured.parts[0]):.1f} px",
            _confidence_histogram,
        ),
    }
    if "detections" in measured.parts[0].figures:
        plots["detections"] = (
            "Recall and precision of each keypoint, at the confidence cut-off",
            _detections,
        )
    if "human" in measured.parts[0].figures:
        plots["human"] = (
            "Distance between two people's labels, and of the network from the first",
            _human,
        )
    written = {}
    for name, (caption, draw) in plots.items():
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        draw(measured, axes)
        axes.spines[["top", "right"]].set_visible(False)
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=130)
        written[name] = (caption, path)
    if measured.metrics_table is not None:
        from training.figures import draw_curves  # needs Lightning, which a bundle does not

        path = folder / "curves.png"
        draw_curves(measured.metrics_table, path)
        written["curves"] = ("Loss and held-out error over the epochs of the training", path)
    return written


def right_within_px(part: MeasuredPart) -> float:
    """Distance up to which a point is called right: a fifth of the body length, or 20 px."""
    length = part.figures.get("body_length_px")
    return _BODY_SHARE * length if isinstance(length, float) else _FALLBACK_RIGHT_PX


def _error_per_keypoint(measured: PoseMeasurement, axes: Axes) -> None:
    names = ("all", *measured.keypoints)
    width = 0.8 / len(measured.parts)
    for number, part in enumerate(measured.parts):
        errors = part.found.errors_px()
        columns = [errors, *(errors[..., place] for place in range(len(measured.keypoints)))]
        figures = [error_figures(column) for column in columns]
        heights = [_or_nan(one["mean_error_px"]) for one in figures]
        spreads = [_or_nan(one["sem_px"]) for one in figures]
        places = np.arange(len(names)) + (number - (len(measured.parts) - 1) / 2) * width
        axes.bar(
            places,
            heights,
            width * 0.92,
            yerr=np.nan_to_num(spreads),
            label=part.name,
            color=_color(number),
            error_kw={"lw": 1},
        )
    axes.set_xticks(range(len(names)), names, rotation=30 if len(names) > 6 else 0)
    axes.set_ylabel("error (px of the frame)")
    _legend_above(axes)


def _cumulative_error(measured: PoseMeasurement, axes: Axes) -> None:
    for number, part in enumerate(measured.parts):
        matches = part.found.match()
        known = np.sort(matches.errors_px[np.isfinite(matches.errors_px)])
        share = np.arange(1, len(known) + 1) / max(1, int(matches.labelled.sum()))
        axes.step(np.maximum(known, 0.1), share, where="post", label=part.name, c=_color(number))
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("distance (px of the frame)")
    axes.set_ylabel("share of labelled points")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False, loc="lower right")


def _error_against_confidence(measured: PoseMeasurement, axes: Axes) -> None:
    for number, part in reversed(list(enumerate(measured.parts))):
        confidence, errors = _known(part)
        axes.plot(confidence, errors, ".", ms=3, alpha=0.5, c=_color(number), label=part.name)
    confidence, errors = _known(measured.parts[0])
    if len(errors):
        order = np.argsort(confidence)
        groups = np.array_split(order, min(10, len(order)))
        axes.plot(
            [np.median(confidence[group]) for group in groups],
            [np.median(errors[group]) for group in groups],
            c="black",
            lw=1.5,
        )
    axes.axvline(measured.confidence_cutoff, c="gray", ls=":", lw=1)
    axes.set_yscale("log")
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("confidence (dotted: cut-off)")
    axes.set_ylabel("error (px of the frame)")
    _legend_above(axes)


def _confidence_histogram(measured: PoseMeasurement, axes: Axes) -> None:
    part = measured.parts[0]
    confidence, errors = _known(part)
    right = errors <= right_within_px(part)
    axes.hist(
        [confidence[right], confidence[~right]],
        bins=list(np.linspace(0, 1, _BINS + 1)),
        stacked=True,
        color=[_color(2), _color(7)],
        label=[f"right ({int(right.sum())})", f"wrong ({int((~right).sum())})"],
    )
    axes.axvline(measured.confidence_cutoff, c="gray", ls=":", lw=1)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_xlabel(f"confidence, {part.name} frames (dotted: cut-off)")
    axes.set_ylabel("points")
    _legend_above(axes)


def _detections(measured: PoseMeasurement, axes: Axes) -> None:
    detections = measured.parts[0].figures["detections"]
    assert isinstance(detections, dict), "summarize gives figures of the detections"
    rows = [detections, *(detections["per_keypoint"][name] for name in measured.keypoints)]
    _pairs(axes, ("all", *measured.keypoints), rows, ("recall", "precision"))
    axes.set_ylim(0, 1.05)
    axes.set_ylabel(f"share, matched within {detections['radius_px']:.1f} px")


def _human(measured: PoseMeasurement, axes: Axes) -> None:
    human = measured.parts[0].figures["human"]
    assert isinstance(human, dict), "human_figures gives figures"
    rows = [human, *(human["per_keypoint"][name] for name in measured.keypoints)]
    _pairs(axes, ("all", *measured.keypoints), rows, ("mean_error_px", "network_mean_error_px"))
    axes.set_ylabel("mean distance (px of the frame)")


_TITLES = {"mean_error_px": "two people", "network_mean_error_px": "network"}


def _pairs(
    axes: Axes, names: Sequence[str], rows: Sequence[dict[str, object]], figures: Sequence[str]
) -> None:
    """Bars of two figures beside each other."""
    for number, figure in enumerate(figures):
        heights = [_or_nan(row[figure]) for row in rows]
        places = np.arange(len(names)) + (number - 0.5) * 0.4
        axes.bar(places, heights, 0.37, label=_TITLES.get(figure, figure), color=_color(number))
    axes.set_xticks(range(len(names)), names, rotation=30 if len(names) > 6 else 0)
    _legend_above(axes)


def _legend_above(axes: Axes) -> None:
    axes.legend(frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))


def _known(part: MeasuredPart) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Confidence and error in px (at least 0.05, for a logarithm) of the points that have both."""
    matches = part.found.match()
    known = np.isfinite(matches.errors_px)
    return matches.confidence[known], np.maximum(matches.errors_px[known], 0.05)


def _color(number: int) -> tuple[float, float, float]:
    return fraction(series_color(number))


def _or_nan(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
