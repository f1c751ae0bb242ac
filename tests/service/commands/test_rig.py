"""What the rig tells of answers that are missing, doubled, out of order or wrong."""

from ethostream import BehaviorResult, BehaviorStatus, FrameOutcome

from service.commands._rig import _problems
from service.values import BundleVersion

KEY = BundleVersion("activity", 1)


def outcome(index: int, kind: str = "result", reason: str = "") -> FrameOutcome:
    return FrameOutcome(index, 0, kind, reason=reason)  # type: ignore[arg-type]


def answer(index: int, status: BehaviorStatus = BehaviorStatus.OK) -> tuple[BehaviorResult, int]:
    return BehaviorResult(index, 0, "activity", 1, ("walk",), status, None, None, 0), 0


def problems(outcomes: list[FrameOutcome], answers: list[tuple[BehaviorResult, int]]) -> list[str]:
    return list(_problems([0, 1, 2], outcomes, {KEY: answers}))


GOOD = [outcome(0), outcome(1), outcome(2)]
ANSWERS = [answer(0, BehaviorStatus.NO_CONTEXT), answer(1), answer(2)]


def test_one_answer_each_in_order_is_no_problem() -> None:
    assert problems(GOOD, ANSWERS) == []


def test_a_missing_a_doubled_and_a_swapped_outcome_are_told() -> None:
    for outcomes in (GOOD[:2], [*GOOD, outcome(2)], [GOOD[1], GOOD[0], GOOD[2]]):
        (problem,) = problems(outcomes, ANSWERS)
        assert f"3 frames were sent, but {len(outcomes)} outcomes came" in problem


def test_missing_behavior_answers_are_told_by_bundle() -> None:
    (problem,) = problems(GOOD, ANSWERS[1:])
    assert "2 answers of activity@1 came" in problem


def test_frames_without_a_result_are_told_with_the_first_reason() -> None:
    (problem,) = problems([GOOD[0], outcome(1, "error", "engine_failed"), GOOD[2]], ANSWERS)
    assert "the first is frame 1: error engine_failed" in problem


def test_behavior_answers_that_are_errors_are_told() -> None:
    (problem,) = problems(GOOD, [*ANSWERS[:2], answer(2, BehaviorStatus.ERROR)])
    assert "1 answers of activity@1 are errors, first of frame 2" in problem
