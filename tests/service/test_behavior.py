import numpy as np
import pytest

from service.behavior import (
    Bout,
    apply_bout_rule,
    bouts,
    present,
    probabilities,
    with_background,
)
from service.bundle import BehaviorSpec
from service.errors import InvalidRequest


def make_spec(*, exclusive: bool) -> BehaviorSpec:
    return BehaviorSpec(
        behaviors=("background", "run", "rear") if exclusive else ("run", "rear", "groom"),
        exclusive=exclusive,
        thresholds=(0.5, 0.3, 0.8),
        min_bout_frames=(1, 1, 1),
        frame_rate_hz=30.0,
        flow_frames=4,
        past_frames=4,
        future_frames=0,
        feature_size=8,
        state_size=4,
    )


def flags(text: str) -> np.ndarray:
    return np.array([letter == "#" for letter in text])


def test_a_sigmoid_stands_at_a_half_for_zero_and_never_overflows():
    found = probabilities(
        np.array([[0.0, np.log(3.0), -1000.0, 1000.0]], np.float32), exclusive=False
    )
    np.testing.assert_allclose(found, [[0.5, 0.75, 0.0, 1.0]], atol=1e-6)


def test_a_softmax_sums_to_one_whatever_the_size_of_the_logits():
    logits = np.array([[0.0, np.log(3.0)], [1000.0, 1000.0], [-1000.0, 1000.0]], np.float32)
    found = probabilities(logits, exclusive=True)
    np.testing.assert_allclose(found, [[0.25, 0.75], [0.5, 0.5], [0.0, 1.0]], atol=1e-6)


def test_rows_without_an_answer_stay_nan_and_show_nothing():
    logits = np.array([[np.nan] * 3, [3.0, 0.0, 0.0]], np.float32)
    for exclusive in (True, False):
        values = probabilities(logits, exclusive=exclusive)
        shown = present(values, make_spec(exclusive=exclusive))
        assert np.isnan(values[0]).all()
        assert not shown[0].any()
        assert shown[1, 0]


def test_exclusive_bundles_show_the_most_probable_behavior_below_any_threshold():
    values = np.array([[0.4, 0.35, 0.25], [0.2, 0.4, 0.4]], np.float32)
    shown = present(values, make_spec(exclusive=True))
    assert shown.tolist() == [[True, False, False], [False, True, False]]


def test_multi_label_bundles_show_all_behaviors_that_reach_their_threshold():
    values = np.array([[0.5, 0.3, 0.79], [0.49, 0.29, 0.8]], np.float32)
    spec = make_spec(exclusive=False)
    assert present(values, spec).tolist() == [[True, True, False], [False, False, True]]
    assert present(values, spec, (0.9, 0.9, 0.1)).tolist() == [[False, False, True]] * 2


def test_a_single_row_gives_what_it_gives_within_a_recording():
    logits = np.random.default_rng(3).normal(size=(20, 3)).astype(np.float32)
    for exclusive in (True, False):
        spec = make_spec(exclusive=exclusive)
        together = present(probabilities(logits, exclusive=exclusive), spec)
        alone = [present(probabilities(row, exclusive=exclusive), spec) for row in logits]
        np.testing.assert_array_equal(together, np.stack(alone))


def test_gaps_are_filled_before_short_bouts_are_removed():
    shown = flags("#.##....#..###")[:, None]
    np.testing.assert_array_equal(apply_bout_rule(shown, [3])[:, 0], flags("####....######"))


def test_a_gap_or_bout_of_exactly_the_limit_stays():
    shown = flags("###...###")[:, None]
    np.testing.assert_array_equal(apply_bout_rule(shown, [3]), shown)


def test_the_ends_of_a_recording_are_no_gaps():
    shown = flags(".#####.")[:, None]
    np.testing.assert_array_equal(apply_bout_rule(shown, [3]), shown)


def test_a_limit_of_one_keeps_everything():
    shown = np.random.default_rng(1).random((50, 4)) < 0.5
    np.testing.assert_array_equal(apply_bout_rule(shown, [1] * 4), shown)


def test_each_behavior_has_its_own_limit():
    shown = np.column_stack([flags("##..."), flags("##...")])
    np.testing.assert_array_equal(
        apply_bout_rule(shown, [2, 3]), np.column_stack([flags("##..."), flags(".....")])
    )


def test_exclusive_behaviors_stay_exclusive_under_the_bout_rule():
    run, rear = flags("###.###..#..."), flags(".......##....")
    background = ~(run | rear)
    background[-1] = False  # a frame without an answer
    shown = np.column_stack([background, run, rear])
    ruled = apply_bout_rule(shown, [1, 3, 3], exclusive=True)
    assert (ruled[:-1].sum(axis=1) == 1).all()
    assert not ruled[-1].any()
    np.testing.assert_array_equal(ruled[:, 1], flags("#######......"))
    assert not ruled[:, 2].any()


def test_a_wrong_number_of_limits_is_refused_with_both_numbers():
    with pytest.raises(InvalidRequest, match="3 frames for 2 behaviors"):
        apply_bout_rule(np.zeros((5, 2), np.bool_), [3])
    with pytest.raises(InvalidRequest, match="from 1"):
        apply_bout_rule(np.zeros((5, 1), np.bool_), [0])


def test_background_is_what_no_other_behavior_is():
    shown = np.column_stack([flags("#.."), flags("#..")])
    whole, names = with_background(shown, ["run", "rear"], np.array([True, True, False]))
    assert names == ("background", "run", "rear")
    assert whole[:, 0].tolist() == [False, True, False]
    again, same = with_background(whole, names)
    assert again is whole
    assert same == names


def test_bouts_are_listed_by_onset_with_times():
    shown = np.column_stack([flags("..##.#"), flags("###...")])
    assert bouts(shown, ["run", "rear"], 10.0) == [
        Bout("rear", 0, 3, 0.0, 0.3),
        Bout("run", 2, 4, 0.2, 0.2),
        Bout("run", 5, 6, 0.5, 0.1),
    ]
