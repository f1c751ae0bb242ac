"""The flow generator of preset `realtime`: one small network for each pair of frames."""

from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.behavior.flow import gray_pairs, weigh
from training.behavior.networks.base import FlowGenerator

_SLOPE = 0.1
_WINDOW = 5
_FLAT = 1e-4
"""Squared slopes, in gray levels of [0, 1] per cell, below which no motion is guessed."""


class RealtimeFlow(FlowGenerator):
    """A small U-Net: two neighboring frames to the flow between them at 1/2 to 1/16 of the size.

    Beside the frames, each level gets the normal flow of its resolution: the motion along the
    gradient that explains the difference of the frames (Horn and Schunck 1981). It is a first
    guess that needs no training, so that a few thousand pairs teach the rest.

    Args:
        width: channels at half resolution; deeper levels have 2, 3 and 4 times as many.
    """

    input_frames = 2

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        widths = (width, 2 * width, 3 * width, 4 * width)
        self.down = nn.ModuleList()
        before = 2
        for level, after in enumerate(widths):
            kernel = 5 if level == 0 else 3
            block = [_conv(before, after, kernel, stride=2)]
            if level:
                block.append(_conv(after, after, 3, stride=1))
            self.down.append(nn.Sequential(*block))
            before = after
        self.predict = nn.ModuleList(_predict(one + 2) for one in widths)
        self.up = nn.ModuleList(
            _conv(skip + deep + 4, skip, 3, stride=1) for skip, deep in pairwise(widths)
        )

    def forward(self, frames: Tensor) -> list[Tensor]:
        """See the base class; the network looks at the mean of the colors."""
        pairs = gray_pairs(frames)
        maps = (pairs - pairs.mean(dim=(1, 2, 3), keepdim=True)) * 4.0
        skips = []
        for block in self.down:
            maps = block(maps)
            skips.append(maps)
        guesses = [
            normal_flow(pairs, 2 ** (level + 1), (skip.shape[2], skip.shape[3]))
            for level, skip in enumerate(skips)
        ]
        flows = [self.predict[-1](torch.cat([maps, guesses[-1]], dim=1))]
        for level in range(len(skips) - 2, -1, -1):
            skip, guess = skips[level], guesses[level]
            size = skip.shape[-2:]
            raised = functional.interpolate(maps, size=size, mode="nearest")
            flow = functional.interpolate(flows[0], size=size, mode="bilinear")
            maps = self.up[level](torch.cat([skip, raised, flow, guess], dim=1))
            flows.insert(0, self.predict[level](torch.cat([maps, guess], dim=1)) + flow)
        return [flow[:, None] for flow in flows]


def normal_flow(pairs: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Motion along the gradient, in windows of 5 cells, at 1 / `stride` of the resolution.

    Args:
        pairs: (B, 2, H, W) gray levels in [0, 1].
        stride: px per cell.
        size: (h, w) of the answer.

    Returns:
        (B, 2, h, w) px of the full size per frame, at most 1.5 cells to either side.
    """
    small = _shrink(pairs, size)
    change = small[:, 1:] - small[:, :1]
    middle = functional.pad(small.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    x = (middle[:, :, 1:-1, 2:] - middle[:, :, 1:-1, :-2]) / 2
    y = (middle[:, :, 2:, 1:-1] - middle[:, :, :-2, 1:-1]) / 2
    slopes = torch.cat([x, y], dim=1)
    steepness = (slopes * slopes).sum(dim=1, keepdim=True)
    means = _window_means(torch.cat([slopes * change, steepness], dim=1))
    return (-means[:, :2] / (means[:, 2:] + _FLAT)).clamp(-1.5, 1.5) * stride


def _window_means(maps: Tensor) -> Tensor:
    """Average (B, C, h, w) over windows of 5 cells; beyond the edges is 0.

    Exported as products, as in `_shrink`: engines are slow at pooling so few maps.
    """
    if not torch.compiler.is_exporting():
        return functional.avg_pool2d(maps, _WINDOW, 1, _WINDOW // 2)
    return weigh(maps, *(_windows(size) for size in maps.shape[-2:]))


@cache
def _windows(size: int) -> NDArray[np.float32]:
    """(size, size) weights: each row the mean of the window around a cell."""
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    return np.where(distance <= _WINDOW // 2, 1 / _WINDOW, 0.0).astype(np.float32)


def _shrink(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Average (B, C, H, W) to (B, C, h, w).

    Exported as products with constant matrices: of `adaptive_avg_pool2d` at sizes that do not
    divide, the exporter makes hundreds of nodes. A training would round such products to bf16.
    """
    if not torch.compiler.is_exporting():
        return functional.adaptive_avg_pool2d(maps, size)
    sizes = zip(maps.shape[-2:], size, strict=True)
    return weigh(maps, *(_means(before, after) for before, after in sizes))


@cache
def _means(before: int, after: int) -> NDArray[np.float32]:
    """(after, before) weights: each row the mean of the cells that an answered one covers."""
    weights = np.zeros((after, before), np.float32)
    for row in range(after):
        first, end = row * before // after, -(-(row + 1) * before // after)
        weights[row, first:end] = 1 / (end - first)
    return weights


def _conv(before: int, after: int, kernel: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(_SLOPE),
    )


def _predict(before: int) -> nn.Conv2d:
    layer = nn.Conv2d(before, 2, 3, padding=1)
    nn.init.normal_(layer.weight, std=1e-3)  # an untrained network sees next to no motion
    assert layer.bias is not None, "the layer has a bias"
    nn.init.zeros_(layer.bias)
    return layer
