"""What all plots share: their look, how a figure is written, and long traces in few columns."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.results import AnsweredBundle, VideoResults
from service.results.atomic import replacing
from service.results.rows import row_times_s
from service.values import BehaviorColumns, PoseColumns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Answer = TypeVar("Answer", PoseColumns, BehaviorColumns)

INK = "#1f2430"
FAINT = "#8a93a5"
EDGE = "#c6ccd8"
LANE = "#f0f2f6"
MOST_COLUMNS = 1000
"""Fewer than the pixels that a plot is wide, so that each of them is seen."""

_LOCK = threading.RLock()  # the settings of matplotlib are one for all threads of a process


@contextmanager
def plot_style() -> Iterator[None]:
    """Set the look of the plots that are drawn and written in the block.

    Names of files, keypoints and behaviors are shown as they are: a $ begins no formula.
    """
    with (
        _LOCK,
        matplotlib.rc_context(
            {"font.size": 9, "font.family": "DejaVu Sans", "text.parse_math": False}
        ),
    ):
        yield


def save_figure(figure: Figure, out: Path | BytesIO) -> None:
    """Write a PNG, as a file that appears only when it is whole, or to memory."""
    if isinstance(out, BytesIO):
        figure.savefig(out, format="png")
        return
    with replacing(out) as unfinished:
        figure.savefig(unfinished)


@dataclass(frozen=True, slots=True)
class Columns:
    """Traces of T frames in W columns, W at most T; NaN where a column knows nothing."""

    edges: NDArray[np.float64]
    """(W + 1,) limits of the columns, in the unit of the time axis."""
    low: NDArray[np.float64]
    """(W, C) lowest value of each column."""
    mean: NDArray[np.float64]
    """(W, C)"""
    high: NDArray[np.float64]
    """(W, C) highest value of each column."""

    @property
    def middles(self) -> NDArray[np.float64]:
        """(W,) middles of the columns."""
        return (self.edges[:-1] + self.edges[1:]) / 2


def find_answer(
    results: VideoResults, answers: Sequence[tuple[AnsweredBundle, Answer]], bundle: str
) -> tuple[AnsweredBundle, Answer]:
    """Return what one bundle answered.

    Args:
        results: that the answers are of.
        answers: its pose answers, or its behavior answers.
        bundle: name or name@version; empty takes the first.

    Raises:
        InvalidRequest: no such bundle answered, or there is no frame.
    """
    for answered, found in answers if len(results) else ():
        if bundle in ("", answered.name, str(answered.key)):
            return answered, found
    names = ", ".join(str(one.key) for one, _ in answers) or "none"
    raise InvalidRequest(
        f"no bundle {bundle!r} answered a frame of {results.provenance.source.name}, which has "
        f"{len(results)} frames; there are: {names}"
    )


def to_columns(
    values: NDArray[np.floating], edges: NDArray[np.float64], most: int = MOST_COLUMNS
) -> Columns:
    """Reduce traces to what a plot can show: no lowest or highest value is lost.

    Args:
        values: (T, C), T at least 1; NaN is not known.
        edges: (T + 1,) rising limits of the frames, as of `frame_edges`.
        most: columns.
    """
    starts = column_starts(len(values), most)
    sizes = (len(starts), values.shape[1])
    low, mean, high = np.empty(sizes), np.empty(sizes), np.empty(sizes)
    for place in range(values.shape[1]):  # one by one: no copy of all traces
        trace = values[:, place].astype(np.float64)
        known = np.add.reduceat(~np.isnan(trace), starts, dtype=np.int64)
        low[:, place] = np.fmin.reduceat(trace, starts)
        high[:, place] = np.fmax.reduceat(trace, starts)
        total = np.add.reduceat(np.nan_to_num(trace, nan=0.0), starts)
        mean[:, place] = np.where(known > 0, total / np.maximum(known, 1), np.nan)
    return Columns(edges[np.append(starts, len(values))], low, mean, high)


def column_starts(frames: int, most: int = MOST_COLUMNS) -> NDArray[np.intp]:
    """(W,) first frame of each of at most `most` columns of about as many frames each."""
    return np.linspace(0, frames, min(frames, most) + 1).astype(np.intp)[:-1]


def time_axis(results: VideoResults) -> tuple[NDArray[np.float64], str]:
    """Return the (T + 1,) limits of the frames and the name of their axis.

    Frames are counted where nobody says when they were, as in pictures.
    """
    times_s = row_times_s(results)
    if np.isnan(times_s).any():
        return frame_edges(results.frame_index.astype(np.float64), 1.0), "frame"
    return frame_edges(times_s, results.frame_rate_hz), "time (s)"


def frame_edges(times: NDArray[np.float64], frame_rate_hz: float = 0.0) -> NDArray[np.float64]:
    """Return the (T + 1,) beginning of each frame and the end of the last one.

    Args:
        times: (T,) of the frames, T at least 1; s, or numbers of frames.
        frame_rate_hz: tells the length of a frame where there is only one.
    """
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return np.append(times, times[-1] + (step or 1 / (frame_rate_hz or 30.0)))


def draw_trace(
    axis: "Axes",
    columns: Columns,
    place: int,
    color: tuple[float, float, float],
    *,
    width: float = 0.9,
    label: str | None = None,
) -> None:
    """Draw one trace: a line through the means, over the band from lowest to highest."""
    middles = columns.middles
    low, high = columns.low[:, place], columns.high[:, place]
    axis.fill_between(middles, low, high, color=color, alpha=0.35, lw=0)
    axis.plot(middles, columns.mean[:, place], color=color, lw=width, label=label)
