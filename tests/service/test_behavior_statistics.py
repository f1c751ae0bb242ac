import math

import numpy as np
import pytest

from service.behavior_statistics import (
    agreement,
    auroc,
    average_precision,
    best_thresholds,
    chance,
    chance_f1,
    confusion,
    frame_accuracy,
    kappa,
    mean_defined,
    reached,
)
from service.errors import InvalidRequest


@pytest.fixture
def metrics():
    """The same figures by scikit-learn."""
    return pytest.importorskip("sklearn.metrics", reason="run `uv sync --inexact --extra analysis`")


def made(*, exclusive: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(400, 4) labels, probabilities with many ties, and predictions."""
    random = np.random.default_rng(7)
    truth = np.eye(4, dtype=bool)[random.integers(0, 4, 400)]
    if not exclusive:
        truth = random.random((400, 4)) < (0.1, 0.3, 0.5, 0.8)
    values = np.round(np.clip(truth * 0.3 + random.random((400, 4)) * 0.7, 0, 1), 2)
    predicted = values > 0.5
    if exclusive:
        predicted = np.eye(4, dtype=bool)[values.argmax(axis=1)]
    return truth, values.astype(np.float32), predicted


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


def test_counts_give_the_figures_of_all_entries_together():
    found = agreement(columns("###..", "....."), columns("##..#", "....#"))
    assert found.micro_f1 == pytest.approx(2 * 2 / (3 + 4))
    assert found.micro_precision == pytest.approx(2 / 4)
    assert found.micro_recall == pytest.approx(2 / 3)
    assert found.class_accuracy.tolist() == pytest.approx([3 / 5, 4 / 5])
    assert found.false_positive_rate.tolist() == pytest.approx([1 / 2, 1 / 5])
    assert found.informedness[0] == pytest.approx(2 / 3 - 1 / 2)
    assert math.isnan(found.informedness[1])
    assert found.confusion.tolist() == [[[1, 1], [1, 2]], [[4, 1], [0, 0]]]


def test_nothing_labelled_and_nothing_predicted_has_no_micro_f1():
    assert math.isnan(agreement(columns("...."), columns("....")).micro_f1)


@pytest.mark.parametrize("exclusive", [True, False])
def test_figures_at_a_threshold_are_those_of_scikit_learn(metrics, exclusive: bool):
    truth, _, predicted = made(exclusive=exclusive)
    found = agreement(truth, predicted)
    for beta, figures in ((1, found.f1), (2, found.f_beta(2)), (0.5, found.f_beta(0.5))):
        precision, recall, expected, frames = metrics.precision_recall_fscore_support(
            truth, predicted, beta=beta, zero_division=0
        )
        np.testing.assert_allclose(figures, expected)
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.recall, recall)
    assert found.frames.tolist() == frames.tolist()
    assert found.micro_f1 == pytest.approx(metrics.f1_score(truth, predicted, average="micro"))
    np.testing.assert_array_equal(
        found.confusion, metrics.multilabel_confusion_matrix(truth, predicted)
    )
    kappas = [metrics.cohen_kappa_score(truth[:, c], predicted[:, c]) for c in range(4)]
    np.testing.assert_allclose(kappa(found.confusion), kappas)


def test_confusion_and_kappa_of_exclusive_behaviors_are_those_of_scikit_learn(metrics):
    truth, _, predicted = made(exclusive=True)
    counts = confusion(truth, predicted)
    labels, claims = truth.argmax(axis=1), predicted.argmax(axis=1)
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(labels, claims))
    assert kappa(counts) == pytest.approx(metrics.cohen_kappa_score(labels, claims))
    assert agreement(truth, predicted).micro_f1 == pytest.approx((labels == claims).mean())


def test_areas_with_ties_are_those_of_scikit_learn(metrics):
    truth, values, _ = made(exclusive=False)
    expected = metrics.average_precision_score(truth, values, average=None)
    np.testing.assert_allclose(average_precision(truth, values), expected)
    np.testing.assert_allclose(
        auroc(truth, values), metrics.roc_auc_score(truth, values, average=None)
    )


def test_a_behavior_in_no_frame_has_no_average_precision():
    truth = columns("....", "####", ".#.#")
    values = np.array([[0.1, 0.9, 0.4, 0.8]] * 3, np.float32).T
    found = average_precision(truth, values)
    assert math.isnan(found[0])
    assert found[1:].tolist() == [1.0, 1.0]


def test_labellers_who_agree_by_accident_have_a_kappa_of_zero():
    assert kappa(np.array([[25, 25], [25, 25]])) == 0.0
    assert kappa(np.array([[30, 0], [0, 30]])) == 1.0
    assert kappa(np.array([[0, 30], [30, 0]])) == -1.0
    assert math.isnan(kappa(np.array([[30, 0], [0, 0]])))


@pytest.mark.parametrize("lengths", [(30, 41), (7, 1)])
def test_chance_is_the_mean_over_predictions_that_were_rolled_one_by_one(
    lengths: tuple[int, ...],
):
    random = np.random.default_rng(5)
    truths, claims = ([random.random((n, 3)) < 0.4 for n in lengths] for _ in range(2))
    found = chance(truths, claims, shuffles=20, seed=9)
    random = np.random.default_rng(9)
    rolled = []
    for _ in range(20):
        turned = [np.roll(one, int(random.integers(len(one))), axis=0) for one in claims]
        rolled.append(agreement(np.concatenate(truths), np.concatenate(turned)))
    np.testing.assert_allclose(found.macro_f1s, [one.macro_f1 for one in rolled])
    np.testing.assert_allclose(found.f1, np.mean([one.f1 for one in rolled], axis=0))
    assert found.accuracy == pytest.approx(np.mean([one.accuracy for one in rolled]))
    assert found.micro_f1 == pytest.approx(np.mean([one.micro_f1 for one in rolled]))
    assert chance_f1(truths, claims, shuffles=20, seed=9) == found.macro_f1


def test_a_behavior_that_is_nowhere_has_no_chance_level():
    found = chance([columns("##..", "....")], [columns("#.#.", "....")], shuffles=4)
    assert math.isnan(found.f1[1])
    assert found.macro_f1 > 0


def test_a_hopeless_behavior_gets_a_half_as_threshold_where_that_is_wanted():
    truth = np.zeros((1000, 1), np.bool_)
    truth[3] = True
    values = np.linspace(0.1, 0.9, 1000, dtype=np.float32)[:, None]
    assert best_thresholds(truth, values)[0] < 0.11
    assert best_thresholds(truth, values, lowest_f1=0.05)[0] == 0.5


def test_a_probability_at_the_threshold_reaches_it():
    values = np.array([[0.25, 0.5], [0.5, 0.75]], np.float32)
    assert reached(values, np.array([0.25, 0.5, 0.51])).tolist() == [[2, 2], [1, 2], [0, 1]]
