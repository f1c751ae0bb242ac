"""Videos whose frames show their own number, so that no index can be wrong unseen."""

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

_BITS = 16
_GRID = 4
_RATE_HZ = 30


def draw_barcode(number: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: 4 x 4 blocks, one for each bit of `number`, the lowest at the top left."""
    rows = np.arange(height_px)[:, None] * _GRID // height_px
    columns = np.arange(width_px)[None, :] * _GRID // width_px
    bits = number >> (rows * _GRID + columns) & 1
    gray = np.where(bits == 1, 220, 30).astype(np.uint8)
    # A weak slope makes the pictures cost bytes, so that damage hits them.
    slope = (np.arange(width_px)[None, :] * 7 + np.arange(height_px)[:, None] * 3 + number * 5) % 23
    return np.repeat((gray + slope.astype(np.uint8))[..., None], 3, axis=2)


def read_barcode(pixels: NDArray[np.uint8]) -> int:
    """The number that a picture shows."""
    gray = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    height_px, width_px = gray.shape
    number = 0
    for bit in range(_BITS):
        row, column = divmod(bit, _GRID)
        y_px = (2 * row + 1) * height_px // (2 * _GRID)
        x_px = (2 * column + 1) * width_px // (2 * _GRID)
        number |= int(gray[y_px - 1 : y_px + 2, x_px - 1 : x_px + 2].mean() > 128) << bit
    return number


def write_video(
    path: Path,
    *,
    frames: int = 40,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (96, 64),
    options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    format: str | None = None,
    **attributes: int,
) -> Path:
    """Encode frames that show 0, 1, 2, ...; `pts` in 1/30 s."""
    width_px, height_px = size
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=_RATE_HZ, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, pix_fmt
        stream.codec_context.thread_count = 1
        for number in range(frames):
            image = draw_barcode(number, width_px, height_px)
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt)
            for name, value in attributes.items():
                setattr(frame, name, value)
            frame.pts = number if pts is None else pts[number]
            frame.time_base = Fraction(1, _RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """The function `write_video`."""
    return write_video


@pytest.fixture(scope="session")
def read_number() -> Callable[[NDArray[np.uint8]], int]:
    """The function `read_barcode`."""
    return read_barcode


@pytest.fixture(scope="session")
def open_group_options() -> dict[str, str]:
    """x264: three B-frames in a pyramid, a key frame every 12."""
    return {"bf": "3", "g": "12", "x264-params": "b-pyramid=normal:open-gop=1:scenecut=0"}


@pytest.fixture
def is_alive() -> Callable[[int], bool]:
    """Whether a process runs."""

    def check(process_id: int) -> bool:
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return False
        return True

    return check
