"""The 3-D ResNet-34 two-stream feature extractor of preset `deg_s`."""

from torch import Tensor, nn
from torch.nn import functional

from training.behavior.networks.two_stream import FusionName, TwoStream

RESNET_34 = (3, 4, 6, 3)


class TwoStreamResNet3D(TwoStream):
    """3-D ResNets on eleven frames and on the ten flows between them.

    Args:
        behaviors: K.
        mean: see TwoStream.
        std: see TwoStream.
        dropout_p: see TwoStream.
        fusion: see TwoStream.
        flow_weight: see TwoStream.
        blocks: of each ResNet's four layers.
    """

    input_frames = 11

    def __init__(
        self,
        *,
        behaviors: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        dropout_p: float = 0.25,
        fusion: FusionName = "average",
        flow_weight: float = 1.0,
        blocks: tuple[int, int, int, int] = RESNET_34,
    ) -> None:
        super().__init__(
            ResNet3D(3, blocks),
            ResNet3D(2, blocks),
            behaviors=behaviors,
            mean=mean,
            std=std,
            dropout_p=dropout_p,
            fusion=fusion,
            flow_weight=flow_weight,
        )

    def _arrange(self, flows: Tensor) -> Tensor:
        return flows.transpose(1, 2)


class ResNet3D(nn.Module):
    """3-D ResNet of basic blocks with shortcuts of type B (Hara et al. 2018, arXiv 1711.09577).

    Args:
        channels: of the input.
        blocks: of each of the four layers.
    """

    def __init__(self, channels: int, blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, 64, 7, (1, 2, 2), 3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, 2, 1)
        self.layer1 = _layer(64, 64, blocks[0], stride=1)
        self.layer2 = _layer(64, 128, blocks[1], stride=2)
        self.layer3 = _layer(128, 256, blocks[2], stride=2)
        self.layer4 = _layer(256, 512, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Tensor) -> Tensor:
        """Turn (B, channels, T, h, w) into features (B, 512)."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(maps))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        features: Tensor = self.avgpool(maps).flatten(1)
        return features


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(after)
        self.conv2 = nn.Conv3d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(after)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv3d(before, after, 1, stride, bias=False), nn.BatchNorm3d(after)
            )

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = self.downsample(maps)
        maps = functional.relu(self.bn1(self.conv1(maps)))
        return functional.relu(self.bn2(self.conv2(maps)) + shortcut)


def _layer(before: int, after: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = _Block(before, after, stride)
    return nn.Sequential(first, *(_Block(after, after, 1) for _ in range(blocks - 1)))
