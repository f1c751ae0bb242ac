"""ResNets of torchvision, strided to 32 or, as DeepLabCut's, dilated to stay at 16."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn
from torchvision import models

from training.backbones.base import IMAGENET_DEVIATION, IMAGENET_MEAN, Backbone, Pyramid

_INTERMEDIATE_BLOCK = 12
"""Of the third stage; where DeeperCut supervises ResNet-101, and the end of a shorter stage."""


class ResNetBackbone(Backbone):
    """ResNet-18, 34, 50 or 101 (He et al. 2016, arXiv 1512.03385).

    With an output stride of 16 the last stage of the bottleneck networks (50 and 101) is dilated,
    as in DeeperCut (Insafutdinov et al. 2016, arXiv 1605.03170); that of ResNet-18 and 34, whose
    blocks cannot be dilated, is left out. The map of stride 16 is then the bank that intermediate
    supervision looks at. State names are torchvision's (`conv1`, `layer1.0.conv1`, ...).
    """

    def __init__(self, name: str, output_stride: Literal[16, 32]) -> None:
        is_dilated = output_stride == 16
        has_bottlenecks = name in ("resnet_50", "resnet_101")
        options = (
            {"replace_stride_with_dilation": [False, False, True]}
            if is_dilated and has_bottlenecks
            else {}
        )
        network = models.get_model(_torchvision_name(name), weights=None, **options)
        width = 4 if has_bottlenecks else 1
        has_last_stage = has_bottlenecks or not is_dilated
        super().__init__(
            name,
            channels=(128 * width, 256 * width, (512 if has_last_stage else 256) * width),
            deep_stride=output_stride,
            mean=IMAGENET_MEAN,
            deviation=IMAGENET_DEVIATION,
        )
        self.conv1, self.bn1, self.relu = network.conv1, network.bn1, network.relu
        self.maxpool = network.maxpool
        self.layer1, self.layer2, self.layer3 = network.layer1, network.layer2, network.layer3
        self.layer4 = network.layer4 if has_last_stage else nn.Identity()
        blocks = len(self.layer3)
        self._intermediate = min(_INTERMEDIATE_BLOCK, blocks) if is_dilated else blocks

    def maps(self, pixels: Tensor) -> Pyramid:
        """See `Backbone.maps`."""
        fine = self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(pixels))))))
        middle = self.layer3[: self._intermediate](fine)
        deep = self.layer4(self.layer3[self._intermediate :](middle))
        return Pyramid(fine, middle, deep)

    def published_weights(self) -> Mapping[str, Tensor]:
        """See `Backbone.published_weights`."""
        weights: Mapping[str, Tensor] = models.get_model_weights(
            _torchvision_name(self.name)
        ).DEFAULT.get_state_dict(progress=True)
        return weights


def _torchvision_name(name: str) -> str:
    return name.replace("_", "")
