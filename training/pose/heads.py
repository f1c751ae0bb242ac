"""The heads of the pose network: feature maps to score maps and offsets of stride 8.

Every head ends in layers whose output channels belong to keypoints, so that a head for other
keypoints can take over those that it shares (`training/pose/transfer.py`).
"""

import math
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from training.backbones import Pyramid

STRIDE_PX = 8
HeadKind = Literal["pyramid", "deconvolution"]
_PRIOR = 0.01
"""Confidence everywhere before training, so that empty cells do not dominate its start."""


class HeadMaps(NamedTuple):
    """Raw maps; h, w are the input's sides over `STRIDE_PX`."""

    scores: Tensor
    """(B, K, h, w)."""
    offsets: Tensor
    """(B, 2 K, h, w), x then y of each keypoint."""
    intermediate_scores: Tensor | None
    """(B, K, h, w) of an earlier bank, where the head is supervised there too."""


class PyramidHead(nn.Module):
    """Fuses the three maps at stride 8 (Lin et al. 2017, arXiv 1612.03144) for light backbones.

    Args:
        channels: of the three maps.
        keypoints: K.
        width: channels of the fused maps.
        starts_unsure: scores are logits, and begin at a low confidence.
    """

    def __init__(
        self, channels: tuple[int, int, int], keypoints: int, *, width: int, starts_unsure: bool
    ) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(size, width, 1) for size in channels)
        self.merge16 = _separable(width)
        self.merge8 = nn.Sequential(_separable(width), _separable(width))
        self.scores = nn.Conv2d(width, keypoints, 1)
        self.offsets = nn.Conv2d(width, 2 * keypoints, 1)
        _start(self.scores, std=0.01, bias=_prior_bias(starts_unsure))
        _start(self.offsets, std=0.01)

    def forward(self, pyramid: Pyramid) -> HeadMaps:
        """See the class."""
        fine, middle, coarse = (
            lateral(maps) for lateral, maps in zip(self.lateral, pyramid, strict=True)
        )
        middle = self.merge16(middle + _resized_as(coarse, middle))
        fused = self.merge8(fine + _resized_as(middle, fine))
        return HeadMaps(self.scores(fused), self.offsets(fused), None)


class DeconvolutionHead(nn.Module):
    """One transposed convolution per kind of map, on a bank of stride 16 (Mathis et al. 2018).

    Args:
        channels: of the three maps; the deepest must be of stride 16.
        keypoints: K.
        skip: add a 1x1 convolution of the bank of stride 8 (conv3).
        intermediate: predict the scores from the bank of stride 16 as well, for the loss only.
        starts_unsure: scores are logits, and begin at a low confidence.
    """

    def __init__(
        self,
        channels: tuple[int, int, int],
        keypoints: int,
        *,
        skip: bool,
        intermediate: bool,
        starts_unsure: bool,
    ) -> None:
        super().__init__()
        fine, middle, deep = channels
        bias = _prior_bias(starts_unsure)
        self.scores = _deconvolution(deep, keypoints, bias)
        self.offsets = _deconvolution(deep, 2 * keypoints)
        self.skip_scores = _pointwise(fine, keypoints) if skip else None
        self.skip_offsets = _pointwise(fine, 2 * keypoints) if skip else None
        self.intermediate_scores = _deconvolution(middle, keypoints, bias) if intermediate else None

    def forward(self, pyramid: Pyramid) -> HeadMaps:
        """See the class."""
        scores, offsets = self.scores(pyramid.deep), self.offsets(pyramid.deep)
        if self.skip_scores is not None and self.skip_offsets is not None:
            scores = scores + self.skip_scores(pyramid.stride8)
            offsets = offsets + self.skip_offsets(pyramid.stride8)
        earlier = None
        if self.training and self.intermediate_scores is not None:
            earlier = self.intermediate_scores(pyramid.stride16)
        return HeadMaps(scores, offsets, earlier)


def _prior_bias(starts_unsure: bool) -> float:
    return -math.log((1 - _PRIOR) / _PRIOR) if starts_unsure else 0.0


def _deconvolution(before: int, after: int, bias: float = 0.0) -> nn.ConvTranspose2d:
    """Doubles the map exactly, as TensorFlow's SAME padding does."""
    layer = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
    _start(layer, std=0.001, bias=bias)
    return layer


def _pointwise(before: int, after: int) -> nn.Conv2d:
    layer = nn.Conv2d(before, after, 1, bias=False)
    _start(layer, std=0.001)
    return layer


def _start(layer: nn.Conv2d | nn.ConvTranspose2d, *, std: float, bias: float = 0.0) -> None:
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)


def _resized_as(maps: Tensor, other: Tensor) -> Tensor:
    if maps.shape[-2:] == other.shape[-2:]:
        return maps
    return functional.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)


def _separable(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False),
        nn.BatchNorm2d(width),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
