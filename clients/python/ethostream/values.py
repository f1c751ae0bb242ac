"""What the client gives and takes: frozen values with numpy arrays, no protobuf.

Axes: T frames, N animals, K keypoints, C behaviors. Positions are px of the frame as sent; 0 is
the center of the first pixel.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Freshness = Literal["all", "latest", "deadline"]
Encoding = Literal["gray", "rgb", "bgr", "jpeg", "png"]
Color = Literal["gray", "rgb", "bgr"]
ChunkCodec = Literal["h264", "hevc", "mjpeg"]


class FrameStatus(enum.IntEnum):
    """What decoding a frame of a file gave."""

    OK = 1
    REPEATED = 2
    """Shown again by the container; the pixels are those of the frame before."""
    MISSING = 3
    """A frame should be here and is not."""
    CORRUPT = 4
    """There, but damaged."""


class BehaviorStatus(enum.IntEnum):
    """What a behavior result rests on."""

    OK = 1
    HELD = 2
    """The recording runs at a multiple of the bundle's rate: the last evaluated frame's answer."""
    NO_CONTEXT = 3
    """Too few frames before this one."""
    NO_FRAME = 4
    """The frame itself was skipped or failed."""
    ERROR = 5
    """The engine failed on this frame, or the connection broke before the answer."""


@dataclass(frozen=True, slots=True)
class BundleVersion:
    """Name and version of a bundle."""

    name: str
    version: int

    def __str__(self) -> str:
        """Show as name@version."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class BundleSelection:
    """A bundle to run, with what may be changed for this request."""

    name: str
    version: int = 0
    """0 = the highest that is loaded."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Behavior bundles: thresholds in (0, 1) by behavior name, instead of the bundle's own."""
    min_bout_frames: Mapping[str, int] = field(default_factory=dict)
    """Behavior bundles: shortest bouts by behavior name, frames at the bundle's rate, instead of
    the bundle's own; bout events go by them."""
    bout_events: bool = False
    """Behavior bundles: tell onsets and offsets in the `bouts` of the answers."""


Bundles = str | BundleSelection | Sequence[str | BundleSelection]
"""Bundles to run: names, `name@version`, or selections."""


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a frame that the models look at, px of the frame as sent."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicCrop:
    """Crops each frame around the animal, where it was in an earlier frame.

    It helps where a large frame makes the animal small. Where the animal was not found, the next
    frame is looked at as a whole. Pose bundles for one animal only; behavior bundles look at the
    frame as without it.
    """

    margin_px: float | None = None
    """Added on each side of the keypoints' box, px; None = the server's default, 50."""
    confidence_cutoff: float | None = None
    """Confidence in [0, 1] from which a keypoint counts as found; None = the bundle's own."""
    max_zoom: float | None = None
    """Largest magnification against the whole frame, at least 1; None = the server's, 2.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardPrediction:
    """Says where keypoints are expected some time after a frame was captured.

    A Kalman filter on the server follows them: the time that a pose takes from the camera to the
    rig is paid back. Only for bundles of one animal. `ethostream tracks filter --kind kalman
    --ahead-ms` finds what fits an animal and a camera.
    """

    ahead_ms: float
    """Time after the capture, in (0, 1000] ms."""
    measurement_sd_px: float | None = None
    """Standard deviation of a position at confidence 1; None = the server's default, 1.5."""
    acceleration_sd_px_s2: float | None = None
    """Standard deviation of the acceleration along each axis; None = the server's, 3000."""
    acceleration_time_s: float | None = None
    """Time in which the acceleration forgets itself to 1/e; None = the server's, 0.1."""


@dataclass(frozen=True, slots=True)
class PoseModel:
    """What a pose bundle answers."""

    keypoints: tuple[str, ...]
    skeleton: tuple[tuple[str, str], ...]
    left_right: tuple[tuple[str, str], ...]
    max_animals: int
    """Poses in an answer; several are detections that are not grouped into animals."""
    unique_keypoints: tuple[str, ...]
    """Keypoints that exist once in the scene: only in the first pose."""
    confidence_cutoff: float


