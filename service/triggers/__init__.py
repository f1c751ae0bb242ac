"""Events for a closed loop: what a rig waits for, decided on the server frame by frame.

`conditions` says what can be asked of a frame, `watch` follows the answers of one stream.
"""

from service.triggers.conditions import (
    MAX_CORNERS,
    AllOf,
    Angle,
    AnyOf,
    Circle,
    Condition,
    Distance,
    InRegion,
    Keypoint,
    Not,
    Polygon,
    Probability,
    Speed,
    Trigger,
    TriggerEvent,
    ValueRange,
    looks_ahead,
)
from service.triggers.watch import TriggerWatch

__all__ = [
    "MAX_CORNERS",
    "AllOf",
    "Angle",
    "AnyOf",
    "Circle",
    "Condition",
    "Distance",
    "InRegion",
    "Keypoint",
    "Not",
    "Polygon",
    "Probability",
    "Speed",
    "Trigger",
    "TriggerEvent",
    "TriggerWatch",
    "ValueRange",
    "looks_ahead",
]
