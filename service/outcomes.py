"""What becomes of a frame that a live session accepted: the values of the ledger."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from service.errors import EthostreamError
from service.preprocess import CropRegion
from service.triggers import TriggerEvent
from service.values import BehaviorAnswer, BoutEvent, BundleVersion, Poses


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a frame's time went, seconds on the server's monotonic clock."""

    queue: float
    decode: float
    preprocess: float
    batch_wait: float
    engine: float
    postprocess: float
    total: float
    batch_size: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The one answer to an accepted frame."""

    frame_index: int
    capture_time_ns: int
    arrival_time_ns: int
    pts_ns: int
    kind: Literal["result", "skipped", "error"]
    poses: tuple[tuple[BundleVersion, Poses], ...]
    """Of a result: one per pose bundle."""
    reason: str
    """Of a skipped frame: replaced or too_old. Of an error: its message."""
    error: EthostreamError | None
    timings: Timings | None
    crops: tuple[CropRegion | None, ...] = ()
    """Of a result: the part of the frame that each pose bundle looked at; None: all of it."""


@dataclass(frozen=True, slots=True)
class LiveBehavior:
    """A behavior answer with what a client needs to place it."""

    bundle: BundleVersion
    answer: BehaviorAnswer
    capture_time_ns: int
    latency_seconds: float
    is_background: bool = False
    """None of the behaviors is present; False without context."""
    bouts: tuple[BoutEvent, ...] = ()
    """What this frame decided, where the client asked for it."""


@dataclass(frozen=True, slots=True)
class LiveTrigger:
    """A trigger that switched, with what a client needs to place it."""

    event: TriggerEvent
    capture_time_ns: int
    latency_seconds: float


@dataclass(frozen=True, slots=True)
class ChunkTaken:
    """A piece of encoded video was taken in; its frames have outcomes of their own."""

    chunk_index: int
    frames_decoded: int
    packets_corrupt: int
    message: str


@dataclass(frozen=True, slots=True)
class Draining:
    """The server is about to stop."""

    grace_seconds: float


Notice: TypeAlias = ChunkTaken | Draining
LiveAnswer: TypeAlias = Outcome | LiveBehavior | LiveTrigger | Notice


@dataclass(frozen=True, slots=True)
class Ledger:
    """What became of the frames that were accepted."""

    accepted: int = 0
    result: int = 0
    skipped: int = 0
    error: int = 0
