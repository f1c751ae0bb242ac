"""Two-stream feature extractors, and the ResNet-18 and ResNet-50 ones of `deg_f` and `deg_m`."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torchvision
from torch import Tensor, nn

from service.errors import InvalidConfig
from training.behavior.networks.base import FeatureExtractor, Standardize

STREAM_FEATURES = 512
FusionName = Literal["average", "concatenate", "weighted"]


class TwoStream(FeatureExtractor):
    """Features and logits of the pixels and of the flows, apart, then fused.

    After Simonyan and Zisserman 2014 (arXiv 1406.2199), as Bohnslav et al. 2021 (eLife 10:e63377)
    describe it. The features are those of the pixels (512), then those of the flows (512). Module
    names are those that DeepEthogram's weights go by.

    Args:
        spatial: pixels to (B, 512).
        flow: flows in px of half the resolution to (B, 512).
        behaviors: K.
        mean: of each color in the project's videos, in [0, 1].
        std: of each color in the project's videos, in [0, 1].
        dropout_p: share of the features that training leaves out before the last layers.
        fusion: `average` of the logits (the paper's), `weighted` with a learned weight, or
            `concatenate`: one last layer that sees the features of both.
        flow_weight: of the flows' logits in `average`, those of the pixels weighing 1. The paper
            has 1.0; DeepEthogram's weights were trained with 1.5.

    Raises:
        InvalidConfig: no such fusion.
    """

    flow_frames = 10
    feature_size = 2 * STREAM_FEATURES

    def __init__(
        self,
        spatial: nn.Module,
        flow: nn.Module,
        *,
        behaviors: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        dropout_p: float = 0.25,
        fusion: FusionName = "average",
        flow_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.standardize = Standardize(mean, std)
        self.fusion = _create_fusion(fusion, behaviors=behaviors, flow_weight=flow_weight)
        self.spatial_classifier = nn.Sequential(spatial, self.fusion.last_layer())
        self.flow_classifier = nn.Sequential(flow, self.fusion.last_layer())
        self.dropout = nn.Dropout(dropout_p)
        self._pretrained: list[str] = []

    def forward(self, frames: Tensor, flows: Tensor) -> tuple[Tensor, Tensor]:
        """See FeatureExtractor."""
        spatial, spatial_logits = self.spatial_stream(frames)
        flow, flow_logits = self.flow_stream(flows)
        return torch.cat([spatial, flow], dim=1), self.fusion(spatial_logits, flow_logits)

    def spatial_stream(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, 512) and logits (B, K) of the pixels alone.

        With the fusion `concatenate` a stream has no logits, but its features once more.

        Args:
            frames: as in `forward`.
        """
        trunk, last = self.spatial_classifier
        features: Tensor = trunk(self.standardize(frames).movedim(-1, 1))
        return features, last(self.dropout(features))

    def flow_stream(self, flows: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, 512) and logits (B, K) of the flows alone; see `spatial_stream`.

        Args:
            flows: as in `forward`.
        """
        trunk, last = self.flow_classifier
        features: Tensor = trunk(self._arrange(flows * 0.5))  # px of the half resolution it has
        return features, last(self.dropout(features))

    def pretrained(self) -> list[nn.Parameter]:
        """See FeatureExtractor; `load_imagenet` tells which."""
        return [self.get_parameter(name) for name in self._pretrained]

    def remember_pretrained(self, names: Sequence[str]) -> None:
        """Say which parameters were loaded."""
        known = dict(self.named_parameters())
        self._pretrained = [name for name in names if name in known]

    def last_layers(self) -> list[nn.Linear]:
        """See FeatureExtractor."""
        tops = (self.spatial_classifier[1], self.flow_classifier[1], self.fusion)
        layers = (one for top in tops for one in top.modules())
        return [one for one in layers if isinstance(one, nn.Linear)]

    @abstractmethod
    def _arrange(self, flows: Tensor) -> Tensor:
        """Turn flows (B, F, 2, h, w) into what the flow stream takes."""


class TwoStreamResNet(TwoStream):
    """ResNets of 18 or 50 layers (He et al. 2016) on one frame and on ten stacked flows.

    Args:
        depth: layers of each ResNet.
        behaviors: K.
        mean: see TwoStream.
        std: see TwoStream.
        dropout_p: see TwoStream.
        fusion: see TwoStream.
        flow_weight: see TwoStream.
    """

    input_frames = 1

    def __init__(
        self,
        depth: Literal[18, 50],
        *,
        behaviors: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        dropout_p: float = 0.25,
        fusion: FusionName = "average",
        flow_weight: float = 1.0,
    ) -> None:
        super().__init__(
            ResNet(depth, 3),
            ResNet(depth, 2 * self.flow_frames),
            behaviors=behaviors,
            mean=mean,
            std=std,
            dropout_p=dropout_p,
            fusion=fusion,
            flow_weight=flow_weight,
        )

    def _arrange(self, flows: Tensor) -> Tensor:
        return flows.flatten(1, 2)


class ResNet(nn.Module):
    """Torchvision's ResNet for any number of channels, with 512 features in the end.

    Args:
        depth: layers.
        channels: of the input (B, channels, h, w).
    """

    def __init__(self, depth: Literal[18, 50], channels: int) -> None:
        super().__init__()
        build = torchvision.models.resnet18 if depth == 18 else torchvision.models.resnet50
        network = build(weights=None)
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1: nn.Module = network.bn1
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = network.maxpool
        self.layer1: nn.Module = network.layer1
        self.layer2: nn.Module = network.layer2
        self.layer3: nn.Module = network.layer3
        self.layer4: nn.Module = network.layer4
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.compression_fc = (
            nn.Identity()
            if network.fc.in_features == STREAM_FEATURES
            else nn.Sequential(nn.Linear(network.fc.in_features, STREAM_FEATURES), nn.ReLU())
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Turn (B, channels, h, w) into features (B, 512)."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(maps))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        features: Tensor = self.compression_fc(self.avgpool(maps).flatten(1))
        return features


def load_imagenet(network: TwoStream, state_dict: Mapping[str, Tensor]) -> list[str]:
    """Start both streams at the weights of torchvision's ResNet of the same depth.

    The first kernels of the flow stream are the mean over the colors, the same for each channel
    (Wang et al. 2016, arXiv 1608.00859). Kernels of 3-D networks are those of the 2-D one at
    each time step, divided by their number (Carreira and Zisserman 2017, arXiv 1705.07750).

    Args:
        network: is changed.
        state_dict: of torchvision's resnet18, resnet34 (for 3-D) or resnet50.

    Returns:
        The names of the parameters and buffers of `network` that were set.

    Raises:
        InvalidConfig: the weights are of another network; nothing is changed.
    """
    fitted: dict[str, Tensor] = {}
    for stream in ("spatial_classifier.0", "flow_classifier.0"):
        trunk = network.get_submodule(stream)
        wanted = {
            name: tensor
            for name, tensor in trunk.state_dict().items()
            if not name.startswith("compression_fc.") and not name.endswith("num_batches_tracked")
        }
        for name in state_dict:
            known = name in wanted or name.startswith("fc.") or name.endswith("num_batches_tracked")
            if not known:
                raise InvalidConfig(
                    f"the ImageNet weights hold a tensor {name}, which this network lacks; "
                    "give those of torchvision's ResNet of the same depth"
                )
        for name, like in wanted.items():
            if name not in state_dict:
                raise InvalidConfig(
                    f"the ImageNet weights hold no tensor {name}; "
                    "give those of torchvision's ResNet of the same depth"
                )
            fitted[f"{stream}.{name}"] = _fit(name, state_dict[name], like)
    network.load_state_dict(fitted, strict=False)
    network.remember_pretrained(list(fitted))
    return list(fitted)


def _fit(name: str, tensor: Tensor, like: Tensor) -> Tensor:
    """Return `tensor` for the input channels and time steps of `like`."""
    fitted = tensor
    if name == "conv1.weight" and like.shape[1] != tensor.shape[1]:
        fitted = fitted.mean(dim=1, keepdim=True).expand(-1, like.shape[1], -1, -1)
    if fitted.ndim == 4 and like.ndim == 5:
        steps = like.shape[2]
        fitted = fitted[:, :, None].expand(-1, -1, steps, -1, -1) / steps
    if fitted.shape != like.shape:
        raise InvalidConfig(
            f"the tensor {name} of the ImageNet weights is of shape {tuple(tensor.shape)}, which "
            f"does not fit {tuple(like.shape)}; give those of torchvision's ResNet of the same "
            "depth"
        )
    return fitted


class _Fusion(nn.Module):
    """Two times (B, K) logits to one; `last_layer` makes what gives each of the two."""

    def __init__(self, behaviors: int) -> None:
        super().__init__()
        self._behaviors = behaviors

    def last_layer(self) -> nn.Module:
        return nn.Linear(STREAM_FEATURES, self._behaviors)


class _Average(_Fusion):
    def __init__(self, behaviors: int, flow_weight: float) -> None:
        super().__init__(behaviors)
        self.flow_weight = flow_weight

    def forward(self, spatial: Tensor, flow: Tensor) -> Tensor:
        return (spatial + self.flow_weight * flow) / (1.0 + self.flow_weight)


class _Weighted(_Fusion):
    def __init__(self, behaviors: int) -> None:
        super().__init__(behaviors)
        self.flow_weight = nn.Parameter(torch.tensor([0.5]))

    def forward(self, spatial: Tensor, flow: Tensor) -> Tensor:
        return (1.0 - self.flow_weight) * spatial + self.flow_weight * flow


class _Concatenate(_Fusion):
    def __init__(self, behaviors: int) -> None:
        super().__init__(behaviors)
        self.fc = nn.Linear(2 * STREAM_FEATURES, behaviors)

    def last_layer(self) -> nn.Module:
        return nn.Identity()

    def forward(self, spatial: Tensor, flow: Tensor) -> Tensor:
        logits: Tensor = self.fc(torch.cat([spatial, flow], dim=1))
        return logits


def _create_fusion(name: str, *, behaviors: int, flow_weight: float) -> _Fusion:
    match name:
        case "average":
            return _Average(behaviors, flow_weight)
        case "weighted":
            return _Weighted(behaviors)
        case "concatenate":
            return _Concatenate(behaviors)
        case _:
            raise InvalidConfig(
                f"unknown fusion {name!r}; choose one of average, concatenate, weighted"
            )
