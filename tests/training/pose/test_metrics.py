import numpy as np
import pytest

from training.pose.metrics import (
    body_lengths_px,
    detection_figures,
    error_figures,
    match_points,
    oks,
    oks_precision_recall,
    pck,
)
from training.statistics import standard_error

NAN = np.nan
SQUARE = np.array([[0, 0], [100, 0], [0, 100], [100, 100]], np.float32)


def found_at(*rows: object) -> np.ndarray:
    """(1, M, 1, 2) rows of one keypoint in one frame."""
    return np.array(rows, np.float32)[None, :, None]


def sure(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[None, :, None]


def test_the_mean_distance_and_the_root_mean_square_are_told_apart() -> None:
    figures = error_figures(np.array([5.0, 1.0, 0.0, NAN]))
    assert figures["points"] == 3
    assert figures["mean_error_px"] == pytest.approx(2.0)
    assert figures["rmse_px"] == pytest.approx((26 / 3) ** 0.5)
    assert figures["median_error_px"] == pytest.approx(1.0)
    assert figures["sem_px"] == pytest.approx(np.sqrt(7 / 3))


def test_no_points_give_no_figures_and_one_has_no_standard_error() -> None:
    assert error_figures(np.array([NAN]))["points"] == 0
    assert error_figures(np.array([NAN]))["mean_error_px"] is None
    assert standard_error([3.0]) is None
    assert standard_error([1.0, 3.0]) == pytest.approx(1.0)


def test_one_found_point_is_that_of_the_label_however_far_and_unsure_it_is() -> None:
    matches = match_points(found_at([300, 400]), sure(0.0), found_at([0, 0]))
    assert matches.errors_px.item() == pytest.approx(500)
    assert matches.confidence.item() == 0


def test_rows_are_assigned_at_the_least_total_distance() -> None:
    # The nearest to the first label is row 1, but the second label has nothing else near.
    labels = found_at([0, 0], [10, 0])
    matches = match_points(found_at([-9, 0], [4, 0]), sure(0.9, 0.8), labels)
    assert matches.rows.ravel().tolist() == [0, 1]
    assert matches.errors_px.ravel().tolist() == [9, 6]
    assert matches.confidence.ravel() == pytest.approx([0.9, 0.8])


def test_a_label_without_a_row_and_a_row_without_a_detection_match_nothing() -> None:
    labels = found_at([0, 0], [50, 0], [NAN, NAN])
    matches = match_points(found_at([1, 0], [50, 0]), sure(0.9, 0.0), labels)
    assert matches.rows.ravel().tolist() == [0, -1, -1]
    assert matches.labelled.ravel().tolist() == [True, True, False]
    assert np.isnan(matches.errors_px.ravel()[1:]).all()


def test_a_network_for_one_animal_finds_at_most_one_of_three() -> None:
    labels = found_at([0, 0], [100, 0], [200, 0])
    figures = detection_figures(found_at([101, 0]), sure(0.9), labels, radius_px=10, cutoff=0.6)
    assert figures["all"] == figures["0"]
    assert figures["all"]["recall"] == pytest.approx(1 / 3)
    assert figures["all"]["precision"] == 1
    assert figures["all"]["mean_error_px"] == pytest.approx(1)


def test_detections_need_the_radius_and_the_cutoff_and_each_label_counts_once() -> None:
    labels = found_at([0, 0], [100, 0])
    found = found_at([1, 0], [2, 0], [100, 11], [100, 0])
    figures = detection_figures(found, sure(0.9, 0.9, 0.9, 0.5), labels, radius_px=10, cutoff=0.6)
    assert (figures["0"]["labelled"], figures["0"]["found"], figures["0"]["matched"]) == (2, 3, 1)
    assert figures["0"]["precision"] == pytest.approx(1 / 3)
    assert figures["0"]["mean_error_px"] == pytest.approx(1)


def test_as_many_labels_as_possible_are_matched_within_the_radius() -> None:
    # The nearest pair first would leave the other label without a row within the radius.
    labels = found_at([0, 0], [10, 0])
    found = found_at([6, 0], [15, 0])
    figures = detection_figures(found, sure(0.9, 0.9), labels, radius_px=8, cutoff=0.6)
    assert figures["0"]["matched"] == 2


def test_frames_without_any_detection_or_label_count_as_such() -> None:
    figures = detection_figures(
        found_at([0, 0]), sure(0.9), found_at([NAN, NAN]), radius_px=8, cutoff=0.6
    )
    assert (figures["0"]["recall"], figures["0"]["precision"]) == (None, 0)


def test_pck_is_the_share_within_a_limit_of_px_or_of_each_body() -> None:
    errors = np.array([1.0, 5.0, 9.0, NAN])
    assert pck(errors, 5) == pytest.approx(2 / 3)
    assert pck(errors, np.array([0.5, 6.0, NAN, 1.0])) == pytest.approx(1 / 2)
    assert pck(np.array([NAN]), 5) is None


def test_the_body_is_as_long_as_its_box_or_as_two_keypoints_are_apart() -> None:
    labels = np.array([[[0, 0], [30, 40], [NAN, NAN]], [[5, 5], [NAN, NAN], [NAN, NAN]]])
    labels = labels[None].astype(np.float32)
    assert body_lengths_px(labels)[0, 0] == 40
    assert np.isnan(body_lengths_px(labels)[0, 1])
    assert body_lengths_px(labels, (0, 1))[0, 0] == 50
    assert np.isnan(body_lengths_px(labels, (0, 2))).all()


def test_oks_follows_its_formula() -> None:
    assert oks(SQUARE, SQUARE) == 1
    moved = SQUARE + np.array([20, 0], np.float32)
    # d = 20, s^2 = 100 * 100, 2 sigma = 0.2: exp(-400 / (2 * 10000 * 0.04))
    assert oks(moved, SQUARE) == pytest.approx(np.exp(-0.5))
    part = SQUARE.copy()
    part[0] = NAN
    assert oks(part, SQUARE) == pytest.approx(0.75)
    assert np.isnan(oks(SQUARE[:1], SQUARE[:1]))
    assert np.isnan(oks(SQUARE[:2], SQUARE[:2]))  # on a line: no area


def test_average_precision_and_recall_of_a_case_worked_by_hand() -> None:
    # Two frames; one animal is found exactly, the other at an OKS of exp(-0.5) = 0.607, so that
    # it is right at the thresholds 0.5, 0.55 and 0.6 only. The wrong one is the surer.
    found = np.stack([SQUARE, SQUARE + np.array([20, 0], np.float32)])[:, None]
    labels = np.stack([SQUARE, SQUARE])[:, None]
    confidence = np.array([[[0.8] * 4], [[0.9] * 4]], np.float32)
    figures = oks_precision_recall(found, confidence, labels)
    assert figures["oks_mar"] == pytest.approx((3 * 1 + 7 * 0.5) / 10)
    # At the seven higher thresholds: precision 1/2 up to recall 1/2, which is 51 of 101 recalls.
    assert figures["oks_map"] == pytest.approx((3 * 1 + 7 * 0.5 * 51 / 101) / 10)


def test_rows_of_frames_without_an_animal_of_known_size_do_not_count() -> None:
    labels = np.stack([SQUARE, np.full_like(SQUARE, NAN)])[:, None]
    found = np.stack([SQUARE, SQUARE])[:, None]
    confidence = np.array([[[0.8] * 4], [[0.9] * 4]], np.float32)
    assert oks_precision_recall(found, confidence, labels) == {"oks_map": 1.0, "oks_mar": 1.0}
    nothing = oks_precision_recall(found[1:], confidence[1:], labels[1:])
    assert nothing == {"oks_map": None, "oks_mar": None}
