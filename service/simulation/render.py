"""Frames: animals drawn over the background, with shadow, shading, fur, blur and noise."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from service.simulation.background import draw_background
from service.simulation.body import HEAD, Bodies
from service.simulation.look import AnimalLook, Look

Image = NDArray[np.float32]
Array = NDArray[np.float64]
_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws with
_NOISE_MARGIN = 64  # px by which the noise field is larger than a frame, so that it can be moved


@dataclass(frozen=True, slots=True)
class _Parts:
    """One animal at one instant, in px; depths in px too, growing away from the camera."""

    center: Array
    """(spheres, 2)"""
    depth: Array
    radius: Array
    ears: list[Array]
    ear_depth: Array
    feet: Array
    """(4, 2, 2) heel and toes of each foot."""
    foot_depth: Array
    tail: Array
    tail_radius: Array
    tail_depth: float
    eyes: Array
    eye_depth: Array
    shadow: Array
    """(spheres, 3) shadow circles on the floor: x, y, radius."""
    tail_shadow: Array
    scale: float
    """px a body length at the animal."""
    axis: Array
    """(2, 2) body center and head, which the fur's texture follows."""


class Renderer:
    """Draws the frames of one recording."""

    def __init__(self, look: Look, width_px: int, height_px: int) -> None:
        self._look = look
        self._size = (width_px, height_px)
        self._background = draw_background(look, width_px, height_px)
        self._still = np.round(self._background).astype(np.uint8)
        self._furs = [_fur(animal) for animal in look.animals]
        rng = np.random.default_rng([look.background_seed % 2**32, 1])
        self._noise = _noise_field(look.noise, width_px, height_px, rng)

    def draw(
        self, instants: list[list[Bodies]], *, noise_rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """One frame.

        Args:
            instants: for each moment of the exposure, each animal's body (T = 1).
            noise_rng: where this frame's sensor noise comes from.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        gray = self._still.copy()
        parts = [[_project(body, self._look) for body in animals] for animals in instants]
        for members, (left, top, right, bottom) in _overlapping(
            [
                [_box(moment[a], self._size) for moment in parts]
                for a in range(len(self._look.animals))
            ]
        ):
            total = np.zeros((bottom - top, right - left), np.float32)
            for moment in parts:
                patch = self._background[top:bottom, left:right].copy()
                for animal in members:
                    self._shadow(patch, moment[animal], (left, top))
                for animal in sorted(members, key=lambda each: -moment[each].depth.mean()):
                    self._animal(patch, moment[animal], animal, (left, top))
                total += patch
            total /= len(parts)
            total = cv2.GaussianBlur(total, (0, 0), self._look.blur_px)
            gray[top:bottom, left:right] = np.round(np.clip(total, 0.0, 255.0))
        x, y = noise_rng.integers(0, _NOISE_MARGIN, 2)
        width, height = self._size
        noise = self._noise[y : y + height, x : x + width]
        gain = 1.0 + 0.004 * float(noise_rng.standard_normal())
        gray = cv2.addWeighted(gray, gain, noise, 1.0, -128.0)
        tint = self._look.tint
        if tint is None:
            return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8)
        return np.asarray(cv2.merge([cv2.convertScaleAbs(gray, alpha=part) for part in tint]))

    def _shadow(self, patch: Image, parts: _Parts, origin: tuple[int, int]) -> None:
        """Darken the floor where the animal keeps the light away."""
        look = self._look
        blur = max(0.6, look.shadow_blur * parts.scale)
        step = 1 if blur < 2.0 else (2 if blur < 5.0 else 4)  # soft shadows need few pixels
        height, width = patch.shape
        small = np.zeros((-(-height // step), -(-width // step)), np.float32)
        offset = np.array(origin, np.float64)
        for x, y, radius in parts.shadow:
            place = ((np.array([x, y]) - offset) / step * 16).astype(int)
            cv2.circle(
                small, (int(place[0]), int(place[1])), int(radius / step * 16), 1.0, -1,
                cv2.LINE_AA, _SHIFT,
            )  # fmt: skip
        outline = _ribbon((parts.tail_shadow - offset) / step, parts.tail_radius / step)
        cv2.fillPoly(small, [_fixed(outline)], 1.0, cv2.LINE_AA, _SHIFT)
        small = cv2.GaussianBlur(small, (0, 0), blur / step)
        if step > 1:
            small = cv2.resize(small, None, fx=step, fy=step)[:height, :width]
        patch *= 1.0 - look.shadow_depth * np.minimum(small, 1.0)

    def _animal(self, patch: Image, parts: _Parts, animal: int, origin: tuple[int, int]) -> None:
        look = self._look.animals[animal]
        offset = np.array(origin, np.float64)
        body_depth = float(np.median(parts.depth))
        tail_in_front = parts.tail_depth < body_depth - 0.1 * parts.scale
        if not tail_in_front:
            _tail(patch, parts.tail - offset, parts.tail_radius, look.skin)
        middles = parts.feet.mean(1)
        far = (parts.foot_depth >= body_depth) | _covered(middles, parts.foot_depth, parts)
        for foot in np.flatnonzero(far):
            _foot(patch, parts.feet[foot] - offset, parts.scale, look.skin * 0.8)
        centers = np.stack([ear.mean(0) for ear in parts.ears])
        behind = (parts.ear_depth > parts.depth[HEAD]) | _covered(centers, parts.ear_depth, parts)
        for ear in np.flatnonzero(behind):
            _ear(patch, parts.ears[ear] - offset, look, behind=True)
        self._fur_body(patch, parts, animal, offset)
        for eye in np.flatnonzero(~_covered(parts.eyes, parts.eye_depth, parts)):
            _disc(patch, parts.eyes[eye] - offset, 0.014 * parts.scale, 12.0)
        for ear in np.flatnonzero(~behind):
            _ear(patch, parts.ears[ear] - offset, look, behind=False)
        for foot in np.flatnonzero(~far):
            _foot(patch, parts.feet[foot] - offset, parts.scale, look.skin * 0.9)
        if tail_in_front:
            _tail(patch, parts.tail - offset, parts.tail_radius, look.skin)

    def _fur_body(self, patch: Image, parts: _Parts, animal: int, offset: Array) -> None:
        """Trunk and head: the nearest surface of all spheres, lit and covered with fur."""
        look = self._look.animals[animal]
        reach = parts.radius[:, None] + 6.0
        low = np.maximum((parts.center - reach).min(0) - offset, 0.0).astype(int)
        high = np.maximum((parts.center + reach).max(0) - offset, 0.0).astype(int) + 1
        patch = patch[low[1] : high[1], low[0] : high[0]]
        if patch.size == 0:  # the whole animal is outside the frame
            return
        offset = offset + low
        height, inside = _surface(patch.shape, parts, offset)
        height = cv2.GaussianBlur(height, (0, 0), max(0.8, 0.016 * parts.scale))
        slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
        slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
        lx, ly, lz = self._look.light.tolist()  # plain floats keep the arrays float32
        facing = (lz - lx * slope_x - ly * slope_y) / np.sqrt(
            1.0 + slope_x * slope_x + slope_y * slope_y
        )
        shade = 0.62 + 0.45 * np.maximum(facing, 0.0)
        texture = self._fur_at(parts, animal, offset, patch.shape)
        color = look.fur * shade * (1.0 + texture)
        alpha = np.clip(inside + 0.5 + texture * 4.0, 0.0, 1.0)
        patch += alpha * (color - patch)  # a view: changes the caller's patch

    def _fur_at(self, parts: _Parts, animal: int, offset: Array, shape: tuple[int, ...]) -> Image:
        """The fur's texture moved and turned with the animal."""
        along = parts.axis[1] - parts.axis[0]
        angle = np.arctan2(along[1], along[0])
        zoom = parts.scale / 100.0
        cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
        center = parts.axis[0] - offset
        matrix = np.array(
            [
                [cos, -sin, center[0] - 128.0 * cos + 128.0 * sin],
                [sin, cos, center[1] - 128.0 * sin - 128.0 * cos],
            ]
        )
        size = (shape[1], shape[0])
        return np.asarray(
            cv2.warpAffine(self._furs[animal], matrix, size, borderMode=cv2.BORDER_WRAP)
        )


def _project(body: Bodies, look: Look) -> _Parts:
    camera = look.camera
    spheres = np.concatenate([body.spine[0], body.legs[0]])
    radii = np.concatenate([body.spine_radii, body.leg_radii])
    center, depth = camera.project(spheres)
    scale = camera.focal_px / float(depth.mean())
    ears, ear_depth = camera.project(body.ears[0])
    feet, foot_depth = camera.project(np.stack([body.paws[0], body.toes[0]], axis=1))
    tail, tail_depth = camera.project(body.tail[0])
    eyes, eye_depth = camera.project(body.eyes[0])
    ground = spheres.copy()
    ground[:, :2] += ground[:, 2:] * np.array(look.shadow_direction)
    ground[:, 2] = 0.0
    shadow, shadow_depth = camera.project(look.arena.clamp(ground, 0.0))
    tail_ground = body.tail[0] * np.array([1.0, 1.0, 0.0])
    # A thin tail lies close to the floor; its shadow or reflection still shows beside it.
    tail_ground[:, :2] += np.linspace(1.0, 0.3, len(tail))[:, None] * look.tail_shadow_shift
    return _Parts(
        center=center,
        depth=depth * scale,
        radius=radii * camera.focal_px / depth,
        ears=list(ears),
        ear_depth=ear_depth.mean(1) * scale,
        feet=feet,
        foot_depth=foot_depth.mean(1) * scale,
        tail=tail,
        tail_radius=body.tail_radii * camera.focal_px / tail_depth,
        tail_depth=float(tail_depth.mean()) * scale,
        eyes=eyes,
        eye_depth=eye_depth * scale,
        shadow=np.column_stack([shadow, 1.05 * radii * camera.focal_px / shadow_depth]),
        tail_shadow=camera.project(tail_ground)[0],
        scale=scale,
        axis=center[[6, 13]],
    )


def _box(parts: _Parts, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what an animal and its shadow touch; inside the frame."""
    reach = parts.radius[:, None]
    points = np.concatenate(
        [
            parts.center - reach,
            parts.center + reach,
            *parts.ears,
            parts.tail,
            parts.tail_shadow,
            parts.shadow[:, :2] - parts.shadow[:, 2:],
            parts.shadow[:, :2] + parts.shadow[:, 2:],
            parts.feet.reshape(-1, 2),
        ]
    )
    margin = 4.0 + 0.14 * parts.scale
    low = np.floor(points.min(0) - margin).astype(int)
    high = np.ceil(points.max(0) + margin).astype(int) + 1
    width, height = size
    left, top = int(np.clip(low[0], 0, width - 1)), int(np.clip(low[1], 0, height - 1))
    right, bottom = int(np.clip(high[0], left + 1, width)), int(np.clip(high[1], top + 1, height))
    return left, top, right, bottom


def _overlapping(
    boxes: list[list[tuple[int, int, int, int]]],
) -> list[tuple[list[int], tuple[int, int, int, int]]]:
    """Groups of animals whose boxes touch, each with the box around the group."""
    groups: list[tuple[list[int], tuple[int, int, int, int]]] = []
    for animal, moments in enumerate(boxes):
        members, box = [animal], _around(moments)
        rest = []
        for other, other_box in groups:
            if (
                box[0] < other_box[2] and other_box[0] < box[2]
                and box[1] < other_box[3] and other_box[1] < box[3]
            ):  # fmt: skip
                members, box = other + members, _around([box, other_box])
            else:
                rest.append((other, other_box))
        groups = [*rest, (members, box)]
    return groups


def _around(boxes: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def _surface(shape: tuple[int, ...], parts: _Parts, offset: Array) -> tuple[Image, Image]:
    """Height towards the camera and signed distance inside the outline, px, (h, w) each."""
    farthest = float((parts.depth + parts.radius).max())
    height = np.full(shape, farthest - float(parts.depth.max()) - 2.0, np.float32)
    inside = np.full(shape, -1e3, np.float32)
    rows, columns = shape[:2]
    for (x, y), depth, radius in zip(parts.center - offset, parts.depth, parts.radius, strict=True):
        reach = radius + 3.0
        left, right = max(0, int(x - reach)), min(columns, int(x + reach) + 2)
        top, bottom = max(0, int(y - reach)), min(rows, int(y + reach) + 2)
        if left >= right or top >= bottom:
            continue
        across = np.arange(left, right, dtype=np.float32) - np.float32(x)
        down = np.arange(top, bottom, dtype=np.float32) - np.float32(y)
        squared = (across * across)[None] + (down * down)[:, None]
        np.maximum(
            inside[top:bottom, left:right],
            np.float32(radius) - np.sqrt(squared),
            out=inside[top:bottom, left:right],
        )
        bulge = np.sqrt(np.maximum(np.float32(radius * radius) - squared, 0.0))
        bulge += np.float32(farthest - depth)
        np.maximum(height[top:bottom, left:right], bulge, out=height[top:bottom, left:right])
    return height, inside


def _covered(points: Array, depth: Array, parts: _Parts) -> NDArray[np.bool_]:
    """(P,) True where the body's surface lies clearly before points (P, 2) px of a depth."""
    apart = points[:, None] - parts.center[None]
    squared = parts.radius**2 - (apart * apart).sum(-1)
    before = parts.depth - np.sqrt(np.maximum(squared, 0.0)) < depth[:, None] - 0.05 * parts.scale
    return np.asarray(((squared > 0.0) & before).any(1))


def _fixed(points: Array) -> NDArray[np.int32]:
    return np.round(np.clip(points, -4000, 8000) * (1 << _SHIFT)).astype(np.int32)


def _ribbon(curve: Array, radius: Array) -> Array:
    """Outline (2P, 2) of a curve with a radius at each point."""
    along = np.gradient(curve, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    side = np.column_stack([-along[:, 1], along[:, 0]]) * radius[:, None]
    return np.concatenate([curve + side, (curve - side)[::-1]])


def _tail(patch: Image, curve: Array, radius: Array, level: float) -> None:
    """A filled ribbon with a lighter ridge."""
    outline = _ribbon(curve, radius)
    cv2.fillPoly(patch, [_fixed(outline)], float(level * 0.85), cv2.LINE_AA, _SHIFT)
    ridge = _ribbon(curve, 0.45 * radius)
    cv2.fillPoly(patch, [_fixed(ridge)], float(level), cv2.LINE_AA, _SHIFT)


def _foot(patch: Image, ends: Array, scale: float, level: float) -> None:
    """A foot: narrow at the heel, broad before the toes."""
    curve = ends[0] + np.array([0.0, 0.5, 0.85, 1.0])[:, None] * (ends[1] - ends[0])
    outline = _ribbon(curve, scale * np.array([0.018, 0.022, 0.026, 0.012]))
    cv2.fillPoly(patch, [_fixed(outline)], float(level), cv2.LINE_AA, _SHIFT)


def _disc(patch: Image, place: Array, radius: float, level: float) -> None:
    center = (int(place[0] * 16), int(place[1] * 16))
    cv2.circle(patch, center, max(8, int(radius * 16)), float(level), -1, cv2.LINE_AA, _SHIFT)


def _ear(patch: Image, outline: Array, look: AnimalLook, *, behind: bool) -> None:
    """A pinna: skin with a rim, darker inside on its back."""
    level = look.skin * (0.75 if behind else 0.95)
    cv2.fillPoly(patch, [_fixed(outline)], float(level), cv2.LINE_AA, _SHIFT)
    center = outline.mean(0)
    inner = center + 0.6 * (outline - center)
    shade = level * 0.88 + 0.12 * look.fur
    cv2.fillPoly(patch, [_fixed(inner)], float(shade), cv2.LINE_AA, _SHIFT)


def _fur(look: AnimalLook) -> Image:
    """(256, 256) texture of mean 0: hairs that lie along x."""
    rng = np.random.default_rng(look.texture_seed)
    grain = rng.standard_normal((256, 256)).astype(np.float32)
    hairs = cv2.GaussianBlur(grain, (0, 0), sigmaX=1.6, sigmaY=0.7)
    patches = cv2.GaussianBlur(grain, (0, 0), 9.0)
    texture = hairs / hairs.std() + 0.5 * patches / patches.std()
    return np.asarray(look.fur_contrast * texture, np.float32)


def _noise_field(
    deviation: float, width_px: int, height_px: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Sensor noise around 128, larger than a frame by a margin on both axes."""
    shape = (height_px + _NOISE_MARGIN, width_px + _NOISE_MARGIN)
    field = rng.standard_normal(shape, dtype=np.float32)
    field = 0.8 * field + 0.75 * cv2.GaussianBlur(field, (0, 0), 0.8)
    return np.asarray(np.clip(np.round(128.0 + deviation * field), 0, 255), np.uint8)
