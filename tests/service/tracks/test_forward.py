from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.errors import InvalidRequest
from service.simulation import simulate
from service.simulation.settings import SimulationSettings
from service.tracks import Track
from service.tracks.forward import fit_settings, forward_error, predict_ahead
from service.tracks.kalman import KalmanSettings


def simulated(seed: int, noise_px: float = 2.0) -> tuple[Track, Track]:
    """Truth and noisy measurements of a simulated mouse."""
    recording = simulate(SimulationSettings(duration_s=30.0, seed=seed))
    truth = Track(
        source=Path("truth.npz"),
        model="truth",
        keypoints=recording.keypoint_names,
        animals=1,
        frame_rate_hz=30.0,
        frame_index=np.arange(recording.frame_count),
        keypoints_xy=recording.keypoints_xy,
        confidence=np.where(recording.visible, 0.95, 0.05).astype(np.float32),
    )
    noise = np.random.default_rng(seed).normal(0, noise_px, truth.keypoints_xy.shape)
    return truth, replace(truth, keypoints_xy=(truth.keypoints_xy + noise).astype(np.float32))


def test_prediction_pays_back_delay_on_a_recording_that_it_was_not_fitted_to():
    """Prints the error without and with prediction against the exact truth."""
    _, earlier = simulated(1)
    truth, measured = simulated(2)
    for ahead_ms in (33, 66, 100):
        settings = fit_settings(earlier, ahead_ms / 1e3)
        predicted = predict_ahead(measured, ahead_ms / 1e3, settings)
        error = forward_error(measured, predicted, ahead_ms / 1e3, truth=truth, cutoff=0.5)
        print(  # noqa: T201
            f"{ahead_ms} ms: {error.held_mean_px:.2f} px without, "
            f"{error.predicted_mean_px:.2f} px with prediction"
        )
        assert error.helps
        assert error.predicted_mean_px < 0.85 * error.held_mean_px
        assert error.predicted_p95_px < error.held_p95_px


def test_a_prediction_rests_on_the_past_alone(track, move):
    settings = KalmanSettings()
    whole = predict_ahead(track, 0.05, settings)
    changed = predict_ahead(move(track, 60, "snout", 3.0), 0.05, settings)
    np.testing.assert_array_equal(changed.keypoints_xy[:60], whole.keypoints_xy[:60])
    assert (changed.keypoints_xy[60, 0, 0] != whole.keypoints_xy[60, 0, 0]).any()


def test_the_error_compares_with_what_was_measured_later(make_track):
    track = make_track(rate_hz=10.0)
    shifted = replace(
        track, keypoints_xy=np.concatenate([track.keypoints_xy[2:], track.keypoints_xy[-2:]])
    )
    error = forward_error(track, shifted, 0.2, cutoff=0.5)
    assert error.points == 118 * 4
    assert error.predicted_mean_px == pytest.approx(0, abs=1e-3)
    step_px = np.linalg.norm(track.keypoints_xy[2:] - track.keypoints_xy[:-2], axis=-1)
    assert error.held_mean_px == pytest.approx(step_px.mean(), rel=1e-5)
    assert error.share_nearer == 1.0


def test_between_frames_the_later_position_lies_on_the_straight_way(make_track):
    track = make_track(rate_hz=10.0)
    half = predict_ahead(track, 0.05, KalmanSettings())
    middle = (track.keypoints_xy[1:] + track.keypoints_xy[:-1]) / 2
    exact = replace(half, keypoints_xy=np.concatenate([middle, middle[-1:]]))
    assert forward_error(track, exact, 0.05, cutoff=0.5).predicted_mean_px < 1e-3


def test_what_cannot_be_predicted_is_refused_with_a_remedy(track, doubt):
    settings = KalmanSettings()
    with pytest.raises(InvalidRequest, match="at least 0"):
        predict_ahead(track, -0.1, settings)
    with pytest.raises(InvalidRequest, match="--rate"):
        predict_ahead(replace(track, frame_rate_hz=0.0), 0.1, settings)
    unsure = replace(track, confidence=np.zeros_like(track.confidence))
    with pytest.raises(InvalidRequest, match="lower --cutoff"):
        forward_error(unsure, predict_ahead(unsure, 0.1, settings), 0.1, cutoff=0.5)


def test_the_truth_is_compared_by_the_names_of_its_keypoints(track):
    held = predict_ahead(track, 0.1, KalmanSettings())
    expected = forward_error(track, held, 0.1, truth=track, cutoff=0.5)
    turned = track.select(track.keypoints[::-1])
    assert forward_error(track, held, 0.1, truth=turned, cutoff=0.5) == expected
    some = track.select(("snout", "tailbase"))
    part = forward_error(some, held.select(some.keypoints), 0.1, truth=track, cutoff=0.5)
    assert part.points == expected.points / 2
    with pytest.raises(InvalidRequest, match="no keypoint 'leftear'"):
        forward_error(track, held, 0.1, truth=some, cutoff=0.5)


def test_the_truth_of_other_animals_is_refused(track, make_track):
    held = predict_ahead(track, 0.1, KalmanSettings())
    with pytest.raises(InvalidRequest, match="of 2 animals"):
        forward_error(track, held, 0.1, truth=make_track(animals=2), cutoff=0.5)


def test_settings_rest_on_frames_in_which_the_animal_is_there():
    _, measured = simulated(1)
    empty = 2000  # the camera runs before the animal is put in
    late = replace(
        measured,
        frame_index=np.arange(len(measured) + empty),
        keypoints_xy=np.concatenate(
            [np.full((empty, 1, 4, 2), np.nan, np.float32), measured.keypoints_xy]
        ),
        confidence=np.concatenate(
            [np.full((empty, 1, 4), np.nan, np.float32), measured.confidence]
        ),
    )
    assert fit_settings(late) == fit_settings(measured)
    nobody = replace(measured, confidence=np.zeros_like(measured.confidence))
    assert fit_settings(nobody) == KalmanSettings()
