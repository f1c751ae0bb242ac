"""Smooth text on frames, rendered once per string."""

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from service.drawing.colors import Color


def draw_text(
    image: NDArray[np.uint8],
    text: str,
    x_px: int,
    middle_px: int,
    *,
    size_px: int,
    color: Color,
    right: bool = False,
    bold: bool = False,
) -> None:
    """Write one line on a (H, W, 3) image; what lies outside is cut off.

    Args:
        image: changed in place.
        text: one line.
        x_px: left end of the text, or its right end where `right` is set.
        middle_px: height of the middle of capital letters.
        size_px: font size.
        color: of the letters.
        right: align right.
        bold: heavier letters.
    """
    mask = _mask(text, size_px, bold)
    left = x_px - mask.shape[1] if right else x_px
    top = middle_px - mask.shape[0] // 2
    rows = slice(max(top, 0), min(top + mask.shape[0], image.shape[0]))
    columns = slice(max(left, 0), min(left + mask.shape[1], image.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    part = mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    share = part[..., None].astype(np.float32) / 255.0
    ground = image[rows, columns]
    image[rows, columns] = (ground + share * (np.array(color, np.float32) - ground) + 0.5).astype(
        np.uint8
    )


def text_width(text: str, *, size_px: int, bold: bool = False) -> int:
    """Width of one line, px."""
    return int(_mask(text, size_px, bold).shape[1])


@lru_cache(maxsize=4096)
def _mask(text: str, size_px: int, bold: bool) -> NDArray[np.uint8]:
    """(h, w) coverage of the letters, 0 to 255; capital letters stand in the middle."""
    font = _font(size_px, bold)
    ascent = -font.getbbox("H", anchor="ls")[1]
    half = round(size_px * 0.75)
    width = max(1, round(font.getlength(text)))
    image = Image.new("L", (width, 2 * half))
    ImageDraw.Draw(image).text((0, half + ascent / 2), text, fill=255, font=font, anchor="ls")
    return np.asarray(image)


@lru_cache(maxsize=16)
def _font(size_px: int, bold: bool) -> ImageFont.FreeTypeFont:
    # Matplotlib brings this font along, so that pictures look the same on every machine.
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size_px)
