"""Augmentation of behavior training: one random draw for all frames of a window."""

from dataclasses import dataclass

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidConfig
from service.preprocess import to_color


class ClipAugmentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ranges of the augmentation; probabilities are per window."""

    mirror_probability: float = 0.5
    """Left and right change places."""
    flip_probability: float = 0.0
    """Up and down change places; 0.5 suits an arena seen from above."""
    rotation_degrees: float = 10.0
    """Largest turn to either side."""
    scale: tuple[float, float] = (0.85, 1.18)
    shift: float = 0.08
    """Largest shift to either side, as a part of the width and of the height."""
    brightness: float = 0.25
    """Largest change of the gray level to either side, as a part of the full range."""
    contrast: tuple[float, float] = (0.7, 1.4)
    gamma: tuple[float, float] = (0.7, 1.4)
    gray_probability: float = 0.5
    """Colored windows that are made gray; gray ones stay as they are."""
    blur_probability: float = 0.2
    blur_px: float = 1.0
    """Largest standard deviation of the blur, px of the model input."""
    noise_probability: float = 0.4
    noise_levels: float = 6.0
    """Largest standard deviation of the noise, in gray levels; new in every frame."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("scale", "contrast", "gamma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise InvalidConfig(f"{name} is {low} to {high}; give 0 < low <= high")
        for name in self.__struct_fields__:
            if name.endswith("_probability") and not 0 <= getattr(self, name) <= 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; give 0 to 1")


@dataclass(frozen=True, slots=True)
class ClipAugmenter:
    """Changes windows of frames as `settings` say."""

    settings: ClipAugmentSettings

    def __call__(self, frames: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """Return (T, H, W, C) uint8 of the same shape: all frames seen by one other camera."""
        settings = self.settings
        matrix = self._geometry(frames.shape[2], frames.shape[1], random)
        table = self._levels(random)
        make_gray = frames.shape[3] == 3 and random.random() < settings.gray_probability
        blur_px = random.uniform(0.3, max(0.3, settings.blur_px))
        is_blurred = random.random() < settings.blur_probability
        is_noisy = random.random() < settings.noise_probability
        noise_levels = np.float32(random.uniform(0, settings.noise_levels))
        result = np.empty_like(frames)
        for index, frame in enumerate(frames):
            view = cv2.warpAffine(
                frame,
                matrix,
                (frame.shape[1], frame.shape[0]),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            view = cv2.LUT(view, table)
            if is_blurred:
                view = cv2.GaussianBlur(view, (0, 0), blur_px)
            view = np.asarray(view, np.uint8).reshape(frame.shape)
            if make_gray:
                view = to_color(to_color(view, "gray"), "rgb")
            if is_noisy:
                noise = random.standard_normal(view.shape[:2], np.float32)[..., None]
                view = np.clip(np.rint(view + noise * noise_levels), 0, 255).astype(np.uint8)
            result[index] = view
        return result

    def _geometry(
        self, width_px: int, height_px: int, random: np.random.Generator
    ) -> NDArray[np.float64]:
        """(2, 3) matrix from px of the frame to px of the view, around the centre."""
        settings = self.settings
        angle = np.deg2rad(random.uniform(-settings.rotation_degrees, settings.rotation_degrees))
        scale = np.exp(random.uniform(*np.log(settings.scale)))
        cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
        linear = np.array([[cosine, -sine], [sine, cosine]])
        if random.random() < settings.mirror_probability:
            linear = np.diag([-1.0, 1.0]) @ linear
        if random.random() < settings.flip_probability:
            linear = np.diag([1.0, -1.0]) @ linear
        size = np.array([width_px, height_px])
        centre = (size - 1) / 2
        shift = random.uniform(-settings.shift, settings.shift, 2) * size
        return np.column_stack([linear, centre + shift - linear @ centre])

    def _levels(self, random: np.random.Generator) -> NDArray[np.uint8]:
        """(256,) new gray level of each gray level."""
        settings = self.settings
        levels = np.linspace(0, 1, 256) ** random.uniform(*settings.gamma)
        levels = (levels - 0.5) * random.uniform(*settings.contrast) + 0.5
        levels += random.uniform(-settings.brightness, settings.brightness)
        return np.clip(np.rint(levels * 255), 0, 255).astype(np.uint8)
