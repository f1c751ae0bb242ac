"""How far the server's wall clock is ahead of this machine's, by frames that go there and back.

Of the latest frames the one that travelled fastest tells most: half of its way is the largest
error (the clock filter of the Network Time Protocol, RFC 5905, section 10).
"""

from collections import deque
from dataclasses import dataclass

from ethostream.values import FrameOutcome

_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """An estimate of the difference of two clocks."""

    offset_ns: int
    """Server's wall clock minus this machine's."""
    error_ns: int
    """The true difference is at most this far from it, as long as no clock is set."""


class ClockEstimator:
    """Follows the server's clock over one stream."""

    def __init__(self) -> None:
        """Begin with no frame seen."""
        self._samples: deque[ClockOffset] = deque(maxlen=_SAMPLES)

    @property
    def offset(self) -> ClockOffset | None:
        """The best estimate of the latest 64 frames; None before the first answer."""
        return min(self._samples, key=lambda one: one.error_ns, default=None)

    def see(self, outcome: FrameOutcome, received_ns: int) -> None:
        """Take an answer.

        Args:
            outcome: The answer; one that the server did not give tells nothing.
            received_ns: When it was here, on this machine's wall clock, ns since 1970.
        """
        if outcome.timings is None or not outcome.arrival_time_ns or not outcome.round_trip_ns:
            return
        way_ns = max(0, outcome.round_trip_ns - outcome.timings.total_ns)
        answered_ns = outcome.arrival_time_ns + outcome.timings.total_ns
        there = outcome.arrival_time_ns - (received_ns - outcome.round_trip_ns)
        back = answered_ns - received_ns
        self._samples.append(ClockOffset((there + back) // 2, (way_ns + 1) // 2))
