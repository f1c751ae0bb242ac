"""Sizes of pose networks to start from: for rigs without a GPU, for most machines, for accuracy."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from training.backbones import OutputStride
from training.pose.heads import HeadKind
from training.pose.model import SIZE_MULTIPLE_PX

PresetName = Literal["tiny", "fast", "accurate"]


class Preset(NamedTuple):
    """What a preset fixes; each can be chosen otherwise."""

    backbone: str
    output_stride: OutputStride
    head: HeadKind
    area_px: int
    """Width times height of the model input; the aspect ratio is that of the labelled frames."""
    view_px: int
    """Side of a training view."""
    learning_rate: float


PRESETS: dict[PresetName, Preset] = {
    "tiny": Preset("mobilenet_v2", 32, "pyramid", 256 * 192, 160, 1e-3),
    "fast": Preset("mobilenet_v2", 32, "pyramid", 384 * 288, 224, 1e-3),
    # DeepLabCut's own: stride 16, transposed convolutions, conv3 connected to the output.
    "accurate": Preset("resnet_50", 16, "deconvolution", 512 * 384, 320, 5e-4),
}


def input_size(area_px: int, frame_sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return (width, height) of a model input of about `area_px` for frames of these sizes.

    Both are whole multiples of `SIZE_MULTIPLE_PX`, in the median aspect ratio of the frames.
    """
    ratios = sorted(width / height for width, height in frame_sizes)
    ratio = ratios[len(ratios) // 2]
    width = math.sqrt(area_px * ratio)
    return _multiple(width), _multiple(width / ratio)


def _multiple(side_px: float) -> int:
    return max(1, round(side_px / SIZE_MULTIPLE_PX)) * SIZE_MULTIPLE_PX
