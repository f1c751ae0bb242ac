"""What is put around a graph of another tool: frames to its pixels, its answers to keypoints."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.importers.description import (
    Answer,
    Description,
    HeatmapAnswer,
    InputDescription,
    KeypointAnswer,
    SimccAnswer,
)
from service.errors import InvalidConfig
from service.targets import TargetSpec
from training.pose.model import PoseMaps, locate

_PYRAMID = (1.0, 4.0, 6.0, 4.0, 1.0)
"""Binomial filter that smooths a map after it was doubled."""
_SHARPNESS = 1000.0
_AROUND_PX = 2
"""A confidence is what the sharpened map has within so many px of the answer."""


class Pixels(nn.Module):
    """uint8 frames to what the graph takes.

    Args:
        described: of the graph's input.
        dtype: of the graph's input.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, described: InputDescription, dtype: torch.dtype) -> None:
        super().__init__()
        channels = described.channels
        self.register_buffer("mean", torch.tensor(described.mean or (0.0,) * channels))
        self.register_buffer("std", torch.tensor(described.std or (1.0,) * channels))
        self._described = described
        self._dtype = dtype

    def forward(self, frames: Tensor) -> Tensor:
        """Turn (B, H, W, C) uint8, RGB or gray, into the graph's input."""
        # Cast first: TensorRT takes uint8 inputs but refuses to transpose them.
        pixels = frames.to(torch.float32)
        if self._described.color == "bgr":
            pixels = pixels.flip(3)
        if self._described.scale != 1.0:
            pixels = pixels * self._described.scale
        if any(self._described.mean):
            pixels = pixels - self.mean
        if any(one != 1.0 for one in self._described.std):
            pixels = pixels / self.std
        if self._described.layout == "NCHW":
            pixels = pixels.permute(0, 3, 1, 2)
        return pixels.to(self._dtype)


def create_answers(description: Description, *, animals: int) -> tuple[nn.Module, tuple[str, ...]]:
    """Return what turns the graph's outputs into (B, N, K, 3), and which outputs it takes.

    Args:
        description: of the graph.
        animals: N where the graph leaves it open, as heat maps do.

    Raises:
        InvalidConfig: the graph cannot answer that many.
    """
    answer: Answer = description.answer
    if isinstance(answer, KeypointAnswer):
        names = (answer.points, answer.confidence)
        module: nn.Module = _FromKeypoints(answer, description.input)
    elif isinstance(answer, SimccAnswer):
        names = (answer.x, answer.y)
        module = _FromSimcc(answer)
    else:
        names = (answer.maps, answer.offsets)
        places = tuple(map(description.keypoints.index, description.unique_keypoints))
        module = _FromHeatmaps(answer, description.input, animals, places)
    if animals > 1 and not (isinstance(answer, HeatmapAnswer) and answer.refine == "none"):
        raise InvalidConfig(
            f"--animals {animals} needs heat maps that are not refined; leave it out"
        )
    return module, tuple(name for name in names if name)


class _FromKeypoints(nn.Module):
    def __init__(self, answer: KeypointAnswer, described: InputDescription) -> None:
        super().__init__()
        self._answer = answer
        self._size_px = (float(described.width_px), float(described.height_px))

    def forward(self, points: Tensor, confidence: Tensor | None = None) -> Tensor:
        points = points.float()
        sure = points[..., 2] if confidence is None else confidence.float()
        points = points[..., :2]
        if self._answer.order == "K":
            points, sure = points[:, None], sure[:, None]
        elif self._answer.order == "N":
            points, sure = points[:, :, None], sure[:, :, None]
        elif self._answer.order == "KN":
            points, sure = points.transpose(1, 2), sure.transpose(1, 2)
        sure = sure.sigmoid() if self._answer.sigmoid else sure.clamp(0, 1)
        if self._answer.units == "share":
            points = points * torch.tensor(self._size_px) - 0.5
        # What is not found may have coordinates that are no numbers.
        points = torch.where(sure[..., None] > 0, points, torch.zeros_like(points))
        return torch.cat([points, sure[..., None]], dim=3)


class _FromSimcc(nn.Module):
    """Bins of both axes (Li et al. 2022, arXiv 2107.03332), as RTMPose answers them."""

    def __init__(self, answer: SimccAnswer) -> None:
        super().__init__()
        self._ratio = answer.split_ratio

    def forward(self, along_x: Tensor, along_y: Tensor) -> Tensor:
        sure_x, x = along_x.float().max(dim=2)
        sure_y, y = along_y.float().max(dim=2)
        sure = torch.minimum(sure_x, sure_y).clamp(0, 1)
        points = torch.stack([x.float() / self._ratio, y.float() / self._ratio, sure], dim=2)
        return points[:, None]


