"""Images as a camera gives them, made into frames for the wire."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ethostream.errors import InvalidFrame
from ethostream.v1 import frame_pb2
from ethostream.values import Color, Crop, Encoding

Image = NDArray[np.uint8] | bytes | bytearray | memoryview
"""(H, W) gray or (H, W, 3) color uint8, or the bytes of a JPEG or PNG file."""

_ENCODINGS: dict[str, frame_pb2.FrameEncoding.ValueType] = {
    "gray": frame_pb2.FRAME_ENCODING_GRAY8,
    "rgb": frame_pb2.FRAME_ENCODING_RGB24,
    "bgr": frame_pb2.FRAME_ENCODING_BGR24,
    "jpeg": frame_pb2.FRAME_ENCODING_JPEG,
    "png": frame_pb2.FRAME_ENCODING_PNG,
}
_MAGIC = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}


def encode_frame(
    image: Image,
    *,
    frame_index: int,
    capture_time_ns: int,
    encoding: Encoding | None = None,
    color: Color = "rgb",
    crop: Crop | None = None,
) -> frame_pb2.Frame:
    """Make a frame for the wire; pixels are copied, so the image may be reused at once.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) uint8, or the bytes of a JPEG or PNG file.
        frame_index: The frame's number, from 0.
        capture_time_ns: Time of capture on the camera's clock, ns; echoed.
        encoding: How to read `image`; by default told by its shape or first bytes.
        color: Order of the channels of (H, W, 3) images where `encoding` is not given.
        crop: Part of the frame that the models look at.

    Raises:
        InvalidFrame: The image fits no encoding, or not the one asked for.
    """
    frame = frame_pb2.Frame(frame_index=frame_index, capture_time_ns=capture_time_ns)
    if crop is not None:
        frame.crop.CopyFrom(crop_region(crop))
    if isinstance(image, (bytes, bytearray, memoryview)):
        data = bytes(image)
        frame.encoding = _ENCODINGS[_file_encoding(data, encoding)]
        frame.data = data
        return frame
    pixels, name = _pixels(image, encoding, color)
    frame.encoding = _ENCODINGS[name]
    frame.height_px, frame.width_px = pixels.shape[:2]
    frame.data = pixels.tobytes()
    return frame


def crop_region(crop: Crop) -> frame_pb2.CropRegion:
    """The crop for the wire.

    Raises:
        InvalidFrame: It begins before the frame or is empty.
    """
    if min(crop.x_px, crop.y_px) < 0 or min(crop.width_px, crop.height_px) < 1:
        raise InvalidFrame(f"{crop} lies outside any frame; x, y from 0, width, height from 1 px")
    return frame_pb2.CropRegion(
        x_px=crop.x_px, y_px=crop.y_px, width_px=crop.width_px, height_px=crop.height_px
    )


def _file_encoding(data: bytes, encoding: Encoding | None) -> str:
    if encoding in ("jpeg", "png"):
        return encoding
    if encoding is not None:
        raise InvalidFrame(
            f"bytes cannot be sent as '{encoding}' without a size; "
            "give a numpy array of shape (H, W) or (H, W, 3)"
        )
    for magic, name in _MAGIC.items():
        if data.startswith(magic):
            return name
    raise InvalidFrame(
        f"{len(data)} bytes that begin neither like JPEG nor like PNG; "
        "send such a file or a numpy array of shape (H, W) or (H, W, 3)"
    )


def _pixels(
    image: NDArray[np.uint8], encoding: Encoding | None, color: Color
) -> tuple[NDArray[np.uint8], str]:
    if not isinstance(image, np.ndarray):
        raise InvalidFrame(f"a frame is a numpy array or bytes, not {type(image).__name__}")
    if image.dtype != np.uint8:
        raise InvalidFrame(f"a frame of {image.dtype} cannot be sent; convert it to uint8")
    if image.size == 0:
        raise InvalidFrame(f"a frame of shape {image.shape} has no pixels")
    pixels = cast("NDArray[Any]", image)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    is_color = pixels.ndim == 3 and pixels.shape[2] == 3
    if not is_color and pixels.ndim != 2:
        raise InvalidFrame(
            f"a frame of shape {image.shape} cannot be sent; give (H, W) or (H, W, 3)"
        )
    if encoding is None:
        if is_color and color == "gray":
            raise InvalidFrame(f"a frame of shape {image.shape} is not gray; give (H, W)")
        return pixels, color if is_color else "gray"
    if encoding not in (("rgb", "bgr") if is_color else ("gray",)):
        raise InvalidFrame(
            f"a frame of shape {image.shape} cannot be sent as '{encoding}'; "
            f"{'choose rgb or bgr' if is_color else 'choose gray'}, or give the bytes of the file"
        )
    return pixels, encoding
