"""EfficientNet-Lite of timm."""

import re
from collections.abc import Mapping

import timm
from timm.models import FeatureInfo
from torch import Tensor

from training.backbones.base import Backbone, Pyramid

_STAGE_BLOCKS = {
    "efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1),
    "efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1),
    "efficientnet_lite2": (1, 3, 3, 4, 4, 5, 1),
    "efficientnet_lite3": (1, 3, 3, 5, 5, 6, 1),
    "efficientnet_lite4": (1, 4, 4, 6, 6, 8, 1),
}
"""Blocks of each stage, which files with other names count through."""
_OTHER_LAYERS = {
    True: {
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn1",
        "_project_conv": "conv_pw",
        "_bn2": "bn2",
    },
    False: {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    },
}
"""Names of a block's layers in other files to timm's, by whether it is of the first stage, which
does not expand."""


class EfficientNetLiteBackbone(Backbone):
    """EfficientNet-Lite 0 to 4 (Tan and Le 2019, arXiv 1905.11946, without squeeze and swish).

    State names are timm's `tf_efficientnet_liteN`, whose padding is TensorFlow's, below `layers`;
    files of the package `efficientnet_lite_pytorch` (`_blocks.N...`) are renamed.
    """

    def __init__(self, name: str) -> None:
        layers = timm.create_model(
            f"tf_{name}", pretrained=False, features_only=True, out_indices=(2, 3, 4)
        )
        info = layers.feature_info
        assert isinstance(info, FeatureInfo), "timm describes the maps of a network that it cuts"
        fine, middle, deep = info.channels()
        super().__init__(
            name,
            channels=(fine, middle, deep),
            deep_stride=32,
            mean=(0.5, 0.5, 0.5),
            deviation=(0.5, 0.5, 0.5),
        )
        self.layers = layers

    def maps(self, pixels: Tensor) -> Pyramid:
        """See `Backbone.maps`."""
        return Pyramid(*self.layers(pixels))

    def published_weights(self) -> Mapping[str, Tensor]:
        """See `Backbone.published_weights`."""
        weights: Mapping[str, Tensor] = timm.create_model(
            f"tf_{self.name}", pretrained=True
        ).state_dict()
        return weights

    def rename_weights(self, stored: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Backbone.rename_weights`."""
        return {self._name_here(name): value for name, value in stored.items()}

    def _name_here(self, name: str) -> str:
        if name.startswith("layers."):
            return name
        if not name.startswith("_"):
            return f"layers.{name}"
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if block is None:
            stem = name.replace("_conv_stem", "conv_stem").replace("_bn0", "bn1", 1)
            return f"layers.{stem}"
        stage, place = self._place(int(block[1]))
        layer = _OTHER_LAYERS[stage == 0].get(block[2], block[2])
        return f"layers.blocks.{stage}.{place}.{layer}.{block[3]}"

    def _place(self, block: int) -> tuple[int, int]:
        """Stage and place in it of a block that is counted through."""
        for stage, blocks in enumerate(_STAGE_BLOCKS[self.name]):
            if block < blocks:
                return stage, block
            block -= blocks
        return len(_STAGE_BLOCKS[self.name]), block
