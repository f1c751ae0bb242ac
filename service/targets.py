"""Keypoints to training targets (score maps and location refinement), and back.

The targets follow DeepLabCut (Mathis et al. 2018, arXiv 1804.03142; DeeperCut, arXiv 1605.03170):
one score map per keypoint on a grid of `stride` px, a disc of ones around the keypoint, and the
offset of the keypoint from each cell of the disc. So a trained score is the probability that the
keypoint is within the disc's radius, which is what confidence means everywhere here. The graphs
that serve hold the same decoding; `decode` is the reference that tests hold them to.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidConfig


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """Geometry of score maps, in px of the model input."""

    stride_px: int = 8
    """Size of a cell."""
    radius_px: float = 10.0
    """Radius of the disc. It must reach the nearest cell centre, up to 0.71 strides away."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.stride_px < 1 or self.radius_px < 0.71 * self.stride_px:
            raise InvalidConfig(
                f"stride_px is {self.stride_px} and radius_px {self.radius_px}; the stride must be "
                "positive and the radius at least 0.71 strides"
            )

    @property
    def disc_cells(self) -> float:
        """Mean number of cells in a disc."""
        return float(np.pi * (self.radius_px / self.stride_px) ** 2)


@dataclass(frozen=True, slots=True)
class Targets:
    """What a network should answer for one picture; h, w is the grid of cells."""

    scores: NDArray[np.float32]
    """(K, h, w) 1 where the keypoint is within the radius, else 0."""
    offsets: NDArray[np.float32]
    """(K, 2, h, w) keypoint minus cell centre, x then y, in strides; learned and non-zero only
    where the score is 1."""
    labelled: NDArray[np.float32]
    """(K,) 1 where the keypoint was labelled, 0 where it is NaN and says nothing."""


def encode(
    keypoints_xy: NDArray[np.float32], width_px: int, height_px: int, spec: TargetSpec
) -> Targets:
    """Draw the targets of one picture.

    Args:
        keypoints_xy: (K, 2) px of the picture; NaN where a keypoint is not labelled. One outside
            the picture counts as labelled and not there.
        width_px: width of the picture.
        height_px: height of the picture.
        spec: geometry of the maps.
    """
    centre_x, centre_y = _centres(grid_size(width_px, height_px, spec.stride_px), spec.stride_px)
    x = keypoints_xy[:, 0, None, None]
    y = keypoints_xy[:, 1, None, None]
    labelled = np.isfinite(keypoints_xy).all(axis=1)
    inside = (x >= -0.5) & (x <= width_px - 0.5) & (y >= -0.5) & (y <= height_px - 0.5)
    offset_x = np.where(inside, x - centre_x, np.inf)
    offset_y = np.where(inside, y - centre_y, np.inf)
    near = offset_x**2 + offset_y**2 <= spec.radius_px**2
    offsets = np.stack(np.broadcast_arrays(offset_x, offset_y), axis=1) / spec.stride_px
    return Targets(
        scores=near.astype(np.float32),
        offsets=np.where(near[:, None], offsets, 0.0).astype(np.float32),
        labelled=np.asarray(labelled, np.float32),
    )


def decode(
    scores: NDArray[np.float32], offsets: NDArray[np.float32], stride_px: int
) -> NDArray[np.float32]:
    """Find each keypoint: the cell with the highest score, moved by its offset.

    Args:
        scores: (K, h, w) confidences in [0, 1].
        offsets: (K, 2, h, w) in strides.
        stride_px: size of a cell in px.

    Returns:
        (K, 3) float32: x and y in px of the picture, and the score at the cell.
    """
    keypoints, height, width = scores.shape
    peaks = scores.reshape(keypoints, -1).argmax(axis=1)
    rows, columns = np.unravel_index(peaks, (height, width))
    indices = np.arange(keypoints)
    moved = offsets[indices, :, rows, columns]
    x = (columns + 0.5 + moved[:, 0]) * stride_px - 0.5
    y = (rows + 0.5 + moved[:, 1]) * stride_px - 0.5
    return np.stack([x, y, scores[indices, rows, columns]], axis=1).astype(np.float32)


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
