"""All that a pose training is told: what a caller chooses, and what a run stores of it."""

from typing import Literal

import msgspec

from service.bundle import InputSpec
from service.errors import InvalidConfig
from service.targets import TargetSpec
from training.backbones import OutputStride
from training.data.augment import AugmentSettings
from training.data.frames import MissingPoints
from training.data.splits import SplitSettings
from training.loop import LoopSettings
from training.pose.heads import STRIDE_PX, HeadKind
from training.pose.model import SIZE_MULTIPLE_PX
from training.pose.presets import PresetName


class PoseChoices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be chosen; None takes the preset's, the data's or the parent's."""

    preset: PresetName = "fast"
    backbone: str | None = None
    """One of `training.backbones.BACKBONES`."""
    backbone_weights: str = "imagenet"
    """A file of ImageNet weights, `imagenet` to fetch the published ones, or `random`."""
    output_stride: OutputStride | None = None
    head: HeadKind | None = None
    width: int = 96
    """Channels of the fused maps of a pyramid head."""
    skip: bool = True
    """Connect the bank of stride 8 (conv3) to the output of a deconvolution head."""
    intermediate: bool = False
    """Supervise the bank of stride 16 of a deconvolution head as well."""
    size_px: tuple[int, int] | None = None
    """Width and height of the model input, multiples of 32."""
    keypoints: tuple[str, ...] = ()
    """Those that are trained; empty: all that are labelled."""
    left_right: tuple[tuple[str, str], ...] | None = None
    """Pairs that change places in a mirror; None finds them by the names, and where these tell
    none, mirrors nothing."""
    skeleton: tuple[tuple[str, str], ...] | None = None
    target: Literal["disc", "gaussian"] = "disc"
    radius_px: float = 10.0
    """Radius of the label, px of the model input."""
    missing: MissingPoints = "absent"
    """What a point without a label means."""
    parent: str | None = None
    """Run that this one goes on from: its weights, its held-out frames."""
    split: SplitSettings = SplitSettings()
    split_from: str | None = None
    """Run whose split is taken as it is, to compare networks."""
    simulated_share: float = 0.0
    """Share of the training views that show simulated frames."""
    simulated_frames: int = 1500
    epochs: int = 60
    patience: int | None = None
    """Epochs without a better held-out error after which training ends."""
    views_per_epoch: int = 512
    view_px: int | None = None
    """Side of a training view, px of the model input."""
    batch_size: int = 16
    learning_rate: float | None = None
    weight_decay: float = 1e-2
    offset_weight: float = 1.0
    augment: AugmentSettings = AugmentSettings()
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    threads: int | None = None
    """Processor threads of torch."""
    workers: int = 0
    """Processes that make views; worth it beside a GPU."""
    devices: int | Literal["auto"] = "auto"
    """GPUs, or processes where there is none; auto takes all GPUs, or one process."""
    seed: int = 1
    """Of the weights and the views; the split has its own."""


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the network is made of."""

    backbone: str
    output_stride: OutputStride
    backbone_weights: str
    """A file, `imagenet` or `random`."""
    backbone_weights_sha256: str | None
    head: HeadKind
    width: int
    skip: bool
    intermediate: bool

    def __post_init__(self) -> None:
        """Check that the head gets the map that it needs."""
        if self.head == "deconvolution" and self.output_stride != 16:
            raise InvalidConfig(
                f"a deconvolution head needs an output stride of 16, not {self.output_stride}; "
                "choose a ResNet with output stride 16, or the pyramid head"
            )


class PoseTraining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one pose run; stored as its config.json."""

    data: tuple[str, ...]
    """Labelled projects and files."""
    data_sha256: str
    keypoints: tuple[str, ...]
    animals: int
    """N, as many as are labelled in a frame."""
    unique_keypoints: tuple[str, ...]
    """Keypoints that exist once in the scene."""
    left_right: tuple[tuple[str, str], ...]
    skeleton: tuple[tuple[str, str], ...]
    input: InputSpec
    network: NetworkSettings
    target: TargetSpec
    missing: MissingPoints
    parent: str | None
    split: SplitSettings
    split_from: str | None
    simulated_share: float
    simulated_frames: int
    view_px: int
    views_per_epoch: int
    learning_rate: float
    weight_decay: float
    offset_weight: float
    augment: AugmentSettings
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
        if self.target.stride_px != STRIDE_PX:
            raise InvalidConfig(
                f"the targets have cells of {self.target.stride_px} px, the heads of {STRIDE_PX}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches of an epoch; the last one may be smaller."""
        return -(-self.views_per_epoch // self.loop.batch_size)

    @property
    def unique_indices(self) -> tuple[int, ...]:
        """Places of the unique keypoints on axis K."""
        return tuple(self.keypoints.index(name) for name in self.unique_keypoints)
