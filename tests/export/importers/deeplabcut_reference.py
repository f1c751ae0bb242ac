"""DeepLabCut 3's resnet_50 once more, straight from the published layers, names and formulas.

Independent of our own networks and of timm: plain functions over a flat state dict, random
weights in the published names and shapes. Slow and obvious on purpose.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]
BLOCKS = (3, 4, 6, 3)
_BACKBONE = "backbone.model."
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LOCREF_STD = 7.2801


def random_resnet50(bodyparts: int, seed: int) -> State:
    """Weights of the GroupNorm backbone and of both deconvolutions."""
    state: State = {}
    random = torch.Generator().manual_seed(seed)

    def kernel(name: str, *shape: int) -> None:
        scale = (1.5 / math.prod(shape[1:])) ** 0.5
        state[f"{name}.weight"] = torch.randn(*shape, generator=random) * scale

    def norm(name: str, size: int) -> None:
        state[f"{name}.weight"] = 1 + 0.1 * torch.randn(size, generator=random)
        state[f"{name}.bias"] = 0.1 * torch.randn(size, generator=random)

    kernel(f"{_BACKBONE}conv1", 64, 3, 7, 7)
    norm(f"{_BACKBONE}bn1", 64)
    before = 64
    for layer, blocks in enumerate(BLOCKS, 1):
        width = 32 * 2**layer
        for block in range(blocks):
            name = f"{_BACKBONE}layer{layer}.{block}"
            for place, (inner, outer, size) in enumerate(
                ((before, width, 1), (width, width, 3), (width, 4 * width, 1)), 1
            ):
                kernel(f"{name}.conv{place}", outer, inner, size, size)
                norm(f"{name}.bn{place}", outer)
            if block == 0:
                kernel(f"{name}.downsample.0", 4 * width, before, 1, 1)
                norm(f"{name}.downsample.1", 4 * width)
            before = 4 * width
    for head, channels in (("heatmap", bodyparts), ("locref", 2 * bodyparts)):
        name = f"heads.bodypart.{head}_head.deconv_layers.0"
        state[f"{name}.weight"] = 0.002 * torch.randn(2048, channels, 3, 3, generator=random)
        state[f"{name}.bias"] = torch.full((channels,), 0.7 if head == "heatmap" else 0.1)
    return state


def answers(state: State, frames: np.ndarray) -> np.ndarray:
    """(B, K, 3) x, y in px and confidence for (B, H, W, 3) uint8 RGB frames."""
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_STD)[:, None, None]
    features = resnet50(state, pixels)
    maps = {
        name: functional.conv_transpose2d(
            features,
            state[f"heads.bodypart.{name}_head.deconv_layers.0.weight"],
            state[f"heads.bodypart.{name}_head.deconv_layers.0.bias"],
            stride=2,
        ).numpy()
        for name in ("heatmap", "locref")
    }
    scores, moved = maps["heatmap"], maps["locref"]
    found = np.zeros((len(frames), scores.shape[1], 3), np.float32)
    for frame in range(len(frames)):
        for part in range(scores.shape[1]):
            row, column = np.unravel_index(scores[frame, part].argmax(), scores.shape[2:])
            dx, dy = moved[frame, 2 * part : 2 * part + 2, row, column] * _LOCREF_STD
            score = np.clip(scores[frame, part, row, column], 0, 1)
            found[frame, part] = (column * 8 + 4 + dx, row * 8 + 4 + dy, score)
    return found


def resnet50(state: State, pixels: Tensor) -> Tensor:
    """The map (B, 2048, H/16, W/16): the last layer is dilated and not strided."""
    maps = functional.conv2d(pixels, state[f"{_BACKBONE}conv1.weight"], stride=2, padding=3)
    maps = torch.relu(_norm(state, f"{_BACKBONE}bn1", maps))
    maps = functional.max_pool2d(maps, 3, stride=2, padding=1)
    for layer, blocks in enumerate(BLOCKS, 1):
        for block in range(blocks):
            stride = 2 if block == 0 and layer in (2, 3) else 1
            dilation = 2 if layer == 4 and block > 0 else 1
            maps = _block(state, f"{_BACKBONE}layer{layer}.{block}", maps, stride, dilation)
    return maps


def _block(state: State, name: str, maps: Tensor, stride: int, dilation: int) -> Tensor:
    shortcut = maps
    if f"{name}.downsample.0.weight" in state:
        shortcut = functional.conv2d(maps, state[f"{name}.downsample.0.weight"], stride=stride)
        shortcut = _norm(state, f"{name}.downsample.1", shortcut)
    inner = functional.conv2d(maps, state[f"{name}.conv1.weight"])
    inner = torch.relu(_norm(state, f"{name}.bn1", inner))
    inner = functional.conv2d(
        inner, state[f"{name}.conv2.weight"], stride=stride, padding=dilation, dilation=dilation
    )
    inner = torch.relu(_norm(state, f"{name}.bn2", inner))
    inner = _norm(state, f"{name}.bn3", functional.conv2d(inner, state[f"{name}.conv3.weight"]))
    return torch.relu(inner + shortcut)


def _norm(state: State, name: str, maps: Tensor) -> Tensor:
    """Normalize groups of channels, 32 of them, over their channels and cells."""
    grouped = maps.reshape(len(maps), 32, -1)
    mean, variance = (
        grouped.mean(dim=2, keepdim=True),
        grouped.var(dim=2, keepdim=True, correction=0),
    )
    flat = ((grouped - mean) / (variance + 1e-5).sqrt()).reshape(maps.shape)
    return flat * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]
