"""The space that animals move in: a box or a cylinder on the floor plane, in body lengths."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Arena:
    """Vertical walls around a floor centred on the origin; x to the right, y away, z up."""

    round: bool
    """True: a cylinder of radius `half_width`."""
    half_width: float
    """Half of the inner size along x, body lengths."""
    half_depth: float
    """Half of the inner size along y, body lengths."""
    wall_height: float
    """Body lengths."""

    def nearest_wall(self, x: float, y: float) -> tuple[float, float, float]:
        """Distance of a floor point from the nearest wall (< 0 outside) and its inward normal."""
        if self.round:
            radius = math.hypot(x, y)
            if radius < 1e-9:
                return self.half_width, -1.0, 0.0
            return self.half_width - radius, -x / radius, -y / radius
        from_side = self.half_width - abs(x)
        from_end = self.half_depth - abs(y)
        if from_side < from_end:
            return from_side, -math.copysign(1.0, x), 0.0
        return from_end, 0.0, -math.copysign(1.0, y)

    def distances(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance of points (..., >=2) from the nearest wall, body lengths; < 0 outside."""
        x, y = points[..., 0], points[..., 1]
        if self.round:
            return np.asarray(self.half_width - np.hypot(x, y))
        return np.minimum(self.half_width - np.abs(x), self.half_depth - np.abs(y))

    def shift_inside(
        self, points: NDArray[np.float64], radii: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Smallest moves (T, 2) that bring bodies of spheres back between the walls.

        The move depends continuously on the points, so that motion stays free of jumps.

        Args:
            points: (T, S, >=2) centers of the spheres of each body.
            radii: (S,) their radii.
        """
        if self.round:
            shift = np.zeros((len(points), 2))
            for _ in range(3):  # each pass leaves a small rest where the body lies along the wall
                moved = points[..., :2] + shift[:, None]
                excess = (np.hypot(moved[..., 0], moved[..., 1]) + radii).max(1) - self.half_width
                center = moved.mean(1)
                center /= np.maximum(np.hypot(center[:, 0], center[:, 1]), 1e-6)[:, None]
                shift -= np.maximum(excess, 0.0)[:, None] * center
            return shift
        half = np.array([self.half_width, self.half_depth])
        over = (points[..., :2] + radii[:, None]).max(1) - half
        under = (-points[..., :2] + radii[:, None]).max(1) - half
        return np.asarray(np.maximum(under, 0.0) - np.maximum(over, 0.0))

    def to_wall(self, points: NDArray[np.float64], within: float) -> NDArray[np.float64]:
        """Horizontal moves (..., 3) to the nearest wall; fading to none at distance `within`."""
        x, y = points[..., 0], points[..., 1]
        move = np.zeros_like(points)
        distance = self.distances(points)
        if self.round:
            outward = points[..., :2] / np.maximum(np.hypot(x, y), 1e-9)[..., None]
            move[..., :2] = distance[..., None] * outward
        else:
            side = self.half_width - np.abs(x) < self.half_depth - np.abs(y)
            move[..., 0] = np.where(side, np.sign(x) * distance, 0.0)
            move[..., 1] = np.where(side, 0.0, np.sign(y) * distance)
        return np.asarray(move * np.clip(2.0 - 2.0 * distance / within, 0.0, 1.0)[..., None])

    def clamp(self, points: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
        """Points (..., 3) with x and y moved to at least `margin` from the walls."""
        clamped = points.copy()
        if self.round:
            radius = np.hypot(points[..., 0], points[..., 1])
            scale = np.minimum(1.0, (self.half_width - margin) / np.maximum(radius, 1e-9))
            clamped[..., :2] *= scale[..., None]
        else:
            np.clip(
                points[..., 0],
                margin - self.half_width,
                self.half_width - margin,
                out=clamped[..., 0],
            )
            np.clip(
                points[..., 1],
                margin - self.half_depth,
                self.half_depth - margin,
                out=clamped[..., 1],
            )
        return clamped
