"""Keypoints to training targets (score maps and location refinement), and back.

The targets follow DeepLabCut (Mathis et al. 2018, arXiv 1804.03142; DeeperCut, arXiv 1605.03170):
one score map per keypoint on a grid of `stride_px`, and the offset of the keypoint from each cell
near it. A score map holds a disc of ones around the keypoint, so that a trained score is the
probability that the keypoint is within the disc's radius, which is what confidence means
everywhere here; or, as DeepLabCut 3 does it, a Gaussian. The graphs that serve hold the same
decoding; `decode` is the reference that tests hold them to.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidConfig

REACH_CELLS = 2
"""A local maximum is the largest score of the square that reaches this far around it."""


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """Geometry of score maps, in px of the model input."""

    stride_px: int = 8
    """Size of a cell."""
    radius_px: float = 10.0
    """Radius of the disc, in which offsets are learned too. It must reach the nearest cell
    centre, up to 0.71 strides away."""
    kind: Literal["disc", "gaussian"] = "disc"
    """disc: ones within the radius, confidence is the sigmoid of the map. gaussian: standard
    deviation of two thirds of the radius, confidence is the map itself."""
    offset_unit_px: float = 7.2801
    """What an offset of 1 means; DeepLabCut's."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.stride_px < 1 or self.radius_px < 0.71 * self.stride_px:
            raise InvalidConfig(
                f"stride_px is {self.stride_px} and radius_px {self.radius_px}; the stride must be "
                "positive and the radius at least 0.71 strides"
            )
        if self.offset_unit_px <= 0:
            raise InvalidConfig(f"offset_unit_px is {self.offset_unit_px}; it must be positive")

    @property
    def disc_cells(self) -> float:
        """Mean number of cells in a disc."""
        return float(np.pi * (self.radius_px / self.stride_px) ** 2)


@dataclass(frozen=True, slots=True)
class Targets:
    """What a network should answer for one picture; h, w is the grid of cells."""

    scores: NDArray[np.float32]
    """(K, h, w) in [0, 1]: how near the keypoint of the nearest animal is."""
    offsets: NDArray[np.float32]
    """(K, 2, h, w) that keypoint minus cell centre, x then y, in offset units; non-zero only
    where `near` is 1."""
    near: NDArray[np.float32]
    """(K, h, w) 1 within the radius of a keypoint, where offsets are learned; else 0."""
    labelled: NDArray[np.float32]
    """(K,) 1 where at least one animal has the keypoint, 0 where all are NaN."""


def encode(
    keypoints_xy: NDArray[np.float32], width_px: int, height_px: int, spec: TargetSpec
) -> Targets:
    """Draw the targets of one picture.

    Args:
        keypoints_xy: (N, K, 2) px of the picture, N animals; NaN where a keypoint is not
            labelled. One outside the picture counts as labelled and not there.
        width_px: width of the picture.
        height_px: height of the picture.
        spec: geometry of the maps.
    """
    centre_x, centre_y = _centres(grid_size(width_px, height_px, spec.stride_px), spec.stride_px)
    x = keypoints_xy[..., 0, None, None]
    y = keypoints_xy[..., 1, None, None]
    inside = (x >= -0.5) & (x <= width_px - 0.5) & (y >= -0.5) & (y <= height_px - 0.5)
    offset_x = np.where(inside, x - centre_x, np.inf)
    offset_y = np.where(inside, y - centre_y, np.inf)
    squared = offset_x**2 + offset_y**2  # (N, K, h, w)
    nearest = squared.argmin(axis=0)[None]
    squared = np.take_along_axis(squared, nearest, axis=0)[0]
    offsets = np.stack(
        [
            np.take_along_axis(one, nearest, axis=0)[0]
            for one in np.broadcast_arrays(offset_x, offset_y)
        ],
        axis=1,
    )
    near = squared <= spec.radius_px**2
    if spec.kind == "disc":
        scores = near
    else:
        deviation_px = spec.radius_px * 2 / 3
        scores = np.exp(-squared / (2 * deviation_px**2))
    return Targets(
        scores=scores.astype(np.float32),
        offsets=np.where(near[:, None], offsets / spec.offset_unit_px, 0.0).astype(np.float32),
        near=near.astype(np.float32),
        labelled=np.asarray(np.isfinite(keypoints_xy).all(axis=2).any(axis=0), np.float32),
    )


def decode(
    scores: NDArray[np.float32], offsets: NDArray[np.float32], spec: TargetSpec, *, animals: int = 1
) -> NDArray[np.float32]:
    """Find each keypoint: the cells with the highest scores around, moved by their offsets.

    Several animals are the local maxima of each score map, highest first; they are not grouped:
    row n of two keypoints may be of two animals.

    Args:
        scores: (K, h, w) confidences in [0, 1].
        offsets: (K, 2, h, w) in offset units.
        spec: geometry of the maps.
        animals: N, at most h * w.

    Returns:
        (N, K, 3) float32: x and y in px of the picture, and the score at the cell, 0 where there
        are fewer local maxima.
    """
    keypoints, height, width = scores.shape
    left = _local_maxima(scores) if animals > 1 else scores
    indices = np.arange(keypoints)
    row_numbers, column_numbers = np.arange(height)[:, None], np.arange(width)[None, :]
    found = np.empty((animals, keypoints, 3), np.float32)
    for animal in range(animals):
        peaks = left.reshape(keypoints, -1).argmax(axis=1)
        rows, columns = np.unravel_index(peaks, (height, width))
        moved = offsets[indices, :, rows, columns] * spec.offset_unit_px
        found[animal, :, 0] = (columns + 0.5) * spec.stride_px - 0.5 + moved[:, 0]
        found[animal, :, 1] = (rows + 0.5) * spec.stride_px - 0.5 + moved[:, 1]
        found[animal, :, 2] = left[indices, rows, columns]
        # Equal neighbors are one maximum, so what is found takes its neighborhood with it.
        is_far = (abs(row_numbers - rows[:, None, None]) > REACH_CELLS) | (
            abs(column_numbers - columns[:, None, None]) > REACH_CELLS
        )
        left = np.where(is_far, left, 0)
    return found


def _local_maxima(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, h, w) scores that are the largest around, 0 elsewhere."""
    side = 2 * REACH_CELLS + 1
    padded = np.pad(scores, ((0, 0), (REACH_CELLS, REACH_CELLS), (REACH_CELLS, REACH_CELLS)))
    squares = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    return np.where(scores >= squares.max(axis=(3, 4)), scores, 0)


def grid_size(width_px: int, height_px: int, stride_px: int) -> tuple[int, int]:
    """Return (w, h), the number of cells that cover a picture; the last ones may reach over."""
    return -(-width_px // stride_px), -(-height_px // stride_px)


def _centres(
    grid: tuple[int, int], stride_px: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(1, w) and (h, 1) px of the cell centres; px are pixel indices, so a cell of 8 has 3.5."""
    width, height = grid
    x = (np.arange(width, dtype=np.float32) + 0.5) * stride_px - 0.5
    y = (np.arange(height, dtype=np.float32) + 0.5) * stride_px - 0.5
    return x[None, :], y[:, None]
