"""The account of a live stream: what was taken, and the one answer that each frame gets.

The frames of encoded chunks are taken as they turn up: with a chunk's acknowledgement, which says
how many were decoded, or with their first answer. The server counts them from 0 on each connection;
the numbers given here go on.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ethostream.values import (
    BehaviorResult,
    BehaviorStatus,
    BundleVersion,
    ChunkAcknowledgement,
    FrameOutcome,
    TriggerEvent,
)

Answer = FrameOutcome | BehaviorResult | ChunkAcknowledgement | TriggerEvent


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """Frames that were taken, and what became of them."""

    accepted: int = 0
    """Frames that `send` took, or that came out of chunks."""
    results: int = 0
    """Of these, analyzed."""
    skipped: int = 0
    """Of these, left out by the server or by this client."""
    errors: int = 0
    """Of these, failed on the server."""
    lost: int = 0
    """Of these, sent, and the connection broke before the answer; delivered as error `lost`."""
    unexpected: int = 0
    """Answers of the server that fit no open frame or chunk; they are not delivered."""
    chunks: int = 0
    """Chunks that `send_chunk` took."""
    chunks_acknowledged: int = 0
    """Of these, taken in by the server."""
    chunks_lost: int = 0
    """Of these, sent, and the connection broke before the acknowledgement."""

    @property
    def in_flight(self) -> int:
        """Frames that have no answer yet."""
        return self.accepted - self.results - self.skipped - self.errors - self.lost

    @property
    def chunks_in_flight(self) -> int:
        """Chunks that have no acknowledgement yet."""
        return self.chunks - self.chunks_acknowledged - self.chunks_lost

    @property
    def is_closed(self) -> bool:
        """True when every frame and chunk has its answer."""
        return self.in_flight == self.chunks_in_flight == 0


@dataclass(frozen=True, slots=True)
class BehaviorBundle:
    """A behavior bundle of the stream."""

    bundle: BundleVersion
    behaviors: tuple[str, ...]


@dataclass(slots=True)
class _Entry:
    """A frame that waits for its outcome, or for those before it."""

    capture_time_ns: int
    sent_ns: int
    is_sent: bool
    outcome: FrameOutcome | None = None


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk that waits for its acknowledgement."""

    capture_time_ns: int
    sent_ns: int


@dataclass(slots=True)
class _Awaited:
    """A behavior result that is owed."""

    frame_index: int
    capture_time_ns: int
    is_sent: bool


