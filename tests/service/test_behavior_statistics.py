import math

import numpy as np
import pytest

from service.behavior_statistics import (
    agreement,
    auroc,
    best_thresholds,
    chance_f1,
    frame_accuracy,
    mean_defined,
)
from service.errors import InvalidRequest


def columns(*texts: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in text] for text in texts]).T


def test_a_worked_example():
    found = agreement(columns("###..", "....."), columns("##..#", "....."))
    assert found.precision[0] == pytest.approx(2 / 3)
    assert found.recall[0] == pytest.approx(2 / 3)
    assert found.f1[0] == pytest.approx(2 / 3)
    assert found.frames.tolist() == [3, 0]
    assert found.accuracy == pytest.approx(8 / 10)


def test_a_behavior_that_is_nowhere_has_no_f1_and_does_not_lower_the_mean():
    found = agreement(columns("##..", "...."), columns("##..", "...."))
    assert math.isnan(found.f1[1])
    assert found.macro_f1 == 1.0


def test_a_behavior_that_is_only_predicted_has_an_f1_of_zero():
    assert agreement(columns("....", "####"), columns("#...", "####")).f1.tolist() == [0.0, 1.0]


def test_different_numbers_of_frames_are_refused():
    with pytest.raises(InvalidRequest, match=r"\(4, 1\) and predictions \(5, 1\)"):
        agreement(columns("...."), columns("....."))
    with pytest.raises(InvalidRequest, match="at least one"):
        agreement(np.zeros((0, 2), np.bool_), np.zeros((0, 2), np.bool_))


def test_frame_accuracy_wants_every_behavior_of_a_frame_right():
    assert frame_accuracy(columns("##..", "...."), columns("##..", "#...")) == 0.75


def test_the_area_under_the_curve_counts_pairs_in_the_right_order():
    truth = columns("..##", "....", "####")
    values = np.array([[0.1, 0.4, 0.35, 0.8]] * 3, np.float32).T
    areas = auroc(truth, values)
    assert areas[0] == pytest.approx(0.75)
    assert np.isnan(areas[1:]).all()


def test_equal_probabilities_count_half():
    assert auroc(columns("..##"), np.full((4, 1), 0.5, np.float32))[0] == pytest.approx(0.5)


def test_chance_is_far_below_good_predictions_and_near_the_share_of_the_behavior():
    random = np.random.default_rng(0)
    truth = np.repeat(random.random((60, 1)) < 0.3, 20, axis=0)
    level = chance_f1([truth], [truth], shuffles=50)
    assert abs(level - truth.mean()) < 0.1
    assert chance_f1([truth], [truth], shuffles=50) == level


def test_shuffles_stay_within_their_recording():
    always, never = np.ones((10, 1), np.bool_), np.zeros((10, 1), np.bool_)
    assert chance_f1([always, never], [always, never], shuffles=5) == 1.0


def test_the_best_threshold_parts_the_labels():
    truth = columns("....####", "........")
    values = np.array([[0.1, 0.2, 0.2, 0.3, 0.7, 0.8, 0.9, 0.9]] * 2, np.float32).T
    found = best_thresholds(truth, values)
    assert 0.45 < found[0] < 0.55
    assert found[1] == 0.5


def test_the_mean_of_nothing_is_nan():
    assert math.isnan(mean_defined(np.array([np.nan])))
    assert mean_defined(np.array([np.nan, 1.0, 3.0])) == 2.0
