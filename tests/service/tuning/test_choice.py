"""The most frames a second within the latency, and a reason for it."""

import pytest

from service.errors import EngineFailed, InvalidRequest
from service.tuning.choice import (
    Candidate,
    DecodeTiming,
    candidates,
    choose_engine_setting,
    choose_workers,
)
from service.tuning.engines import EngineSetting, EngineTiming
from service.values import BundleVersion

POSE, BEHAVIOR = BundleVersion("pose", 1), BundleVersion("behavior", 2)


def timing(bundle, threads, size, ms, *, p95_ms=None, precision="fp32", engine="openvino"):
    return EngineTiming(bundle, engine, precision, threads, size, ms / 1e3, (p95_ms or ms) / 1e3)


def candidate(*, fps, largest_ms=10.0, single_ms=5.0, threads=1, batch=8) -> Candidate:
    return Candidate("openvino", "fp32", threads, batch, single_ms / 1e3, largest_ms / 1e3, fps)


def test_a_frame_costs_the_sum_of_all_bundles_that_look_at_it():
    settings = [EngineSetting("openvino", "auto", ("int8", "fp32"))]
    timings = [
        timing(POSE, 2, 1, 2, p95_ms=3, precision="int8"),
        timing(POSE, 2, 4, 6, p95_ms=7, precision="int8"),
        timing(BEHAVIOR, 2, 1, 4, p95_ms=5),
        timing(BEHAVIOR, 2, 4, 10, p95_ms=11),
    ]
    one, four = candidates(settings, [POSE, BEHAVIOR], timings)
    assert (one.largest_batch, four.largest_batch) == (1, 4)
    assert one.single_seconds == four.single_seconds == pytest.approx(0.008)
    assert four.largest_seconds == pytest.approx(0.018)
    assert four.frames_per_s == pytest.approx(250)
    assert (four.engine, four.precision, four.threads) == ("openvino", "auto", 2)


def test_a_size_that_one_bundle_was_not_timed_with_is_no_candidate():
    settings = [EngineSetting("openvino", "fp32", ("fp32", "fp32"))]
    timings = [timing(POSE, 1, 1, 2), timing(POSE, 1, 2, 3), timing(BEHAVIOR, 1, 1, 4)]
    (only,) = candidates(settings, [POSE, BEHAVIOR], timings)
    assert only.largest_batch == 1


def test_the_most_frames_within_the_latency_are_chosen():
    slow, good, over = (
        candidate(fps=100),
        candidate(fps=200, largest_ms=19),
        candidate(fps=300, largest_ms=21),
    )
    found = choose_engine_setting([slow, good, over], 0.020)
    assert found.chosen == good
    assert "200.0 frames/s" in found.reason
    assert "300.0, but takes 21.0 ms" in found.reason


def test_a_frame_alone_must_keep_the_latency_as_well():
    lone = candidate(fps=300, single_ms=30, largest_ms=10)
    assert choose_engine_setting([lone, candidate(fps=1)], 0.020).chosen.frames_per_s == 1


def test_that_no_engine_computed_anything_is_told():
    with pytest.raises(EngineFailed, match="no engine computed all of the bundles"):
        choose_engine_setting([], 0.020)


def test_what_is_as_good_in_smaller_batches_or_with_fewer_threads_is_preferred():
    large = candidate(fps=102, largest_ms=80, batch=16)
    small = candidate(fps=100, largest_ms=20, batch=4, threads=2)
    fewer = candidate(fps=100, largest_ms=20, batch=4, threads=1)
    assert choose_engine_setting([large, small, fewer], 1.0).chosen == fewer


def test_where_nothing_keeps_the_latency_the_fastest_is_told():
    with pytest.raises(InvalidRequest, match=r"no setting keeps 4 ms.*takes 5\.0 ms"):
        choose_engine_setting([candidate(fps=10), candidate(fps=20, single_ms=6)], 0.004)


@pytest.mark.parametrize(
    ("rates", "needed", "expected"),
    [
        ({1: 100, 2: 190, 4: 200}, 90, 1),
        ({1: 100, 2: 190, 4: 200}, 150, 2),
        ({1: 100, 2: 197, 4: 200}, 500, 2),
        ({1: 100, 2: 150, 4: 200}, 500, 4),
    ],
)
def test_the_fewest_workers_that_keep_the_engine_busy_are_chosen(rates, needed, expected):
    timings = [DecodeTiming(workers, rate) for workers, rate in rates.items()]
    workers, reason = choose_workers(timings, needed)
    assert workers == expected
    assert f"{rates[expected]:.1f} frames/s" in reason
