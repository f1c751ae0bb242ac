"""What is told of an overload follows from what was offered and answered."""

import pytest

from benchmarks.memory import MemorySamples
from benchmarks.open_loop import Answered, StreamRecord
from benchmarks.overload import Overloaded, recovery_s, summarize

SERVICE_S = 0.02


def lone(*latencies_s: float, start_s: float = 10.0) -> list[tuple[float, float]]:
    return [(start_s + number, latency) for number, latency in enumerate(latencies_s)]


def test_recovery_is_when_lone_frames_begin_to_be_fast_in_a_row():
    slow_first = lone(0.5, 0.3, 0.02, 0.02, 0.02, 0.02, 0.02)
    # Of the five from the first on, three are fast already: one slow frame proves nothing.
    assert recovery_s(slow_first, ended_s=9.5, limit_s=0.022) == 0.5
    assert recovery_s([*lone(0.5), *slow_first], ended_s=9.0, limit_s=0.022) == 1.0


def test_recovery_is_not_told_where_frames_stay_slow_or_were_too_few():
    assert recovery_s(lone(*[0.5] * 20), ended_s=9.0, limit_s=0.022) is None
    assert recovery_s(lone(0.02, 0.02), ended_s=9.0, limit_s=0.022) is None


def record(ages_s: list[float], kinds: list[str]) -> StreamRecord:
    due = [number * 0.004 for number in range(len(ages_s))]
    return StreamRecord(
        due,
        answered=[
            Answered(number, kind, "no_credit" if kind == "skipped" else "", at + age, age)
            for number, (at, age, kind) in enumerate(zip(due, ages_s, kinds, strict=True))
        ],
    )


def overloaded(one: StreamRecord, *, seconds: float = 1.0) -> Overloaded:
    return Overloaded([one], 0.0, seconds, lone(*[0.02] * 5, start_s=seconds + 0.25))


@pytest.fixture
def found():
    return {
        "latest": overloaded(record([0.03, 0.05, 0.04], ["result", "skipped", "result"])),
        "all": overloaded(record([0.2] * 48, ["result"] * 48)),
        "deadline": overloaded(record([0.06], ["result"])),
    }


def told(found):
    memory = MemorySamples([0.0, 1.0], [100, 101])
    return summarize(found, before_s=0.02, capacity=50.0, service_s=SERVICE_S, memory=memory)[1]


def test_the_age_is_the_worse_of_results_and_of_all_outcomes_with_client_side_skips(found):
    assert told(found)["frame_age_p99_in_service_times"] == pytest.approx(2.5, abs=0.02)
    found["latest"] = overloaded(record([0.03, 0.01, 0.01], ["result", "skipped", "skipped"]))
    assert told(found)["frame_age_p99_in_service_times"] == pytest.approx(1.5)


def test_goodput_counts_results_that_came_while_the_load_lasted(found):
    assert told(found)["goodput_ratio"] == 0.96
    late = record([0.2] * 24 + [5.0] * 24, ["result"] * 48)
    assert told(found | {"all": overloaded(late)})["goodput_ratio"] == 0.48


def test_frames_without_an_answer_are_told_whatever_the_policy(found):
    assert (told(found)["lost"], told(found)["duplicated"]) == (0, 0)
    del found["deadline"].records[0].answered[0]
    found["all"].records[0].unexpected = 1
    assert (told(found)["lost"], told(found)["duplicated"]) == (1, 1)


def test_recovery_is_the_longest_and_not_told_where_one_policy_did_not_recover(found):
    assert told(found)["recovery_s"] == 0.25
    found["all"].lone_frames[:] = lone(*[0.5] * 5)
    assert told(found)["recovery_s"] is None
