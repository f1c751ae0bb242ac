"""TinyMotionNet3D, the flow generator of preset `deg_s`."""

from torch import Tensor, nn

from training.behavior.networks.base import FlowGenerator, Standardize
from training.behavior.networks.tiny_motionnet import FRAMES, concatenate

_SLOPE = 0.1


class TinyMotionNet3D(FlowGenerator):
    """Eleven frames, time an axis of its own, to ten flows at 1/2, 1/4 and 1/8 of the size.

    From the description by Bohnslav et al. 2021 (eLife 10:e63377). Kernels of two frames bring
    eleven time steps to ten. Below the input, modules have the names that DeepEthogram's weights
    go by.

    Args:
        mean: of each color in the project's videos, in [0, 1].
        std: of each color in the project's videos, in [0, 1].
    """

    input_frames = FRAMES

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.standardize = Standardize(mean, std)
        self.conv1 = _conv(3, 16, 7)
        self.conv2 = _conv(16, 32, 5, stride=2)
        self.conv3 = _conv(32, 64, 3, stride=2)
        self.conv4 = _conv(64, 32, 3, stride=2)
        self.conv5 = _conv_between(32)
        self.iconv3 = _conv_between(64)
        self.iconv2 = _conv_between(32)
        self.deconv3 = _deconv(32, 32)
        self.deconv2 = _deconv(32, 16)
        self.xconv3 = _conv_linear(64 + 32 + 2, 32)
        self.xconv2 = _conv_linear(32 + 16 + 2, 16)
        self.predict_flow4 = _predict_flow(32)
        self.predict_flow3 = _predict_flow(32)
        self.predict_flow2 = _predict_flow(16)
        self.upsampled_flow4_to_3 = _upsampled_flow()
        self.upsampled_flow3_to_2 = _upsampled_flow()

    def forward(self, frames: Tensor) -> list[Tensor]:
        """See FlowGenerator."""
        skip2 = self.conv2(self.conv1(self.standardize(frames).permute(0, 4, 1, 2, 3)))
        skip3 = self.conv3(skip2)
        deepest = self.conv5(self.conv4(skip3))

        flow4 = self.predict_flow4(deepest)
        raised = 2 * self.upsampled_flow4_to_3(flow4)
        maps = self.xconv3(concatenate(self.iconv3(skip3), self.deconv3(deepest), raised))
        flow3 = self.predict_flow3(maps)
        raised = 2 * self.upsampled_flow3_to_2(flow3)
        maps = self.xconv2(concatenate(self.iconv2(skip2), self.deconv2(maps), raised))
        flow2 = self.predict_flow2(maps)
        # (B, 2, 10, h, w) in px of their own scales; see FlowGenerator for what leaves.
        return [
            flow.transpose(1, 2) * 2.0**level for level, flow in enumerate((flow2, flow3, flow4), 1)
        ]


def _conv(before: int, after: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """Build a convolution that keeps the number of time steps."""
    return nn.Sequential(
        nn.Conv3d(before, after, kernel, (1, stride, stride), (kernel - 1) // 2, bias=False),
        nn.BatchNorm3d(after),
        nn.LeakyReLU(_SLOPE, inplace=True),
    )


def _conv_between(channels: int) -> nn.Sequential:
    """Build a convolution over each two neighboring time steps."""
    return nn.Sequential(
        nn.Conv3d(channels, channels, (2, 3, 3), padding=(0, 1, 1), bias=False),
        nn.BatchNorm3d(channels),
        nn.LeakyReLU(_SLOPE, inplace=True),
    )


def _conv_linear(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(before, after, 3, padding=1), nn.BatchNorm3d(after))


def _deconv(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose3d(before, after, (1, 4, 4), (1, 2, 2), (0, 1, 1), bias=False),
        nn.BatchNorm3d(after),
        nn.LeakyReLU(_SLOPE, inplace=True),
    )


def _predict_flow(before: int) -> nn.Sequential:
    layer = nn.Conv3d(before, 2, 3, padding=1)
    nn.init.normal_(layer.weight, std=1e-3)  # an untrained network sees next to no motion
    assert layer.bias is not None, "the layer has a bias"
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer)


def _upsampled_flow() -> nn.ConvTranspose3d:
    return nn.ConvTranspose3d(2, 2, (1, 4, 4), (1, 2, 2), (0, 1, 1))
