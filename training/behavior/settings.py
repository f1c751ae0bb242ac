"""All that a behavior training is told; stored as the run's config.json."""

from typing import Literal

import msgspec

from service.behavior import BACKGROUND
from service.bundle import InputSpec
from service.errors import InvalidConfig
from training.data.behavior_augment import ClipAugmentSettings
from training.loop import LoopSettings, Precision

StageName = Literal["flow", "features", "sequence"]
PresetName = Literal["realtime", "deg_f", "deg_m", "deg_s"]
SequenceName = Literal["causal", "tgm", "linear", "conv", "none"]
FusionName = Literal["average", "concatenate", "weighted"]
STAGES: tuple[StageName, ...] = ("flow", "features", "sequence")


class StageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Length of one of the three trainings."""

    epochs: int
    samples_per_epoch: int = 512
    """Frame pairs or windows; the sequence always sees all its stretches in an epoch."""
    batch_size: int = 16
    learning_rate: float = 1e-3
    """Peak of the learning rate."""
    patience_epochs: int | None = None
    """Epochs without a better held-out figure after which the stage ends; None trains all."""

    def __post_init__(self) -> None:
        """Check what would leave an epoch without a step."""
        if self.epochs < 1 or self.batch_size < 1 or self.samples_per_epoch < self.batch_size:
            raise InvalidConfig(
                f"{self.epochs} epochs of {self.samples_per_epoch} samples in batches of "
                f"{self.batch_size} train nothing; give at least one epoch and one batch in it"
            )


class BehaviorTraining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one behavior training."""

    data: tuple[str, ...]
    """Folders of labelled recordings."""
    data_sha256: str
    behaviors: tuple[str, ...]
    exclusive: bool
    frame_rate_hz: float
    input: InputSpec
    preset: PresetName = "realtime"
    color_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    color_std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Of the training recordings, red, green and blue in [0, 1]; `deg_*` subtract and divide."""
    window_fill: tuple[int, ...] = ()
    """Gray levels that stand for frames beyond the ends of a clip, one a channel; `deg_*`: the
    mean. Without any, frames whose window is not full are not answered."""
    parent: str | None = None
    """Folder of the run, or DeepEthogram checkpoint, whose flow and features this one starts at."""
    backbone_weights: str | None
    """File name and SHA-256 of the ImageNet weights; None for random ones."""
    validation: tuple[str, ...]
    """Names or patterns of recordings that choose epochs and thresholds; without any, the last
    epoch is taken and thresholds are 0.5."""
    test: tuple[str, ...]
    """Names or patterns of recordings that are only reported."""
    left_out: tuple[str, ...] = ()
    """Names of recordings that are in no part."""
    report: tuple[str, ...] = ()
    """Patterns of test recordings whose figures the card also gives apart."""
    flow_frames: int = 4
    """F."""
    flow_crop: tuple[int, int] | None = None
    """Width and height of the random part of frames that flow trains on, px; None takes all."""
    fusion: FusionName = "average"
    """Of the logits of pixels and flows, in `deg_*`."""
    curriculum: bool = False
    """`deg_*`: a third of the features' epochs trains the pixels alone, one the flows alone."""
    l2_sp: tuple[float, float] | None = None
    """Penalties on the squared distance to the starting weights and on new weights, halved (Li et
    al. 2018, arXiv 1802.01483); None leaves it to the weight decay."""
    sequence_l2: float = 0.0
    """Penalty on the squared weights of the sequence, halved."""
    dropout: float = 0.3
    oversampling_exponent: float = 0.0
    """0 draws all windows alike; towards 1, rare behaviors are drawn as often as others."""
    flow: StageSettings
    features: StageSettings
    sequence: StageSettings
    sequence_model: SequenceName = "causal"
    """none: the features answer alone."""
    sequence_width: int = 64
    sequence_dilations: tuple[int, ...] = (1, 2, 4, 8)
    stretch_frames: int = 120
    """Longest stretch of stored features that the sequence is trained on."""
    feature_copies: int = 2
    """How many times features are stored: once plain, the others augmented."""
    most_stretches: int | None = None
    """Train the sequence on that many stretches, drawn at random; None takes all."""
    held_out_stride: int = 1
    """Every how many-th held-out window is looked at after an epoch of the features."""
    min_bout_frames: int | None = None
    """Shortest bout; None takes the 1st percentile of the labelled ones."""
    augment: ClipAugmentSettings = ClipAugmentSettings()
    weight_decay: float = 1e-2
    seed: int = 1
    precision: Precision = "bf16-mixed"
    threads: int | None = None

    def __post_init__(self) -> None:
        """Check what the networks cannot take."""
        named = len(self.behaviors) - (BACKGROUND in self.behaviors)
        if named < 1:
            raise InvalidConfig("no behavior is named besides background; label one at least")
        if self.flow_frames < 1 or not self.sequence_dilations or self.feature_copies < 1:
            raise InvalidConfig(
                f"flow_frames is {self.flow_frames}, feature_copies {self.feature_copies} and "
                f"sequence_dilations {self.sequence_dilations}; give at least one of each"
            )
        if self.sequence_model == "causal" and self.preset != "realtime":
            raise InvalidConfig(
                f"preset {self.preset} looks ahead; choose tgm, conv, linear or none instead of "
                "a causal sequence model"
            )
        if self.preset == "realtime" and self.sequence_model not in ("causal", "none"):
            raise InvalidConfig(
                f"the sequence model {self.sequence_model} looks ahead, and preset realtime does "
                "not; choose causal or none"
            )
        if self.curriculum and (self.preset == "realtime" or self.fusion == "concatenate"):
            raise InvalidConfig(
                f"preset {self.preset} with the fusion {self.fusion} has no streams to train "
                "apart; leave the curriculum out"
            )
        if self.curriculum and self.features.epochs < 3:
            raise InvalidConfig(
                f"the curriculum has three parts, but the features have {self.features.epochs} "
                "epochs; give 3 or more"
            )
        if self.input.width_px < 64 or self.input.height_px < 64:
            raise InvalidConfig(
                f"the model input is {self.input.width_px}x{self.input.height_px} px; "
                "give at least 64x64"
            )

        if self.flow_crop is not None:
            self._check_crop(*self.flow_crop)

    def _check_crop(self, width_px: int, height_px: int) -> None:
        sides = ((width_px, self.input.width_px), (height_px, self.input.height_px))
        if any(side < 32 or side % 8 or side > whole for side, whole in sides):
            raise InvalidConfig(
                f"flow is to train on parts of {width_px}x{height_px} px; give multiples of 8, 32 "
                f"at least and at most the input's {self.input.width_px}x{self.input.height_px}"
            )

    def stage(self, name: StageName) -> StageSettings:
        """Return the settings of one stage."""
        stages = {"flow": self.flow, "features": self.features, "sequence": self.sequence}
        return stages[name]

    def loop(self, name: StageName) -> LoopSettings:
        """Return what the training loop needs of one stage."""
        stage = self.stage(name)
        return LoopSettings(
            max_epochs=stage.epochs,
            patience_epochs=stage.patience_epochs,
            batch_size=stage.batch_size,
            seed=self.seed,
            # The sequence is tiny: half precision would cost accuracy and gain no time.
            precision="32-true" if name == "sequence" else self.precision,
            threads=self.threads,
        )


class Decisions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a run's decisions.json: what turns probabilities into behaviors."""

    thresholds: tuple[float, ...]
    """One each, chosen on the validation recordings; 0.5 where behaviors are exclusive."""
    min_bout_frames: tuple[int, ...]
    """One each."""
