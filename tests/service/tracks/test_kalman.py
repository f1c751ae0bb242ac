import time
from dataclasses import replace

import numpy as np
import pytest

from service.errors import InvalidConfig, InvalidRequest
from service.tracks.kalman import (
    KalmanFilter,
    KalmanSettings,
    noise_matrix,
    smooth,
    transition_matrix,
)

CERTAIN = np.ones((1, 1))


def straight(times_s, speed_px_s=120.0):
    """(T, 1, 1, 2) positions of a point that runs to the right."""
    return np.stack([speed_px_s * times_s, np.full(len(times_s), 50.0)], axis=-1)[:, None, None]


def feed(points, times_s, positions):
    for time_s, xy in zip(times_s, positions, strict=True):
        points.update(float(time_s), xy, CERTAIN)


@pytest.mark.parametrize("step_s", [0.001, 0.03, 0.5])
@pytest.mark.parametrize("tau", [0.02, 0.3])
def test_two_half_steps_are_one_step(step_s, tau):
    half = transition_matrix(step_s / 2, tau)
    np.testing.assert_allclose(half @ half, transition_matrix(step_s, tau), rtol=1e-9, atol=1e-15)
    noise = noise_matrix(step_s / 2, tau)
    np.testing.assert_allclose(
        half @ noise @ half.T + noise, noise_matrix(step_s, tau), rtol=1e-6, atol=1e-15
    )


def test_the_noise_of_long_steps_leaves_the_acceleration_as_random_as_it_is():
    np.testing.assert_allclose(noise_matrix(0.2, 0.1)[2, 2], 1 - np.exp(-4.0), rtol=1e-6)


def test_a_steady_run_is_predicted_ahead_at_irregular_frame_times():
    random = np.random.default_rng(3)
    times_s = np.cumsum(random.uniform(0.005, 0.06, 200))
    points = KalmanFilter((1, 1), KalmanSettings(measurement_sd_px=0.5))
    feed(points, times_s, straight(times_s))
    for ahead_s in (0.0, 0.033, 0.1):
        expected = straight(times_s[-1:] + ahead_s)[0]
        np.testing.assert_allclose(points.predict(ahead_s), expected, atol=0.1)


def test_a_less_confident_measurement_moves_the_filter_less():
    shifts = []
    for confidence in (1.0, 0.3):
        points = KalmanFilter((1, 1), KalmanSettings(measurement_sd_px=2.0))
        times_s = np.arange(30) / 30
        feed(points, times_s, straight(times_s, 0.0))
        before = points.predict()
        points.update(1.0, before + 4.0, np.full((1, 1), confidence))
        shifts.append(float(np.linalg.norm(points.predict() - before)))
    assert 0 < shifts[1] < 0.6 * shifts[0]


def test_a_jump_is_left_out_but_a_lasting_move_is_followed():
    times_s = np.arange(60) / 30
    points = KalmanFilter((1, 1))
    feed(points, times_s[:30], straight(times_s, 0.0)[:30])
    points.update(1.0, np.full((1, 1, 2), 400.0), CERTAIN)
    assert not points.accepted[0]
    assert abs(points.predict()[0, 0, 0]) < 1
    for time_s in times_s[31:]:
        points.update(float(time_s), np.full((1, 1, 2), 400.0), CERTAIN)
    np.testing.assert_allclose(points.predict(), np.full((1, 1, 2), 400.0), atol=1)


def test_a_point_out_of_sight_is_extrapolated_and_then_forgotten():
    times_s = np.arange(30) / 30
    points = KalmanFilter((1, 1), KalmanSettings(lost_after_s=0.2))
    feed(points, times_s, straight(times_s))
    lost = np.full((1, 1, 2), np.nan)
    points.update(1.1, lost, np.full((1, 1), np.nan))
    np.testing.assert_allclose(points.predict()[0, 0], [132, 50], atol=3)
    points.update(1.3, lost, np.full((1, 1), np.nan))
    assert np.isnan(points.predict()).all()
    points.update(1.4, np.full((1, 1, 2), 7.0), CERTAIN)
    np.testing.assert_allclose(points.predict(), 7.0)


