"""Backbones: convolutional networks, pretrained on ImageNet, that a task's network builds on.

One file a family; each network is cut where its last used feature map ends, so that what is not
used is neither computed nor stored. A new family brings its class, its entries in `_families`
and, where its weights go by other names than its modules, `rename_weights`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from service.errors import InvalidConfig
from training.backbones.base import Backbone, Pyramid
from training.backbones.weights import load_weights

__all__ = [
    "BACKBONES",
    "Backbone",
    "OutputStride",
    "Pyramid",
    "WeightsSource",
    "create_backbone",
    "weights_source",
]

OutputStride = Literal[16, 32]
WeightsSource = Path | Literal["imagenet", "random"]
"""A file, the weights that torchvision or timm publish (fetched), or none."""

BACKBONES = (
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "efficientnet_lite4",
    "resnet_18",
    "resnet_34",
    "resnet_50",
    "resnet_101",
)


def weights_source(text: str) -> WeightsSource:
    """Return what `text` means: `imagenet`, `random`, or the path of a file."""
    match text:
        case "imagenet":
            return "imagenet"
        case "random":
            return "random"
        case _:
            return Path(text)


def create_backbone(
    name: str, *, weights: WeightsSource, output_stride: OutputStride = 32
) -> Backbone:
    """Build a backbone.

    Args:
        name: one of `BACKBONES`.
        weights: a file with a state dict, `imagenet` to fetch the published weights, or `random`.
            Random networks train the statistics of their normalization, others keep them.
        output_stride: px of the input per cell of the deepest map; 16 is for ResNets only, whose
            last stage is dilated instead of strided then.

    Raises:
        InvalidConfig: no such backbone or stride; or the weights cannot be had or do not fit.
    """
    if name not in BACKBONES:
        raise InvalidConfig(f"unknown backbone {name!r}; choose one of {', '.join(BACKBONES)}")
    if output_stride == 16 and not name.startswith("resnet"):
        raise InvalidConfig(f"backbone {name} has no output stride of 16; choose 32, or a ResNet")
    backbone = _family(name)(name, output_stride)
    load_weights(backbone, weights)
    return backbone


def _family(name: str) -> Callable[[str, OutputStride], Backbone]:
    if name.startswith("resnet"):
        from training.backbones.resnet import ResNetBackbone

        return ResNetBackbone
    if name.startswith("efficientnet"):
        from training.backbones.efficientnet_lite import EfficientNetLiteBackbone

        return lambda name, _: EfficientNetLiteBackbone(name)
    from training.backbones.mobilenet import MobileNetBackbone

    return lambda name, _: MobileNetBackbone(name)
