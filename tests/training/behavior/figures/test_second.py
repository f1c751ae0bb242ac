from collections.abc import Callable

import numpy as np
import pytest

from service.bundle import BehaviorSpec
from service.errors import InvalidConfig
from training.behavior.figures import Answers, measure

pytestmark = pytest.mark.needs_train
MakeSpec = Callable[..., BehaviorSpec]
Answered = Callable[..., Answers]


def test_people_and_model_are_compared_on_frames_that_all_three_know(
    make_spec: MakeSpec, answered: Answered
) -> None:
    one = answered("one", ["####....?#"], ["?###.#...."])
    other = answered("other", ["####"], ["####"])
    second = {"one": answered("", ["##.#..###?"], ["#" * 10]).labels}
    found = measure([one, other], make_spec("run", exclusive=False), second=second).second
    assert found is not None
    # Frames 1 to 7: first ###...., second #.#..##, model ###.#...
    assert found.people.frames.total == 7
    assert found.people.frames.f1[0] == pytest.approx(2 * 2 / (3 + 4))
    assert found.model.frames.f1[0] == pytest.approx(2 * 3 / (3 + 4))
    assert found.model_to_second.frames.f1[0] == pytest.approx(2 * 2 / (4 + 4))
    agreed, by_accident = 4 / 7, (3 * 4 + 4 * 3) / 49
    assert found.people.kappa[0] == pytest.approx((agreed - by_accident) / (1 - by_accident))
    assert found.people.overall_kappa is None
    assert found.people.bouts.recordings == ("one",)
    assert found.people.bouts.match.labelled.tolist() == [1]
    assert found.people.bouts.match.predicted.tolist() == [3]


def test_exclusive_labels_have_a_kappa_over_all_behaviors(
    make_spec: MakeSpec, answered: Answered
) -> None:
    one = answered("one", ["##..", "..##"], ["##..", "..##"])
    second = {"one": answered("", ["#...", ".###"], ["####"] * 2).labels}
    spec = make_spec("background", "run", exclusive=True)
    found = measure([one], spec, second=second).second
    assert found is not None
    assert found.people.overall_kappa == pytest.approx(0.5)
    assert found.model.overall_kappa == 1.0


def test_bout_statistics_of_people_correlate_over_recordings(
    make_spec: MakeSpec, answered: Answered
) -> None:
    rows = ["#.........", "#..#......", "##.#..##..", "#.#.#.#.#."]
    answers = [answered(f"r{place}", [row], [row[::-1]]) for place, row in enumerate(rows)]
    second = {one.name: np.roll(one.labels, 1, axis=0) for one in answers}
    found = measure(answers, make_spec("run", exclusive=False), second=second).second
    assert found is not None
    assert found.people.bouts.correlation("count")[0] == pytest.approx(1.0)
    assert found.model.bouts.correlation("time_spent_s")[0] == pytest.approx(1.0)
    assert found.model.bouts.match.f1[0] < 1.0


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"two": np.zeros((4, 1), np.int8)}, "recording two, which is not measured; there are one"),
        ({"one": np.zeros((3, 1), np.int8)}, r"\(3, 1\) and the first \(4, 1\)"),
        ({"one": np.full((4, 1), -1, np.int8)}, "no frame has labels of both people"),
    ],
)
def test_second_labels_that_do_not_fit_are_refused(
    make_spec: MakeSpec, answered: Answered, second: dict[str, np.ndarray], message: str
) -> None:
    one = answered("one", ["##.."], ["##.."])
    with pytest.raises(InvalidConfig, match=message):
        measure([one], make_spec("run", exclusive=False), second=second)
