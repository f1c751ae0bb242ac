"""What every backbone is: RGB pixels to feature maps of three strides."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Pyramid(NamedTuple):
    """Feature maps of one batch, each (B, channels, h, w)."""

    stride8: Tensor
    stride16: Tensor
    deep: Tensor
    """Of stride 32, or 16 where the last stage is dilated."""


class Backbone(nn.Module, ABC):
    """Takes (B, 3, H, W) RGB in [0, 255], normalizes it as its weights expect, and returns maps.

    Args:
        name: as in `BACKBONES`.
        channels: of the three maps.
        deep_stride: of the deepest one.
        mean: of each color, in [0, 1].
        deviation: of each color, in [0, 1].
    """

    def __init__(
        self,
        name: str,
        *,
        channels: tuple[int, int, int],
        deep_stride: int,
        mean: tuple[float, float, float],
        deviation: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.name = name
        self.channels = channels
        self.deep_stride = deep_stride
        self.keeps_statistics = True
        """Normalization layers keep the statistics of their weights: few frames give worse."""
        for buffer, values in (("mean", mean), ("deviation", deviation)):
            tensor = torch.tensor(values) * 255
            self.register_buffer(buffer, tensor[None, :, None, None], persistent=False)
        self.mean: Tensor
        self.deviation: Tensor

    def forward(self, frames: Tensor) -> Pyramid:
        """See the class."""
        return self.maps((frames - self.mean) / self.deviation)

    @abstractmethod
    def maps(self, pixels: Tensor) -> Pyramid:
        """Return the maps of normalized pixels (B, 3, H, W)."""

    @abstractmethod
    def published_weights(self) -> Mapping[str, Tensor]:
        """Fetch the ImageNet weights that the family's library publishes, by their names there."""

    def rename_weights(self, stored: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights of a file under the names of this module's `state_dict`."""
        return stored

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode; statistics are kept as `keeps_statistics` says."""
        super().train(mode)
        if self.keeps_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
