"""Keypoints and skeletons on one frame."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from service.behavior import runs
from service.drawing.colors import Color, mix, series_color

BRIDGE_FRAMES = 30
"""Longest gap in which a keypoint is taken to have moved straight: one second at 30 Hz."""

_SHIFT = 4  # OpenCV takes positions in 1/16 px with this
_OUTLINE: Color = (10, 12, 16)
_BONE: Color = (240, 243, 248)


def draw_poses(
    image: NDArray[np.uint8],
    keypoints_xy: NDArray[np.float32],
    confidence: NDArray[np.float32],
    *,
    skeleton: Sequence[tuple[int, int]],
    confidence_cutoff: float,
    radius_px: float,
    first_color: int = 0,
    by_animal: bool = False,
) -> None:
    """Draw the animals of one frame; points below the cut-off or without a position are left out.

    Args:
        image: (H, W, 3) uint8 RGB, changed in place.
        keypoints_xy: (N, K, 2) px of the image.
        confidence: (N, K).
        skeleton: pairs of keypoint numbers.
        confidence_cutoff: in [0, 1].
        radius_px: of a point.
        first_color: color number of the first keypoint, or of the first animal.
        by_animal: give each animal one color, not each keypoint.
    """
    shown = (np.nan_to_num(confidence, nan=-1.0) >= confidence_cutoff) & np.isfinite(
        keypoints_xy
    ).all(axis=-1)
    for animal, (points, seen) in enumerate(zip(keypoints_xy, shown, strict=True)):
        for first, second in skeleton:
            if seen[first] and seen[second]:
                _draw_bone(image, points[first], points[second], radius_px)
        for place in np.flatnonzero(seen):
            color = series_color(first_color + (animal if by_animal else int(place)))
            center = _fixed(points[place])
            _dot(image, center, radius_px * 1.32, _OUTLINE)
            _dot(image, center, radius_px, color)
            _dot(image, center, radius_px * 0.36, mix((255, 255, 255), color, 0.75))


def draw_trail(
    image: NDArray[np.uint8], path_xy: NDArray[np.float64], *, color: Color, width_px: int
) -> None:
    """Draw where an animal has been, fading towards the oldest position.

    Args:
        image: (H, W, 3) uint8 RGB, changed in place.
        path_xy: (T, 2) px, oldest first; NaN interrupts the line.
        color: of the newest piece.
        width_px: of the line.
    """
    if len(path_xy) < 2:
        return
    drawn = image.copy()
    for step in range(len(path_xy) - 1):
        piece = path_xy[step : step + 2]
        if np.isfinite(piece).all():
            age = (step + 1) / len(path_xy)
            width = max(1, round(width_px * (0.35 + 0.65 * age)))
            ends = (_fixed(piece[0]), _fixed(piece[1]))
            cv2.line(drawn, *ends, mix(color, _BONE, age), width, cv2.LINE_AA, _SHIFT)
    cv2.addWeighted(drawn, 0.6, image, 0.4, 0.0, dst=image)


def body_centers(
    keypoints_xy: NDArray[np.float32], confidence: NDArray[np.float32], cutoff: float
) -> NDArray[np.float64]:
    """Return the (T, N, 2) center of each animal in px; NaN where it is not known.

    The center is the mean of the keypoints that are confident in at least half of the frames (of
    all, where none is). A mean of whichever keypoints are confident just now would jump whenever
    one is lost, so lost ones are interpolated over at most `BRIDGE_FRAMES`; past that the center
    is not known.

    Args:
        keypoints_xy: (T, N, K, 2) px.
        confidence: (T, N, K) in [0, 1].
        cutoff: confidence from which a keypoint counts.
    """
    seen = np.nan_to_num(confidence, nan=-1.0) >= cutoff
    centers = np.full((*seen.shape[:2], 2), np.nan)
    for animal in range(seen.shape[1]):
        share = seen[:, animal].mean(axis=0) if len(seen) else np.zeros(seen.shape[2])
        used = np.flatnonzero(share >= 0.5)
        used = used if len(used) else np.arange(seen.shape[2])
        bridged = [_bridged(keypoints_xy[:, animal, one], seen[:, animal, one]) for one in used]
        centers[:, animal] = np.mean(bridged, axis=0)
    return centers


def _bridged(points_xy: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(T, 2) positions of one keypoint with short gaps filled by straight lines."""
    path = np.where(seen[:, None], points_xy, np.nan).astype(np.float64)
    at = np.flatnonzero(seen)
    for onset, offset in runs(~seen):
        if onset > 0 and offset < len(seen) and offset - onset <= BRIDGE_FRAMES:
            gap = np.arange(onset, offset)
            for axis in (0, 1):
                path[gap, axis] = np.interp(gap, at, points_xy[at, axis])
    return path


def _draw_bone(
    image: NDArray[np.uint8],
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    radius_px: float,
) -> None:
    ends = (_fixed(first), _fixed(second))
    width = max(1, round(radius_px * 0.5))
    cv2.line(image, *ends, _OUTLINE, width + 2, cv2.LINE_AA, _SHIFT)
    cv2.line(image, *ends, _BONE, width, cv2.LINE_AA, _SHIFT)


def _dot(image: NDArray[np.uint8], center: tuple[int, int], radius_px: float, color: Color) -> None:
    radius = max(1, round(radius_px * (1 << _SHIFT)))
    cv2.circle(image, center, radius, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _fixed(point: NDArray[np.floating]) -> tuple[int, int]:
    x, y = np.clip(point, -1e5, 1e5)  # far outside is outside all the same
    return round(float(x) * (1 << _SHIFT)), round(float(y) * (1 << _SHIFT))
