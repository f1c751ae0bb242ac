"""Predicts where keypoints will be some milliseconds ahead: a causal Kalman filter, numpy only.

A pose that took 40 ms from the camera to the rig is 40 ms old. `KalmanFilter` follows position,
velocity and acceleration of every keypoint and says where it is by now; live use calls `update`
with each pose and `predict` with the delay to be paid back.

The motion is that of Singer (1970, IEEE Trans. Aerosp. Electron. Syst. 6:473-483): acceleration
is random and dies away with a time constant, so that a turn is not followed for ever. Kane et al.
(2020, eLife 9:e61909) showed the use of forward prediction for live pose. It has its limit: on
simulated mice at 30 Hz, measured with 2 px of noise, the mean error 33, 66, 100, 200 and 300 ms
after the frame is 5.4, 9.3, 13.2, 24.6 and 35.2 px without and 3.9, 6.3, 9.3, 20.7 and 34.4 px
with prediction. `ethostream tracks filter --kind kalman --ahead-ms` says it for a recording.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidConfig, InvalidRequest

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)


@dataclass(frozen=True, slots=True, kw_only=True)
class KalmanSettings:
    """How keypoints are taken to move and to be measured; `forward.fit_settings` finds them."""

    measurement_sd_px: float = 1.5
    """Standard deviation of a measured coordinate at confidence 1; at confidence c it is taken
    to be this divided by c."""
    acceleration_sd_px_s2: float = 3000.0
    """Standard deviation of the acceleration along each axis."""
    acceleration_time_s: float = 0.1
    """Time in which the acceleration forgets itself to 1/e."""
    start_speed_sd_px_s: float = 300.0
    """Standard deviation of the velocity along each axis where a keypoint is first seen."""
    confidence_cutoff: float = 0.1
    """Measurements of less confidence count as absent."""
    gate_sd: float = 6.0
    """Measurements further from the expectation than this many standard deviations are left
    out as jumps."""
    lost_after_s: float = 0.25
    """After this time without a measurement that counts, a keypoint is forgotten and begins anew
    where it is next seen."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in (
            "measurement_sd_px",
            "acceleration_sd_px_s2",
            "acceleration_time_s",
            "start_speed_sd_px_s",
            "gate_sd",
            "lost_after_s",
        ):
            if not getattr(self, name) > 0:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; give a number above 0")
        if not 0 < self.confidence_cutoff <= 1:
            raise InvalidConfig(
                f"confidence_cutoff is {self.confidence_cutoff}; give a number above 0 and up to 1"
            )


