"""TinyMotionNet, the flow generator of preset `deg_f`, and the layers it shares with MotionNet."""

import torch
from torch import Tensor, nn

from training.behavior.networks.base import FlowGenerator, Standardize

FRAMES = 11
FLOWS = FRAMES - 1
_SLOPE = 0.1
_FLOW_CHANNELS = 2 * FLOWS
"""x and y of the first flow, x and y of the second one, and so on."""


class TinyMotionNet(FlowGenerator):
    """Eleven stacked frames to ten flows at 1/2, 1/4 and 1/8 of the size.

    From the description by Bohnslav et al. 2021 (eLife 10:e63377), after Zhu et al. 2017 (arXiv
    1704.00389). Below the input, modules have the names that DeepEthogram's weights go by.

    Args:
        mean: of each color in the project's videos, in [0, 1].
        std: of each color in the project's videos, in [0, 1].
    """

    input_frames = FRAMES

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.standardize = Standardize(mean, std)
        self.conv1 = conv(3 * FRAMES, 64, 7)
        self.conv2 = conv(64, 128, 5, stride=2)
        self.conv3 = conv(128, 256, 3, stride=2)
        self.conv4 = conv(256, 128, 3, stride=2)
        self.deconv3 = deconv(128, 128)
        self.deconv2 = deconv(128, 64)
        self.xconv3 = conv_linear(256 + 128 + _FLOW_CHANNELS, 128)
        self.xconv2 = conv_linear(128 + 64 + _FLOW_CHANNELS, 64)
        self.predict_flow4 = predict_flow(128)
        self.predict_flow3 = predict_flow(128)
        self.predict_flow2 = predict_flow(64)
        self.upsampled_flow4_to_3 = upsampled_flow()
        self.upsampled_flow3_to_2 = upsampled_flow()

    def forward(self, frames: Tensor) -> list[Tensor]:
        """See FlowGenerator."""
        skip2 = self.conv2(self.conv1(stack(self.standardize(frames))))
        skip3 = self.conv3(skip2)
        deepest = self.conv4(skip3)

        flow4 = self.predict_flow4(deepest)
        raised = 2 * self.upsampled_flow4_to_3(flow4)
        maps = self.xconv3(concatenate(skip3, self.deconv3(deepest), raised))
        flow3 = self.predict_flow3(maps)
        raised = 2 * self.upsampled_flow3_to_2(flow3)
        maps = self.xconv2(concatenate(skip2, self.deconv2(maps), raised))
        flow2 = self.predict_flow2(maps)
        return in_px(flow2, flow3, flow4)


def stack(colors: Tensor) -> Tensor:
    """Turn (B, W, H, W_px, 3) into (B, 3 W, H, W_px): the colors of the first frame first."""
    return colors.permute(0, 1, 4, 2, 3).flatten(1, 2)


def concatenate(*maps: Tensor) -> Tensor:
    """Join maps along their channels, after a crop to the smallest height and width."""
    height, width = min(one.shape[-2] for one in maps), min(one.shape[-1] for one in maps)
    return torch.cat([one[..., :height, :width] for one in maps], dim=1)


def in_px(*flows: Tensor) -> list[Tensor]:
    """Turn flows (B, 20, h, w) in px of their own scales into (B, 10, 2, h, w) in input px.

    Args:
        flows: at 1/2 of the input's size, 1/4, and so on.
    """
    return [
        flow.reshape(-1, FLOWS, 2, flow.shape[-2], flow.shape[-1]) * 2.0**level
        for level, flow in enumerate(flows, 1)
    ]


def conv(before: int, after: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """Build a convolution, normalized, and leaky."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, (kernel - 1) // 2),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(_SLOPE, inplace=True),
    )


def conv_linear(before: int, after: int) -> nn.Sequential:
    """Build a normalized convolution without an activation."""
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after))


def deconv(before: int, after: int) -> nn.Sequential:
    """Build a transposed convolution that doubles height and width, and is leaky."""
    return nn.Sequential(
        nn.ConvTranspose2d(before, after, 4, 2, 1), nn.LeakyReLU(_SLOPE, inplace=True)
    )


def predict_flow(before: int) -> nn.Conv2d:
    """Build the layer that reads the flows off the maps of one scale."""
    layer = nn.Conv2d(before, _FLOW_CHANNELS, 3, padding=1, bias=False)
    nn.init.normal_(layer.weight, std=1e-3)  # an untrained network sees next to no motion
    return layer


def upsampled_flow() -> nn.ConvTranspose2d:
    """Build the layer that brings the flows of one scale to the next finer one."""
    return nn.ConvTranspose2d(_FLOW_CHANNELS, _FLOW_CHANNELS, 4, 2, 1)
