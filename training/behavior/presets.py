"""The presets: which networks each stage has, and which frames they look at."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
from torch import Tensor

from training.backbones import create_backbone
from training.behavior.networks.base import FeatureExtractor, FlowGenerator, WindowSequence
from training.behavior.networks.causal_head import CausalHead
from training.behavior.networks.motionnet import MotionNet
from training.behavior.networks.realtime_features import RealtimeFeatures
from training.behavior.networks.realtime_flow import RealtimeFlow
from training.behavior.networks.resnet3d import TwoStreamResNet3D
from training.behavior.networks.tgm import ConvSequence, LinearSequence, Tgm
from training.behavior.networks.tiny_motionnet import TinyMotionNet
from training.behavior.networks.tiny_motionnet_3d import TinyMotionNet3D
from training.behavior.networks.two_stream import TwoStream, TwoStreamResNet, load_imagenet
from training.behavior.settings import BehaviorTraining, PresetName
from training.checkpoints import read_state_dict
from training.data.behavior_augment import ClipAugmentSettings
from training.data.behavior_frames import WindowShape

SequenceModel = CausalHead | WindowSequence


@dataclass(frozen=True, slots=True)
class Preset:
    """What the networks of a preset look at, and how DeepEthogram trains them."""

    flow_frames: int | None
    """F; None lets the settings choose."""
    future_frames: int
    """Frames after the answered one in its window."""
    sequence: Literal["causal", "tgm"]
    smoothness_factor: float = 1.0
    """On the weights of the flow's smoothness."""
    sparsity_weight: float = 0.0
    """Of the mean amount of flow."""
    flow_gap_frames: int = 1
    """Flow trains on frames up to so far apart; see `FlowClips`."""
    flow_drift_px: float = 0.0
    """In half of its samples each frame drifts by up to this against the one before. Generators
    that begin at no flow learn the small motions of animals sooner without."""
    flow_noise: bool = True
    """Flow trains on frames with random noise, too. Without a penalty on the amount of flow, noise
    teaches a small motion of everything, between two px, where sampling averages it away."""
    flow_crop_tries: int = 1
    """Parts of a frame that a sample chooses from; see `FlowClips`."""
    size_multiple: int = 2
    """Both sides of the model input are multiples of this."""

    @property
    def is_centered(self) -> bool:
        """Whether later frames count; the ends of a recording are filled then."""
        return self.future_frames > 0


_DEG = Preset(10, 5, "tgm", flow_noise=False, flow_crop_tries=12, size_multiple=8)
PRESETS: Mapping[PresetName, Preset] = {
    "realtime": Preset(
        None, 0, "causal", sparsity_weight=0.03, flow_gap_frames=3, flow_drift_px=4.0
    ),
    "deg_f": _DEG,
    "deg_m": replace(_DEG, size_multiple=32),
    "deg_s": replace(_DEG, smoothness_factor=0.25, sparsity_weight=0.05),
}
"""`deg_*` are the networks of Bohnslav et al. 2021 (eLife 10:e63377), Table 2."""


def window_shape(settings: BehaviorTraining) -> WindowShape:
    """Return the window of a run's features."""
    future = PRESETS[settings.preset].future_frames
    return WindowShape(
        past_frames=settings.flow_frames - future,
        future_frames=future,
        fill=settings.window_fill,
    )


def flow_augment(settings: BehaviorTraining) -> ClipAugmentSettings:
    """Return how the frames that flow trains on are changed."""
    if PRESETS[settings.preset].flow_noise:
        return settings.augment
    return msgspec.structs.replace(settings.augment, noise_probability=0.0)


def new_flow(settings: BehaviorTraining) -> FlowGenerator:
    """Build the flow generator of a run with random weights."""
    mean, std = settings.color_mean, settings.color_std
    match settings.preset:
        case "realtime":
            return RealtimeFlow()
        case "deg_f":
            return TinyMotionNet(mean, std)
        case "deg_m":
            return MotionNet(mean, std)
        case "deg_s":
            return TinyMotionNet3D(mean, std)


def new_features(settings: BehaviorTraining, weights: Path | None) -> FeatureExtractor:
    """Build the feature extractor of a run, its backbones with ImageNet `weights` or random.

    Raises:
        InvalidConfig: the weights do not fit.
    """
    behaviors = len(settings.behaviors)
    if settings.preset == "realtime":
        backbone = create_backbone("mobilenet_v2", weights=weights or "random")
        backbone.keeps_statistics = True  # clips of one recording have statistics of their own
        return RealtimeFeatures(
            backbone,
            flow_frames=settings.flow_frames,
            behaviors=behaviors,
            dropout=settings.dropout,
        )
    network: TwoStream
    mean, std = settings.color_mean, settings.color_std
    if settings.preset == "deg_s":
        network = TwoStreamResNet3D(
            behaviors=behaviors,
            mean=mean,
            std=std,
            dropout_p=settings.dropout,
            fusion=settings.fusion,
        )
    else:
        network = TwoStreamResNet(
            18 if settings.preset == "deg_f" else 50,
            behaviors=behaviors,
            mean=mean,
            std=std,
            dropout_p=settings.dropout,
            fusion=settings.fusion,
        )
    if weights is not None:
        load_imagenet(network, read_state_dict(weights))
    return network


def new_sequence(settings: BehaviorTraining, feature_size: int) -> SequenceModel | None:
    """Build the sequence model of a run; None where the features answer alone."""
    behaviors = len(settings.behaviors)
    match settings.sequence_model:
        case "none":
            return None
        case "causal":
            return CausalHead(
                feature_size,
                behaviors,
                width=settings.sequence_width,
                dilations=settings.sequence_dilations,
                dropout=settings.dropout,
            )
        case "tgm":
            return Tgm(behaviors, feature_size=feature_size)
        case "linear":
            return LinearSequence(behaviors, feature_size=feature_size)
        case "conv":
            return ConvSequence(behaviors, feature_size=feature_size)


def whole_logits(network: SequenceModel, features: Tensor, valid: Tensor) -> Tensor:
    """Return the logits (B, T, C) of whole stretches, features (B, T, D), valid (B, T)."""
    if isinstance(network, CausalHead):
        return network.whole(features)
    logits: Tensor = network(features, valid)
    return logits
