"""Who may begin live work: one count over all protocols, and nobody while the server stops."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import Overloaded, ShuttingDown


class Admission:
    """Counts live streams, unary sessions and single requests, which share one limit."""

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._open = 0
        self.draining = asyncio.Event()
        """Set once the server stops."""

    def enter(self) -> None:
        """Count one more; whoever entered leaves.

        Raises:
            ShuttingDown: the server stops.
            Overloaded: as many as may be are open.
        """
        self.refuse_while_draining()
        if self._open >= self._max_streams:
            raise Overloaded(
                f"{self._open} streams are open, which is this server's limit; "
                "close one or try again later"
            )
        self._open += 1

    def leave(self) -> None:
        """Count one less."""
        self._open -= 1

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Enter and leave; see `enter`."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def refuse_while_draining(self) -> None:
        """Raise `ShuttingDown` once the server stops."""
        if self.draining.is_set():
            raise ShuttingDown("this server is shutting down; connect to another or in a moment")
