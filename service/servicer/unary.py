"""A live session that is asked call by call, where a call may end before its answer is there."""

import asyncio
from collections import deque

from service.errors import SessionNotFound
from service.frames import EncodedFrame
from service.outcomes import LiveBehavior, LiveTrigger, Outcome
from service.session import LiveSession
from service.values import BundleVersion

_MAX_LATE = 4096
"""Answers that are kept for the next call: many times what a look-ahead holds back, and a client
that gives up on every call does not fill the memory."""


class UnarySession:
    """Owns the task that takes a session's answers, so that no call that ends early loses them."""

    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self.lock = asyncio.Lock()
        """One call at a time: a second one waits, so that frames stay in order."""
        self.expiry: asyncio.TimerHandle | None = None
        """Ends the session; runs while no call does."""
        self._told_of: dict[BundleVersion, int] = {
            one.loaded.key: -1
            for one in session.options.selections
            if (spec := one.loaded.bundle.manifest.behavior) and not spec.future_frames
        }
        """The newest frame of which each behavior bundle told; of those that need no later one."""
        self._outcome: Outcome | None = None
        """The newest one."""
        self._late: deque[LiveBehavior | LiveTrigger] = deque(maxlen=_MAX_LATE)
        self._news = asyncio.Event()
        self._is_finished = False
        self._filing = asyncio.create_task(self._file_answers())

    async def analyze(self, frame: EncodedFrame) -> Outcome:
        """Offer a frame; wait for its outcome and for the behavior that needs no later frame.

        Raises:
            FrameOutOfOrder: its index is not greater than the one before; it is not accepted.
            SessionNotFound: an earlier call ended the session.
        """
        if self._is_finished:
            raise SessionNotFound(
                f"the session {self.session.session_id!r} was ended by an earlier call; ask for "
                "what it still owes with end_session and no frame, or open a new one with `start`"
            )
        await self.session.offer(frame)
        while (outcome := self._answer_to(frame.frame_index)) is None:
            self._news.clear()
            await self._news.wait()
        return outcome

    async def finish(self) -> None:
        """Accept no more; wait until all that was accepted is answered."""
        if not self._is_finished:
            self._is_finished = True
            self.session.finish()
        await asyncio.shield(self._filing)

    def take_late(self) -> list[LiveBehavior | LiveTrigger]:
        """Return the behaviors and triggers of any frame that no call has returned yet."""
        taken = list(self._late)
        self._late.clear()
        return taken

    async def close(self) -> None:
        """Drop what is still in work."""
        self._filing.cancel()
        await asyncio.gather(self._filing, return_exceptions=True)
        await self.session.close()

    def _answer_to(self, frame_index: int) -> Outcome | None:
        """The outcome of the frame, once its behavior has come, too."""
        outcome = self._outcome
        if outcome is None or outcome.frame_index != frame_index:
            return None  # that of an earlier frame, whose call did not wait for it
        return outcome if all(one >= frame_index for one in self._told_of.values()) else None

    async def _file_answers(self) -> None:
        async for answer in self.session.answers():
            match answer:
                case Outcome():
                    self._outcome = answer
                case LiveBehavior() | LiveTrigger():
                    self._late.append(answer)
            if isinstance(answer, LiveBehavior) and answer.bundle in self._told_of:
                self._told_of[answer.bundle] = answer.answer.frame_index
            self._news.set()