@dataclass(frozen=True, slots=True)
class BehaviorModel:
    """What a behavior bundle answers."""

    behaviors: tuple[str, ...]
    exclusive: bool
    thresholds: tuple[float, ...]
    min_bout_frames: tuple[int, ...]
    frame_rate_hz: float
    frame_rate_tolerance: float
    past_frames: int
    future_frames: int
    max_gap_frames: int


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """One bundle as the server describes it."""

    bundle: BundleVersion
    task: Literal["pose", "behavior"]
    description: str
    state: str
    """available, loading, ready, unloading or failed."""
    reason: str
    """Why it failed; empty otherwise."""
    input_width_px: int
    input_height_px: int
    engine: str
    precision: str
    pose: PoseModel | None
    behavior: BehaviorModel | None
    metrics: Mapping[str, float]
    """Held-out figures of the card by name, such as mean_error_px."""
    manifest_sha256: str
    card: str = ""
    """Markdown; only `model()` fills it."""
    parity_json: str = ""
    """JSON; only `model()` fills it."""


@dataclass(frozen=True, slots=True)
class StageTimings:
    """Where the server's time for a frame went, ns on its monotonic clock."""

    queue_ns: int
    decode_ns: int
    preprocess_ns: int
    batch_wait_ns: int
    engine_ns: int
    postprocess_ns: int
    total_ns: int
    batch_size: int


@dataclass(frozen=True, slots=True)
class PoseResult:
    """The animals that one pose bundle found in one frame."""

    bundle: str
    version: int
    keypoints_xy: NDArray[np.float32]
    """(N, K, 2) px of the frame as sent."""
    confidence: NDArray[np.float32]
    """(N, K) in [0, 1]."""
    crop: Crop | None = None
    """The part of the frame that the bundle looked at; None: all of it."""
    predicted_xy: NDArray[np.float32] | None = None
    """(N, K, 2) px where the keypoints are expected, where the stream has a `prediction`; NaN where
    one was not seen for long. None also where the frame's time does not rise."""


@dataclass(frozen=True, slots=True)
class FrameOutcome:
    """The one answer to a frame that `send` took."""

    frame_index: int
    capture_time_ns: int
    """As given to `send`."""
    kind: Literal["result", "skipped", "error"]
    poses: tuple[PoseResult, ...] = ()
    """Answers of the pose bundles, in the order of the stream's bundles; empty unless a result."""
    reason: str = ""
    """Skipped: replaced, too_old or no_credit (left out by this client because as many frames as
    allowed were in flight). Error: invalid_frame, too_large, decode_failed, engine_failed or lost
    (the connection broke before the answer)."""
    message: str = ""
    """Error: what happened and what to do."""
    timings: StageTimings | None = None
    """None where the server did not see the frame."""
    arrival_time_ns: int = 0
    """When the frame arrived, on the server's wall clock, ns since 1970; 0 where it did not."""
    round_trip_ns: int = 0
    """From `send` until this answer was here, ns on this machine's monotonic clock."""
    age_ns: int = 0
    """From the frame's capture until this answer was here, ns. It means something where capture
    times are of this machine's wall clock, as by default."""


@dataclass(frozen=True, slots=True)
class BoutEvent:
    """The onset or offset of a bout; gaps and bouts under the shortest bout do not count."""

    behavior: str
    kind: Literal["onset", "offset"]
    frame_index: int
    """The first frame of the bout, or the first frame after it."""


@dataclass(frozen=True, slots=True)
class BehaviorResult:
    """What one behavior bundle says of one frame, later than its outcome by the look-ahead."""

    frame_index: int
    capture_time_ns: int
    bundle: str
    version: int
    behaviors: tuple[str, ...]
    """Names, in the order of the arrays."""
    status: BehaviorStatus
    probabilities: NDArray[np.float32] | None
    """(C,) in [0, 1]; None without context."""
    present: NDArray[np.bool_] | None
    """(C,) by threshold, or the most probable one where exclusive; None without context."""
    latency_ns: int
    """From the frame's arrival to this answer, ns on the server's clock."""
    background: bool = False
    """None of the behaviors is present; False without context."""
    bouts: tuple[BoutEvent, ...] = ()
    """What this frame decided, where the selection has `bout_events`."""


