"""The values that cross the folders of the service."""

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # whoever decodes on the CPU does without it
    from service.engine.device import Array


class FrameStatus(enum.IntEnum):
    """What decoding a frame of a file gave; the numbers are those of the protocol."""

    OK = 1
    REPEATED = 2
    """Shown again by the container; the pixels are those of the frame before."""
    MISSING = 3
    """A frame should be here and is not."""
    CORRUPT = 4
    """There, but damaged."""

    @property
    def has_pixels(self) -> bool:
        """True where models can look at the frame."""
        return self in (FrameStatus.OK, FrameStatus.REPEATED)


class BehaviorStatus(enum.IntEnum):
    """What a behavior answer rests on; the numbers are those of the protocol."""

    OK = 1
    HELD = 2
    """The recording runs at a multiple of the bundle's rate: the last evaluated frame's answer."""
    NO_CONTEXT = 3
    """Too few frames before this one."""
    NO_FRAME = 4
    """The frame itself was skipped or failed."""
    ERROR = 5
    """The engine failed on this frame."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a container and its decoder say of a video before its frames are read."""

    width_px: int
    height_px: int
    frame_rate_hz: float
    """Average rate; 0 where the container does not say."""
    claimed_frames: int
    """Number of frames that the container claims; 0 where it does not say."""
    codec: str
    decoder: str
    """Decoder and version, such as `pyav 18.1.0`."""


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame of a file, under its own number."""

    frame_index: int
    """Counted in presentation order of the file, from 0."""
    pts_ns: int
    """Presentation time, ns from the stream's own zero."""
    status: FrameStatus
    pixels: NDArray[np.uint8] | None
    """(H, W, 3) RGB or (H, W) gray; None where the status has no pixels, or none were asked for."""
    inputs: "tuple[Array, ...]" = ()
    """(h, w, C) of each model input that was asked for; empty where the status has no pixels."""
    width_px: int = 0
    """Of the whole frame; 0 where the status has no pixels."""
    height_px: int = 0
    reason: str = ""
    """Why the status has no pixels."""

    def __repr__(self) -> str:
        """Show the size, not the pixels."""
        size = f"{self.width_px}x{self.height_px} px"
        return f"VideoFrame({self.frame_index}, {self.status.name}, {size})"


@dataclass(frozen=True, slots=True)
class FrameFault:
    """Why a frame of a file has no pixels."""

    frame_index: int
    """Of the file, from 0."""
    status: FrameStatus
    reason: str


@dataclass(frozen=True, slots=True)
class BundleVersion:
    """Name and version of a bundle."""

    name: str
    version: int

    def __str__(self) -> str:
        """Show as name@version."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Poses:
    """The animals that one pose bundle found in one frame."""

    keypoints_xy: NDArray[np.float32]
    """(N, K, 2) px of the frame as sent."""
    confidence: NDArray[np.float32]
    """(N, K) in [0, 1]."""
    predicted_xy: NDArray[np.float32] | None = None
    """(N, K, 2) px where they are expected, where that was asked for; NaN where nothing is."""


@dataclass(frozen=True, slots=True)
class BehaviorAnswer:
    """What one behavior bundle says of one frame."""

    frame_index: int
    status: BehaviorStatus
    probabilities: NDArray[np.float32] | None
    """(C,) in [0, 1]; None without context."""
    present: NDArray[np.bool_] | None
    """(C,) by threshold, or the most probable one where exclusive; None without context."""


@dataclass(frozen=True, slots=True)
class PoseColumns:
    """Poses of T frames by one bundle; NaN in rows without a result."""

    bundle: BundleVersion
    keypoints_xy: NDArray[np.float32]
    """(T, N, K, 2) px of the video's frame."""
    confidence: NDArray[np.float32]
    """(T, N, K) in [0, 1]."""


@dataclass(frozen=True, slots=True)
class BoutEvent:
    """The onset or offset of a bout."""

    behavior: str
    kind: Literal["onset", "offset"]
    frame_index: int
    """The first frame of the bout, or the first frame after it."""


@dataclass(frozen=True, slots=True)
class BehaviorColumns:
    """Behavior of T frames by one bundle; NaN and false in rows without context."""

    bundle: BundleVersion
    status: NDArray[np.uint8]
    """(T,) numbers of BehaviorStatus."""
    probabilities: NDArray[np.float32]
    """(T, C) in [0, 1]."""
    present: NDArray[np.bool_]
    """(T, C) by threshold, without the bout rule."""
    bouts: tuple[BoutEvent, ...] = ()
    """What these frames decided, where it was asked for."""


@dataclass(frozen=True, slots=True)
class ResultChunk:
    """Results of T consecutive frames of a video."""

    frame_index: NDArray[np.int64]
    """(T,) in presentation order of the file, from 0."""
    pts_ns: NDArray[np.int64]
    """(T,) presentation times, ns."""
    status: NDArray[np.uint8]
    """(T,) numbers of FrameStatus."""
    poses: tuple[PoseColumns, ...] = field(default=())
    behaviors: tuple[BehaviorColumns, ...] = field(default=())
    faults: tuple[FrameFault, ...] = field(default=())
    """Why the rows without pixels have none, one each."""
