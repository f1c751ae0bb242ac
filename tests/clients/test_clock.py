"""The offset of two clocks is found within the error that is told, whatever the way takes."""

import random

import ethostream
import pytest
from ethostream.clock import ClockEstimator
from ethostream.values import StageTimings

AHEAD_NS = 5_000_000_000


def answer(sent_ns: int, there_ns: int, served_ns: int, back_ns: int) -> tuple:
    """An outcome that went there and back, and when it was here."""
    timings = StageTimings(0, 0, 0, 0, served_ns, 0, served_ns, 1)
    outcome = ethostream.FrameOutcome(
        0,
        0,
        "result",
        timings=timings,
        arrival_time_ns=sent_ns + there_ns + AHEAD_NS,
        round_trip_ns=there_ns + served_ns + back_ns,
    )
    return outcome, sent_ns + outcome.round_trip_ns


def test_nothing_is_told_before_an_answer_of_the_server():
    clock = ClockEstimator()
    clock.see(ethostream.FrameOutcome(0, 0, "skipped", reason="no_credit"), 1)
    assert clock.offset is None


def test_an_even_way_gives_the_exact_offset():
    clock = ClockEstimator()
    clock.see(*answer(10**18, 400_000, 9_000_000, 400_000))
    assert (clock.offset.offset_ns, clock.offset.error_ns) == (AHEAD_NS, 400_000)


@pytest.mark.parametrize("seed", range(5))
def test_the_error_that_is_told_is_never_exceeded_and_the_fastest_way_counts(seed):
    clock, chance = ClockEstimator(), random.Random(seed)
    sent_ns = 10**18
    for _ in range(200):
        there, back = (chance.randrange(100_000, 5_000_000) for _ in range(2))
        clock.see(*answer(sent_ns, there, chance.randrange(10**6, 10**7), back))
        sent_ns += 33_000_000
        assert abs(clock.offset.offset_ns - AHEAD_NS) <= clock.offset.error_ns
    assert clock.offset.error_ns < 2_000_000


def test_an_old_answer_is_forgotten():
    clock = ClockEstimator()
    clock.see(*answer(10**18, 1, 1, 1))
    for number in range(64):
        clock.see(*answer(10**18 + number, 1000, 1, 1000))
    assert clock.offset.error_ns == 1000
