"""What an operator allows of live streams, and what a client asks of its own."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from service.dynamic_crop import DynamicCrop
from service.errors import InvalidConfig, InvalidRequest
from service.prediction import Prediction
from service.preprocess import CropRegion
from service.repository import Selection
from service.setting_ranges import check_least
from service.shared_memory import SharedSegment
from service.triggers import Trigger, looks_ahead
from service.video.base import VideoLimits

Freshness = Literal["all", "latest", "deadline"]


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of a live stream."""

    max_frames_in_flight: int = 32
    """Most credits that a stream can get."""
    default_frames_in_flight: int = 4
    """Credits of a stream that asks for none in particular: enough to hide the way there and
    back, few enough that an answer is at most this many frames old."""
    max_width_px: int = 4096
    max_height_px: int = 4096
    idle_seconds: float = 60.0
    """A unary session without a call for this long is closed."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_least(self, "session", max_width_px=1, max_height_px=1, idle_seconds=0)
        if not 1 <= self.default_frames_in_flight <= self.max_frames_in_flight:
            raise InvalidConfig(
                f"default_frames_in_flight is {self.default_frames_in_flight}; give 1 to "
                f"max_frames_in_flight ({self.max_frames_in_flight})"
            )

    @property
    def limits(self) -> VideoLimits:
        """Largest frame that is taken."""
        return VideoLimits(max_width_px=self.max_width_px, max_height_px=self.max_height_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a client wants its stream to be run."""

    selections: tuple[Selection, ...]
    freshness: Freshness = "all"
    max_age_seconds: float = 0.0
    frames_in_flight: int = 0
    """0 takes the default."""
    frame_rate_hz: float = 0.0
    crop: CropRegion | None = None
    camera: str = ""
    dynamic_crop: DynamicCrop | None = None
    """Follow the animal, within the crop: a frame's crop comes from the newest answered frame."""
    triggers: tuple[Trigger, ...] = ()
    """Events that the client waits for."""
    prediction: Prediction | None = None
    """Say where the keypoints will be."""
    shared_memory: SharedSegment | None = None
    """Where raw frames may lie; the session closes it at its end."""

    def __post_init__(self) -> None:
        """Refuse triggers that would wait for predictions in vain."""
        for trigger in self.triggers:
            if self.prediction is None and looks_ahead(trigger.condition):
                raise InvalidRequest(
                    f"trigger {trigger.name} looks at a predicted keypoint, but no prediction is "
                    "asked for; set prediction, or leave out predicted"
                )
