"""The looks of a recording: arena, camera, light and animals, drawn from a seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.simulation.arena import Arena
from service.simulation.body import BodyShape
from service.simulation.camera import Camera, look_from
from service.simulation.settings import SceneName


@dataclass(frozen=True, slots=True)
class AnimalLook:
    """One animal's proportions and gray levels, 0 to 255."""

    shape: BodyShape
    fur: float
    skin: float
    """Ears, tail and paws."""
    fur_contrast: float
    """Standard deviation of the fur's texture as a share of its level."""
    texture_seed: int


@dataclass(frozen=True, slots=True)
class Look:
    """All that is drawn at random about one recording's appearance."""

    scene: SceneName
    arena: Arena
    camera: Camera
    animals: tuple[AnimalLook, ...]
    floor: float
    """Gray level of the floor, 0 to 255."""
    wall: float
    outside: float
    light: NDArray[np.float64]
    """(3,) unit vector towards the light, as the camera sees it (right, down, towards it)."""
    shadow_direction: tuple[float, float]
    """Shift of a shadow on the floor, body lengths for each body length of height."""
    shadow_depth: float
    """Share of light that a full shadow takes."""
    shadow_blur: float
    """Body lengths."""
    tail_shadow_shift: NDArray[np.float64]
    """(2,) shift of the tail's shadow or reflection at its base, body lengths."""
    clutter: int
    """Number of lines, spots and pellets on the floor."""
    noise: float
    """Standard deviation of the sensor noise, gray levels."""
    blur_px: float
    """Standard deviation of the lens blur."""
    exposure_s: float
    tint: tuple[float, float, float] | None
    """Gains of red, green and blue; None for a monochrome camera."""
    background_seed: int


def draw_look(
    scene: SceneName, *, width_px: int, height_px: int, animals: int, rng: np.random.Generator
) -> Look:
    """Draw the looks of a recording; sizes follow the frame's size."""
    draw = _draw_openfield if scene == "openfield" else _draw_homecage
    return draw(width_px, height_px, animals, rng)


def _draw_openfield(width_px: int, height_px: int, animals: int, rng: np.random.Generator) -> Look:
    uniform = rng.uniform
    body_px = 115.0 * min(width_px / 640.0, height_px / 480.0) * uniform(0.78, 1.18)
    if animals > 2:
        body_px *= 0.75
    height = uniform(7.0, 14.0)
    kind = rng.choice(["fill", "square", "round"], p=[0.6, 0.2, 0.2])
    side = uniform(0.88, 0.97)
    half_width, half_depth = 0.5 * side * width_px / body_px, 0.5 * side * height_px / body_px
    if kind == "fill":
        half_depth *= uniform(0.9, 1.0)
    else:
        half_width = half_depth = min(half_width, half_depth)
    arena = Arena(bool(kind == "round"), half_width, half_depth, wall_height=uniform(1.2, 3.0))
    tilt, roll = uniform(-0.06, 0.06), uniform(-0.05, 0.05)
    camera = look_from(
        np.array([uniform(-0.5, 0.5), -height * np.sin(tilt), height * np.cos(tilt)]),
        0.5 * np.pi - tilt,
        roll,
        body_px * height,
        ((width_px - 1) / 2.0, (height_px - 1) / 2.0),
    )
    bright_floor = uniform() < 0.78
    floor = uniform(165.0, 235.0) if bright_floor else uniform(25.0, 120.0)
    looks = tuple(_draw_animal(bright_floor, rng) for _ in range(animals))
    light_angle, slant = uniform(-np.pi, np.pi), uniform(0.1, 0.8)
    light = np.array([slant * np.cos(light_angle), slant * np.sin(light_angle), 1.0])
    reach = uniform(0.1, 0.8)
    return Look(
        scene="openfield",
        arena=arena,
        camera=camera,
        animals=looks,
        floor=floor,
        wall=floor * uniform(0.3, 0.8) if bright_floor else floor * uniform(0.4, 1.8),
        outside=uniform(10.0, 120.0),
        light=light / np.linalg.norm(light),
        shadow_direction=(-reach * np.cos(light_angle), reach * np.sin(light_angle)),
        shadow_depth=uniform(0.15, 0.6),
        shadow_blur=uniform(0.01, 0.12),
        tail_shadow_shift=uniform(-0.09, 0.09, 2),
        clutter=int(rng.integers(0, 7)),
        noise=uniform(1.0, 5.0),
        blur_px=uniform(0.5, 1.0) * max(1.0, height_px / 720.0),
        exposure_s=uniform(0.003, 0.018),
        tint=None if uniform() < 0.7 else _draw_tint(rng, 0.12),
        background_seed=int(rng.integers(2**62)),
    )


