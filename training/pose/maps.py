"""Pictures of what a pose network computes: the score map and the offsets of each keypoint."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.preprocess import Placement, to_model_input
from service.targets import decode
from training.pose.settings import PoseTraining
from training.pose.trained import read_network, read_settings
from training.runs import Run

_DRAWN_SCORE = 0.05
"""Offsets are learned near keypoints only, so they are drawn from this score on."""


@dataclass(frozen=True, slots=True)
class FrameMaps:
    """The maps of one frame; h, w is the grid of cells."""

    pixels: NDArray[np.uint8]
    """(H, W, C) of the model input."""
    scores: NDArray[np.float32]
    """(K, h, w) confidences in [0, 1]."""
    offsets: NDArray[np.float32]
    """(K, 2, h, w) px of the model input, x then y."""
    found: NDArray[np.float32]
    """(N, K, 3) x, y in px of the model input and confidence."""
    placement: Placement
    """Where the frame lies in the model input."""


class MapReader:
    """Computes the maps of frames with the network of a run.

    Args:
        run: a pose run with a checkpoint.
        animals: N local maxima that are marked; None takes as many as were labelled.
    """

    def __init__(self, run: Run, *, animals: int | None = None) -> None:
        self.settings: PoseTraining = read_settings(run)
        self._network = read_network(run)
        self._animals = animals or self.settings.animals

    def read(self, frame: NDArray[np.uint8]) -> FrameMaps:
        """Return the maps of a (H, W, 3) RGB frame."""
        target = self.settings.target
        pixels, placement = to_model_input(frame, self.settings.input)
        with torch.no_grad():
            maps = self._network(torch.from_numpy(pixels[None]))
        raw = maps.scores[0].float()
        scores = (raw.sigmoid() if target.kind == "disc" else raw.clamp(0, 1)).numpy()
        offsets = maps.offsets[0].float().numpy()
        return FrameMaps(
            pixels=pixels,
            scores=scores,
            offsets=offsets * target.offset_unit_px,
            found=decode(scores, offsets, target, animals=self._animals),
            placement=placement,
        )


def draw_maps(maps: FrameMaps, settings: PoseTraining, keypoints: tuple[str, ...]) -> Figure:
    """Draw one row for each of `keypoints`: the score map on the frame, and the offsets.

    Arrows lead from the middle of a cell to where it says that the keypoint is; red marks are the
    points that are answered.
    """
    stride = settings.target.stride_px
    height_px, width_px = maps.pixels.shape[:2]
    row_height = 4.2 * height_px / width_px + 0.35
    figure = Figure(figsize=(13.2, row_height * len(keypoints)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(keypoints), 3, squeeze=False)
    for row, name in enumerate(keypoints):
        place = settings.keypoints.index(name)
        score, offsets = maps.scores[place], maps.offsets[place]
        first, second, third = grid[row]
        for axes, title in zip(grid[row], ("score", "offset x", "offset y"), strict=True):
            _show_frame(axes, maps.pixels)
            axes.set_title(f"{name}: {title}", fontsize=10)
        extent = (-0.5, score.shape[1] * stride - 0.5, score.shape[0] * stride - 0.5, -0.5)
        shown = first.imshow(score, extent=extent, cmap="magma", vmin=0, vmax=1, alpha=0.6)
        figure.colorbar(shown, ax=first, shrink=0.8, label="confidence")
        limit = 1.5 * settings.target.radius_px
        hidden = score < _DRAWN_SCORE
        for axes, one in ((second, offsets[0]), (third, offsets[1])):
            shown = axes.imshow(
                np.ma.masked_array(one, hidden),
                extent=extent,
                cmap="coolwarm",
                vmin=-limit,
                vmax=limit,
                alpha=0.8,
            )
            figure.colorbar(shown, ax=axes, shrink=0.8, label="px of the model input")
        _draw_arrows(first, score, offsets, stride)
        x, y, sure = maps.found[:, place].T
        for axes in grid[row]:
            axes.scatter(x[sure > 0], y[sure > 0], marker="+", c="red", s=40, lw=1)
            axes.set_xlim(-0.5, width_px - 0.5)
            axes.set_ylim(height_px - 0.5, -0.5)
    return figure


def _draw_arrows(
    axes: Axes, score: NDArray[np.float32], offsets: NDArray[np.float32], stride_px: int
) -> None:
    rows, columns = np.nonzero(score >= _DRAWN_SCORE)
    axes.quiver(
        (columns + 0.5) * stride_px - 0.5,
        (rows + 0.5) * stride_px - 0.5,
        offsets[0, rows, columns],
        offsets[1, rows, columns],
        angles="xy",
        scale_units="xy",
        scale=1,
        color="white",
        width=0.002,
    )


def _show_frame(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    axes.imshow(pixels if pixels.shape[2] == 3 else pixels[..., 0], cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
