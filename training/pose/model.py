"""The pose network: backbone, a pyramid fused at stride 8, score maps and location refinement.

Its heads follow DeepLabCut (Mathis et al. 2018, arXiv 1804.03142); the fusion is a feature
pyramid (Lin et al. 2017, arXiv 1612.03144).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.backbones import MobileNetV2Backbone

STRIDE_PX = 8
SIZE_MULTIPLE_PX = 32
"""Sides of the input must be whole multiples, so that the maps of the pyramid align."""
_PRIOR = 0.01
"""Confidence everywhere before training, so that empty cells do not dominate its start."""


class PoseMaps(NamedTuple):
    """What the network answers for a batch; h, w are the input's sides over `STRIDE_PX`."""

    score_logits: Tensor
    """(B, K, h, w)."""
    offsets: Tensor
    """(B, K, 2, h, w) in strides."""


class PoseNetwork(nn.Module):
    """uint8 (B, H, W, C) frames to score maps and offsets."""

    def __init__(self, backbone: MobileNetV2Backbone, *, keypoints: int, width: int = 96) -> None:
        super().__init__()
        self.keypoints = keypoints
        self.backbone = backbone
        self.lateral = nn.ModuleList(nn.Conv2d(size, width, 1) for size in backbone.channels)
        self.merge16 = _separable(width)
        self.merge8 = nn.Sequential(_separable(width), _separable(width))
        self.head = nn.Conv2d(width, 3 * keypoints, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        bias = torch.zeros(3 * keypoints)
        bias[:keypoints] = -math.log((1 - _PRIOR) / _PRIOR)
        self.head.bias = nn.Parameter(bias)

    def forward(self, frames: Tensor) -> PoseMaps:
        """See the class; C is 3 (RGB) or 1 (gray)."""
        # Cast first: TensorRT takes uint8 inputs but refuses to transpose them.
        pixels = frames.float().permute(0, 3, 1, 2)
        if pixels.shape[1] == 1:
            pixels = pixels.expand(-1, 3, -1, -1)
        pyramid = self.backbone(pixels)
        fine, middle, coarse = (
            lateral(maps) for lateral, maps in zip(self.lateral, pyramid, strict=True)
        )
        middle = self.merge16(middle + _double(coarse))
        answers = self.head(self.merge8(fine + _double(middle)))
        scores, offsets = answers.split([self.keypoints, 2 * self.keypoints], dim=1)
        return PoseMaps(scores, offsets.unflatten(1, (self.keypoints, 2)))


def locate(maps: PoseMaps) -> Tensor:
    """Find each keypoint as `service.targets.decode` does, for a batch.

    Returns:
        (B, 1, K, 3): x, y in px of the model input and confidence in [0, 1].
    """
    width = maps.score_logits.shape[3]
    # The largest logit, not the largest confidence: in float32 those beyond 17 tie at 1.
    peaks, cells = maps.score_logits.float().flatten(2).max(dim=2)
    places = cells[:, :, None, None].expand(-1, -1, 2, 1)
    moved = maps.offsets.float().flatten(3).gather(3, places).squeeze(3)
    corners = torch.stack([cells % width, cells // width], dim=2).float()
    points = (corners + 0.5 + moved) * STRIDE_PX - 0.5
    return torch.cat([points, peaks.sigmoid()[:, :, None]], dim=2)[:, None]


def _double(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)


def _separable(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False),
        nn.BatchNorm2d(width),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
