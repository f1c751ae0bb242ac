"""From a decoded picture to the inputs of models, as `to_model_input` of its RGB pixels.

Models of gray read the luma plane as it is, through the table that turns its values without color
into RGB: the same bits where a picture has no color. Where it has some, they differ by up to 1 on
average, which RGB rounds away, and by more where a color is so strong that RGB clips it.
"""

from typing import Any, Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from service.bundle import InputSpec
from service.preprocess import Change, CropRegion, place, to_model_input
from service.video.base import ModelInputs
from service.video.pixels import PixelConverter, luma_is_gray, view_luma

Pixels = NDArray[np.uint8]


class PictureViews(Protocol):
    """What `InputConverter` needs of an open video."""

    shape: tuple[int, ...]
    """(H, W, 3), upright."""
    quarter_turns: int
    """Counterclockwise, from the stored pictures to upright ones."""

    def view(self, picture: Any) -> Pixels:
        """Return the RGB pixels of a row, uint8 of `shape`, valid until the next call."""
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
        self._only_gray = all(spec.color == "gray" for spec in inputs)
        self._levels: dict[tuple[str, int], Change] = {}

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """(h, w, C) of each input."""
        return tuple((one.height_px, one.width_px, one.channels) for one in self._inputs)

    def convert(self, picture: Any, outs: tuple[Pixels, ...]) -> None:
        """Write the inputs into `outs`, uint8 of `shapes`."""
        if isinstance(picture, ModelInputs):
            for made, out in zip(picture.on_host(), outs, strict=True):
                out[:] = made
            return
        levels: Change | None = None
        if self._only_gray and isinstance(picture, av.VideoFrame) and luma_is_gray(picture):
            pixels = np.rot90(view_luma(picture), self._video.quarter_turns)
            levels = self._levels_of(picture)
        else:
            pixels = self._video.view(picture)
        for spec, out in zip(self._inputs, outs, strict=True):
            out[:] = to_model_input(pixels, spec, self._crop, levels)[0]

    def _levels_of(self, picture: av.VideoFrame) -> Change:
        key = (picture.format.name, picture.color_range)
        if key not in self._levels:
            self._levels[key] = _fastest_way(_gray_table(picture))
        return self._levels[key]


def _gray_table(like: av.VideoFrame) -> Pixels:
    """What each value of luma becomes in RGB where there is no color."""
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
