"""MobileNetV2 and V3 of torchvision."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor
from torchvision import models

from training.backbones.base import IMAGENET_DEVIATION, IMAGENET_MEAN, Backbone, Pyramid


class _Cut(NamedTuple):
    """Blocks after which the maps of stride 8, 16 and 32 are taken, and their channels."""

    blocks: tuple[int, int, int]
    channels: tuple[int, int, int]


_CUTS = {
    "mobilenet_v2": _Cut((6, 13, 16), (32, 96, 160)),
    "mobilenet_v3_small": _Cut((3, 8, 11), (24, 48, 96)),
    "mobilenet_v3_large": _Cut((6, 12, 15), (40, 112, 160)),
}


class MobileNetBackbone(Backbone):
    """MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) or V3 (Howard et al. 2019, 1905.02244).

    State names are torchvision's (`features.N...`).
    """

    def __init__(self, name: str) -> None:
        self._cut = _CUTS[name]
        super().__init__(
            name,
            channels=self._cut.channels,
            deep_stride=32,
            mean=IMAGENET_MEAN,
            deviation=IMAGENET_DEVIATION,
        )
        self.features = models.get_model(name, weights=None).features[: self._cut.blocks[2] + 1]

    def maps(self, pixels: Tensor) -> Pyramid:
        """See `Backbone.maps`."""
        kept = []
        for index, block in enumerate(self.features):
            pixels = block(pixels)
            if index in self._cut.blocks:
                kept.append(pixels)
        return Pyramid(*kept)

    def published_weights(self) -> Mapping[str, Tensor]:
        """See `Backbone.published_weights`."""
        weights: Mapping[str, Tensor] = models.get_model_weights(self.name).DEFAULT.get_state_dict(
            progress=True
        )
        return weights
