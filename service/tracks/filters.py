"""Filters for tracks of whole recordings: median, ARIMA, spline and Kalman smoothing.

Median, ARIMA and spline take the defaults of DeepLabCut's `filterpredictions`.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidConfig
from service.tracks.extras import analysis_module
from service.tracks.forward import fit_settings
from service.tracks.kalman import KalmanSettings, smooth
from service.tracks.track import Track

Kind = Literal["median", "arima", "spline", "kalman"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_CUTOFFS: dict[Kind, float] = {"median": 0.0, "arima": 0.001, "spline": 0.6, "kalman": 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterChoices:
    """What to filter with."""

    kind: Kind = "median"
    window: int = 5
    """median: length of the window in frames, odd. spline: longest gap that is filled, frames."""
    cutoff: float | None = None
    """Points of less confidence count as missing; None takes 0 (median), 0.001 (arima), 0.6
    (spline) or 0.1 (kalman)."""
    ar_degree: int = 3
    ma_degree: int = 1
    alpha: float = 0.01
    """arima: points outside the (1 - alpha) confidence interval are counted as outliers."""
    kalman: KalmanSettings | None = None
    """None fits them to the track, see `forward.fit_settings`."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.kind not in KINDS:
            raise InvalidConfig(f"unknown filter {self.kind!r}; choose one of {', '.join(KINDS)}")
        if self.window < 1 or (self.kind == "median" and self.window % 2 == 0):
            raise InvalidConfig(
                f"the window is {self.window} frames; give a positive number, odd for the median"
            )
        if self.cutoff is not None and not 0 <= self.cutoff <= 1:
            raise InvalidConfig(f"the cut-off is {self.cutoff:g}; give one in [0, 1]")
        if not 0 < self.alpha < 1 or self.ar_degree < 0 or self.ma_degree < 0:
            raise InvalidConfig("alpha lies between 0 and 1, and degrees are at least 0")

    @property
    def missing_below(self) -> float:
        """The cut-off in use."""
        return _CUTOFFS[self.kind] if self.cutoff is None else self.cutoff


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtered:
    """A filtered track and what the filter did."""

    track: Track
    moved_px: float
    """Mean distance between points before and after, px."""
    filled: int
    """Points that were missing, by position or confidence, and now have a position."""
    missing: int
    """Points that have no position after the filter."""
    outliers: int
    """arima: points outside the confidence interval; 0 for the others."""
    kalman: KalmanSettings | None = None
    """Settings that were used, where the filter is the Kalman one."""


def filter_track(track: Track, choices: FilterChoices) -> Filtered:
    """Filter each keypoint of each animal; the confidence stays as it was measured.

    median: of the frames around that exist; at the ends the window is shorter. Missing points
        whose window holds others are filled.
    arima: the expectation of a SARIMAX model from the frames before (statsmodels); missing
        points after the first one are filled.
    spline: missing points in gaps of at most `window` frames lie on a cubic spline through the
        others; those in longer gaps, and before the first and after the last point, have no
        position.
    kalman: see `kalman.smooth`.

    Args:
        track: of animals.
        choices: kind and settings.

    Raises:
        InvalidRequest: the rows are no animals, or the frame rate is missing (kalman).
        EngineUnavailable: the analysis extra is missing (arima, spline).
    """
    track.require_animals("filtering")
    seen = track.seen(choices.missing_below)
    positions = np.where(seen[..., None], track.keypoints_xy, np.nan).astype(np.float64)
    outliers, settings = 0, None
    match choices.kind:
        case "median":
            filtered = _median(positions, choices.window)
        case "kalman":
            settings = replace(
                choices.kalman or fit_settings(track),
                confidence_cutoff=max(choices.missing_below, 0.001),
            )
            filtered = smooth(track.times_s, positions, track.confidence, settings)
        case "spline":
            bridge = analysis_module("spline", "the spline filter").bridge_gaps
            filtered = np.empty_like(positions)
            for place in np.ndindex(*positions.shape[1:3]):
                at = (slice(None), *place)
                filtered[at] = bridge(track.frame_index, positions[at], choices.window)
        case "arima":
            fit = analysis_module("arima", "the ARIMA filter").expected_path
            filtered = np.empty_like(positions)
            for place in np.ndindex(*positions.shape[1:3]):
                at = (slice(None), *place)
                filtered[at], outside = fit(
                    positions[at],
                    ar=choices.ar_degree,
                    ma=choices.ma_degree,
                    alpha=choices.alpha,
                )
                outliers += outside
    there = np.isfinite(filtered).all(axis=-1)
    both = there & np.isfinite(positions).all(axis=-1)
    moved = np.linalg.norm(filtered - positions, axis=-1)[both]
    return Filtered(
        track=replace(track, keypoints_xy=filtered.astype(np.float32)),
        moved_px=float(moved.mean()) if len(moved) else 0.0,
        filled=int((there & ~seen).sum()),
        missing=int((~there).sum()),
        outliers=outliers,
        kalman=settings,
    )


def _median(positions: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    if not len(positions):
        return positions
    reach = window // 2
    edge = np.full((reach, *positions.shape[1:]), np.nan)
    padded = np.concatenate([edge, positions, edge])
    views = np.lib.stride_tricks.sliding_window_view(padded, window, axis=0)
    # Sorted, NaN stand last: the middle of the others is the median without a warning.
    ordered = np.sort(views, axis=-1)
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    lower = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    upper = np.take_along_axis(ordered, np.minimum(count // 2, window - 1), axis=-1)
    return np.asarray((lower + upper)[..., 0] / 2)
