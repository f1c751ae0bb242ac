"""How a live stream is to be run, and the message that asks for it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ethostream import messages
from ethostream._shared_memory import SharedMemory
from ethostream.errors import InvalidRequest
from ethostream.frames import crop_region
from ethostream.triggers import Trigger, trigger_message
from ethostream.v1 import inference_service_pb2 as pb
from ethostream.values import Bundles, Color, Crop, DynamicCrop, ForwardPrediction, Freshness

_FRESHNESS: dict[str, pb.FreshnessPolicy.ValueType] = {
    "all": pb.FRESHNESS_POLICY_ALL,
    "latest": pb.FRESHNESS_POLICY_LATEST,
    "deadline": pb.FRESHNESS_POLICY_DEADLINE,
}


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How a live stream is run; `AsyncClient.stream` documents the fields."""

    bundles: Bundles
    freshness: Freshness = "all"
    max_age_ms: int = 0
    max_frames_in_flight: int = 0
    frame_rate_hz: float = 0.0
    crop: Crop | None = None
    camera: str = ""
    color: Color = "rgb"
    reconnect: bool = True
    reconnect_seconds: float = 60.0
    max_message_bytes: int = 64 << 20
    dynamic_crop: DynamicCrop | None = None
    triggers: Sequence[Trigger] = ()
    prediction: ForwardPrediction | None = None
    shared_memory: SharedMemory = False

    def __post_init__(self) -> None:
        if self.freshness not in _FRESHNESS:
            raise InvalidRequest(
                f"unknown freshness '{self.freshness}'; choose one of {', '.join(_FRESHNESS)}"
            )
        if self.freshness == "deadline" and self.max_age_ms < 1:
            raise InvalidRequest(f"max_age_ms is {self.max_age_ms}; 'deadline' needs 1 or more")
        if min(self.max_age_ms, self.max_frames_in_flight) < 0:
            raise InvalidRequest("max_age_ms and max_frames_in_flight are 0 or more")
        messages.frame_rate(self.frame_rate_hz)

    def start(self, resumes_session_id: str) -> pb.StreamFramesRequest:
        """The first message of a connection."""
        start = pb.StreamStart(
            bundles=messages.selections(self.bundles),
            freshness=_FRESHNESS[self.freshness],
            max_age_ms=self.max_age_ms,
            max_frames_in_flight=self.max_frames_in_flight,
            frame_rate_hz=self.frame_rate_hz,
            camera=self.camera,
            resumes_session_id=resumes_session_id,
            triggers=[trigger_message(one) for one in self.triggers],
        )
        if self.crop is not None:
            start.crop.CopyFrom(crop_region(self.crop))
        if self.dynamic_crop is not None:
            start.dynamic_crop.CopyFrom(messages.dynamic_crop(self.dynamic_crop))
        if self.prediction is not None:
            start.prediction.CopyFrom(pb.ForwardPrediction(**asdict(self.prediction)))
        return pb.StreamFramesRequest(start=start)
