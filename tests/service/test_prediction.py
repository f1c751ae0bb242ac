"""A live stream says where keypoints will be, and triggers can look there."""

import numpy as np
import pytest

from service.bundle import PoseSpec
from service.errors import InvalidRequest
from service.prediction import PosePredictor, Prediction, open_predictors
from service.values import BundleVersion, Poses
from tests.service.conftest import load, manifest

KEY = BundleVersion("mouse", 1)
SPEC = PoseSpec(keypoints=("nose", "tail"))


def seen(x_px: float, confidence: float = 1.0) -> Poses:
    """A nose at `x_px` and a tail 10 px behind it."""
    places = np.array([[[x_px, 50.0], [x_px - 10, 50.0]]], np.float32)
    return Poses(places, np.array([[confidence, 1.0]], np.float32))


def test_an_animal_that_runs_evenly_is_expected_ahead_of_where_it_was_seen():
    predictor = PosePredictor(Prediction(ahead_s=0.05), KEY, SPEC)
    for frame in range(100):  # 400 px/s at 100 frames/s
        found = predictor.see(frame / 100, seen(4.0 * frame))
    assert found.predicted_xy is not None
    assert found.predicted_xy.shape == (1, 2, 2)
    np.testing.assert_allclose(found.predicted_xy[0, 0], (396 + 20, 50), atol=1)
    np.testing.assert_array_equal(found.keypoints_xy, seen(396).keypoints_xy)


def test_a_keypoint_that_is_hidden_for_a_moment_is_still_expected_and_then_forgotten():
    predictor = PosePredictor(Prediction(ahead_s=0.01), KEY, SPEC)
    for frame in range(50):
        predictor.see(frame / 100, seen(4.0 * frame))
    for frame in range(50, 60):
        hidden = predictor.see(frame / 100, seen(0.0, confidence=0.0))
    assert hidden.predicted_xy[0, 0, 0] == pytest.approx(4 * 60, abs=8)
    for frame in range(60, 100):
        hidden = predictor.see(frame / 100, seen(0.0, confidence=0.0))
    assert np.isnan(hidden.predicted_xy[0, 0]).all()
    assert np.isfinite(hidden.predicted_xy[0, 1]).all()


def test_a_keypoint_is_expected_only_after_it_was_found_with_the_confidence_of_the_bundle():
    predictor = PosePredictor(Prediction(ahead_s=0.01), KEY, SPEC)  # its cutoff is 0.6
    faint = predictor.see(0.0, seen(0, confidence=0.5))
    assert np.isnan(faint.predicted_xy[0, 0]).all()
    assert np.isfinite(faint.predicted_xy[0, 1]).all()
    assert np.isfinite(predictor.see(0.1, seen(0, confidence=0.6)).predicted_xy).all()
    assert np.isfinite(predictor.see(0.2, seen(0, confidence=0.5)).predicted_xy).all()


def test_a_frame_whose_time_does_not_rise_gets_no_prediction_and_does_no_harm():
    predictor = PosePredictor(Prediction(ahead_s=0.05), KEY, SPEC)
    assert predictor.see(1.0, seen(0)).predicted_xy is not None
    assert predictor.see(1.0, seen(500)).predicted_xy is None
    assert predictor.see(0.5, seen(500)).predicted_xy is None
    assert predictor.see(1.01, seen(0)).predicted_xy[0, 0, 0] == pytest.approx(0, abs=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ahead_s": 0.0}, "0 ms ahead"),
        ({"ahead_s": 1.5}, "1500 ms ahead.*1000 ms at most"),
        ({"ahead_s": float("nan")}, "nan ms ahead"),
        ({"ahead_s": 0.1, "measurement_sd_px": 0.0}, "measurement_sd_px is 0"),
        ({"ahead_s": 0.1, "acceleration_time_s": -1.0}, "acceleration_time_s is -1"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, message):
    with pytest.raises(InvalidRequest, match=message):
        PosePredictor(Prediction(**settings), KEY, SPEC)


def test_bundles_that_follow_no_animal_are_refused():
    several = load(manifest("pose", pose=PoseSpec(keypoints=("nose",), max_animals=3)), {})
    with pytest.raises(InvalidRequest, match="fake-pose@1 finds 3 animals"):
        open_predictors(Prediction(ahead_s=0.1), [several])
    with pytest.raises(InvalidRequest, match="no pose bundle"):
        open_predictors(Prediction(ahead_s=0.1), [])
    assert open_predictors(None, []) is None
