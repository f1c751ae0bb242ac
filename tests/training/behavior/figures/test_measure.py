from collections.abc import Callable

import numpy as np
import pytest

from service.behavior_statistics import agreement
from service.bundle import BehaviorSpec
from service.errors import InvalidConfig
from training.behavior.figures import Answers, measure

pytestmark = pytest.mark.needs_train
MakeSpec = Callable[..., BehaviorSpec]
Answered = Callable[..., Answers]


def test_only_frames_with_label_and_answer_count(make_spec: MakeSpec, answered: Answered) -> None:
    one = answered("one", ["##..?#", "......"], ["?#..##", "?....."])
    found = measure([one], make_spec("run", "rear", exclusive=False), shuffles=0)
    assert found.frames == 4
    assert found.frames_without_context == 1
    assert found.match.f1[0] == 1.0
    assert np.isnan(found.match.f1[1])
    assert found.accuracy == 1.0
    assert found.chance is None
    assert found.confusion is None


def test_background_is_the_frames_of_no_other_behavior(
    make_spec: MakeSpec, answered: Answered
) -> None:
    one = answered("one", ["##....", "...#.."], ["#.....", "......"])
    found = measure([one], make_spec("run", "rear", exclusive=False), shuffles=0)
    assert found.match_with_background.frames.tolist() == [3, 2, 1]
    assert found.match_with_background.f1[0] == pytest.approx(2 * 3 / (3 + 5))
    assert found.macro_f1_without_background == found.match.macro_f1 == pytest.approx(1 / 3)


def test_background_of_exclusive_models_is_a_behavior_of_its_own(
    make_spec: MakeSpec, answered: Answered
) -> None:
    one = answered("one", ["##....", "..####"], ["###...", "...###"])
    found = measure([one], make_spec("background", "run", exclusive=True), shuffles=3)
    assert found.accuracy == pytest.approx(5 / 6)
    assert found.confusion is not None
    assert found.confusion.tolist() == [[2, 0], [1, 3]]
    assert found.match_with_background.f1.tolist() == found.match.f1.tolist()
    assert found.macro_f1_without_background == pytest.approx(6 / 7)
    assert found.clips is None


def test_bouts_are_those_after_the_bout_rule_and_frames_those_before(
    make_spec: MakeSpec, answered: Answered
) -> None:
    one = answered("one", ["..####.....###"], ["..##.#..#..###"])
    found = measure([one], make_spec("run", exclusive=False, min_bout_frames=2), shuffles=0)
    assert found.match.f1[0] == pytest.approx(2 * 6 / (7 + 7))
    # The gap of one is filled, the bout of one removed.
    assert found.match_after_bout_rule.f1[0] == 1.0
    assert found.bouts.total_predicted.count.tolist() == [2]
    assert found.bouts.match.f1.tolist() == [1.0]
    assert found.bouts.total_labelled.mean_length_s.tolist() == pytest.approx([0.35])


def test_clips_answer_once_by_their_mean_probability(
    make_spec: MakeSpec, answered: Answered
) -> None:
    clips = ((0, 3), (3, 6), (6, 8))
    one = answered("one", ["###.....", "...###??"], ["##..#..#", "..##.##."], clips)
    found = measure([one], make_spec("background", "run", exclusive=True), shuffles=0)
    assert found.clips is not None
    assert found.clips.clips == 2
    assert found.clips.accuracy == 1.0
    assert found.clips.match.f1.tolist() == [1.0, 1.0]


def test_recordings_have_figures_of_their_own_or_none(
    make_spec: MakeSpec, answered: Answered
) -> None:
    good = answered("good", ["##.."], ["##.."])
    bad = answered("bad", ["##.."], ["..##"])
    empty = answered("empty", ["####"], ["????"])
    found = measure([good, bad, empty], make_spec("run", exclusive=False), shuffles=0)
    by_name = {one.name: one for one in found.recordings}
    assert by_name["good"].match is not None
    assert by_name["good"].match.macro_f1 == 1.0
    assert by_name["bad"].match is not None
    assert by_name["bad"].match.macro_f1 == 0.0
    assert by_name["empty"].match is None
    assert by_name["empty"].accuracy is None
    assert by_name["empty"].frames_without_context == 4
    assert found.bouts.recordings == ("good", "bad")


def test_chance_shuffles_each_recording_within_itself(
    make_spec: MakeSpec, answered: Answered
) -> None:
    always = answered("always", ["########"], ["########"])
    never = answered("never", ["........"], ["........"])
    found = measure([always, never], make_spec("run", exclusive=False), shuffles=7)
    assert found.chance is not None
    assert found.chance.macro_f1s.tolist() == [1.0] * 7


def test_probabilities_decide_the_areas_and_thresholds_the_frames(make_spec: MakeSpec) -> None:
    labels = np.array([[0], [0], [1], [1]], np.int8)
    values = np.array([[0.1], [0.2], [0.3], [0.4]], np.float32)
    one = Answers("one", values, labels, ((0, 4),))
    found = measure([one], make_spec("run", exclusive=False), shuffles=0)
    assert found.match.recall.tolist() == [0.0]
    assert found.auroc.tolist() == [1.0]
    assert found.average_precision.tolist() == [1.0]
    assert found.curves.f1[:, 0].max() == 1.0
    assert 0.2 < found.curves.best()[0] <= 0.3


def test_many_recordings_together_equal_one_long_one(make_spec: MakeSpec) -> None:
    random = np.random.default_rng(3)
    spec = make_spec("run", "rear", "groom", exclusive=False, min_bout_frames=3)
    parts = [
        Answers(
            f"part {place}",
            random.random((50, 3)).astype(np.float32),
            (random.random((50, 3)) < 0.4).astype(np.int8),
            ((0, 50),),
        )
        for place in range(4)
    ]
    whole = Answers(
        "whole",
        np.concatenate([one.probabilities for one in parts]),
        np.concatenate([one.labels for one in parts]),
        tuple((first, first + 50) for first in range(0, 200, 50)),
    )
    apart, joined = measure(parts, spec, shuffles=0), measure([whole], spec, shuffles=0)
    np.testing.assert_array_equal(apart.match.f1, joined.match.f1)
    np.testing.assert_array_equal(apart.match_after_bout_rule.f1, joined.match_after_bout_rule.f1)
    np.testing.assert_array_equal(apart.bouts.match.f1, joined.bouts.match.f1)
    np.testing.assert_allclose(apart.kappa, joined.kappa)
    expected = agreement(whole.labels == 1, whole.probabilities >= 0.5)
    np.testing.assert_array_equal(joined.match.f1, expected.f1)


def test_nothing_to_compare_is_refused(make_spec: MakeSpec, answered: Answered) -> None:
    one = answered("one", ["??##"], ["##??"])
    with pytest.raises(InvalidConfig, match="no frame is labelled and has 1 earlier frames"):
        measure([one], make_spec("run", exclusive=False))
