"""A pinhole camera: body lengths in the arena to px of the frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the camera stands and how it looks; (0, 0) is the center of the top-left pixel."""

    position: Array
    """(3,) body lengths; x to the right, y away, z up."""
    axes: Array
    """(3, 3) rows: unit vectors to the right, down and forward as the camera sees them."""
    focal_px: float
    center_px: tuple[float, float]
    """Principal point x, y."""

    def project(self, points: Array) -> tuple[Array, Array]:
        """Pixel positions (..., 2) and depths (...) of points (..., 3)."""
        seen = (points - self.position) @ self.axes.T
        depth = np.maximum(seen[..., 2], 0.1)
        pixels = seen[..., :2] * (self.focal_px / depth)[..., None]
        pixels[..., 0] += self.center_px[0]
        pixels[..., 1] += self.center_px[1]
        return pixels, depth


def look_from(
    position: Array, down_pitch: float, roll: float, focal_px: float, center_px: tuple[float, float]
) -> Camera:
    """A camera that looks along +y, tilted down by `down_pitch` and rolled by `roll` (radians)."""
    cos_pitch, sin_pitch = np.cos(down_pitch), np.sin(down_pitch)
    right = np.array([1.0, 0.0, 0.0])
    forward = np.array([0.0, cos_pitch, -sin_pitch])
    down = np.array([0.0, -sin_pitch, -cos_pitch])
    cos_roll, sin_roll = np.cos(roll), np.sin(roll)
    axes = np.stack(
        [cos_roll * right + sin_roll * down, cos_roll * down - sin_roll * right, forward]
    )
    return Camera(position, axes, focal_px, center_px)
