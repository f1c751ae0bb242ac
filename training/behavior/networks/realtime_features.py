"""The networks of preset `realtime`: causal two-stream features and a causal temporal head.

Both are small enough for a live stream on a processor: features look at one frame and the F
flows that end at it, and the head carries all that it remembers in one flat state.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.backbones import Backbone, create_backbone

RGB_FEATURES = 128
FLOW_FEATURES = 64
FEATURE_SIZE = RGB_FEATURES + FLOW_FEATURES
_FLOW_SCALE = 0.25
"""Flows of a few px come to about 1."""
_KERNEL = 3
"""Frames that each temporal convolution looks at."""


class FeatureNetwork(nn.Module):
    """Two-stream features (Simonyan and Zisserman 2014) of one frame and the flows before it.

    Args:
        backbone: of the RGB stream; gray frames are repeated to three channels.
        flow_frames: F.
        behaviors: C.
        dropout: of the features before the last layer.
    """

    def __init__(
        self, backbone: Backbone, *, flow_frames: int, behaviors: int, dropout: float
    ) -> None:
        super().__init__()
        self.flow_frames = flow_frames
        self.backbone = backbone
        _, middle, deep = backbone.channels
        self.reduce_middle = nn.Conv2d(middle, 96, 1)
        self.reduce_deep = nn.Conv2d(deep, 96, 1)
        self.rgb_pool = AnimalPool(96, RGB_FEATURES)
        self.flow_stream = nn.Sequential(
            _conv(2 * flow_frames, 24, 5),
            _conv(24, 48, 3),
            _conv(48, 96, 3),
        )
        self.flow_pool = AnimalPool(96, FLOW_FEATURES)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(FEATURE_SIZE, behaviors)

    def forward(self, frames: Tensor, flows: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, D) and logits (B, C).

        Args:
            frames: (B, H, W, C) uint8.
            flows: (B, F, 2, H/2, W/2) px per frame; the last one ends at the frame.
        """
        pixels = frames.to(torch.float32).permute(0, 3, 1, 2)
        if pixels.shape[1] == 1:
            pixels = pixels.expand(-1, 3, -1, -1)
        _, middle, deep = self.backbone(pixels)
        raised = functional.interpolate(
            self.reduce_deep(deep), size=middle.shape[-2:], mode="nearest"
        )
        rgb = self.rgb_pool(functional.relu(self.reduce_middle(middle) + raised))
        motion = self.flow_pool(self.flow_stream(flows.flatten(1, 2) * _FLOW_SCALE))
        features = torch.cat([rgb, motion], dim=1)
        return features, self.classify(self.dropout(features))


class AnimalPool(nn.Module):
    """Pools a map to one vector: its largest values, and its mean where a learned map looks."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.attend = nn.Conv2d(channels, 1, 1)
        self.mix = nn.Linear(2 * channels, features)

    def forward(self, maps: Tensor) -> Tensor:
        """Turn (B, channels, h, w) into (B, features), none negative."""
        flat = maps.flatten(2)
        weights = self.attend(maps).flatten(2).softmax(dim=2)
        pooled = torch.cat([flat.amax(dim=2), (flat * weights).sum(dim=2)], dim=1)
        return functional.relu(self.mix(pooled))


class SequenceHead(nn.Module):
    """Causal dilated temporal convolutions (van den Oord et al. 2016) over stored features.

    The cost of a frame is constant. Each layer keeps the last inputs that its next outputs need;
    all of them, one after another, are the state, and a state of zeros starts a recording. The
    logits are the mean of those of the frame alone and those of its past.

    Args:
        feature_size: D.
        behaviors: C.
        width: channels of the convolutions.
        dilations: frames between the inputs of each layer; the head looks at
            1 + 2 * sum(dilations) frames.
        dropout: of the input and of the last maps.
    """

    def __init__(
        self,
        feature_size: int,
        behaviors: int,
        *,
        width: int,
        dilations: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        self.width = width
        self.kept_frames = tuple((_KERNEL - 1) * dilation for dilation in dilations)
        self.state_size = width * sum(self.kept_frames)
        self.dropout = nn.Dropout(dropout)
        self.reduce = nn.Linear(feature_size, width)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, _KERNEL, dilation=dilation) for dilation in dilations
        )
        self.classify_frame = nn.Linear(width, behaviors)
        self.classify_past = nn.Linear(width, behaviors)

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, T, C) and the next state (B, S).

        Args:
            features: (B, T, D).
            state: (B, S), what the call for the frames before returned, or zeros.
        """
        frame = functional.relu(self.reduce(self.dropout(features)))
        maps = frame.transpose(1, 2)
        sizes = [self.width * kept for kept in self.kept_frames]
        kept_states = []
        memories = torch.split(state, sizes, dim=1)
        for layer, kept, memory in zip(self.layers, self.kept_frames, memories, strict=True):
            before = memory.reshape(-1, self.width, kept)
            joined = torch.cat([before, maps], dim=2)
            kept_states.append(joined[:, :, -kept:].flatten(1))
            maps = maps + functional.relu(layer(joined))
        past = self.dropout(maps.transpose(1, 2))
        logits = 0.5 * (self.classify_frame(frame) + self.classify_past(past))
        return logits, torch.cat(kept_states, dim=1)

    def whole(self, features: Tensor) -> Tensor:
        """Return the logits (B, T, C) of stretches that begin with a state of zeros."""
        start = features.new_zeros(len(features), self.state_size)
        logits, _ = self.forward(features, start)
        return logits


def create_feature_network(
    *, weights: Path | None, flow_frames: int, behaviors: int, dropout: float
) -> FeatureNetwork:
    """Build the features network; `weights` are those of its backbone, None for random ones.

    Raises:
        InvalidConfig: the weights do not fit.
    """
    backbone = create_backbone("mobilenet_v2", weights=weights or "random")
    backbone.keeps_statistics = True  # clips of one recording have statistics of their own
    return FeatureNetwork(backbone, flow_frames=flow_frames, behaviors=behaviors, dropout=dropout)


def _conv(before: int, after: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, 2, kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )
