"""JPEG and PNG pictures to pixels; the size is read from the header before anything is decoded."""

import struct
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from service.errors import FrameDamaged, InvalidFrame
from service.video.base import VideoLimits

StillEncoding = Literal["jpeg", "png"]

_DEFAULT_LIMITS = VideoLimits()
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# JPEG markers that carry a frame header: SOF0 to SOF15 without DHT, JPG and DAC.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers without a length: TEM and RST0 to RST7.
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})


def decode_still(
    data: bytes,
    encoding: StillEncoding,
    limits: VideoLimits = _DEFAULT_LIMITS,
) -> NDArray[np.uint8]:
    """Decode one JPEG or PNG of 8 bits a channel.

    Orientation tags are ignored: pixels are the stored grid. An alpha channel is dropped.

    Args:
        data: the file.
        encoding: what it is declared to be.
        limits: the largest picture that is decoded.

    Returns:
        (H, W, 3) RGB, or (H, W) gray where the file is gray, uint8.

    Raises:
        FrameDamaged: the picture is not whole.
        InvalidFrame: the bytes are no picture of that encoding.
        FrameTooLarge: the header says more pixels than the limits.
    """
    width_px, height_px, channels = read_size(data, encoding)
    limits.check(f"the {encoding} frame", width_px, height_px)
    # 1 component is gray; OpenCV then would give three equal channels.
    flags = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise FrameDamaged(_damaged(data, encoding, str(error.err))) from error
    if pixels is None:
        raise FrameDamaged(_damaged(data, encoding, "the decoder refused it"))
    return np.asarray(pixels, np.uint8)


def read_size(data: bytes, encoding: StillEncoding) -> tuple[int, int, int]:
    """Return (width, height, channels) that the header of a JPEG or PNG says.

    Raises:
        InvalidFrame: there is no such header, or a PNG has more than 8 bits a channel.
    """
    size = _png_size(data) if encoding == "png" else _jpeg_size(data)
    if size is None or 0 in size:
        raise InvalidFrame(
            f"{len(data)} bytes that begin with {data[:4].hex() or 'nothing'} are no {encoding}; "
            "send what the encoding says"
        )
    return size


def _png_size(data: bytes) -> tuple[int, int, int] | None:
    if len(data) < 33 or not data.startswith(_PNG_SIGNATURE) or data[12:16] != b"IHDR":
        return None
    width_px, height_px, bits, kind = struct.unpack_from(">IIBB", data, 16)
    if bits > 8:
        raise InvalidFrame(f"the png has {bits} bits a channel; send 8")
    return width_px, height_px, 1 if kind in (0, 4) else 3


def _jpeg_size(data: bytes) -> tuple[int, int, int] | None:
    if not data.startswith(b"\xff\xd8"):
        return None
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in _BARE_MARKERS:
            place += 2
        elif marker in _FRAME_MARKERS:
            if place + 10 > len(data):
                return None
            height_px, width_px, channels = struct.unpack_from(">HHB", data, place + 5)
            return width_px, height_px, 1 if channels == 1 else 3
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def _damaged(data: bytes, encoding: str, why: str) -> str:
    return f"the {encoding} frame of {len(data)} bytes is damaged ({why}); send it again"