@dataclass(frozen=True, slots=True)
class TriggerEvent:
    """A trigger switched; it comes before the last answer to the frame that decided."""

    trigger: str
    """Its name."""
    kind: Literal["on", "off"]
    frame_index: int
    """The frame that decided."""
    capture_time_ns: int
    """As given to `send`."""
    latency_ns: int
    """From the frame's arrival until the event was complete, ns on the server's clock."""


@dataclass(frozen=True, slots=True)
class ChunkAcknowledgement:
    """The one answer to a chunk that `send_chunk` took; its frames' outcomes come on their own."""

    chunk_index: int
    capture_time_ns: int
    """As given to `send_chunk`."""
    frames_decoded: int = 0
    """Frames that came out with it; the decoder holds the last picture back until the next one
    begins, so these may be of the chunk before."""
    packets_corrupt: int = 0
    """Packets and pictures that could not be decoded."""
    message: str = ""
    """On the first of these, or why the chunk is lost; empty when nothing was wrong."""
    is_lost: bool = False
    """The connection broke before the server took it in."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What the server knows of a video before it decodes it."""

    width_px: int
    height_px: int
    frame_rate_hz: float
    """Average rate; 0 where the container does not say."""
    claimed_frames: int
    """Number of frames that the container claims; 0 where it does not say."""
    codec: str
    decoder: str


@dataclass(frozen=True, slots=True)
class VideoStarted:
    """An analysis begins."""

    info: VideoInfo
    bundles: tuple[BundleInfo, ...]
    """With resolved versions."""
    strides: tuple[int, ...]
    """Behavior bundles: every how many-th frame is looked at, in the order of `bundles`."""


@dataclass(frozen=True, slots=True)
class VideoFinished:
    """An analysis is complete."""

    frames: int
    frames_ok: int
    frames_failed: int
    message: str
    """What was wrong with the file; empty when nothing was."""
    total_ns: int
    """Wall time on the server."""
    frames_repeated: int = 0
    """Of `frames_ok`, shown again by the container."""
    frames_missing: int = 0
    """Of `frames_failed`, not in the file."""
    frames_corrupt: int = 0
    """Of `frames_failed`, in the file but damaged."""


@dataclass(frozen=True, slots=True)
class PoseColumns:
    """Poses of T frames by one bundle; NaN in rows without a result."""

    bundle: BundleVersion
    keypoints_xy: NDArray[np.float32]
    """(T, N, K, 2) px of the video's frame."""
    confidence: NDArray[np.float32]
    """(T, N, K) in [0, 1]."""


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
    """What these frames decided, in order, where bout events were asked for."""


@dataclass(frozen=True, slots=True)
class FrameFault:
    """Why a frame of a video has no pixels."""

    frame_index: int
    status: int
    """Number of FrameStatus."""
    reason: str


@dataclass(frozen=True, slots=True)
class ResultChunk:
    """Results of T consecutive frames of a video."""

    frame_index: NDArray[np.int64]
    """(T,) in presentation order of the file, from 0."""
    pts_ns: NDArray[np.int64]
    """(T,) presentation times, ns."""
    status: NDArray[np.uint8]
    """(T,) numbers of FrameStatus."""
    poses: tuple[PoseColumns, ...] = ()
    behaviors: tuple[BehaviorColumns, ...] = ()
    faults: tuple[FrameFault, ...] = ()
    """Why the rows without pixels have none, one each."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A video that was uploaded."""

    upload_id: str
    size_bytes: int
    sha256: str
    """Hexadecimal, of the bytes that the server received; equals that of the bytes sent."""