def test_wrong_input_is_refused_with_a_remedy():
    points = KalmanFilter((1, 1))
    points.update(1.0, np.zeros((1, 1, 2)), CERTAIN)
    with pytest.raises(InvalidRequest, match="order of their times"):
        points.update(1.0, np.zeros((1, 1, 2)), CERTAIN)
    with pytest.raises(InvalidRequest, match=r"made for \(1, 1, 2\)"):
        points.update(2.0, np.zeros((2, 1, 2)), np.ones((2, 1)))
    with pytest.raises(InvalidConfig, match="gate_sd is 0"):
        KalmanSettings(gate_sd=0)
    with pytest.raises(InvalidConfig, match="up to 1"):
        KalmanSettings(confidence_cutoff=0)


def test_smoothing_comes_nearer_to_the_truth_than_the_causal_filter(make_track):
    truth, noisy = make_track(), make_track(noise_px=3.0)
    settings = KalmanSettings(measurement_sd_px=3.0, acceleration_sd_px_s2=500.0)
    smoothed = smooth(noisy.times_s, noisy.keypoints_xy, noisy.confidence, settings)
    points = KalmanFilter(noisy.confidence.shape[1:], settings)
    causal = []
    for row, time_s in enumerate(noisy.times_s):
        points.update(float(time_s), noisy.keypoints_xy[row], noisy.confidence[row].astype(float))
        causal.append(points.predict())
    measured, filtered, both = (
        np.linalg.norm(one - truth.keypoints_xy, axis=-1).mean()
        for one in (noisy.keypoints_xy, np.array(causal), smoothed)
    )
    assert both < 0.75 * filtered < 0.75 * measured


def test_smoothing_bridges_short_gaps_and_leaves_long_ones_open(track):
    confidence = track.confidence.copy()
    confidence[40:44, 0, 0] = 0.0
    confidence[70:90, 0, 0] = 0.0
    confidence[:3, 0, 0] = confidence[-3:, 0, 0] = 0.0
    found = smooth(track.times_s, track.keypoints_xy, confidence, KalmanSettings())
    known = np.isfinite(found).all(axis=-1)[:, 0, 0]
    assert np.flatnonzero(~known).tolist() == [0, 1, 2, *range(70, 90), 117, 118, 119]
    np.testing.assert_allclose(found[40:44, 0, 0], track.keypoints_xy[40:44, 0, 0], atol=1.0)
    np.testing.assert_allclose(found[:, 0, 1], track.keypoints_xy[:, 0, 1], atol=1.0)


def test_long_recordings_are_smoothed_in_blocks_that_agree(make_track, monkeypatch):
    noisy = make_track(frames=700, noise_px=2.0)
    given = (noisy.times_s, noisy.keypoints_xy, noisy.confidence, KalmanSettings())
    whole = smooth(*given)
    monkeypatch.setattr("service.tracks.kalman._BLOCK", 200)
    monkeypatch.setattr("service.tracks.kalman._OVERLAP", 100)
    np.testing.assert_allclose(smooth(*given), whole, atol=1e-6)


def test_many_keypoints_are_followed_as_each_alone_would_be(make_track):
    """Prints what a frame costs with 1 and with 80 keypoints."""
    noisy = make_track(frames=200, noise_px=1.0)
    costs_us, last = {}, {}
    for count in (1, 80):
        xy = np.resize(noisy.keypoints_xy[:, :1, :1], (200, 1, 1, 2))
        xy = np.repeat(xy, count, axis=2)
        points = KalmanFilter((1, count))
        trust = np.full((1, count), 0.9)
        started = time.perf_counter()
        for row, time_s in enumerate(noisy.times_s):
            points.update(float(time_s), xy[row], trust)
            last[count] = points.predict(0.05)
        costs_us[count] = (time.perf_counter() - started) / 200 * 1e6
    print(  # noqa: T201
        f"update and predict: {costs_us[1]:.0f} us with 1 keypoint, {costs_us[80]:.0f} us with 80: "
        f"ratio {costs_us[80] / costs_us[1]:.2f}"
    )
    np.testing.assert_allclose(last[80], np.repeat(last[1], 80, axis=1))


def test_settings_of_each_point_may_differ():
    settings = KalmanSettings()
    noise = np.array([[0.5, 8.0]])
    points = KalmanFilter((1, 2), settings, measurement_sd_px=noise)
    single = KalmanFilter((1, 1), replace(settings, measurement_sd_px=8.0))
    random = np.random.default_rng(0)
    for row in range(20):
        xy = random.normal(0, 2, (1, 1, 2))
        points.update(row / 30, np.repeat(xy, 2, axis=1), np.ones((1, 2)))
        single.update(row / 30, xy, CERTAIN)
    np.testing.assert_allclose(points.predict()[:, 1:], single.predict())
    assert not np.allclose(points.predict()[:, :1], single.predict())
