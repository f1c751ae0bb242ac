"""The ledger gives each frame one outcome and one behavior result per bundle, in order."""

import random

import pytest
from ethostream.ledger import BehaviorBundle, Ledger
from ethostream.values import BehaviorResult, BehaviorStatus, BundleVersion, FrameOutcome

CAGE = BundleVersion("cage", 1)
FIELD = BundleVersion("field", 3)


def _ledger() -> Ledger:
    ledger = Ledger()
    ledger.set_behavior_bundles([BehaviorBundle(CAGE, ("rest",)), BehaviorBundle(FIELD, ("run",))])
    return ledger


def _result(frame_index: int) -> FrameOutcome:
    return FrameOutcome(frame_index, 0, "result")


def _behavior(frame_index: int, bundle: BundleVersion = CAGE) -> BehaviorResult:
    return BehaviorResult(
        frame_index, 0, bundle.name, bundle.version, (), BehaviorStatus.OK, None, None, 0
    )


def test_a_skipped_frame_waits_for_the_frames_before_it() -> None:
    ledger = _ledger()
    ledger.send(0, 0)
    assert ledger.skip(1, 0) == []
    delivered = ledger.settle(_result(0))
    assert [(outcome.frame_index, outcome.kind) for outcome in delivered] == [
        (0, "result"),
        (1, "skipped"),
    ]
    assert ledger.counts.is_closed


def test_closing_answers_frames_and_behavior_that_are_owed() -> None:
    ledger = _ledger()
    ledger.send(4, 40)
    ledger.skip(5, 50)
    answers = ledger.close("gone")
    outcomes = [answer for answer in answers if isinstance(answer, FrameOutcome)]
    assert [(outcome.frame_index, outcome.reason) for outcome in outcomes] == [
        (4, "lost"),
        (5, "no_credit"),
    ]
    assert (outcomes[0].message, outcomes[0].capture_time_ns) == ("gone", 40)
    behaviors = [answer for answer in answers if isinstance(answer, BehaviorResult)]
    assert [(answer.bundle, answer.frame_index, answer.status) for answer in behaviors] == [
        ("cage", 4, BehaviorStatus.ERROR),
        ("cage", 5, BehaviorStatus.NO_FRAME),
        ("field", 4, BehaviorStatus.ERROR),
        ("field", 5, BehaviorStatus.NO_FRAME),
    ]
    assert ledger.close("again") == []


def test_credits_are_held_by_sent_frames_only() -> None:
    ledger = _ledger()
    ledger.send(0, 0)
    ledger.skip(1, 0)
    ledger.send(2, 0)
    assert ledger.sent_in_flight == 2
    ledger.settle(_result(0))
    assert ledger.sent_in_flight == 1
    ledger.close("gone")
    assert ledger.sent_in_flight == 0


def test_answers_that_fit_no_frame_are_counted_and_dropped() -> None:
    ledger = _ledger()
    ledger.send(0, 0)
    assert ledger.settle(_result(9)) == []
    assert ledger.settle_behavior(_behavior(9)) == []
    assert ledger.settle_behavior(_behavior(0, BundleVersion("other", 1))) == []
    assert len(ledger.settle(_result(0))) == 1
    assert ledger.settle(_result(0)) == []
    assert ledger.counts.unexpected == 4


@pytest.mark.parametrize("seed", range(20))
def test_every_frame_is_answered_once_and_in_order_whatever_happens(seed: int) -> None:
    rng = random.Random(seed)
    ledger = _ledger()
    answers: list[FrameOutcome | BehaviorResult] = []
    sent: list[int] = []
    behaviors: dict[BundleVersion, list[int]] = {CAGE: [], FIELD: []}
    for index in range(0, 600, rng.choice([1, 3])):
        event = rng.random()
        if event < 0.6:
            ledger.send(index, 0)
            sent.append(index)
            behaviors[CAGE].append(index)
            behaviors[FIELD].append(index)
        else:
            answers += ledger.skip(index, 0)
        while sent and rng.random() < 0.5:
            answers += ledger.settle(_result(sent.pop(0)))
        for bundle, owed in behaviors.items():
            while owed and rng.random() < 0.5:
                answers += ledger.settle_behavior(_behavior(owed.pop(0), bundle))
        if rng.random() < 0.02:
            answers += ledger.close("gone")
            sent.clear()
            behaviors = {CAGE: [], FIELD: []}
        counts = ledger.counts
        assert counts.in_flight == len(ledger) >= ledger.sent_in_flight == len(sent)
    answers += ledger.close("the end")
    taken = list(range(0, index + 1, 3 if ledger.counts.accepted == 200 else 1))
    outcomes = [answer.frame_index for answer in answers if isinstance(answer, FrameOutcome)]
    assert outcomes == taken
    for bundle in (CAGE, FIELD):
        assert taken == [
            answer.frame_index
            for answer in answers
            if isinstance(answer, BehaviorResult) and answer.bundle == bundle.name
        ]
    counts = ledger.counts
    assert counts.accepted == len(taken)
    assert counts.accepted == counts.results + counts.skipped + counts.errors + counts.lost
    assert counts.unexpected == 0
