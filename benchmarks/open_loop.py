"""Open-loop load on one live stream: frames are offered when they are due, whatever is answered.

Ages count from the time at which a frame was due, so that a client that was held up, by its own
work or by a server that takes no more, does not hide what a camera would have met.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from ethostream.live import AsyncLiveStream
from ethostream.values import FrameOutcome, StageTimings
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcome of one frame."""

    frame_index: int
    kind: Literal["result", "skipped", "error"]
    reason: str
    received_s: float
    """When it was here, on the clock of `StreamRecord.due_s`."""
    round_trip_s: float
    """From sending; of a frame that was not sent, from leaving it out."""
    timings: StageTimings | None = None
    """Where its time went in the server; None where that did not see it."""


@dataclass(slots=True)
class StreamRecord:
    """What one stream was offered and what it answered."""

    due_s: list[float] = field(default_factory=list)
    """When each frame was due, by its index; `time.perf_counter`."""
    held_back: int = 0
    """Frames that were due and that the stream had not taken when the time was over."""
    answered: list[Answered] = field(default_factory=list)
    unexpected: int = 0
    """Answers of the server that fit no open frame: second ones, or to frames never sent."""

    @property
    def lost(self) -> int:
        """Frames that the stream took and never answered, or answered as lost."""
        given_up = sum(one.reason == "lost" for one in self.answered)
        return len(self.due_s) - len({one.frame_index for one in self.answered}) + given_up

    @property
    def duplicated(self) -> int:
        """Answers beyond the first to a frame."""
        return (
            len(self.answered) - len({one.frame_index for one in self.answered}) + self.unexpected
        )

    def count(self, kind: str) -> int:
        """Answers of one kind."""
        return sum(one.kind == kind for one in self.answered)

    def ages_s(self, kind: str = "") -> list[float]:
        """From when a frame was due until its outcome was here; of one kind, or of all."""
        return [
            one.received_s - self.due_s[one.frame_index]
            for one in self.answered
            if not kind or one.kind == kind
        ]


async def offer_frames(
    stream: AsyncLiveStream,
    pictures: Sequence[NDArray[np.uint8]],
    *,
    rate_hz: float,
    seconds: float,
    delay_s: float = 0.0,
) -> StreamRecord:
    """Offer frames at an even rate, then finish the stream and return what became of them.

    Args:
        stream: an open stream.
        pictures: frames that are sent in turn.
        rate_hz: frames that are due a second.
        seconds: how long they are.
        delay_s: until the first one is due; cameras that share a load are not in step.
    """
    record = StreamRecord()
    reader = asyncio.create_task(_read(stream, record))
    frames = round(rate_hz * seconds)
    began = time.perf_counter() + delay_s
    for number in range(frames):
        due = began + number / rate_hz
        early_s = due - time.perf_counter()
        if early_s > 0:
            await asyncio.sleep(early_s)
        elif time.perf_counter() >= began + seconds:
            break
        record.due_s.append(due)
        await stream.send(pictures[number % len(pictures)])
    record.held_back = frames - len(record.due_s)
    ledger = await stream.finish()
    await reader
    record.unexpected = ledger.unexpected
    return record


async def ask_one_by_one(
    stream: AsyncLiveStream, pictures: Sequence[NDArray[np.uint8]], frames: int
) -> list[tuple[float, float]]:
    """Send lone frames, each after the answer of the last; return (when sent, latency), s."""
    taken = []
    for number in range(frames):
        sent = time.perf_counter()
        await stream.send(pictures[number % len(pictures)])
        while not isinstance(await anext(stream), FrameOutcome):
            pass
        taken.append((sent, time.perf_counter() - sent))
    return taken


async def _read(stream: AsyncLiveStream, record: StreamRecord) -> None:
    async for answer in stream:
        if isinstance(answer, FrameOutcome):
            record.answered.append(
                Answered(
                    answer.frame_index,
                    answer.kind,
                    answer.reason,
                    time.perf_counter(),
                    answer.round_trip_ns / 1e9,
                    answer.timings,
                )
            )
