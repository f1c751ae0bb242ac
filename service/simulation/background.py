"""The empty scene: floor, walls, light, clutter; drawn once a recording."""

import cv2
import numpy as np
from numpy.typing import NDArray

from service.simulation.look import Look

Image = NDArray[np.float32]
_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws with


def draw_background(look: Look, width_px: int, height_px: int) -> Image:
    """The scene without animals, (H, W) float32 gray levels."""
    rng = np.random.default_rng(look.background_seed)
    image = np.full((height_px, width_px), look.outside, np.float32)
    floor = _ring(look, 0.0)
    top = _ring(look, look.arena.wall_height)
    # The first side of a cage is its glass front, which is not drawn.
    for index in range(1 if look.scene == "homecage" else 0, len(floor)):
        after = (index + 1) % len(floor)
        panel = np.stack([floor[index], floor[after], top[after], top[index]])
        if look.arena.round:
            level = 1.0 + 0.25 * np.cos(2.0 * np.pi * index / len(floor) + look.light[0] * 3.0)
        else:
            level = rng.uniform(0.65, 1.3)
        _fill(image, panel, look.wall * level)
    mask = np.zeros((height_px, width_px), np.float32)
    _fill(mask, floor, 1.0)
    surface = look.floor * _light_field(rng, width_px, height_px)
    surface += _clutter(look, rng, width_px, height_px)
    image += mask * (surface - image)
    if look.scene == "homecage":
        _fittings(look, rng, image)
    edge = max(1, round(height_px / 240))
    outline = np.round(floor * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(
        image, [outline], True, float(look.wall * rng.uniform(0.4, 0.9)), edge, cv2.LINE_AA, _SHIFT
    )
    image *= _light_field(rng, width_px, height_px, strength=0.12)
    _specular(look, rng, image, floor)
    image = cv2.GaussianBlur(image, (0, 0), look.blur_px)
    return np.asarray(np.clip(image, 2.0, 252.0), np.float32)


def _ring(look: Look, height: float) -> NDArray[np.float64]:
    """Corners (P, 2) px of the arena's inner outline at a height."""
    arena = look.arena
    if arena.round:
        angle = np.linspace(0.0, 2.0 * np.pi, 72, endpoint=False)
        x, y = arena.half_width * np.cos(angle), arena.half_width * np.sin(angle)
    else:
        x = arena.half_width * np.array([-1.0, 1.0, 1.0, -1.0])
        y = arena.half_depth * np.array([-1.0, -1.0, 1.0, 1.0])
    ring = np.stack([x, y, np.full(len(x), height)], axis=-1)
    return np.asarray(look.camera.project(ring)[0])


def _fill(image: Image, corners: NDArray[np.float64], value: float) -> None:
    points = np.round(np.clip(corners, -8000, 8000) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(image, [points], float(value), cv2.LINE_AA, _SHIFT)


def _light_field(
    rng: np.random.Generator, width_px: int, height_px: int, strength: float = 0.25
) -> Image:
    """(H, W) gains around 1: a gradient, a few soft spots of light, fine streaks."""
    y, x = np.mgrid[0:1:36j, 0:1:48j]
    slope_x, slope_y = rng.uniform(-strength, strength, 2)
    field = 1.0 + slope_x * (x - 0.5) + slope_y * (y - 0.5)
    for _ in range(int(rng.integers(1, 4))):
        center_x, center_y = rng.uniform(-0.1, 1.1, 2)
        width = rng.uniform(0.15, 0.5)
        spot = np.exp(-((x - center_x) ** 2 + (y - center_y) ** 2) / (2.0 * width**2))
        field += rng.uniform(-0.6, 1.0) * strength * spot
    field = cv2.resize(
        field.astype(np.float32), (width_px, height_px), interpolation=cv2.INTER_CUBIC
    )
    streaks = rng.standard_normal((max(8, height_px // 3), 12)).astype(np.float32)
    grain = rng.standard_normal((max(8, height_px // 2), max(8, width_px // 2)))
    size = (width_px, height_px)
    field += 0.04 * strength * cv2.resize(streaks, size, interpolation=cv2.INTER_LINEAR)
    field += 0.06 * strength * cv2.resize(grain.astype(np.float32), size)
    return np.asarray(np.maximum(field, 0.2), np.float32)


def _clutter(look: Look, rng: np.random.Generator, width_px: int, height_px: int) -> Image:
    """(H, W) differences of gray level: lines, spots and pellets lying on the floor."""
    layer = np.zeros((height_px, width_px), np.float32)
    unit = min(width_px / 640.0, height_px / 480.0)
    sign = -1.0 if look.floor > 90.0 else 1.0
    for _ in range(look.clutter):
        kind = rng.uniform()
        level = float(sign * rng.uniform(8.0, 55.0))
        if kind < 0.35:  # a trail of straight pieces
            steps = rng.uniform(-1.0, 1.0, (int(rng.integers(3, 9)), 2)) * [0.22, 0.3]
            trail = (rng.uniform(0.1, 0.9, 2) + np.cumsum(steps, axis=0)) * [width_px, height_px]
            points = np.round(trail * (1 << _SHIFT)).astype(np.int32)
            thickness = max(1, round(unit * rng.uniform(1.0, 2.2)))
            cv2.polylines(layer, [points], False, level * 0.6, thickness, cv2.LINE_AA, _SHIFT)
        else:
            for _ in range(int(rng.integers(1, 7))):
                center = rng.uniform(0.0, 1.0, 2) * [width_px, height_px]
                size = unit * (rng.uniform(1.0, 5.0) if kind < 0.8 else rng.uniform(8.0, 30.0))
                strength = level if kind < 0.8 else level * 0.25
                axes = (size * rng.uniform(0.5, 1.0), size)
                cv2.ellipse(
                    layer,
                    tuple(int(v * 16) for v in center),
                    tuple(int(v * 16) for v in axes),
                    float(rng.uniform(0, 180)),
                    0,
                    360,
                    strength,
                    -1,
                    cv2.LINE_AA,
                    _SHIFT,
                )
    return layer


def _fittings(look: Look, rng: np.random.Generator, image: Image) -> None:
    """Small bright clips on the back and side walls of a cage."""
    arena = look.arena
    for _ in range(int(rng.integers(0, 5))):
        height, size = rng.uniform(0.8, 1.6), rng.uniform(0.04, 0.09)
        corners = np.array([[-1.0, -1.2], [1.0, -1.2], [1.0, 1.2], [-1.0, 1.2]]) * size
        place = np.empty((4, 3))
        place[:, 2] = height + corners[:, 1]
        if rng.uniform() < 0.5:
            place[:, 0] = rng.uniform(-0.9, 0.9) * arena.half_width + corners[:, 0]
            place[:, 1] = arena.half_depth
        else:
            place[:, 0] = arena.half_width * rng.choice([-1.0, 1.0])
            place[:, 1] = rng.uniform(-0.5, 0.9) * arena.half_depth + corners[:, 0]
        _fill(image, look.camera.project(place)[0], rng.uniform(90.0, 200.0))
        place[:, 2] += 2.6 * size
        _fill(image, look.camera.project(place)[0], rng.uniform(5.0, 60.0))


def _specular(
    look: Look, rng: np.random.Generator, image: Image, floor: NDArray[np.float64]
) -> None:
    """Bright reflections of lamps along one edge of the floor, on some recordings."""
    if rng.uniform() < 0.5:
        return
    start = int(rng.integers(len(floor)))
    first, second = floor[start], floor[(start + 1) % len(floor)]
    for _ in range(int(rng.integers(1, 4))):
        place = first + rng.uniform(0.1, 0.9) * (second - first)
        length = 0.03 * image.shape[1] * rng.uniform(0.5, 1.5)
        along = (second - first) / max(1.0, float(np.linalg.norm(second - first)))
        ends = np.stack([place - 0.5 * length * along, place + 0.5 * length * along])
        cv2.polylines(
            image,
            [np.round(ends * (1 << _SHIFT)).astype(np.int32)],
            False,
            250.0,
            max(2, image.shape[0] // 80),
            cv2.LINE_AA,
            _SHIFT,
        )
