"""The loss that trains flow generators without labels: what moves must explain the next frame."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_SSIM_WINDOW, _SSIM_SIGMA = 11, 1.5
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
_SMOOTHNESS_WEIGHTS = (0.01, 0.02, 0.04, 0.08)
"""From the finest scale to the coarsest."""


def gray_pairs(frames: Tensor) -> Tensor:
    """Turn (B, T, H, W, C) uint8 into (B (T - 1), 2, H, W) float32 in [0, 1]."""
    levels = frames.to(torch.float32)
    gray = (levels[..., 0] if levels.shape[4] == 1 else levels.mean(dim=4)) / 255.0
    pairs = torch.stack([gray[:, :-1], gray[:, 1:]], dim=2)
    return pairs.flatten(0, 1)


def flow_loss(
    frames: Tensor,
    flows: list[Tensor],
    *,
    smoothness_factor: float = 1.0,
    sparsity_weight: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Self-supervised loss of motion networks (Zhu et al. 2017, arXiv 1704.00389).

    At each scale the second frame of a pair, sampled where the flow points, must rebuild the first
    one: mean of 1 - SSIM, plus a Charbonnier penalty on the differences, plus small ones on the
    flow's gradients and its amount. Colors are compared by their mean.

    Args:
        frames: (B, W, H, W_px, C) uint8.
        flows: (B, W - 1, 2, h, w), finest first, in px of the full size per frame; four scales at
            most.
        smoothness_factor: on the weights of the flow's gradients.
        sparsity_weight: of the flow's mean amount; where nothing tells of motion, the answer is
            none.

    Returns:
        The loss, and its parts at the finest scale: ssim (of the rebuilt frame), l1, smoothness.
    """
    pairs = gray_pairs(frames)
    total = pairs.new_zeros(())
    figures: dict[str, Tensor] = {}
    for scale, weight in zip(flows, _SMOOTHNESS_WEIGHTS, strict=False):
        flow = scale.flatten(0, 1)
        small = functional.interpolate(pairs, size=flow.shape[-2:], mode="area")
        rebuilt = warp(small[:, 1:], flow, pairs.shape[-1] / flow.shape[-1])
        similarity = structural_similarity(small[:, :1], rebuilt).mean()
        difference = _charbonnier(small[:, :1] - rebuilt, 0.4, 1e-4).mean()
        smoothness = _smoothness(flow)
        penalty = smoothness_factor * weight * smoothness + sparsity_weight * flow.abs().mean()
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
    maps = torch.cat([first, second, first * first, second * second, first * second], dim=1)
    # A convolution of single channels takes ten times as long as these products.
    blurred = weigh(maps, *(_blur_matrix(size) for size in first.shape[-2:]))
    mean_1, mean_2, square_1, square_2, product = blurred.chunk(5, dim=1)
    variance_1 = square_1 - mean_1 * mean_1
    variance_2 = square_2 - mean_2 * mean_2
    covariance = product - mean_1 * mean_2
    numerator = (2 * mean_1 * mean_2 + _SSIM_C1) * (2 * covariance + _SSIM_C2)
    denominator = (mean_1**2 + mean_2**2 + _SSIM_C1) * (variance_1 + variance_2 + _SSIM_C2)
    return numerator / denominator


def weigh(maps: Tensor, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> Tensor:
    """Sum (B, C, h, w) by weights (h', h) and (w', w) along both axes, to (B, C, h', w')."""
    first, second = (torch.from_numpy(one).to(maps) for one in (rows, columns))
    return first @ maps @ second.T


@cache
def _blur_matrix(size: int) -> NDArray[np.float32]:
    """(size, size) weights of SSIM's window along a line whose ends are repeated."""
    offsets = np.arange(_SSIM_WINDOW) - _SSIM_WINDOW // 2
    window = np.exp(-(offsets**2) / (2 * _SSIM_SIGMA**2))
    weights, places = np.zeros((size, size)), np.arange(size)
    for offset, weight in zip(offsets, window / window.sum(), strict=True):
        weights[places, np.clip(places + offset, 0, size - 1)] += weight
    return weights.astype(np.float32)


def _charbonnier(difference: Tensor, exponent: float, epsilon: float) -> Tensor:
    return (difference * difference + epsilon * epsilon) ** exponent


def _smoothness(flow: Tensor) -> Tensor:
    across = _charbonnier(flow[..., :, 1:] - flow[..., :, :-1], 0.3, 1e-7).mean()
    along = _charbonnier(flow[..., 1:, :] - flow[..., :-1, :], 0.3, 1e-7).mean()
    return across + along
