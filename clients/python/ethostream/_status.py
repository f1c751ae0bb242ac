"""The status with which a streaming call really ended.

grpc.aio replaces the server's status by INTERNAL "Internal error from Core" when a write fails
while the call ends (https://github.com/grpc/grpc/issues/36066), so that neither a refusal nor a
stopped server could be told from a failure. Each status that a call takes on is recorded here as
it is set, and the server's own is used.
"""

from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc

from ethostream._signal import Signal
from ethostream.errors import EthostreamError, Unavailable, from_status

_T = TypeVar("_T")

_MASK = "Internal error from Core"
_WAIT_SECONDS = 0.5  # the status is on its way already when a write fails


class StatusRecord:
    """Records how a call ended; made right after the call."""

    def __init__(self, call: grpc.aio.Call, address: str) -> None:
        self._address = address
        self._statuses: list[tuple[grpc.StatusCode, str]] = []
        self._recorded = Signal()
        call.add_done_callback(self._record)

    async def error(self, error: grpc.aio.AioRpcError) -> EthostreamError:
        """The typed error that this one stands for."""
        if not _is_mask(error.code(), error.details() or ""):
            return from_status(error.code(), error.details() or "", self._address)
        if self._real() is None:
            await self._recorded.wait_at_most(_WAIT_SECONDS)
        real = self._real()
        if real is None:
            return Unavailable(f"the connection to {self._address} broke while sending")
        return from_status(*real, self._address)

    def _record(self, call: grpc.aio.Call) -> None:
        self._statuses.append((_at_once(call.code()), _at_once(call.details()) or ""))
        self._recorded.notify()

    def _real(self) -> tuple[grpc.StatusCode, str] | None:
        real = [status for status in self._statuses if not _is_mask(*status)]
        return real[0] if real and real[0][0] is not grpc.StatusCode.OK else None


def _is_mask(code: grpc.StatusCode, details: str) -> bool:
    return code is grpc.StatusCode.INTERNAL and details == _MASK


def _at_once(ready: Coroutine[Any, Any, _T]) -> _T:
    """The value of a coroutine that has nothing to wait for, before anything else can run."""
    try:
        ready.send(None)
    except StopIteration as done:
        value: _T = done.value
        return value
    ready.close()
    raise AssertionError("a finished call knows its status")
