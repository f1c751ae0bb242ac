"""Backbones: the convolutional networks, pretrained on ImageNet, that a task's network builds on.

Weights come from a file that the user names; nothing is fetched. A backbone is cut where its
last used feature map ends, so that what is not used is neither computed nor stored.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from service.errors import InvalidConfig


class Pyramid(NamedTuple):
    """Feature maps of one batch, each (B, channels, h, w)."""

    stride8: Tensor
    stride16: Tensor
    stride32: Tensor


class MobileNetV2Backbone(nn.Module):
    """MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) up to its second-last stage.

    It takes (B, 3, H, W) RGB in [0, 255], normalizes it as ImageNet networks are, and returns a
    `Pyramid` with 32, 96 and 160 channels. State names are torchvision's (`features.N...`).
    """

    channels = (32, 96, 160)
    _STRIDE8_BLOCK, _STRIDE16_BLOCK, _BLOCKS = 6, 13, 17

    def __init__(self) -> None:
        super().__init__()
        self.features = mobilenet_v2(weights=None).features[: self._BLOCKS]
        mean = torch.tensor([0.485, 0.456, 0.406]) * 255
        deviation = torch.tensor([0.229, 0.224, 0.225]) * 255
        self.register_buffer("mean", mean[None, :, None, None], persistent=False)
        self.register_buffer("deviation", deviation[None, :, None, None], persistent=False)
        self.mean: Tensor
        self.deviation: Tensor

    def forward(self, frames: Tensor) -> Pyramid:
        """See the class."""
        maps = (frames - self.mean) / self.deviation
        kept = []
        for index, block in enumerate(self.features):
            maps = block(maps)
            if index in (self._STRIDE8_BLOCK, self._STRIDE16_BLOCK):
                kept.append(maps)
        return Pyramid(kept[0], kept[1], maps)

    def train(self, mode: bool = True) -> "MobileNetV2Backbone":
        """Set the mode; normalization keeps its ImageNet statistics, as few frames give worse."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def load_backbone(weights: Path | None) -> MobileNetV2Backbone:
    """Build the backbone, with the ImageNet weights of a state-dict file where one is given.

    Args:
        weights: file of torch.save with torchvision's names of mobilenet_v2; layers beyond the
            cut are ignored. None leaves random weights.

    Raises:
        InvalidConfig: the file does not exist, is no state dict, or lacks a layer.
    """
    backbone = MobileNetV2Backbone()
    if weights is None:
        return backbone
    if not weights.is_file():
        raise InvalidConfig(f"{weights} does not exist; name a file of mobilenet_v2 weights")
    try:
        stored = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises its own, pickle's and zip's classes
        raise InvalidConfig(f"{weights} is not a file of torch weights: {error}") from error
    wanted = backbone.state_dict()
    missing = [
        name
        for name, value in wanted.items()
        if not isinstance(stored, dict) or name not in stored or stored[name].shape != value.shape
    ]
    if missing:
        raise InvalidConfig(
            f"{weights} lacks {len(missing)} of {len(wanted)} layers, such as {missing[0]}; "
            "give mobilenet_v2 weights with torchvision's names"
        )
    backbone.load_state_dict({name: stored[name] for name in wanted})
    return backbone
