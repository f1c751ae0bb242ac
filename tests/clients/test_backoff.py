"""Waits grow, with jitter, up to a limit."""

from ethostream.backoff import Backoff


def test_waits_double_up_to_the_longest_and_begin_anew_after_a_reset() -> None:
    backoff = Backoff(0.1, 1.0, uniform=lambda: 0.5)
    assert [round(backoff.next_seconds(), 3) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.reset()
    assert backoff.next_seconds() == 0.1


def test_jitter_spreads_from_half_to_one_and_a_half() -> None:
    assert Backoff(0.1, 1.0, uniform=lambda: 0.0).next_seconds() == 0.05
    waits = {Backoff(0.1, 1.0).next_seconds() for _ in range(100)}
    assert len(waits) > 50
    assert 0.05 <= min(waits) <= max(waits) < 0.15


def test_very_many_tries_do_not_overflow() -> None:
    backoff = Backoff(0.1, 5.0, uniform=lambda: 0.5)
    assert {backoff.next_seconds() for _ in range(2000)} >= {5.0}