class Ledger:
    """Gives each frame exactly one outcome and one result per behavior bundle, in frame order.

    Methods that settle something return the answers that may be delivered now.
    """

    def __init__(self) -> None:
        self.counts = LedgerCounts()
        self.sent_in_flight = 0
        """Frames that the server owes an outcome: each holds one credit."""
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._bundles: dict[BundleVersion, BehaviorBundle] = {}
        self._awaited: dict[BundleVersion, deque[_Awaited]] = {}
        self._chunks: OrderedDict[int, _Chunk] = OrderedDict()
        self._newest_chunk = _Chunk(0, 0)  # that was acknowledged
        self._first = 0  # number of the first decoded frame of this connection
        self._announced = 0  # decoded frames up to here are known by acknowledgements
        self._next = 0  # number of the decoded frame that turns up next

    def __len__(self) -> int:
        """Frames that wait for their outcome or for those before them."""
        return len(self._entries)

    def set_behavior_bundles(self, bundles: Iterable[BehaviorBundle]) -> None:
        """Say which behavior results each frame from now on is owed."""
        self._bundles = {bundle.bundle: bundle for bundle in bundles}
        self._awaited = {bundle: deque() for bundle in self._bundles}

    def behaviors_of(self, bundle: BundleVersion) -> tuple[str, ...]:
        """Names of a bundle's behaviors; empty where it is not of this stream."""
        known = self._bundles.get(bundle)
        return known.behaviors if known else ()

    def send(self, frame_index: int, capture_time_ns: int) -> None:
        """Take a frame that goes to the server."""
        self._take(frame_index, capture_time_ns, is_sent=True)
        self.sent_in_flight += 1

    def send_chunk(self, chunk_index: int, capture_time_ns: int) -> None:
        """Take a chunk that goes to the server."""
        self._chunks[chunk_index] = _Chunk(capture_time_ns, time.monotonic_ns())
        self.counts = replace(self.counts, chunks=self.counts.chunks + 1)

    def acknowledge(
        self, chunk_index: int, frames_decoded: int, packets_corrupt: int, message: str
    ) -> list[Answer]:
        """Take the server's acknowledgement of a chunk, and the frames that came out of it."""
        chunk = self._chunks.pop(chunk_index, None)
        if chunk is None:
            self.counts = replace(self.counts, unexpected=self.counts.unexpected + 1)
            return []
        self.counts = replace(self.counts, chunks_acknowledged=self.counts.chunks_acknowledged + 1)
        self._newest_chunk = chunk
        self._announced += frames_decoded
        self._turn_up(self._announced, chunk.capture_time_ns, chunk.sent_ns)
        return [
            ChunkAcknowledgement(
                chunk_index, chunk.capture_time_ns, frames_decoded, packets_corrupt, message
            )
        ]

    def number(self, frame_index: int, capture_time_ns: int) -> int:
        """The client's number of a frame that the server names; a decoded one may be new here."""
        if not self.counts.chunks:
            return frame_index
        chunk = next(iter(self._chunks.values()), self._newest_chunk)
        self._turn_up(self._first + frame_index + 1, capture_time_ns, chunk.sent_ns)
        return self._first + frame_index

    def skip(self, frame_index: int, capture_time_ns: int) -> list[Answer]:
        """Take a frame and leave it out here, because all credits are in use."""
        entry = self._take(frame_index, capture_time_ns, is_sent=False)
        entry.outcome = FrameOutcome(frame_index, capture_time_ns, "skipped", reason="no_credit")
        return list(self._deliver())

    def round_trip_ns(self, frame_index: int) -> int:
        """Time since a frame was sent, ns; 0 for an unknown one."""
        entry = self._entries.get(frame_index)
        return time.monotonic_ns() - entry.sent_ns if entry else 0

    def settle(self, outcome: FrameOutcome) -> list[Answer]:
        """Take the server's outcome of a frame."""
        entry = self._entries.get(outcome.frame_index)
        if entry is None or entry.outcome is not None:
            self.counts = replace(self.counts, unexpected=self.counts.unexpected + 1)
            return []
        entry.outcome = outcome
        self.sent_in_flight -= 1
        return list(self._deliver())

    def settle_behavior(self, result: BehaviorResult) -> list[Answer]:
        """Take the server's behavior result of a frame."""
        bundle = BundleVersion(result.bundle, result.version)
        awaited = self._awaited.get(bundle, deque())
        if not any(owed.is_sent and owed.frame_index == result.frame_index for owed in awaited):
            self.counts = replace(self.counts, unexpected=self.counts.unexpected + 1)
            return []
        answers: list[Answer] = []
        while awaited[0].frame_index != result.frame_index:
            answers.append(self._without_answer(bundle, awaited.popleft()))
        awaited.popleft()
        return [*answers, result]

    def close(self, message: str) -> list[Answer]:
        """Close all that is open: frames as error `lost`, behavior results without an answer."""
        for frame_index, entry in self._entries.items():
            if entry.outcome is None:
                entry.outcome = FrameOutcome(
                    frame_index,
                    entry.capture_time_ns,
                    "error",
                    reason="lost",
                    message=message,
                    round_trip_ns=time.monotonic_ns() - entry.sent_ns,
                )
        self.sent_in_flight = 0
        answers: list[Answer] = list(self._deliver())
        for bundle, awaited in self._awaited.items():
            answers += [self._without_answer(bundle, owed) for owed in awaited]
            awaited.clear()
        answers += [
            ChunkAcknowledgement(index, chunk.capture_time_ns, message=message, is_lost=True)
            for index, chunk in self._chunks.items()
        ]
        lost = self.counts.chunks_lost + len(self._chunks)
        self.counts = replace(self.counts, chunks_lost=lost)
        self._chunks.clear()
        self._first = self._announced = self._next
        return answers

    def _turn_up(self, end: int, capture_time_ns: int, sent_ns: int) -> None:
        """Take the decoded frames before number `end` that are not known yet."""
        while self._next < end:
            self.send(self._next, capture_time_ns)
            self._entries[self._next].sent_ns = sent_ns
            self._next += 1

    def _take(self, frame_index: int, capture_time_ns: int, *, is_sent: bool) -> _Entry:
        entry = _Entry(capture_time_ns, time.monotonic_ns(), is_sent)
        self._entries[frame_index] = entry
        self.counts = replace(self.counts, accepted=self.counts.accepted + 1)
        for awaited in self._awaited.values():
            awaited.append(_Awaited(frame_index, capture_time_ns, is_sent))
        return entry

    def _deliver(self) -> Iterator[FrameOutcome]:
        while self._entries:
            first = next(iter(self._entries.values()))
            if first.outcome is None:
                return
            self._entries.popitem(last=False)
            self._count(first.outcome)
            yield first.outcome

    def _count(self, outcome: FrameOutcome) -> None:
        if outcome.kind == "result":
            self.counts = replace(self.counts, results=self.counts.results + 1)
        elif outcome.kind == "skipped":
            self.counts = replace(self.counts, skipped=self.counts.skipped + 1)
        elif outcome.reason == "lost":
            self.counts = replace(self.counts, lost=self.counts.lost + 1)
        else:
            self.counts = replace(self.counts, errors=self.counts.errors + 1)

    def _without_answer(self, bundle: BundleVersion, owed: _Awaited) -> BehaviorResult:
        """What is owed for a frame that the server will not answer any more, or never saw."""
        return BehaviorResult(
            frame_index=owed.frame_index,
            capture_time_ns=owed.capture_time_ns,
            bundle=bundle.name,
            version=bundle.version,
            behaviors=self.behaviors_of(bundle),
            status=BehaviorStatus.ERROR if owed.is_sent else BehaviorStatus.NO_FRAME,
            probabilities=None,
            present=None,
            latency_ns=0,
        )
