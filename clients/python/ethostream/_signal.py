"""A wake-up for all that wait on one event loop."""

import asyncio


class Signal:
    """Wakes every waiter at once; who waits checks its condition again.

    All use is on one event loop, so that nothing changes between the check and the wait.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Wake all who wait now."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the next `notify`."""
        await self._event.wait()

    async def wait_at_most(self, seconds: float) -> None:
        """Wait for the next `notify`, but no longer than this."""
        waiting = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait([waiting], timeout=seconds)
        finally:
            waiting.cancel()