def _draw_homecage(width_px: int, height_px: int, animals: int, rng: np.random.Generator) -> Look:
    uniform = rng.uniform
    half_width, half_depth = uniform(1.4, 1.8), uniform(0.85, 1.1)
    if animals > 2:
        half_width *= 1.3
    arena = Arena(False, half_width, half_depth, wall_height=2.6)
    pitch, distance = uniform(0.18, 0.36), uniform(4.5, 7.0)
    focal_px = uniform(0.84, 0.96) * width_px / (2.0 * half_width) * distance
    focal_px = min(focal_px, height_px / 1.75 * distance)  # a rearing animal must fit
    aim = 0.42  # height that the camera points at, body lengths
    position = np.array(
        [uniform(-0.2, 0.2), -distance * np.cos(pitch), aim + distance * np.sin(pitch)]
    )
    camera = look_from(
        position,
        pitch,
        uniform(-0.03, 0.03),
        focal_px,
        ((width_px - 1) / 2.0, (height_px - 1) * uniform(0.58, 0.68)),
    )
    dark_cage = uniform() < 0.7
    floor = uniform(18.0, 60.0) if dark_cage else uniform(120.0, 200.0)
    light = np.array([uniform(-0.6, 0.6), uniform(-1.2, -0.5), uniform(0.6, 1.2)])
    return Look(
        scene="homecage",
        arena=arena,
        camera=camera,
        animals=tuple(_draw_animal(not dark_cage, rng) for _ in range(animals)),
        floor=floor,
        wall=floor * uniform(0.4, 0.9),
        outside=floor * uniform(0.2, 0.6),
        light=light / np.linalg.norm(light),
        shadow_direction=(uniform(-0.4, 0.4), uniform(0.0, 0.5)),
        shadow_depth=uniform(0.3, 0.7),
        shadow_blur=uniform(0.03, 0.12),
        tail_shadow_shift=uniform(-0.03, 0.03, 2),
        clutter=int(rng.integers(2, 9)),
        noise=uniform(1.0, 4.5),
        blur_px=uniform(0.5, 1.1) * max(1.0, height_px / 720.0),
        exposure_s=uniform(0.005, 0.02),
        tint=None if uniform() < 0.85 else _draw_tint(rng, 0.06),
        background_seed=int(rng.integers(2**62)),
    )


def _draw_animal(bright_surroundings: bool, rng: np.random.Generator) -> AnimalLook:
    """Dark or brown on a bright floor, white or light gray on a dark one."""
    uniform = rng.uniform
    if bright_surroundings:
        fur = uniform(14.0, 45.0) if uniform() < 0.75 else uniform(45.0, 100.0)
        skin = uniform(75.0, 150.0)
    else:
        fur, skin = uniform(150.0, 215.0), uniform(130.0, 205.0)
    return AnimalLook(
        shape=BodyShape(
            girth=uniform(0.88, 1.12),
            ear_size=uniform(0.85, 1.2),
            tail_length=uniform(0.7, 1.0),
            tail_thickness=uniform(0.022, 0.042),
        ),
        fur=fur,
        skin=skin,
        fur_contrast=uniform(0.05, 0.16) if fur < 110.0 else uniform(0.02, 0.06),
        texture_seed=int(rng.integers(2**62)),
    )


def _draw_tint(rng: np.random.Generator, strength: float) -> tuple[float, float, float]:
    red, green, blue = (1.0 + strength * rng.uniform(-1.0, 1.0, 3)).tolist()
    return red, green, blue
