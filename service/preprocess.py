"""From a frame to model pixels and back: crop, resize, color; training uses the same functions.

Coordinates are pixel indices: (0, 0) is the centre of the top-left pixel, so a resize by s maps
x to (x + 0.5) s - 0.5. The resize is bilinear with half-pixel centres, no antialias, rounded
half to even.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from service.bundle import InputSpec
from service.errors import InvalidFrame

Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Makes (n, W, c) of (n, W, C), each pixel by itself."""

_kept = threading.local()
_LARGE = 1 << 20
"""Bytes from which memory, not the processor, is what widening a picture costs."""
_ROWS_AT_ONCE = 48  # so that what lies between two copies stays in the processor's cache


@dataclass(frozen=True, slots=True)
class CropRegion:
    """A rectangle of a frame, in px of the frame as sent."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class Placement:
    """The affine map from px of the frame as sent to px of the model input, per axis."""

    scale_x: float
    scale_y: float
    offset_x_px: float
    """Model x of the sent frame's x = 0."""
    offset_y_px: float

    def to_model(self, points_xy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (..., 2) px of the sent frame to (..., 2) px of the model input."""
        return points_xy * self._scale() + self._offset()

    def to_frame(self, points_xy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (..., 2) px of the model input to (..., 2) px of the sent frame."""
        return (points_xy - self._offset()) / self._scale()

    def _scale(self) -> NDArray[np.float32]:
        return np.array([self.scale_x, self.scale_y], np.float32)

    def _offset(self) -> NDArray[np.float32]:
        return np.array([self.offset_x_px, self.offset_y_px], np.float32)


@dataclass(frozen=True, slots=True)
class Planes:
    """A frame as most videos store it: luma, and two differences of color, which may be smaller."""

    luma: NDArray[np.uint8]
    """(H, W)."""
    u: NDArray[np.uint8]
    """(H', W'): blue less luma."""
    v: NDArray[np.uint8]
    """(H', W'): red less luma."""
    levels: Change
    """From values of luma to what they are in RGB where there is no color."""
    to_rgb: NDArray[np.float64]
    """(3, 4): RGB from these levels, u, v and 1."""


@lru_cache(maxsize=64)
def place(
    frame_width_px: int, frame_height_px: int, spec: InputSpec, crop: CropRegion | None = None
) -> Placement:
    """Say where a frame (or its crop) lands in the model input of `spec`.

    Raises:
        InvalidFrame: the crop is empty or reaches outside the frame.
    """
    region = crop or CropRegion(0, 0, frame_width_px, frame_height_px)
    if (
        region.x_px < 0
        or region.y_px < 0
        or region.width_px < 1
        or region.height_px < 1
        or region.x_px + region.width_px > frame_width_px
        or region.y_px + region.height_px > frame_height_px
    ):
        raise InvalidFrame(
            f"the crop {region.width_px}x{region.height_px} at ({region.x_px}, {region.y_px}) px "
            f"is not inside the {frame_width_px}x{frame_height_px} frame; send one that is"
        )
    width_px, height_px = content_size(region, spec)
    scale_x = width_px / region.width_px
    scale_y = height_px / region.height_px
    return Placement(
        scale_x=scale_x,
        scale_y=scale_y,
        offset_x_px=(0.5 - region.x_px) * scale_x - 0.5,
        offset_y_px=(0.5 - region.y_px) * scale_y - 0.5,
    )


def to_model_input(
    pixels: NDArray[np.uint8],
    spec: InputSpec,
    crop: CropRegion | None = None,
    levels: Change | None = None,
) -> tuple[NDArray[np.uint8], Placement]:
    """Crop, resize and recolor one frame.

    Args:
        pixels: (H, W, 3) RGB or (H, W) or (H, W, 1) gray, uint8.
        spec: size, color and fit policy of the model.
        crop: part of the frame to look at; None takes all of it.
        levels: what stored values stand for; None where they are the pixels.

    Returns:
        (h, w, C) uint8 of `spec`'s size, C-contiguous, and the map between frame and model px.

    Raises:
        InvalidFrame: the crop is empty or reaches outside the frame.
    """
    height_px, width_px = pixels.shape[:2]
    placement = place(width_px, height_px, spec, crop)
    region = crop or CropRegion(0, 0, width_px, height_px)
    part = _cut(pixels, region)
    image = part[..., None] if part.ndim == 2 else part

    def before(some: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # Gray is made before the resize and colors after it: either way one channel is resized.
        told = some if levels is None else levels(some)
        return to_color(told, "gray") if spec.color == "gray" else told

    resized = resize(image, *content_size(region, spec), before)
    return _finish(resized, spec), placement


def planes_to_model_input(
    planes: Planes, spec: InputSpec, crop: CropRegion | None = None
) -> NDArray[np.uint8] | None:
    """Crop and resize one frame stored as luma and color, and make its colors at the model's size.

    Returns:
        (h, w, C) uint8 of `spec`'s size; None where planes of color would have to grow, or begin
        between two pixels.

    Raises:
        InvalidFrame: the crop is empty or reaches outside the frame.
    """
    height_px, width_px = planes.luma.shape
    place(width_px, height_px, spec, crop)
    region = crop or CropRegion(0, 0, width_px, height_px)
    of_color = region_of_color(region, spec, planes.luma.shape, planes.u.shape)
    if of_color is None:
        return None
    size = content_size(region, spec)
    luma = resize(_cut(planes.luma, region)[..., None], *size, planes.levels)
    u, v = (resize(_cut(one, of_color)[..., None], *size) for one in (planes.u, planes.v))
    rgb = cv2.transform(cv2.merge([luma, u, v]), planes.to_rgb)
    return _finish(np.asarray(rgb, np.uint8), spec)


def region_of_color(
    region: CropRegion,
    spec: InputSpec,
    luma_shape: tuple[int, ...],
    color_shape: tuple[int, ...],
) -> CropRegion | None:
    """Return the part of planes of color that lies under a part of luma.

    Args:
        region: of luma.
        spec: what the planes are resized to.
        luma_shape: (H, W).
        color_shape: (H', W') of each plane of color.

    Returns:
        None where it would have to grow, or begins or ends between two pixels.
    """
    down, down_rest = divmod(luma_shape[0], color_shape[0])
    across, across_rest = divmod(luma_shape[1], color_shape[1])
    x_px, x_rest = divmod(region.x_px, across)
    y_px, y_rest = divmod(region.y_px, down)
    width_px, width_rest = divmod(region.width_px, across)
    height_px, height_rest = divmod(region.height_px, down)
    if down_rest or across_rest or x_rest or y_rest or width_rest or height_rest:
        return None
    needed = content_size(region, spec)
    if width_px < needed[0] or height_px < needed[1]:
        return None
    return CropRegion(x_px, y_px, width_px, height_px)


def resize(
    pixels: NDArray[np.uint8], width_px: int, height_px: int, before: Change = lambda some: some
) -> NDArray[np.uint8]:
    """Resize (H, W, C) uint8 to (height_px, width_px, c) uint8: bilinear, half-pixel centres.

    No antialias filter is applied and values are rounded half to even, so that a GPU kernel
    and this function agree to one gray level.

    Args:
        pixels: of the picture.
        width_px: of the result.
        height_px: of the result.
        before: is done to the pixels first, in large pictures only to rows that are looked at.
    """
    if pixels.shape[:2] == (height_px, width_px):
        return before(pixels)
    # OpenCV weighs 8 bits in fixed point, 16 bits in float32, and then rounds half to even.
    size = (width_px, height_px)
    wide = _widen(pixels, height_px, before)
    small = np.asarray(cv2.resize(wide, size, interpolation=cv2.INTER_LINEAR))
    return small.astype(np.uint8).reshape(height_px, width_px, wide.shape[2])


def to_color(pixels: NDArray[np.uint8], color: Literal["rgb", "gray"]) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB or (H, W, 1) gray from either; gray is BT.601 luma of the RGB."""
    image = pixels[..., None] if pixels.ndim == 2 else pixels
    channels = image.shape[2]
    if color == "gray" and channels == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)[..., None]
    if color == "rgb" and channels == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
    return image


def bgr_to_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB from OpenCV's order."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def _cut(pixels: NDArray[np.uint8], region: CropRegion) -> NDArray[np.uint8]:
    return pixels[
        region.y_px : region.y_px + region.height_px, region.x_px : region.x_px + region.width_px
    ]


def _finish(resized: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Return a resized picture in the model's color and, with black beside it, its size."""
    colored = to_color(resized, spec.color)
    height_px, width_px = colored.shape[:2]
    if (height_px, width_px) == (spec.height_px, spec.width_px):
        return np.ascontiguousarray(colored)
    padded = np.zeros((spec.height_px, spec.width_px, spec.channels), np.uint8)
    padded[:height_px, :width_px] = colored
    return padded


def _widen(pixels: NDArray[np.uint8], height_px: int, before: Change) -> NDArray[np.uint16]:
    """Return what `before` makes in 16 bits, in memory that the thread keeps: new one costs more.

    Rows that a resize to `height_px` gives no weight may hold what was there before.
    """
    rows = _rows_with_weight(pixels.shape[0], height_px) if pixels.size >= _LARGE else None
    if rows is None:
        made = before(pixels)
        wide = _take_scratch(made.shape)
        np.copyto(wide, made)
        return wide
    wide = _take_scratch((*pixels.shape[:2], before(pixels[:1]).shape[2]))
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[begin : begin + _ROWS_AT_ONCE]
        wide[some] = before(pixels[some])
    return wide


def _take_scratch(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    size = math.prod(shape)
    scratch: NDArray[np.uint16] | None = getattr(_kept, "scratch", None)
    if scratch is None or scratch.size < size:
        scratch = _kept.scratch = np.empty(size, np.uint16)
    return scratch[:size].reshape(shape)


@lru_cache(maxsize=64)
def _rows_with_weight(from_px: int, to_px: int) -> NDArray[np.intp] | None:
    """Rows that a bilinear resize looks at: the two that each row of the result lies between.

    None where these are so many that copying all of them is as fast.
    """
    above = np.floor((np.arange(to_px) + 0.5) * (from_px / to_px) - 0.5).astype(np.intp)
    rows = np.unique(np.clip(np.concatenate([above, above + 1]), 0, from_px - 1))
    return rows if len(rows) <= 0.6 * from_px else None


def content_size(region: CropRegion, spec: InputSpec) -> tuple[int, int]:
    """(width, height) in px that the picture itself takes in the model input."""
    if spec.fit == "stretch":
        return spec.width_px, spec.height_px
    scale = min(spec.width_px / region.width_px, spec.height_px / region.height_px)
    return (
        max(1, min(spec.width_px, round(region.width_px * scale))),
        max(1, min(spec.height_px, round(region.height_px * scale))),
    )
