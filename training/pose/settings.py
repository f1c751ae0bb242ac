"""All that a pose training is told; stored as the run's config.json."""

import msgspec

from service.bundle import InputSpec
from service.errors import InvalidConfig
from service.targets import TargetSpec
from training.data.augment import AugmentSettings
from training.loop import LoopSettings
from training.pose.model import SIZE_MULTIPLE_PX, STRIDE_PX


class PoseTraining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one pose training."""

    data: tuple[str, ...]
    """Folders of DeepLabCut projects."""
    keypoints: tuple[str, ...]
    left_right: tuple[tuple[str, str], ...]
    skeleton: tuple[tuple[str, str], ...]
    input: InputSpec
    backbone_weights: str | None
    """File name and SHA-256 of the ImageNet weights; None for random ones."""
    data_sha256: str
    simulated_share: float = 0.0
    """Share of the training views that show simulated frames."""
    simulated_frames: int = 0
    validation_share: float = 0.1
    test_share: float = 0.2
    view_px: int = 224
    """Side of a training view, in px of the model input."""
    views_per_epoch: int = 512
    network_width: int = 96
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    offset_weight: float = 1.0
    target: TargetSpec = TargetSpec(stride_px=STRIDE_PX)
    augment: AugmentSettings = AugmentSettings()
    loop: LoopSettings

    def __post_init__(self) -> None:
        """Check what the network cannot take."""
        sides = (self.input.width_px, self.input.height_px, self.view_px)
        if any(side % SIZE_MULTIPLE_PX for side in sides):
            raise InvalidConfig(
                f"the model input is {self.input.width_px}x{self.input.height_px} px and a view "
                f"{self.view_px} px; give multiples of {SIZE_MULTIPLE_PX}, such as 384x288 and 224"
            )
        if not 0 <= self.simulated_share < 1 or (
            self.simulated_share and not self.simulated_frames
        ):
            raise InvalidConfig(
                f"the simulated share is {self.simulated_share:g} of {self.simulated_frames} "
                "frames; give a share from 0 to below 1, and frames where it is not 0"
            )
        if self.views_per_epoch < self.loop.batch_size:
            raise InvalidConfig(
                f"an epoch of {self.views_per_epoch} views is less than one batch of "
                f"{self.loop.batch_size}; give more views or a smaller batch"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches of an epoch; the last one may be smaller."""
        return -(-self.views_per_epoch // self.loop.batch_size)
