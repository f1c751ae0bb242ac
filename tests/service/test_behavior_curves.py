import numpy as np
import pytest

from service.behavior_curves import calibration, exact_curve, threshold_curves
from service.behavior_statistics import agreement, auroc


@pytest.fixture
def metrics():
    """The same figures by scikit-learn."""
    return pytest.importorskip("sklearn.metrics", reason="run `uv sync --inexact --extra analysis`")


def made(frames: int = 500) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    truth = random.random((frames, 3)) < (0.05, 0.4, 0.7)
    values = np.round(np.clip(truth * 0.3 + random.random((frames, 3)) * 0.7, 0, 1), 2)
    return truth, values.astype(np.float32)


def test_there_are_200_thresholds_from_almost_nothing_to_one():
    curves = threshold_curves(*made())
    assert curves.f1.shape == (200, 3)
    assert curves.thresholds[[0, -1]].tolist() == [1e-4, 1.0]


def test_each_point_is_what_the_predictions_at_that_threshold_give():
    truth, values = made()
    curves = threshold_curves(truth, values)
    for place in (0, 50, 111, 180):
        match = agreement(truth, values >= curves.thresholds[place])
        np.testing.assert_allclose(curves.f1[place], match.f1)
        np.testing.assert_allclose(curves.precision[place], match.precision)
        np.testing.assert_allclose(curves.recall[place], match.recall)
        np.testing.assert_allclose(curves.false_positive_rate[place], match.false_positive_rate)
        np.testing.assert_allclose(curves.informedness[place], match.informedness)


def test_the_best_threshold_has_the_highest_figure():
    truth, values = made()
    curves = threshold_curves(truth, values)
    f1 = agreement(truth[:, :1], values[:, :1] >= curves.best()[0]).f1[0]
    assert f1 == pytest.approx(curves.f1[:, 0].max())
    other = agreement(truth[:, :1], values[:, :1] >= curves.best("informedness")[0])
    assert other.informedness[0] == pytest.approx(curves.informedness[:, 0].max())


def test_a_behavior_in_no_frame_has_no_best_informedness_and_one_that_is_nowhere_no_f1():
    truth = np.zeros((4, 2), np.bool_)
    values = np.full((4, 2), 0.5, np.float32)
    curves = threshold_curves(truth, values, np.array([0.6, 0.9]))
    assert np.isnan(curves.best("informedness")).all()
    assert np.isnan(curves.best()).all()
    assert np.isnan(curves.f1).all()


def test_exact_curves_are_those_of_scikit_learn(metrics):
    truth, values = made()
    for column in range(3):
        found = exact_curve(truth[:, column], values[:, column])
        assert found is not None
        precision, recall, _ = metrics.precision_recall_curve(truth[:, column], values[:, column])
        np.testing.assert_allclose(found.precision, precision[::-1])
        np.testing.assert_allclose(found.recall, recall[::-1])
        false_rate, true_rate, _ = metrics.roc_curve(
            truth[:, column], values[:, column], drop_intermediate=False
        )
        np.testing.assert_allclose(found.false_positive_rate, false_rate)
        np.testing.assert_allclose(found.recall, true_rate)
        heights = (found.recall[1:] + found.recall[:-1]) / 2
        area = (np.diff(found.false_positive_rate) * heights).sum()
        assert area == pytest.approx(auroc(truth, values)[column])


def test_a_behavior_in_no_frame_or_in_all_has_no_curve():
    values = np.array([0.2, 0.8], np.float32)
    assert exact_curve(np.zeros(2, np.bool_), values) is None
    assert exact_curve(np.ones(2, np.bool_), values) is None


def test_a_thinned_curve_keeps_its_ends():
    truth, values = made()
    found = exact_curve(truth[:, 1], values[:, 1])
    assert found is not None
    thin = found.thinned(7)
    assert len(thin.recall) == 7
    assert (thin.recall[0], thin.recall[-1]) == (0.0, 1.0)
    assert len(found.thinned(10_000).recall) == len(found.recall)


def test_calibration_compares_probabilities_with_what_comes_true():
    values = np.array([0.05] * 10 + [0.95] * 10 + [1.0] * 5, np.float32)[:, None]
    truth = np.array([True] + [False] * 9 + [True] * 12 + [False] * 3)[:, None]
    found = calibration(truth, values)
    assert found.counts[:, 0].tolist() == [10] + [0] * 8 + [15]
    assert found.mean_probability[[0, -1], 0] == pytest.approx([0.05, (9.5 + 5) / 15])
    assert found.present_share[[0, -1], 0] == pytest.approx([0.1, 0.8])
    assert np.isnan(found.present_share[1:9]).all()
    gap = (9.5 + 5) / 15 - 0.8
    assert found.error[0] == pytest.approx((10 * 0.05 + 15 * gap) / 25)
    assert found.mean_error == found.error[0]


def test_bins_are_those_of_scikit_learn():
    pytest.importorskip("sklearn", reason="run `uv sync --inexact --extra analysis`")
    from sklearn.calibration import calibration_curve

    truth, values = made(3000)
    found = calibration(truth, values + np.float32(0.001) * (values < 0.99))  # off the bin limits
    for column in range(3):
        shifted = values[:, column] + np.float32(0.001) * (values[:, column] < 0.99)
        share, mean = calibration_curve(truth[:, column], shifted, n_bins=10)
        filled = found.counts[:, column] > 0
        np.testing.assert_allclose(found.present_share[filled, column], share)
        np.testing.assert_allclose(found.mean_probability[filled, column], mean, rtol=1e-5)
