import math

import numpy as np
import pytest

from service.bouts import (
    apply_bout_rule_by_clip,
    bout_statistics,
    correlation,
    known_stretches,
    match_bouts,
    total_statistics,
)


def columns(*texts: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in text] for text in texts]).T


def match(labelled: str, predicted: str, **options: float):
    whole = [(0, len(labelled))]
    return match_bouts([columns(labelled)], [columns(predicted)], [whole], 10.0, **options)


def test_stretches_end_at_clips_and_at_unknown_frames():
    known = columns("##.#####.#")[:, 0]
    assert known_stretches(known, [(0, 5), (5, 10)]) == [(0, 2), (3, 5), (5, 8), (9, 10)]
    assert known_stretches(known, [(6, 8)]) == [(6, 8)]


def test_bouts_are_counted_and_measured_in_seconds():
    found = bout_statistics(columns("##..####..", "..........", "##########"), [(0, 10)], 10.0)
    assert found.count.tolist() == [2, 0, 1]
    assert found.time_spent_s.tolist() == pytest.approx([0.6, 0.0, 1.0])
    assert found.mean_length_s[[0, 2]].tolist() == pytest.approx([0.3, 1.0])
    assert math.isnan(found.mean_length_s[1])
    assert found.watched_s == 1.0
    assert found.share.tolist() == pytest.approx([0.6, 0.0, 1.0])


def test_a_bout_over_a_clip_limit_counts_in_both_clips_and_what_is_not_seen_in_none():
    shown = columns("######....")
    assert bout_statistics(shown, [(0, 3), (3, 10)], 10.0).count.tolist() == [2]
    part = bout_statistics(shown, [(0, 2), (8, 10)], 10.0)
    assert part.count.tolist() == [1]
    assert part.time_spent_s.tolist() == [0.2]
    assert part.watched_s == 0.4


def test_nothing_watched_has_no_share():
    assert np.isnan(bout_statistics(columns("##"), [], 10.0).share).all()


def test_statistics_of_recordings_add_up():
    one = bout_statistics(columns("##..", "...."), [(0, 4)], 1.0)
    other = bout_statistics(columns("#.#.", "...."), [(0, 4)], 1.0)
    total = total_statistics([one, other])
    assert total.count.tolist() == [3, 0]
    assert total.mean_length_s[0] == pytest.approx(4 / 3)
    assert math.isnan(total.mean_length_s[1])
    assert total.watched_s == 8.0


def test_a_bout_is_found_when_half_of_both_together_overlaps():
    assert match("####....", "..##....").found.tolist() == [1]  # 2 of 4
    assert match("####....", "..####..").found.tolist() == [0]  # 2 of 6
    assert match("####....", "..####..", min_iou=0.3).found.tolist() == [1]


def test_a_bout_is_found_once_by_the_one_that_overlaps_most():
    found = match("##########", "######.###", min_iou=0.3)
    assert (found.labelled[0], found.predicted[0], found.found[0]) == (1, 2, 1)
    assert found.offset_error_s[0] == pytest.approx(0.4)
    assert found.recall[0] == 1.0
    assert found.precision[0] == 0.5
    assert found.f1[0] == pytest.approx(2 / 3)


def test_two_halves_of_a_bout_cannot_both_find_it():
    found = match_bouts([columns("####")], [columns("##.#")], [[(0, 2), (2, 4)]], 10.0)
    assert found.labelled.tolist() == [2]  # a clip limit in the middle makes it two
    assert found.found.tolist() == [2]
    assert match("#####", "##.##", min_iou=0.4).found.tolist() == [1]


def test_distances_of_onsets_and_offsets_are_means_in_seconds():
    found = match("..######....######..", "...#####....#######.")
    assert found.found.tolist() == [2]
    assert found.onset_error_s[0] == pytest.approx(0.05)
    assert found.offset_error_s[0] == pytest.approx(0.05)


def test_bouts_of_several_recordings_and_behaviors_are_counted_apart():
    labelled = [columns("##....", "......"), columns("....##", "##....")]
    predicted = [columns("##....", "...###"), columns("......", "##..##")]
    found = match_bouts(labelled, predicted, [[(0, 6)]] * 2, 10.0)
    assert found.labelled.tolist() == [2, 1]
    assert found.predicted.tolist() == [1, 3]
    assert found.found.tolist() == [1, 1]
    nothing = match("......", "......")
    assert math.isnan(nothing.f1[0])
    assert math.isnan(nothing.onset_error_s[0])


def test_matching_equals_a_search_over_all_pairs():
    random = np.random.default_rng(8)
    for _ in range(30):
        truth, claims = (np.repeat(random.random((20, 1)) < 0.5, 3, axis=0) for _ in range(2))
        claims = np.roll(claims | truth, 1, axis=0)
        found = match_bouts([truth], [claims], [[(0, 60)]], 1.0, min_iou=0.51)
        ones, others = (
            [set(range(on, off)) for on, off in known_stretches(flags[:, 0], [(0, 60)])]
            for flags in (truth, claims)
        )
        hits = sum(len(a & b) / len(a | b) >= 0.51 for a in ones for b in others)
        assert found.found.tolist() == [hits]  # over one half, a bout has one partner at most


def test_correlations_are_those_of_numpy():
    random = np.random.default_rng(4)
    one, other = random.normal(size=(6, 2)), random.normal(size=(6, 2))
    found = correlation(one, other)
    for column in range(2):
        assert found[column] == pytest.approx(np.corrcoef(one[:, column], other[:, column])[0, 1])
    assert correlation(one, 3 * one + 1).tolist() == pytest.approx([1.0, 1.0])


def test_recordings_without_the_statistic_are_left_out_of_its_correlation():
    one = np.array([[1.0], [2.0], [np.nan], [4.0]])
    assert correlation(one, -one)[0] == pytest.approx(-1.0)


def test_two_recordings_or_a_constant_have_no_correlation():
    assert math.isnan(correlation(np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]]))[0])
    assert math.isnan(correlation(np.full((5, 1), 0.1), np.arange(5.0)[:, None])[0])


def test_the_bout_rule_does_not_reach_over_a_clip_limit():
    shown = columns("##..##")
    whole = apply_bout_rule_by_clip(shown, [(0, 6)], [3])
    cut = apply_bout_rule_by_clip(shown, [(0, 3), (3, 6)], [3])
    assert whole[:, 0].tolist() == [True] * 6
    assert not cut.any()
    part = apply_bout_rule_by_clip(shown, [(0, 3)], [3])
    assert part[:, 0].tolist() == [False] * 4 + [True] * 2
