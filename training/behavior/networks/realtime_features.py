"""The features of preset `realtime`: one frame and the few flows that end at it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.backbones import Backbone
from training.behavior.networks.base import FeatureExtractor

RGB_FEATURES = 128
FLOW_FEATURES = 64
_FLOW_SCALE = 0.25
"""Flows of a few px come to about 1."""


_FIXED_BLOCKS = 4
"""First blocks of the backbone, edges and textures, which stay as ImageNet left them: they are
half of the training's cost, and a few hundred clips do not improve them."""


class RealtimeFeatures(FeatureExtractor):
    """Two-stream features (Simonyan and Zisserman 2014) of one frame and the flows before it.

    Args:
        backbone: of the RGB stream; gray frames are repeated to three channels.
        flow_frames: F.
        behaviors: C.
        dropout: of the features before the last layer.
    """

    input_frames = 1
    feature_size = RGB_FEATURES + FLOW_FEATURES

    def __init__(
        self, backbone: Backbone, *, flow_frames: int, behaviors: int, dropout: float
    ) -> None:
        super().__init__()
        self.flow_frames = flow_frames
        self.backbone = backbone
        for block in list(backbone.get_submodule("features").children())[:_FIXED_BLOCKS]:
            block.requires_grad_(False)
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
        self.classify = nn.Linear(self.feature_size, behaviors)

    def forward(self, frames: Tensor, flows: Tensor) -> tuple[Tensor, Tensor]:
        """See the base class; the last flow ends at the frame."""
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

    def pretrained(self) -> list[nn.Parameter]:
        """See the base class."""
        return list(self.backbone.parameters())

    def last_layers(self) -> list[nn.Linear]:
        """See the base class."""
        return [self.classify]


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


def _conv(before: int, after: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, 2, kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )
