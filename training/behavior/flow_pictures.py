"""Shows what a flow generator sees, and proves it: errors of rebuilt frames, and pictures."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import msgspec
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from service.errors import InvalidConfig
from training.behavior.flow import gray_pairs, structural_similarity, warp
from training.behavior.networks.base import FlowGenerator
from training.data.behavior_frames import Footage
from training.data.behavior_windows import clip_places
from training.data.labels import InvalidLabels

log = logging.getLogger("ethostream.training")

FULL_COLOR_PX = 5.0
"""Motion in px per frame that has full color, as in DeepEthogram."""
_BATCH_WINDOWS = 4
_COLUMNS = ("frame", "next frame", "flow", "rebuilt frame", "difference before", "and after")

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""


class PhotometricError(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well flow rebuilds a frame from a later one, means over all pairs of one gap.

    `still` takes the later frame as it is: the baseline without motion. `opposite` moves it
    against the flow: it is resampled as much as with the flow, which by itself smooths noise and
    so lowers errors. Flow is shown to work where its error is below both.
    """

    gap_frames: int
    """From one frame of a pair to the other."""
    pairs: int
    l1: float
    """Mean absolute difference, gray levels from 0 to 1."""
    l1_still: float
    l1_opposite: float
    dissimilarity: float
    """1 - SSIM, from 0 to 2."""
    dissimilarity_still: float
    dissimilarity_opposite: float
    improved: float
    """Share of pairs with a lower L1 than without motion."""
    motion_px: float
    """Mean length of the flow."""


@dataclass(frozen=True, slots=True)
class FlowExample:
    """One pair of frames and what the flow makes of it."""

    first: NDArray[np.float32]
    """(H, W) gray levels from 0 to 1."""
    second: NDArray[np.float32]
    """(H, W), the later frame."""
    flow: NDArray[np.float32]
    """(2, H, W) px of the model input, from the first to the second frame."""
    rebuilt: NDArray[np.float32]
    """(H, W), the first frame as sampled from the second one."""


def flow_picture(
    flow: NDArray[np.float32],
    *,
    style: Literal["linear", "polar"] = "polar",
    full_color_px: float = FULL_COLOR_PX,
) -> Picture:
    """Color a flow field.

    Args:
        flow: (2, h, w) x and y, px.
        style: `linear`: red for motion in x and green for motion in y, each from black (left, up)
            over half bright (none) to full; `polar`: the color tells the direction (red to the
            right, then yellow, green, blue clockwise), the brightness the length.
        full_color_px: motion of full color; more looks alike.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    parts = np.clip(np.asarray(flow, np.float32) / full_color_px, -1.0, 1.0)
    if style == "linear":
        picture = np.zeros((*flow.shape[1:], 3), np.uint8)
        picture[..., :2] = np.rint((np.moveaxis(parts, 0, -1) + 1.0) * 127.5)
        return picture
    length = np.clip(np.hypot(*np.asarray(flow, np.float32)) / full_color_px, 0.0, 1.0)
    degrees = np.rad2deg(np.arctan2(flow[1], flow[0])) % 360.0
    hsv = np.stack([degrees, np.ones_like(degrees), length], axis=-1).astype(np.float32)
    colors = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return np.asarray(np.rint(colors * 255.0), np.uint8)


def photometric_error(
    network: FlowGenerator,
    footage: Sequence[Footage],
    *,
    gaps: Sequence[int] = (1, 2, 3),
    pairs: int = 256,
    seed: int = 0,
) -> tuple[PhotometricError, ...]:
    """Measure how well the flow of held-out recordings rebuilds their frames.

    The later frame of each pair, sampled where the finest flow points, is compared with the
    earlier one, at the size of the model input and by the mean of the colors.

    Args:
        network: what is measured.
        footage: recordings that it was not trained on.
        gaps: steps between two frames of a window, from 1; one answer for each.
        pairs: about how many pairs of each gap are drawn, evenly over all recordings.
        seed: of the draw.

    Raises:
        InvalidConfig: a gap is below 1.
        InvalidLabels: no clip is long enough for a window.
    """
    return tuple(_error_of_gap(network, footage, gap, pairs, seed) for gap in gaps)


def flow_examples(
    network: FlowGenerator,
    footage: Sequence[Footage],
    *,
    count: int = 4,
    gap: int = 1,
    seed: int = 0,
) -> tuple[FlowExample, ...]:
    """Rebuild frames of `footage` where most moves, among ten times as many pairs.

    Raises:
        InvalidConfig: `gap` is below 1.
        InvalidLabels: no clip is long enough for a window.
    """
    found: list[tuple[float, FlowExample]] = []
    for frames in _windows(network, footage, gap, 10 * count, seed):
        first, second, flow = _with_flow(network, frames)
        rebuilt = warp(second, flow, 1.0)
        for row in range(len(first)):
            still = float((first[row] - second[row]).abs().mean())
            tensors = (first[row, 0], second[row, 0], flow[row], rebuilt[row, 0])
            found.append((still, FlowExample(*(one.cpu().numpy() for one in tensors))))
    found.sort(key=lambda one: one[0], reverse=True)
    return tuple(example for _, example in found[:count])


def draw_flow_examples(
    examples: Sequence[FlowExample],
    path: Path,
    *,
    style: Literal["linear", "polar"] = "polar",
    full_color_px: float | None = None,
) -> None:
    """Draw a row of each example: the frames, the flow, the rebuilt frame and the differences.

    Args:
        examples: one at least.
        path: of the PNG.
        style: see `flow_picture`.
        full_color_px: motion of full color; None: the 99th percentile of all examples.
    """
    if full_color_px is None:
        lengths = np.concatenate([np.hypot(*one.flow).ravel() for one in examples])
        full_color_px = max(float(np.percentile(lengths, 99)), 0.1)
    height, width = examples[0].first.shape
    across = 2.4
    figure = Figure(
        figsize=(across * len(_COLUMNS), (across * height / width + 0.12) * len(examples) + 0.4),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(examples), len(_COLUMNS), squeeze=False)
    for axes, one in zip(grid, examples, strict=True):
        before, after = (abs(one.first - other) for other in (one.second, one.rebuilt))
        brightest = max(float(np.percentile(before, 99.5)), 1e-3)
        axes[0].imshow(one.first, cmap="gray", vmin=0, vmax=1)
        axes[1].imshow(one.second, cmap="gray", vmin=0, vmax=1)
        axes[2].imshow(flow_picture(one.flow, style=style, full_color_px=full_color_px))
        axes[3].imshow(one.rebuilt, cmap="gray", vmin=0, vmax=1)
        for place, difference in ((4, before), (5, after)):
            axes[place].imshow(difference, cmap="magma", vmin=0, vmax=brightest)
            axes[place].set_xlabel(f"mean {difference.mean():.4f}", fontsize=8)
    for axis, title in zip(grid[0], _COLUMNS, strict=True):
        axis.set_title(title, fontsize=9)
    grid[0, 2].set_title(f"flow, full color {full_color_px:.1f} px", fontsize=9)
    for axis in grid.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(path, dpi=110)


def write_flow_report(
    network: FlowGenerator, footage: Sequence[Footage], directory: Path, *, seed: int = 0
) -> tuple[PhotometricError, ...]:
    """Write `flow.json` with the errors of gaps 1 to 3, and `flow.png` with four examples.

    Gaps that are too wide for every clip are left out. Where no clip is long enough for a window
    at all, nothing is written, and a warning says so.
    """
    length = network.input_frames
    gaps = [gap for gap in (1, 2, 3) if clip_places(footage, length, gap)]
    if not gaps:
        log.warning("the flow is not measured: no clip has the %d frames that it takes", length)
        return ()
    errors = photometric_error(network, footage, gaps=gaps, seed=seed)
    directory.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(errors), indent=2)
    (directory / "flow.json").write_bytes(text + b"\n")
    draw_flow_examples(flow_examples(network, footage, seed=seed), directory / "flow.png")
    return errors


def _error_of_gap(
    network: FlowGenerator, footage: Sequence[Footage], gap: int, pairs: int, seed: int
) -> PhotometricError:
    rows = []
    for frames in _windows(network, footage, gap, pairs, seed):
        first, second, flow = _with_flow(network, frames)
        columns = []
        for rebuilt in (warp(second, flow, 1.0), second, warp(second, -flow, 1.0)):
            columns.append((first - rebuilt).abs().mean(dim=(1, 2, 3)))
            columns.append(1.0 - structural_similarity(first, rebuilt).mean(dim=(1, 2, 3)))
        columns.append(flow.norm(dim=1).mean(dim=(1, 2)))
        rows.append(torch.stack(columns, dim=1).cpu().numpy())
    values = np.concatenate(rows).astype(np.float64)
    l1, other, l1_still, other_still, l1_opposite, other_opposite, motion_px = values.mean(axis=0)
    return PhotometricError(
        gap_frames=gap,
        pairs=len(values),
        l1=float(l1),
        l1_still=float(l1_still),
        l1_opposite=float(l1_opposite),
        dissimilarity=float(other),
        dissimilarity_still=float(other_still),
        dissimilarity_opposite=float(other_opposite),
        improved=float((values[:, 0] < values[:, 2]).mean()),
        motion_px=float(motion_px),
    )


def _windows(
    network: FlowGenerator, footage: Sequence[Footage], gap: int, pairs: int, seed: int
) -> Iterator[Tensor]:
    """Yield batches (B, W, H, W_px, C) uint8 with about `pairs` pairs in all."""
    if gap < 1:
        raise InvalidConfig(f"the gap is {gap} frames; give 1 or more")
    length = network.input_frames
    reach = gap * (length - 1)
    places = clip_places(footage, length, gap)
    if not places:
        raise InvalidLabels(
            f"no clip has {reach + 1} frames, as {length} frames with a gap of {gap} need; give "
            "longer recordings or a smaller gap"
        )
    count = min(len(places), max(1, round(pairs / (length - 1))))
    random = np.random.default_rng((seed, gap))
    chosen = sorted(int(one) for one in random.choice(len(places), count, replace=False))
    for begin in range(0, count, _BATCH_WINDOWS):
        batch = [
            footage[recording].frames[first : first + reach + 1 : gap]
            for recording, first in (places[one] for one in chosen[begin : begin + _BATCH_WINDOWS])
        ]
        yield torch.from_numpy(np.stack(batch))


@torch.no_grad()
def _with_flow(network: FlowGenerator, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First and second frame (N, 1, H, W) of each pair, and the flow (N, 2, H, W) between."""
    device = next((one.device for one in network.parameters()), frames.device)
    frames = frames.to(device)
    with _evaluating(network):
        finest = network(frames)[0].float().flatten(0, 1)
    pairs = gray_pairs(frames)
    flow = functional.interpolate(
        finest, size=pairs.shape[-2:], mode="bilinear", align_corners=False
    )
    return pairs[:, :1], pairs[:, 1:], flow


@contextmanager
def _evaluating(network: FlowGenerator) -> Iterator[None]:
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)
