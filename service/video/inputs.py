"""From a decoded picture to the inputs of models, as `to_model_input` of its RGB pixels.

The planes that a video stores are resized as they are and colors made of the small picture.
Values of luma go through the table that turns those without color into RGB: the same bits where a
picture has no color. Where it has some, inputs differ by about 1 on average, which RGB rounds
away, and by more at sharp edges of color, which whole frames show in blocks of pixels, and where
a color is so strong that RGB clips it.
"""

from typing import Any, Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from service.bundle import InputSpec
from service.preprocess import (
    Change,
    CropRegion,
    Planes,
    place,
    planes_to_model_input,
    to_model_input,
)
from service.video.base import ModelInputs, Pixels
from service.video.pixels import (
    PixelConverter,
    color_matrix,
    has_planes,
    luma_is_gray,
    view_planes,
)

Conversion = tuple[Change, NDArray[np.float64]]
"""From stored luma to levels of gray, and from these and stored color to RGB."""


class PictureViews(Protocol):
    """What makes whole frames of the pictures of a video."""

    shape: tuple[int, ...]
    """(H, W, 3), upright."""
    quarter_turns: int
    """Counterclockwise, from the stored pictures to upright ones."""

    def view(self, picture: Any) -> Pixels:
        """Return the pixels of a row, uint8 of `shape`, valid until the next call."""
        ...

    def convert(self, picture: Any, out: Pixels) -> None:
        """Write the pixels of a row into `out`, uint8 of `shape`."""
        ...


class InputConverter:
    """Makes the inputs of models from the pictures of one video; belongs to one thread."""

    def __init__(
        self, video: PictureViews, inputs: tuple[InputSpec, ...], crop: CropRegion | None
    ) -> None:
        """Take what to make.

        Args:
            video: converts to RGB.
            inputs: what the models take.
            crop: part of the upright frame to look at; None takes all of it.

        Raises:
            InvalidFrame: the crop is empty or reaches outside the frame.
        """
        self._video = video
        self._inputs = inputs
        self._crop = crop
        height_px, width_px = video.shape[:2]
        for spec in inputs:
            place(width_px, height_px, spec, crop)
        self._conversions: dict[tuple[str, int, int], Conversion] = {}

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """(h, w, C) of each input."""
        return tuple((one.height_px, one.width_px, one.channels) for one in self._inputs)

    def convert(self, picture: Any, outs: tuple[Pixels, ...]) -> None:
        """Write the inputs into `outs`, uint8 of `shapes`."""
        if isinstance(picture, ModelInputs):
            for taken, out in zip(picture.on_host(), outs, strict=True):
                out[:] = taken
            return
        stored = isinstance(picture, av.VideoFrame) and has_planes(picture)
        rgb: Pixels | None = None
        for spec, out in zip(self._inputs, outs, strict=True):
            made = self._from_planes(picture, spec) if stored else None
            if made is None:
                rgb = self._video.view(picture) if rgb is None else rgb
                made = to_model_input(rgb, spec, self._crop)[0]
            out[:] = made

    def _from_planes(self, picture: av.VideoFrame, spec: InputSpec) -> Pixels | None:
        """Make an input, unless that takes all of the picture in RGB."""
        turns = self._video.quarter_turns
        luma, *colors = (np.rot90(plane, turns) for plane in view_planes(picture))
        levels, to_rgb = self._conversion_of(picture)
        if not colors or (spec.color == "gray" and luma_is_gray(picture)):
            return to_model_input(luma, spec, self._crop, levels)[0]
        u, v = colors
        return planes_to_model_input(Planes(luma, u, v, levels, to_rgb), spec, self._crop)

    def _conversion_of(self, picture: av.VideoFrame) -> Conversion:
        key = (picture.format.name, picture.color_range, picture.colorspace)
        if key not in self._conversions:
            self._conversions[key] = _fastest_way(gray_table(picture)), color_matrix(picture)
        return self._conversions[key]


def gray_table(like: av.VideoFrame) -> Pixels:
    """Return what each value of luma, of 256, becomes in RGB where there is no color."""
    values = np.arange(256, dtype=np.uint8)
    sample = av.VideoFrame(256, 2, like.format.name)
    sample.color_range, sample.colorspace = like.color_range, like.colorspace
    for number, plane in enumerate(sample.planes):
        lines = np.full((plane.height, plane.line_size), 128, np.uint8)
        if number == 0:
            lines[:, :256] = values
        plane.update(lines.tobytes())
    return PixelConverter("rgb", 256, 2, 0).view(sample)[0, :, 0].copy()


def _fastest_way(table: Pixels) -> Change:
    """Look for a way that gives what the table gives in less time."""
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    for way in (_keep, _expand):
        if np.array_equal(way(values), table.reshape(16, 16, 1)):
            return way
    return lambda luma: np.asarray(cv2.LUT(luma, table), np.uint8).reshape(luma.shape)


def _keep(luma: Pixels) -> Pixels:
    return luma


def _expand(luma: Pixels) -> Pixels:
    """Limited range to full, rounded down, as FFmpeg does on the way to RGB."""
    above = cv2.subtract(luma, 16)
    # Values are multiples of 1/73, so that half a step less than 1/2 rounds them all down.
    full = cv2.convertScaleAbs(above, dst=above, alpha=255 / 219, beta=-72 / 146)
    return np.asarray(full, np.uint8).reshape(luma.shape)
