"""Pictures that show their own number, readable after lossy coding, at any range and size."""

import numpy as np
from numpy.typing import NDArray

_COLUMNS, _ROWS = 8, 4
_BITS = 16
# Least difference of a block and its opposite, of 190 gray levels as drawn; below, the picture is a
# mixture of two.
_CONTRAST = 60


def draw_barcode(number: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: 8 x 4 blocks, the upper half the bits of `number`, lowest first.

    The lower half are their opposites, so that a reader needs no threshold, and sees where a
    picture is upside down or made of parts of others.
    """
    rows = np.arange(height_px)[:, None] * _ROWS // height_px
    columns = np.arange(width_px)[None, :] * _COLUMNS // width_px
    place = rows * _COLUMNS + columns
    bits = (number >> (place % _BITS) & 1) ^ (place // _BITS)
    gray = np.where(bits == 1, 220, 30).astype(np.uint8)
    # A weak slope makes the pictures cost bytes, so that damage hits them.
    slope = (np.arange(width_px)[None, :] * 7 + np.arange(height_px)[:, None] * 3 + number * 5) % 23
    return np.repeat((gray + slope.astype(np.uint8))[..., None], 3, axis=2)


def read_barcode(pixels: NDArray[np.uint8]) -> int | None:
    """Return the number that (H, W, 3) or (H, W) pixels show; None where they show no single one.

    All blocks count in full, so that damage anywhere in the picture shows.
    """
    gray = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    height_px, width_px = gray.shape
    edges_y = -(-np.arange(_ROWS) * height_px // _ROWS)
    edges_x = -(-np.arange(_COLUMNS) * width_px // _COLUMNS)
    sums = np.add.reduceat(
        np.add.reduceat(gray, edges_y, axis=0, dtype=np.float64), edges_x, axis=1
    )
    sizes = np.outer(np.diff(edges_y, append=height_px), np.diff(edges_x, append=width_px))
    blocks = (sums / sizes).reshape(2, _BITS)
    difference = blocks[0] - blocks[1]
    if np.abs(difference).min() < _CONTRAST:
        return None
    return int(((difference > 0) << np.arange(_BITS)).sum())
