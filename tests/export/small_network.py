"""A small depthwise pose network with channels of unequal range, as trained ones have them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.to_onnx import export_graph

SIDE_PX = 64


class SmallNetwork(nn.Module):
    """uint8 (B, H, W, 3) frames to a map (B, 2, H/4, W/4) through six layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.depthwise = nn.Conv2d(16, 16, 3, 1, 1, groups=16)
        self.expand = nn.Conv2d(16, 24, 1)
        self.depthwise2 = nn.Conv2d(24, 24, 3, 2, 1, groups=24)
        self.project = nn.Conv2d(24, 24, 1)
        self.head = nn.Conv2d(24, 2, 1)
        with torch.no_grad():
            self.stem.weight *= torch.logspace(-1.5, 0.3, 16)[:, None, None, None]
            self.depthwise.weight += 0.4

    def forward(self, frames: Tensor) -> Tensor:
        """See the class."""
        pixels = (frames.float().permute(0, 3, 1, 2) - 120) / 60
        maps = nn.functional.relu6(self.stem(pixels))
        maps = nn.functional.relu6(self.depthwise(maps))
        maps = nn.functional.relu6(self.expand(maps))
        maps = nn.functional.relu6(self.depthwise2(maps))
        shortcut = maps
        answer: Tensor = self.head(nn.functional.relu(self.project(maps) + shortcut))
        return answer


def write_small_network(folder: Path) -> Path:
    """Export one with fixed random weights."""
    torch.manual_seed(3)
    return export_graph(
        SmallNetwork(),
        [torch.zeros((2, SIDE_PX, SIDE_PX, 3), dtype=torch.uint8)],
        input_names=["frames"],
        output_names=["maps"],
        dynamic_shapes=[{0: "batch"}],
        path=folder / "small.onnx",
        metadata={"keypoints": "a,b"},
    )


def smooth_frames(count: int, seed: int) -> NDArray[np.uint8]:
    """Frames of a few bright blobs: what stands beside each other is alike, as in pictures."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    frames = np.full((count, SIDE_PX, SIDE_PX, 3), 90.0)
    for frame in frames:
        for _ in range(4):
            center_x, center_y, size = random.uniform(0, SIDE_PX, 3)
            blob = np.exp(-((x - center_x) ** 2 + (y - center_y) ** 2) / (20 + size * 4))
            frame += blob[..., None] * random.uniform(-80, 150, 3)
    return np.clip(frames, 0, 255).astype(np.uint8)


def batches_of(frames: NDArray[np.uint8], size: int = 4) -> Sequence[dict[str, NDArray[np.uint8]]]:
    """Cut frames into inputs of the graph."""
    return [{"frames": frames[first : first + size]} for first in range(0, len(frames), size)]
