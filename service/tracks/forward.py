"""Forward prediction on recordings: the pose ahead in time, what it gains, and its settings."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.tracks.kalman import KalmanFilter, KalmanSettings
from service.tracks.track import Track

Floats = NDArray[np.float64]

_TIMES_S = (0.03, 0.1, 0.3)
_MEASUREMENT_SDS_PX = (0.5, 1.0, 2.0, 4.0)
_ACCELERATION_SDS_PX_S2 = tuple(100.0 * 10 ** (place / 3) for place in range(10))
_FIT_FRAMES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardError:
    """How far a pose is off when it is used `ahead_s` after its frame, px.

    `held` uses the pose as it was measured, `predicted` the one predicted ahead. Distances are to
    where the keypoint was measured (or truly was) at that later time.
    """

    ahead_s: float
    points: int
    """Number of points compared."""
    held_mean_px: float
    predicted_mean_px: float
    held_p95_px: float
    predicted_p95_px: float
    share_nearer: float
    """Share of the points that the prediction brings nearer."""

    @property
    def helps(self) -> bool:
        """Predicting is better than holding, by the mean."""
        return self.predicted_mean_px < self.held_mean_px


def predict_ahead(track: Track, ahead_s: float, settings: KalmanSettings) -> Track:
    """Predict each pose from its frame and those before it, as a live run would.

    Args:
        track: measured poses of animals, with a frame rate.
        ahead_s: how far ahead, s; at least 0.
        settings: of the filter.

    Returns:
        The track with row t holding where keypoints are expected `ahead_s` after frame t. The
        confidence is that of frame t.

    Raises:
        InvalidRequest: `ahead_s` is negative, the frame rate is not known, or rows are no animals.
    """
    if ahead_s < 0:
        raise InvalidRequest(f"the time ahead is {ahead_s * 1e3:g} ms; give at least 0")
    track.require_animals("prediction")
    times_s = track.times_s
    points = KalmanFilter(track.confidence.shape[1:], settings)
    positions = np.empty_like(track.keypoints_xy)
    for row, time_s in enumerate(times_s):
        points.update(float(time_s), track.keypoints_xy[row], _trust(track, row))
        positions[row] = points.predict(ahead_s)
    return replace(track, keypoints_xy=positions)


def forward_error(
    track: Track, predicted: Track, ahead_s: float, *, truth: Track | None = None, cutoff: float
) -> ForwardError:
    """Compare poses that were predicted ahead, and poses as they were, with what came later.

    Args:
        track: measured poses.
        predicted: `predict_ahead` of it with the same `ahead_s`.
        ahead_s: how far ahead.
        truth: the exact positions at the same times; None takes the measured poses themselves.
        cutoff: confidence from which points count.

    Raises:
        InvalidRequest: no point can be compared, or the truth is of other keypoints or animals.
    """
    later = track if truth is None else _same_points(truth, track)
    goal = _positions_at(later, track.times_s + ahead_s, cutoff)
    held = np.linalg.norm(track.keypoints_xy - goal, axis=-1)
    ahead = np.linalg.norm(predicted.keypoints_xy - goal, axis=-1)
    counted = track.seen(cutoff) & np.isfinite(held) & np.isfinite(ahead)
    if not counted.any():
        raise InvalidRequest(
            f"{track.source} has no confident point with a confident one {ahead_s * 1e3:g} ms "
            "later; lower --cutoff"
        )
    held, ahead = held[counted], ahead[counted]
    return ForwardError(
        ahead_s=ahead_s,
        points=int(counted.sum()),
        held_mean_px=float(held.mean()),
        predicted_mean_px=float(ahead.mean()),
        held_p95_px=float(np.percentile(held, 95)),
        predicted_p95_px=float(np.percentile(ahead, 95)),
        share_nearer=float((ahead < held).mean()),
    )


def fit_settings(
    track: Track, ahead_s: float = 0.0, base: KalmanSettings | None = None
) -> KalmanSettings:
    """Choose the settings with the least mean error of the pose `ahead_s` ahead.

    A grid of measurement noise, acceleration and its time constant is tried at once on the 2,000
    frames in a row with the most measured points, against the poses measured later. Live use can
    take the settings found on an earlier recording of the same camera.

    Args:
        track: measured poses of animals, with a frame rate.
        ahead_s: how far ahead, s; less than one frame counts as one frame.
        base: what is not chosen; all of it where no pose can be compared with a later one.

    Raises:
        InvalidRequest: the frame rate is not known.
    """
    track.require_animals("fitting a Kalman filter")
    base = base or KalmanSettings()
    track = _densest(track, base.confidence_cutoff)
    times_s, rows = track.times_s, len(track)
    ahead_s = max(ahead_s, 1.0 / track.frame_rate_hz)
    goal = _positions_at(track, times_s + ahead_s, base.confidence_cutoff)
    if not (np.isfinite(goal).all(axis=-1) & track.seen(base.confidence_cutoff)).any():
        return base  # of settings that nothing speaks for, the grid's first would follow no animal
    noise, acceleration = (
        np.stack(one)
        for one in zip(
            *((a, b) for a in _MEASUREMENT_SDS_PX for b in _ACCELERATION_SDS_PX_S2), strict=True
        )
    )
    shape = (len(noise), *track.confidence.shape[1:])
    best, best_error = base, np.inf
    for time_s in _TIMES_S:
        settings = replace(base, acceleration_time_s=time_s)
        errors = np.empty((rows, len(noise)))
        points = KalmanFilter(
            shape,
            settings,
            measurement_sd_px=np.broadcast_to(noise[:, None, None], shape),
            acceleration_sd_px_s2=np.broadcast_to(acceleration[:, None, None], shape),
        )
        for row in range(rows):
            points.update(
                float(times_s[row]),
                np.broadcast_to(track.keypoints_xy[row], (*shape, 2)),
                np.broadcast_to(_trust(track, row), shape),
            )
            distance = np.linalg.norm(points.predict(ahead_s) - goal[row], axis=-1)
            # What the filter has lost counts as far off, or losing all would be best.
            distance = np.where(np.isnan(distance) & np.isfinite(goal[row, ..., 0]), 50.0, distance)
            counts = np.isfinite(distance)
            total = np.where(counts, distance, 0.0).sum(axis=(1, 2))
            errors[row] = total / np.maximum(counts.sum(axis=(1, 2)), 1)
        means = errors.mean(axis=0)
        if means.min() < best_error:
            place = int(means.argmin())
            best_error = float(means[place])
            best = replace(
                settings,
                measurement_sd_px=float(noise[place]),
                acceleration_sd_px_s2=round(float(acceleration[place]), 1),
            )
    return best


def _densest(track: Track, cutoff: float) -> Track:
    """The `_FIT_FRAMES` rows in a row with the most points of at least a confidence."""
    sums = np.concatenate([[0], np.cumsum(track.seen(cutoff).sum(axis=(1, 2)))])
    length = min(_FIT_FRAMES, len(track))
    first = int(np.argmax(sums[length:] - sums[: len(sums) - length]))
    part = slice(first, first + length)
    return replace(
        track,
        frame_index=track.frame_index[part],
        keypoints_xy=track.keypoints_xy[part],
        confidence=track.confidence[part],
        recorded_s=None if track.recorded_s is None else track.recorded_s[part],
    )


def _same_points(truth: Track, track: Track) -> Track:
    """The truth of the keypoints of a track, in their order."""
    if truth.animals != track.animals:
        raise InvalidRequest(
            f"{truth.source} is of {truth.animals} animals, and {track.source} of "
            f"{track.animals}; give the truth of the same recording"
        )
    return truth.select(track.keypoints)


def _positions_at(track: Track, at_s: Floats, cutoff: float) -> Floats:
    """(T', N, K, 2) positions at any times, straight between frames next to each other."""
    times_s = track.times_s
    positions = np.where(track.seen(cutoff)[..., None], track.keypoints_xy, np.nan)
    after = np.searchsorted(times_s, at_s - 1e-9)
    inside = after < len(times_s)
    after = np.minimum(after, len(times_s) - 1)
    before = np.maximum(after - 1, 0)
    span = times_s[after] - times_s[before]
    with_span = np.where(span > 0, span, 1.0)
    share = np.clip(np.where(span > 0, (at_s - times_s[before]) / with_span, 1.0), 0.0, 1.0)
    share = np.where(share > 1 - 1e-6, 1.0, share)[:, None, None, None]
    # A share of 1 must not take NaN from the frame before.
    earlier = np.where(share == 1.0, 0.0, positions[before] * (1 - share))
    found = earlier + positions[after] * share
    near = inside & (track.frame_index[after] - track.frame_index[before] <= 1)
    return np.asarray(np.where(near[:, None, None, None], found, np.nan))


def _trust(track: Track, row: int) -> Floats:
    return np.asarray(track.confidence[row], np.float64)