class KalmanFilter:
    """Follows the keypoints of one camera; called from one thread.

    The time between poses may vary from one to the next. All keypoints are computed at once, so
    that many cost little more than one (a test prints the ratio).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        settings: KalmanSettings | None = None,
        *,
        measurement_sd_px: Floats | None = None,
        acceleration_sd_px_s2: Floats | None = None,
    ) -> None:
        """Begin with no keypoint known.

        Args:
            shape: of the confidence, such as (N, K).
            settings: of the filter.
            measurement_sd_px: of `shape`, to take the place of the setting point by point.
            acceleration_sd_px_s2: as the one before.
        """
        self.settings = settings or KalmanSettings()
        self.shape = shape
        count = int(np.prod(shape))
        self._measurement_sd = _each(measurement_sd_px, self.settings.measurement_sd_px, count)
        self._acceleration_sd = _each(
            acceleration_sd_px_s2, self.settings.acceleration_sd_px_s2, count
        )
        self.state = np.full((count, 3, 2), np.nan)
        """(M, 3, 2) position px, velocity px/s and acceleration px/s² along x and y; NaN where
        the point is not known."""
        self.covariance = np.zeros((count, 3, 3))
        """(M, 3, 3) of the state, the same along both axes."""
        self.accepted = np.zeros(count, np.bool_)
        """(M,) True where the last update had a measurement that counted."""
        self.started = np.zeros(count, np.bool_)
        """(M,) True where the last update began anew."""
        self.before = (self.state, self.covariance)
        """State and covariance that the last update expected before it looked."""
        self._last_time_s: float | None = None
        self._last_seen_s = np.full(count, -np.inf)
        self._step = (0.0, np.eye(3), np.zeros((3, 3)))

    def update(self, time_s: float, keypoints_xy: NDArray[np.floating], confidence: Floats) -> None:
        """Take one pose.

        Args:
            time_s: when the frame was taken, s from any zero; later than the one before.
            keypoints_xy: shape (..., 2), px; NaN where there is none.
            confidence: of the filter's shape, in [0, 1]; NaN counts as 0.

        Raises:
            InvalidRequest: time does not rise, or a shape differs.
        """
        if confidence.shape != self.shape or keypoints_xy.shape != (*self.shape, 2):
            raise InvalidRequest(
                f"the pose has the shapes {keypoints_xy.shape} and {confidence.shape}; this filter "
                f"was made for {(*self.shape, 2)} and {self.shape}"
            )
        self._advance(time_s)
        self.before = (self.state.copy(), self.covariance.copy())
        measured = np.asarray(keypoints_xy, np.float64).reshape(-1, 2)
        trust = np.nan_to_num(np.asarray(confidence, np.float64), nan=0.0).reshape(-1)
        usable = (trust >= self.settings.confidence_cutoff) & np.isfinite(measured).all(axis=-1)
        variance = (self._measurement_sd / np.clip(trust, 0.01, 1.0)) ** 2

        known = np.isfinite(self.state[:, 0, 0])
        surprise = np.where((known & usable)[:, None], measured - self.state[:, 0], 0.0)
        expected = self.covariance[:, 0, 0] + variance
        near = (surprise**2).sum(axis=-1) <= 2 * self.settings.gate_sd**2 * expected
        self.accepted = known & usable & near
        gain = self.covariance[:, :, 0] / expected[:, None] * self.accepted[:, None]
        self.state += gain[:, :, None] * surprise[:, None, :]
        self.covariance -= gain[:, :, None] * gain[:, None, :] * expected[:, None, None]

        self.started = usable & ~known
        if self.started.any():
            self._start(measured, variance)
        self.accepted |= self.started
        self._last_seen_s[self.accepted] = time_s

    def predict(self, ahead_s: float = 0.0) -> Floats:
        """Where the keypoints are `ahead_s` after the last update.

        Args:
            ahead_s: at least 0; 0 gives the filtered positions.

        Returns:
            Shape (..., 2), px; NaN where a keypoint is not known.
        """
        transition = transition_matrix(ahead_s, self.settings.acceleration_time_s)
        return np.asarray((transition[0] @ self.state).reshape(*self.shape, 2))

    def _advance(self, time_s: float) -> None:
        """Bring the state to `time_s`, and forget what was not seen for long."""
        if self._last_time_s is not None:
            step_s = time_s - self._last_time_s
            if not step_s > 0:
                raise InvalidRequest(
                    f"a pose of {time_s:.6f} s came after one of {self._last_time_s:.6f} s; give "
                    "poses in the order of their times"
                )
            if step_s != self._step[0]:
                tau = self.settings.acceleration_time_s
                self._step = (step_s, transition_matrix(step_s, tau), noise_matrix(step_s, tau))
            _, transition, noise = self._step
            self.state = transition @ self.state
            self.covariance = transition @ self.covariance @ transition.T
            self.covariance += noise * (self._acceleration_sd**2)[:, None, None]
        lost = time_s - self._last_seen_s > self.settings.lost_after_s
        self.state[lost] = np.nan
        self._last_time_s = time_s

    def _start(self, measured: Floats, variance: Floats) -> None:
        new = self.started
        self.state[new] = 0.0
        self.state[new, 0] = measured[new]
        self.covariance[new] = 0.0
        self.covariance[new, 0, 0] = variance[new]
        self.covariance[new, 1, 1] = self.settings.start_speed_sd_px_s**2
        self.covariance[new, 2, 2] = self._acceleration_sd[new] ** 2


def transition_matrix(step_s: float, acceleration_time_s: float) -> Floats:
    """(3, 3) how position, velocity and acceleration go on over `step_s` (Singer's F)."""
    tau = acceleration_time_s
    gone = -np.expm1(-step_s / tau)  # 1 - exp, exact for short steps too
    return np.array(
        [
            [1.0, step_s, tau * (step_s - tau * gone)],
            [0.0, 1.0, tau * gone],
            [0.0, 0.0, 1.0 - gone],
        ]
    )


def noise_matrix(step_s: float, acceleration_time_s: float) -> Floats:
    """(3, 3) covariance that `step_s` adds for an acceleration of variance 1 (Singer's Q).

    Integrated by Gauss and Legendre's rule, since the closed form loses all digits where the step
    is short beside the time constant.
    """
    tau = acceleration_time_s
    panels = int(np.clip(np.ceil(step_s / tau), 1, 100))
    width_s = step_s / panels
    at_s = ((_NODES + 1) / 2 + np.arange(panels)[:, None]).ravel() * width_s
    reach = np.stack([transition_matrix(one, tau)[:, 2] for one in at_s])  # (nodes, 3)
    weights = np.tile(_WEIGHTS / 2 * width_s, panels) * 2 / tau
    return np.asarray((reach * weights[:, None]).T @ reach)


def smooth(
    times_s: Floats,
    keypoints_xy: NDArray[np.floating],
    confidence: NDArray[np.floating],
    settings: KalmanSettings,
) -> Floats:
    """Smooth a whole recording with what came before and after (Rauch, Tung and Striebel 1965).

    Args:
        times_s: (T,) rising.
        keypoints_xy: (T, ..., 2) px.
        confidence: (T, ...).
        settings: of the filter.

    Returns:
        (T, ..., 2) px; NaN in gaps longer than `lost_after_s`, before the first measurement that
        counts and after the last one.
    """
    smoothed = np.empty(keypoints_xy.shape)
    for first in range(0, len(times_s), _BLOCK):
        # What lies a second away does not move a keypoint; blocks keep the memory bounded.
        start, end = max(0, first - _OVERLAP), min(len(times_s), first + _BLOCK + _OVERLAP)
        part = _smooth_block(
            times_s[start:end], keypoints_xy[start:end], confidence[start:end], settings
        )
        length = min(_BLOCK, len(times_s) - first)
        smoothed[first : first + length] = part[first - start : first - start + length]
    return smoothed


_BLOCK = 10_000
_OVERLAP = 500


def _smooth_block(
    times_s: Floats,
    keypoints_xy: NDArray[np.floating],
    confidence: NDArray[np.floating],
    settings: KalmanSettings,
) -> Floats:
    points = KalmanFilter(confidence.shape[1:], settings)
    frames, count = len(times_s), len(points.accepted)
    state = np.empty((frames, count, 3, 2))
    covariance = np.empty((frames, count, 3, 3))
    before_state, before_covariance = np.empty_like(state), np.empty_like(covariance)
    accepted = np.empty((frames, count), np.bool_)
    started = np.empty((frames, count), np.bool_)
    for row in range(frames):
        points.update(
            float(times_s[row]), keypoints_xy[row], np.asarray(confidence[row], np.float64)
        )
        state[row], covariance[row] = points.state, points.covariance
        before_state[row], before_covariance[row] = points.before
        accepted[row], started[row] = points.accepted, points.started
    for row in range(frames - 2, -1, -1):
        transition = transition_matrix(
            float(times_s[row + 1] - times_s[row]), settings.acceleration_time_s
        )
        linked = np.isfinite(state[row, :, 0, 0]) & np.isfinite(before_state[row + 1, :, 0, 0])
        linked &= ~started[row + 1]
        if not linked.any():
            continue
        # gain = P Fᵀ (P before)⁻¹, by solving for its transpose
        carried = transition @ covariance[row, linked]
        gain = np.linalg.solve(before_covariance[row + 1, linked], carried).transpose(0, 2, 1)
        state[row, linked] += gain @ (state[row + 1, linked] - before_state[row + 1, linked])
    positions = state[:, :, 0]
    positions[~_within_reach(times_s, accepted, settings.lost_after_s)] = np.nan
    return positions.reshape(keypoints_xy.shape)


def _within_reach(
    times_s: Floats, accepted: NDArray[np.bool_], limit_s: float
) -> NDArray[np.bool_]:
    """(T, M) True where the measurements before and after are at most `limit_s` apart."""
    seen_s = np.where(accepted, times_s[:, None], np.nan)
    before = np.fmax.accumulate(seen_s, axis=0)
    after = np.fmin.accumulate(seen_s[::-1], axis=0)[::-1]
    return np.asarray(accepted | (after - before <= limit_s))


def _each(given: Floats | None, default: float, count: int) -> Floats:
    if given is None:
        return np.full(count, default)
    return np.asarray(given, np.float64).reshape(count)
