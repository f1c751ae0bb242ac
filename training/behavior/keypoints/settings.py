"""All that a training on keypoints is told; stored as the run's config.json."""

from typing import Literal

import msgspec

from service.behavior import BACKGROUND
from service.errors import InvalidConfig
from training.behavior.keypoints.features import Polygon, PoseFeatures, feature_names
from training.loop import LoopSettings


class KeypointTraining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one training; the defaults of the network are DeepEthogram's for keypoints."""

    input: Literal["keypoints"] = "keypoints"
    """Tells such a run from one on pixels."""
    data: tuple[str, ...]
    """Folders of labelled recordings."""
    tracks: tuple[str, ...]
    """Folders of the poses of these recordings."""
    data_sha256: str
    """Of the labels and the pose files."""
    behaviors: tuple[str, ...]
    exclusive: bool
    frame_rate_hz: float
    validation: tuple[str, ...]
    """Names or patterns of recordings that choose epochs and thresholds."""
    test: tuple[str, ...]
    """Names or patterns of recordings that are only reported."""
    features: PoseFeatures
    arenas: dict[str, Polygon] = {}
    """Corners of the arena, px, of the recordings whose names match the pattern. Empty: nothing
    is said about walls; else every recording must match one, the first that matches is taken."""
    window_frames: int = 31
    """Frames that an answer sees: centered on the answered one, or the last ones where causal."""
    hidden: tuple[int, ...] = (256, 128)
    """Widths of the hidden layers."""
    dropout: float = 0.35
    epochs: int = 20
    samples_per_epoch: int = 16384
    """Windows."""
    batch_size: int = 128
    learning_rate: float = 1e-3
    """Peak of the learning rate."""
    weight_decay: float = 1e-2
    patience_epochs: int | None = None
    """Epochs without a better held-out macro F1 after which the training ends; None trains all."""
    min_bout_frames: int | None = None
    """Shortest bout; None takes the 1st percentile of the labelled ones."""
    seed: int = 1
    threads: int | None = None

    def __post_init__(self) -> None:
        """Check what the network cannot take."""
        if len(self.behaviors) - (BACKGROUND in self.behaviors) < 1:
            raise InvalidConfig("no behavior is named besides background; label one at least")
        if self.window_frames < 1 or (not self.features.causal and self.window_frames % 2 == 0):
            raise InvalidConfig(
                f"window_frames is {self.window_frames}; give an odd number, so that the answered "
                "frame is the middle one, or any from 1 where causal"
            )
        if min(self.hidden, default=1) < 1 or not 0 <= self.dropout < 1:
            raise InvalidConfig(
                f"hidden is {self.hidden} and dropout {self.dropout:g}; give widths from 1 and a "
                "share below 1"
            )
        if self.epochs < 1 or not 1 <= self.batch_size <= self.samples_per_epoch:
            raise InvalidConfig(
                f"{self.epochs} epochs of {self.samples_per_epoch} windows in batches of "
                f"{self.batch_size} train nothing; give at least one epoch and one batch in it"
            )
        if not self.frame_rate_hz > 0:
            raise InvalidConfig(
                f"frame_rate_hz is {self.frame_rate_hz:g}; give the frames a second"
            )

    @property
    def past_frames(self) -> int:
        """Frames of a window before the answered one."""
        return self.window_frames - 1 if self.features.causal else self.window_frames // 2

    @property
    def future_frames(self) -> int:
        """Frames of a window after the answered one: the look-ahead."""
        return self.window_frames - 1 - self.past_frames

    @property
    def feature_count(self) -> int:
        """D, features of a frame."""
        return len(feature_names(self.features, corners=bool(self.arenas)))

    def loop(self) -> LoopSettings:
        """Return what the training loop needs."""
        return LoopSettings(
            max_epochs=self.epochs,
            patience_epochs=self.patience_epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            precision="32-true",  # so small that half precision would gain no time
            threads=self.threads,
        )
