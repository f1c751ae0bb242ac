"""Augmentation of the pose training set: one random view of a frame with its keypoints.

The geometry (scale, rotation, mirror, shift, crop) is one affine map, so that each pixel is
interpolated once, from the frame in full resolution. What the camera does comes after it:
light, motion blur, noise, compression, occlusion.
"""

from dataclasses import dataclass

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from service.bundle import InputSpec
from service.errors import InvalidConfig
from service.preprocess import place, to_color


class AugmentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ranges of the augmentation; probabilities are per frame."""

    rotation_degrees: float = 180.0
    """Largest turn to either side; 180 suits an arena seen from above."""
    scale: tuple[float, float] = (0.5, 1.25)
    """Factor on the size at which the model sees a frame when it serves."""
    mirror_probability: float = 0.5
    centred_share: float = 0.7
    """Share of the views that are placed around the animal; the others fall anywhere."""
    shift_px: float = 48.0
    """Largest shift of a centred view to either side, in px of the model input."""
    brightness: float = 0.25
    """Largest change of the gray level to either side, as a part of the full range."""
    contrast: tuple[float, float] = (0.6, 1.5)
    gamma: tuple[float, float] = (0.6, 1.7)
    gray_probability: float = 0.3
    """Colored frames that are made gray; gray ones stay as they are."""
    invert_probability: float = 0.05
    """Frames whose gray levels are inverted: white animals on a dark floor."""
    motion_blur_probability: float = 0.2
    motion_blur_px: int = 9
    """Longest smear in px of the model input."""
    noise_probability: float = 0.5
    noise_levels: float = 10.0
    """Largest standard deviation of the sensor noise, in gray levels."""
    compression_probability: float = 0.3
    compression_quality: tuple[int, int] = (25, 90)
    """JPEG quality, in percent."""
    cut_out_probability: float = 0.3
    cut_out_share: tuple[float, float] = (0.05, 0.2)
    """Side of a covering rectangle, as a part of the view's side."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("scale", "contrast", "gamma", "compression_quality", "cut_out_share"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise InvalidConfig(f"{name} is {low} to {high}; give 0 < low <= high")
        for name in self.__struct_fields__:
            if name.endswith("_probability") and not 0 <= getattr(self, name) <= 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; give 0 to 1")


@dataclass(frozen=True, slots=True)
class View:
    """A picture as the network sees it in training."""

    pixels: NDArray[np.uint8]
    """(h, w, C)."""
    keypoints_xy: NDArray[np.float32]
    """(N, K, 2) px of the view; NaN where not labelled or covered."""
    covered: NDArray[np.bool_]
    """(K,) True where a labelled keypoint of any animal is covered."""


