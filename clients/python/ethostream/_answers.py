"""Answers that wait to be read: as many as a reader may lag, then the sender waits for it."""

import time
from collections import deque
from collections.abc import Callable

from ethostream._signal import Signal
from ethostream.errors import AnswersUnread
from ethostream.ledger import Answer

_UNREAD_LIMIT = 16_384  # answers of a few hundred bytes each: some MB, minutes of a 100 Hz camera
_UNREAD_SECONDS = 10.0  # a slow reader is waited for; one that stands still this long is an error


class AnswerQueue:
    """From one stream to its reader."""

    def __init__(self, owed: Callable[[], int]) -> None:
        """Take what says how many more answers are on their way."""
        self._owed = owed
        self._answers: deque[Answer] = deque()
        self._added = Signal()  # an answer is there, or no more come
        self._taken = Signal()  # there is room, or no more come
        self._is_closed = False

    def push(self, answers: list[Answer]) -> None:
        """Hand over answers."""
        if answers:
            self._answers.extend(answers)
            self._added.notify()

    def close(self) -> None:
        """Say that no more answers come."""
        self._is_closed = True
        self._added.notify()
        self._taken.notify()

    async def next(self) -> Answer | None:
        """Wait for the next answer; None once all are read and no more come."""
        while not self._answers:
            if self._is_closed:
                return None
            await self._added.wait()
        answer = self._answers.popleft()
        if self._unread() == _UNREAD_LIMIT - 1:
            self._taken.notify()
        return answer

    async def wait_for_room(self) -> None:
        """Wait until there is room for one more frame's answers.

        Raises:
            AnswersUnread: None was read for 10 s.
        """
        last_unread, since = self._unread(), time.monotonic()
        while (unread := self._unread()) >= _UNREAD_LIMIT and not self._is_closed:
            now = time.monotonic()
            if unread < last_unread:
                last_unread, since = unread, now
            if now - since >= _UNREAD_SECONDS:
                raise AnswersUnread(
                    f"{unread} answers wait and none was read for {_UNREAD_SECONDS:.0f} s; "
                    "iterate over the stream while sending"
                )
            await self._taken.wait_at_most(since + _UNREAD_SECONDS - now)

    def _unread(self) -> int:
        return len(self._answers) + self._owed()
