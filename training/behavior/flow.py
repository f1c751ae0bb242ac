"""The flow network of a frame pair, and the loss that trains it without labels.

A flow (B, 2, h, w) is in px of the model input per frame: what is at (x, y) in the first frame
is at (x, y) + flow in the second one.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_SLOPE = 0.1
_FLAT = 1e-4
"""Squared slopes, in gray levels of [0, 1] per cell, below which no motion is guessed."""
_SPARSITY_WEIGHT = 0.002
"""Where nothing tells of motion, the answer is none."""
_SSIM_WINDOW, _SSIM_SIGMA = 11, 1.5
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
_SMOOTHNESS_WEIGHTS = (0.01, 0.02, 0.04, 0.08)
"""From the finest scale to the coarsest."""


class FlowNetwork(nn.Module):
    """A small U-Net: two neighboring frames to the flow between them at half resolution.

    Beside the frames, each level gets the normal flow of its resolution: the motion along the
    gradient that explains the difference of the frames (Horn and Schunck 1981). It is a first
    guess that needs no training, so that a few thousand pairs teach the rest.

    Args:
        channels: frame channels, 1 or 3; the network looks at their mean.
        width: channels at half resolution; deeper levels have 2, 3 and 4 times as many.
    """

    def __init__(self, channels: int, width: int = 12) -> None:
        super().__init__()
        self.channels = channels
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

    def forward(self, pairs: Tensor) -> list[Tensor]:
        """Return the flows (B, 2, h, w) at 1/2, 1/4, 1/8 and 1/16 of the size.

        Args:
            pairs: (B, 2, H, W) gray levels in [0, 1].
        """
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
        return flows


def normal_flow(pairs: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Motion along the gradient, in windows of 5 cells, at 1 / `stride` of the resolution.

    Args:
        pairs: (B, 2, H, W) gray levels in [0, 1].
        stride: px per cell.
        size: (h, w) of the answer.

    Returns:
        (B, 2, h, w) px of the full size per frame, at most 1.5 cells to either side.
    """
    small = functional.adaptive_avg_pool2d(pairs, size)
    change = small[:, 1:] - small[:, :1]
    middle = functional.pad(small.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    x = (middle[:, :, 1:-1, 2:] - middle[:, :, 1:-1, :-2]) / 2
    y = (middle[:, :, 2:, 1:-1] - middle[:, :, :-2, 1:-1]) / 2
    slopes = torch.cat([x, y], dim=1)
    explained = functional.avg_pool2d(slopes * change, 5, 1, 2)
    steepness = functional.avg_pool2d((slopes * slopes).sum(dim=1, keepdim=True), 5, 1, 2)
    return (-explained / (steepness + _FLAT)).clamp(-1.5, 1.5) * stride


def gray_pairs(frames: Tensor) -> Tensor:
    """Turn (B, T, H, W, C) uint8 into (B (T - 1), 2, H, W) float32 in [0, 1]."""
    gray = frames.to(torch.float32).mean(dim=4) / 255.0
    pairs = torch.stack([gray[:, :-1], gray[:, 1:]], dim=2)
    return pairs.flatten(0, 1)


def flow_loss(pairs: Tensor, flows: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Self-supervised loss of motion networks (Zhu et al. 2017, arXiv 1704.00389).

    At each scale the second frame, sampled where the flow points, must rebuild the first one:
    mean of 1 - SSIM, plus a Charbonnier penalty on the differences, plus small ones on the
    flow's gradients and its amount.

    Args:
        pairs: (B, 2, H, W) in [0, 1].
        flows: (B, 2, h, w), finest first, in px of the full size.

    Returns:
        The loss, and its parts at the finest scale: ssim (of the rebuilt frame), l1, smoothness.
    """
    total = pairs.new_zeros(())
    figures: dict[str, Tensor] = {}
    for flow, weight in zip(flows, _SMOOTHNESS_WEIGHTS, strict=True):
        small = functional.interpolate(pairs, size=flow.shape[-2:], mode="area")
        rebuilt = warp(small[:, 1:], flow, pairs.shape[-1] / flow.shape[-1])
        similarity = structural_similarity(small[:, :1], rebuilt).mean()
        difference = _charbonnier(small[:, :1] - rebuilt, 0.4, 1e-4).mean()
        smoothness = _smoothness(flow)
        penalty = weight * smoothness + _SPARSITY_WEIGHT * flow.abs().mean()
        total = total + (1.0 - similarity) + difference + penalty
        if not figures:
            l1 = (small[:, :1] - rebuilt).abs().mean()
            figures = {"ssim": similarity, "l1": l1, "smoothness": smoothness}
    return total, figures


def warp(images: Tensor, flow: Tensor, px_per_cell: float) -> Tensor:
    """Sample (B, C, h, w) `images` at each cell displaced by `flow`, bilinearly, edges repeated.

    Args:
        images: what is sampled.
        flow: (B, 2, h, w) x and y in px of the full size.
        px_per_cell: px of the full size per cell of `images`.
    """
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=flow.dtype, device=flow.device),
        torch.arange(width, dtype=flow.dtype, device=flow.device),
        indexing="ij",
    )
    moved_x = x + flow[:, 0] / px_per_cell
    moved_y = y + flow[:, 1] / px_per_cell
    grid = torch.stack([(moved_x + 0.5) * 2 / width - 1, (moved_y + 0.5) * 2 / height - 1], dim=3)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """SSIM map (Wang et al. 2004) of (B, 1, h, w) images in [0, 1], same size."""
    offsets = torch.arange(_SSIM_WINDOW, dtype=first.dtype, device=first.device)
    line = torch.exp(-((offsets - _SSIM_WINDOW // 2) ** 2) / (2 * _SSIM_SIGMA**2))
    line = line / line.sum()

    def blur(maps: Tensor) -> Tensor:
        half = _SSIM_WINDOW // 2
        maps = functional.pad(maps, (half, half, half, half), mode="replicate")
        return functional.conv2d(
            functional.conv2d(maps, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1)
        )

    mean_1, mean_2 = blur(first), blur(second)
    variance_1 = blur(first * first) - mean_1 * mean_1
    variance_2 = blur(second * second) - mean_2 * mean_2
    covariance = blur(first * second) - mean_1 * mean_2
    numerator = (2 * mean_1 * mean_2 + _SSIM_C1) * (2 * covariance + _SSIM_C2)
    denominator = (mean_1**2 + mean_2**2 + _SSIM_C1) * (variance_1 + variance_2 + _SSIM_C2)
    return numerator / denominator


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


def _charbonnier(difference: Tensor, exponent: float, epsilon: float) -> Tensor:
    return (difference * difference + epsilon * epsilon) ** exponent


def _smoothness(flow: Tensor) -> Tensor:
    across = _charbonnier(flow[..., :, 1:] - flow[..., :, :-1], 0.3, 1e-7).mean()
    along = _charbonnier(flow[..., 1:, :] - flow[..., :-1, :], 0.3, 1e-7).mean()
    return across + along
