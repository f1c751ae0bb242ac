"""Ends a call that gives no sign of life while something is owed.

gRPC can leave a call without an end: one that meets a stopping server (seen with grpcio 1.85), or
one whose server stands still.
"""

import asyncio
from collections.abc import Callable

_CHECKS = 20
"""In the time of the shortest limit."""


class Silence:
    """Watches one call, from its begin until `stop`."""

    def __init__(self, give_up: Callable[[], object], limit_seconds: Callable[[], float]) -> None:
        """Begin to watch.

        Args:
            give_up: called once, when the silence is too long.
            limit_seconds: how long it may last now; infinite where nothing is owed.
        """
        self._give_up = give_up
        self._limit_seconds = limit_seconds
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.broken_after = 0.0
        """The limit that was passed, s; 0 while none was."""
        self._check()

    def heard(self) -> None:
        """Note a sign of life."""
        self._since = self._loop.time()

    def stop(self) -> None:
        """End the watch."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        limit = self._limit_seconds()
        if limit == float("inf"):
            self.heard()  # the time counts from what is owed next
        elif self._loop.time() - self._since >= limit:
            self.broken_after = limit
            self._give_up()
            return
        self._timer = self._loop.call_later(min(limit / _CHECKS, 1.0), self._check)
