"""The pose network: a backbone and a head; and the decoding of its maps, as graphs hold it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.targets import REACH_CELLS, TargetSpec
from training.backbones import Backbone
from training.pose.heads import DeconvolutionHead, PyramidHead

SIZE_MULTIPLE_PX = 32
"""Sides of the input must be whole multiples, so that the maps of the pyramid align."""


class PoseMaps(NamedTuple):
    """What the network answers for a batch; h, w are the input's sides over the stride."""

    scores: Tensor
    """(B, K, h, w); logits where targets are discs, confidences where they are Gaussians."""
    offsets: Tensor
    """(B, K, 2, h, w) in offset units."""
    intermediate_scores: Tensor | None = None
    """(B, K, h, w) like `scores`, in training with intermediate supervision."""


class PoseNetwork(nn.Module):
    """uint8 (B, H, W, C) frames to score maps and offsets."""

    def __init__(self, backbone: Backbone, head: PyramidHead | DeconvolutionHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, frames: Tensor) -> PoseMaps:
        """See the class; C is 3 (RGB) or 1 (gray)."""
        # Cast first: TensorRT takes uint8 inputs but refuses to transpose them.
        pixels = frames.float().permute(0, 3, 1, 2)
        if pixels.shape[1] == 1:
            pixels = pixels.expand(-1, 3, -1, -1)
        maps = self.head(self.backbone(pixels))
        keypoints = maps.scores.shape[1]
        offsets = maps.offsets.unflatten(1, (keypoints, 2))
        return PoseMaps(maps.scores, offsets, maps.intermediate_scores)


def locate(
    maps: PoseMaps, spec: TargetSpec, *, animals: int = 1, unique: tuple[int, ...] = ()
) -> Tensor:
    """Find each keypoint as `service.targets.decode` does, for a batch.

    Args:
        maps: what the network answered.
        spec: geometry of the maps.
        animals: N; more than one are the N highest local maxima of each map, ungrouped.
        unique: indices of keypoints that exist once in the scene: confidence 0 in rows n >= 1.

    Returns:
        (B, N, K, 3): x, y in px of the model input and confidence in [0, 1].
    """
    scores = maps.scores.float()
    offsets = maps.offsets.float().flatten(3) * spec.offset_unit_px
    height, width = scores.shape[2:]
    left = _only_local_maxima(scores) if animals > 1 else scores
    rows = torch.arange(height, device=scores.device)[:, None]
    columns = torch.arange(width, device=scores.device)[None, :]
    found = []
    for animal in range(animals):
        # The largest logit, not the largest confidence: in float32 those beyond 17 tie at 1.
        peaks, cells = left.flatten(2).max(dim=2)
        moved = offsets.gather(3, cells[:, :, None, None].expand(-1, -1, 2, 1)).squeeze(3)
        row, column = cells // width, cells % width
        corners = torch.stack([column, row], dim=2).float()
        points = (corners + 0.5) * spec.stride_px - 0.5 + moved
        confidence = peaks.sigmoid() if spec.kind == "disc" else peaks.clamp(0, 1)
        if animal and unique:
            is_shared = torch.ones(scores.shape[1], device=scores.device)
            is_shared[list(unique)] = 0
            confidence = confidence * is_shared
        found.append(torch.cat([points, confidence[:, :, None]], dim=2))
        if animal + 1 < animals:
            # Equal neighbors are one maximum, so what is found takes its neighborhood with it.
            is_far = ((rows - row[:, :, None, None]).abs() > REACH_CELLS) | (
                (columns - column[:, :, None, None]).abs() > REACH_CELLS
            )
            left = torch.where(is_far, left, _NOWHERE)
    return torch.stack(found, dim=1)


_NOWHERE = -100.0
"""A score that no cell has; its confidence is 0, and it does not overflow in half precision."""


def _only_local_maxima(scores: Tensor) -> Tensor:
    side = 2 * REACH_CELLS + 1
    largest = functional.max_pool2d(scores, side, stride=1, padding=REACH_CELLS)
    return torch.where(scores >= largest, scores, _NOWHERE)