class _FromHeatmaps(nn.Module):
    def __init__(
        self,
        answer: HeatmapAnswer,
        described: InputDescription,
        animals: int,
        unique: tuple[int, ...],
    ) -> None:
        super().__init__()
        self._answer = answer
        self._width_px = described.width_px
        self._animals = animals
        self._unique = unique

    def forward(self, maps: Tensor, offsets: Tensor | None = None) -> Tensor:
        maps = maps.float()
        if self._answer.layout == "NHWC":
            maps = maps.permute(0, 3, 1, 2)
        stride = self._stride(maps.shape[3])
        if self._answer.refine == "lightning-pose":
            return _expectation(maps, doublings=stride.bit_length() - 1)[:, None]
        target = TargetSpec(
            stride_px=stride,
            radius_px=float(stride),
            kind="disc" if self._answer.sigmoid else "gaussian",
            offset_unit_px=self._answer.offset_unit_px,
        )
        if offsets is None:
            moved = torch.zeros_like(maps)[:, :, None].expand(-1, -1, 2, -1, -1)
            if self._answer.refine == "quarter":
                moved = _quarters(maps) * (stride / self._answer.offset_unit_px)
        else:
            moved = torch.unflatten(offsets.float(), 1, (maps.shape[1], 2))
        found = locate(PoseMaps(maps, moved), target, animals=self._animals, unique=self._unique)
        middle = (stride - 1) / 2
        origin = middle if self._answer.origin_px is None else self._answer.origin_px
        return torch.cat([found[..., :2] + (origin - middle), found[..., 2:]], dim=3)

    def _stride(self, cells: int) -> int:
        stride = self._answer.stride_px or self._width_px // cells
        if self._answer.stride_px is None and stride * cells != self._width_px:
            raise InvalidConfig(
                f"the maps have {cells} cells for {self._width_px} px, which is no whole number "
                "each; give answer.stride_px"
            )
        return stride


def _quarters(maps: Tensor) -> Tensor:
    """(B, K, 2, h, w): a quarter of a cell from each cell towards its larger neighbor."""
    padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
    along_x = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    along_y = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    # At an edge there is no neighbor, and no step.
    height, width = maps.shape[2:]
    columns, rows = torch.arange(width), torch.arange(height)
    inside_x = ((columns > 0) & (columns < width - 1)).float()
    inside_y = ((rows > 0) & (rows < height - 1)).float()[:, None]
    return 0.25 * torch.stack([along_x.sign() * inside_x, along_y.sign() * inside_y], dim=2)


def _expectation(maps: Tensor, *, doublings: int) -> Tensor:
    """(B, K, 3) of maps (B, K, h, w), as Lightning Pose 2 decodes them (Biderman et al. 2024).

    Each doubling is bicubic with a binomial filter; the answer is the mean place under a softmax
    of temperature 1000, and its confidence what lies within 2 px of it.
    """
    keypoints, row = maps.shape[1], torch.tensor(_PYRAMID)
    kernel = (row[:, None] * row[None, :] / row.sum() ** 2)[None, None]
    for _ in range(doublings):
        height, width = maps.shape[2:]
        maps = functional.interpolate(
            maps, size=(2 * height, 2 * width), mode="bicubic", align_corners=False
        )
        maps = functional.conv2d(
            maps, kernel.repeat(keypoints, 1, 1, 1), padding=len(_PYRAMID) // 2, groups=keypoints
        )
    height, width = maps.shape[2:]
    shares = (maps * _SHARPNESS).flatten(2).softmax(dim=2)
    columns = torch.arange(width).repeat(height)
    rows = torch.arange(height).repeat_interleave(width)
    x, y = (shares * columns).sum(dim=2), (shares * rows).sum(dim=2)
    near = ((columns - x.floor()[..., None]).abs() <= _AROUND_PX) & (
        (rows - y.floor()[..., None]).abs() <= _AROUND_PX
    )
    sure = (shares * near).sum(dim=2).clamp(0, 1)
    # A doubled map has its first cell half a cell before that of the map before.
    shift = doublings - 0.5 if doublings else 0.0
    return torch.stack([x - shift, y - shift, sure], dim=2)
