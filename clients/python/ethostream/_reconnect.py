"""Whether and when a live stream connects again."""

import time

from ethostream.backoff import Backoff
from ethostream.errors import EthostreamError

_BROKEN = ("UNAVAILABLE", "CANCELLED")  # what a stopped, killed or unreachable server looks like
# A server that just began may still load its bundles, or count the old stream as open.
_NOT_READY = ("NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED")


class Reconnect:
    """Remembers since when a stream is without connection, and how often it was tried."""

    def __init__(self, limit_seconds: float) -> None:
        """Take the longest time without connection."""
        self._limit_seconds = limit_seconds
        self._backoff = Backoff()
        self._disconnected_at = 0.0

    def works(self) -> None:
        """Note that the connection is in use, so that the next break begins anew."""
        self._backoff.reset()

    @staticmethod
    def is_worth_it(error: EthostreamError, *, was_connected: bool) -> bool:
        """Whether another try may meet another answer than this one."""
        return error.status in _BROKEN or (error.status in _NOT_READY and not was_connected)

    def resumes_at(self, error: EthostreamError | None, *, was_connected: bool) -> float:
        """When to try again, on the monotonic clock.

        Args:
            error: What ended the connection; None where the server asked to go.
            was_connected: Whether it was a connection, not a try.

        Raises:
            EthostreamError: `error`, where that would be too late.
        """
        now = time.monotonic()
        if was_connected:
            self._disconnected_at = now
        at = now + self._backoff.next_seconds()
        if error is not None and at > self._disconnected_at + self._limit_seconds:
            raise error
        return at
