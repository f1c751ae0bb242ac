"""What is counted of a load: each frame once, from when it was due."""

import asyncio
import time

import numpy as np
import pytest
from ethostream.ledger import LedgerCounts
from ethostream.values import FrameOutcome

from benchmarks.open_loop import Answered, StreamRecord, offer_frames


def answered(index: int, *, kind="result", reason="", received_s=0.0) -> Answered:
    return Answered(index, kind, reason, received_s, 0.0)


def test_frames_without_an_answer_or_answered_as_lost_are_lost():
    record = StreamRecord([0.0, 0.1, 0.2], answered=[answered(0)])
    assert (record.lost, record.duplicated) == (2, 0)
    record.answered += [answered(1, kind="error", reason="lost"), answered(2)]
    assert (record.lost, record.duplicated) == (1, 0)


def test_second_answers_are_duplicates_whoever_noticed_them():
    record = StreamRecord([0.0, 0.1], answered=[answered(0), answered(0), answered(1)])
    assert (record.lost, record.duplicated) == (0, 1)
    record.unexpected = 2
    assert record.duplicated == 3


def test_ages_count_from_when_a_frame_was_due_and_can_be_told_by_kind():
    record = StreamRecord(
        [1.0, 2.0],
        answered=[answered(0, received_s=1.5), answered(1, kind="skipped", received_s=2.25)],
    )
    assert record.ages_s() == [0.5, 0.25]
    assert record.ages_s("skipped") == [0.25]
    assert record.count("result") == 1


class SlowStream:
    """Takes a time for each frame and answers it at once."""

    def __init__(self, send_s: float) -> None:
        self.send_s = send_s
        self.answers: asyncio.Queue[FrameOutcome | None] = asyncio.Queue()
        self.sent = 0

    async def send(self, image) -> int:
        await asyncio.sleep(self.send_s)
        self.answers.put_nowait(FrameOutcome(self.sent, 0, "result"))
        self.sent += 1
        return self.sent - 1

    async def finish(self) -> LedgerCounts:
        self.answers.put_nowait(None)
        return LedgerCounts(accepted=self.sent, results=self.sent)

    async def __aiter__(self):
        while (answer := await self.answers.get()) is not None:
            yield answer


PICTURES = [np.zeros((2, 2), np.uint8)]


async def test_a_stream_that_takes_all_is_offered_every_frame_when_it_is_due():
    stream = SlowStream(0.0)
    record = await offer_frames(stream, PICTURES, rate_hz=2.0, seconds=2.0)
    assert (len(record.due_s), record.held_back, record.lost) == (4, 0, 0)
    assert np.diff(record.due_s) == pytest.approx(0.5)


async def test_what_a_slow_stream_did_not_take_in_time_is_held_back_and_ages_show_the_delay():
    stream = SlowStream(0.1)
    began = time.perf_counter()
    record = await offer_frames(stream, PICTURES, rate_hz=1000.0, seconds=0.3)
    assert len(record.due_s) + record.held_back == 300
    assert 1 <= len(record.due_s) <= 4
    assert record.due_s[-1] < began + 0.3
    assert record.ages_s()[-1] >= 0.1 * len(record.due_s) - 0.01