@dataclass(frozen=True, slots=True)
class Augmenter:
    """Makes random views of `width_px` x `height_px` at the scale of the model input."""

    settings: AugmentSettings
    input: InputSpec
    width_px: int
    height_px: int
    mirrored: tuple[int, ...]
    """For each keypoint the index of its partner in a mirror: itself where it has none."""

    def __call__(
        self,
        pixels: NDArray[np.uint8],
        keypoints_xy: NDArray[np.float32],
        random: np.random.Generator,
    ) -> View:
        """Return a random view.

        Args:
            pixels: (H, W, 3) RGB or (H, W) gray frame.
            keypoints_xy: (N, K, 2) px of the frame; NaN where not labelled.
            random: source of all choices.
        """
        matrix, is_mirrored = self._geometry(pixels, keypoints_xy, random)
        warped = cv2.warpAffine(
            pixels,
            matrix,
            (self.width_px, self.height_px),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT if random.random() < 0.5 else cv2.BORDER_REPLICATE,
            borderValue=[float(level) for level in random.uniform(0, 255, 1).repeat(4)],
        )
        points = keypoints_xy @ matrix[:, :2].T.astype(np.float32) + matrix[:, 2].astype(np.float32)
        if is_mirrored:
            points = points[:, list(self.mirrored)]
        view = to_color(np.asarray(warped, np.uint8), self.input.color)
        view = self._light(view, random)
        view = self._camera(view, random)
        view, hidden = self._cover(view, points, random)
        return View(
            pixels=np.ascontiguousarray(view),
            keypoints_xy=np.where(hidden[..., None], np.nan, points).astype(np.float32),
            covered=np.asarray(hidden.any(axis=0), np.bool_),
        )

    def _geometry(
        self,
        pixels: NDArray[np.uint8],
        keypoints_xy: NDArray[np.float32],
        random: np.random.Generator,
    ) -> tuple[NDArray[np.float64], bool]:
        """(2, 3) matrix from px of the frame to px of the view, and whether it mirrors."""
        settings = self.settings
        height_px, width_px = pixels.shape[:2]
        placement = place(width_px, height_px, self.input)
        scale = np.exp(random.uniform(*np.log(settings.scale)))
        angle = np.deg2rad(random.uniform(-settings.rotation_degrees, settings.rotation_degrees))
        is_mirrored = bool(random.random() < settings.mirror_probability)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = rotation * scale * np.array([placement.scale_x, placement.scale_y])
        if is_mirrored:
            linear = np.diag([-1.0, 1.0]) @ linear
        animals = [points[np.isfinite(points).all(axis=1)] for points in keypoints_xy]
        animals = [points for points in animals if len(points)]
        if animals and random.random() < settings.centred_share:
            focus = animals[int(random.integers(len(animals)))].mean(axis=0)
            shift = random.uniform(-settings.shift_px, settings.shift_px, 2)
        else:
            focus = random.uniform((0, 0), (width_px - 1, height_px - 1))
            shift = np.zeros(2)
        centre = (np.array([self.width_px, self.height_px]) - 1) / 2
        offset = centre + shift - linear @ focus
        return np.column_stack([linear, offset]), is_mirrored

    def _light(self, view: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        settings = self.settings
        levels = np.linspace(0, 1, 256) ** random.uniform(*settings.gamma)
        levels = (levels - 0.5) * random.uniform(*settings.contrast) + 0.5
        levels += random.uniform(-settings.brightness, settings.brightness)
        if random.random() < settings.invert_probability:
            levels = 1 - levels
        table = np.clip(np.rint(levels * 255), 0, 255).astype(np.uint8)
        lit = np.asarray(table[view], np.uint8)
        if view.shape[2] == 3 and random.random() < settings.gray_probability:
            lit = to_color(to_color(lit, "gray"), "rgb")
        return lit

    def _camera(self, view: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        settings = self.settings
        if random.random() < settings.motion_blur_probability:
            view = _smear(view, int(random.integers(3, settings.motion_blur_px + 1)), random)
        if random.random() < settings.noise_probability:
            # One field for all channels: gray cameras are what labs have.
            noise = random.standard_normal(view.shape[:2], np.float32)[..., None]
            noisy = view + noise * np.float32(random.uniform(0, settings.noise_levels))
            view = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        if random.random() < settings.compression_probability:
            quality = int(random.integers(*settings.compression_quality, endpoint=True))
            packed = cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            unpacked = cv2.imdecode(packed, cv2.IMREAD_UNCHANGED)
            view = np.asarray(unpacked, np.uint8).reshape(view.shape)
        return view

    def _cover(
        self,
        view: NDArray[np.uint8],
        points: NDArray[np.float32],
        random: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Paint one rectangle over the view and say which of the points (N, K) it hides."""
        if random.random() >= self.settings.cut_out_probability:
            return view, np.zeros(points.shape[:2], np.bool_)
        size = np.array([self.width_px, self.height_px])
        half = random.uniform(*self.settings.cut_out_share, 2) * size / 2
        centre = random.uniform((0, 0), size)
        low = np.maximum(np.rint(centre - half), 0).astype(int)
        high = np.rint(centre + half).astype(int)
        covered = view.copy()
        covered[low[1] : high[1], low[0] : high[0]] = random.integers(0, 256)
        hidden = ((points >= low - 0.5) & (points <= high - 0.5)).all(axis=2)
        return covered, np.asarray(hidden, np.bool_)


def mirror_indices(
    keypoints: tuple[str, ...], left_right: tuple[tuple[str, str], ...]
) -> tuple[int, ...]:
    """Return `Augmenter.mirrored` of the pairs `left_right` of `keypoints`."""
    partner = dict(left_right) | {right: left for left, right in left_right}
    return tuple(keypoints.index(partner.get(name, name)) for name in keypoints)


def _smear(
    view: NDArray[np.uint8], length_px: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Blur along a line of `length_px` px in a random direction."""
    kernel = np.zeros((length_px, length_px), np.float32)
    middle = (length_px - 1) / 2
    angle = random.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * middle
    start, end = np.rint(middle - reach).astype(int), np.rint(middle + reach).astype(int)
    cv2.line(kernel, start.tolist(), end.tolist(), 1.0)
    blurred = cv2.filter2D(view, -1, kernel / kernel.sum())
    return np.asarray(blurred, np.uint8).reshape(view.shape)
