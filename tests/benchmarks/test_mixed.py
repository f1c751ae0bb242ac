"""What is told of a rig beside an archive job."""

import pytest

from benchmarks.mixed import Round, summarize
from benchmarks.open_loop import Answered, StreamRecord


def record(*ages_s: float) -> StreamRecord:
    answers = [Answered(n, "result", "", n + age, age) for n, age in enumerate(ages_s)]
    return StreamRecord([float(n) for n in range(len(ages_s))], answered=answers)


def test_latency_is_told_over_all_rounds_and_the_share_kept_within_each():
    rounds = [
        Round(record(0.02, 0.02), record(0.1, 0.1), 50.0, 45.0),
        Round(record(0.02, 0.02), record(0.1, 0.1), 100.0, 80.0),
        Round(record(0.02, 0.02), record(0.1, 0.1), 10.0, 8.8),
    ]
    told = summarize(rounds, capacity=50.0)[1]
    assert told["live_p99_alone_ms"] == pytest.approx(20)
    assert told["live_p99_beside_archive_ms"] == pytest.approx(100)
    assert told["archive_share_kept"] == 0.88
    assert told["archive_batch_ms"] == 160
    assert (told["live_frames"], told["lost"]) == (6, 0)
