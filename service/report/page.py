"""Pages of reports: one HTML file that holds its tables and pictures and needs no network."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

from service.preprocess import bgr_to_rgb
from service.results.atomic import replacing

_SHARED = Path(__file__).parent
_JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first cell of a row names it."""

    head: tuple[str, ...]
    """Empty where the names of the rows say it all."""
    rows: tuple[tuple[str, ...], ...]
    """Text, or Markup where a cell is a link."""
    first_is_total: bool = False
    """The first row stands out from the others."""
    caption: str = ""
    text_columns: tuple[int, ...] = ()
    """Columns of words, which are read better from the left."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture within the page."""

    address: str
    """That holds it, as of `png_address`."""
    alt: str
    """What one would see."""
    caption: str = ""


def write_page(template: Path, out: Path, /, **values: object) -> Path:
    """Fill a Jinja template and write the page; it appears only when it is whole.

    Values are escaped. The template may extend `page.html.jinja` and import `parts.html.jinja`
    of this package.

    Args:
        template: the file.
        out: the page, .html.
        values: that the template names.

    Returns:
        The page.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, _SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(template.name).render(**values)
    with replacing(out) as unfinished:
        # A file name may hold bytes that are no text.
        unfinished.write_bytes(text.encode("utf-8", "replace"))
    return out


def drawn_address(draw: Callable[[BytesIO], None]) -> str:
    """Return an address that holds the PNG that `draw` writes."""
    held = BytesIO()
    draw(held)
    return png_address(held.getvalue())


def png_address(png: bytes) -> str:
    """Return an address that holds a PNG."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def jpeg_address(pixels: NDArray[np.uint8]) -> str:
    """Return an address that holds (H, W, 3) RGB as a JPEG: frames are too large as PNG."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, encoded = cv2.imencode(".jpg", bgr_to_rgb(pixels), quality)  # swaps red and blue
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
