"""What to simulate: the settings of a recording, checked where they are made."""

from typing import Literal, get_args

import msgspec

from service.errors import InvalidConfig

SceneName = Literal["openfield", "homecage"]

KEYPOINT_NAMES = ("snout", "leftear", "rightear", "tailbase")
EXTRA_KEYPOINT_NAMES = ("tailtip", "bodycenter")
BEHAVIOR_NAMES: dict[str, tuple[str, ...]] = {
    "openfield": ("locomotion", "rearing", "grooming", "wall_contact"),
    "homecage": ("locomotion", "rearing", "wall_supported_rearing", "grooming"),
}

MAX_ANIMALS = 8
MAX_FRAMES = 10_000_000


class SimulationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recording; two equal settings give the same frames and the same truth.

    Raises:
        InvalidConfig: a value is outside its range.
    """

    scene: SceneName = "openfield"
    """`openfield`: arena from above. `homecage`: cage from the side, infrared look."""
    width_px: int = 640
    """Width of the frames, px, 64 to 4096."""
    height_px: int = 480
    """Height of the frames, px, 64 to 4096."""
    frame_rate_hz: float = 30.0
    """Frames a second, 1 to 1000."""
    duration_s: float = 20.0
    """Length of the recording, s; the number of frames is duration times rate, rounded."""
    animals: int = 1
    """Number of animals in the scene, 1 to 8."""
    seed: int = 0
    """Picks motion and looks (arena, light, animal, camera), 0 to 2**63 - 1."""
    extra_keypoints: bool = False
    """True adds `tailtip` and `bodycenter` after the four default keypoints."""

    def __post_init__(self) -> None:
        if self.scene not in get_args(SceneName):
            raise InvalidConfig(
                f"unknown scene {self.scene!r}; choose one of {', '.join(get_args(SceneName))}"
            )
        _check("width_px", self.width_px, 64, 4096)
        _check("height_px", self.height_px, 64, 4096)
        _check("frame_rate_hz", self.frame_rate_hz, 1.0, 1000.0)
        _check("animals", self.animals, 1, MAX_ANIMALS)
        _check("seed", self.seed, 0, 2**63 - 1)
        # An infinite product has no round number.
        if not (self.duration_s * self.frame_rate_hz <= MAX_FRAMES and self.frame_count >= 1):
            raise InvalidConfig(
                f"duration_s {self.duration_s} at {self.frame_rate_hz} Hz does not give between "
                f"1 and {MAX_FRAMES} frames; choose another duration"
            )

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return round(self.duration_s * self.frame_rate_hz)

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the keypoints, in the order of the arrays."""
        return KEYPOINT_NAMES + (EXTRA_KEYPOINT_NAMES if self.extra_keypoints else ())

    @property
    def behavior_names(self) -> tuple[str, ...]:
        """Names of the scene's behaviors without `background`, in the order of the arrays."""
        return BEHAVIOR_NAMES[self.scene]


def _check(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:  # also refuses NaN
        raise InvalidConfig(f"{name} is {value}; choose a value from {lowest} to {highest}")
