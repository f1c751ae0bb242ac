"""Images as a camera gives them, made into frames for the wire; and pieces of encoded video."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ethostream._shared_memory import FrameMemory
from ethostream.errors import InvalidFrame, InvalidRequest
from ethostream.v1 import frame_pb2
from ethostream.values import ChunkCodec, Color, Crop, Encoding

Image = NDArray[np.uint8] | bytes | bytearray | memoryview
"""(H, W) gray or (H, W, 3) color uint8, or the bytes of a JPEG or PNG file."""

_ENCODINGS: dict[str, frame_pb2.FrameEncoding.ValueType] = {
    "gray": frame_pb2.FRAME_ENCODING_GRAY8,
    "rgb": frame_pb2.FRAME_ENCODING_RGB24,
    "bgr": frame_pb2.FRAME_ENCODING_BGR24,
    "jpeg": frame_pb2.FRAME_ENCODING_JPEG,
    "png": frame_pb2.FRAME_ENCODING_PNG,
}
_CODECS: dict[str, frame_pb2.VideoCodec.ValueType] = {
    "h264": frame_pb2.VIDEO_CODEC_H264,
    "hevc": frame_pb2.VIDEO_CODEC_HEVC,
    "mjpeg": frame_pb2.VIDEO_CODEC_MJPEG,
}
MAX_MESSAGE_BYTES = 64 << 20
"""Largest message of a client that was not told otherwise."""
_FIELD_BYTES = 1024  # the fields around the pixels
_MAGIC = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}


def encode_frame(
    image: Image,
    *,
    frame_index: int,
    capture_time_ns: int,
    encoding: Encoding | None = None,
    color: Color = "rgb",
    crop: Crop | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    memory: FrameMemory | None = None,
) -> frame_pb2.Frame:
    """Make a frame for the wire; pixels are copied, so the image may be reused at once.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) uint8, or the bytes of a JPEG or PNG file.
        frame_index: The frame's number, from 0.
        capture_time_ns: Time of capture on the camera's clock, ns; echoed.
        encoding: How to read `image`; by default told by its shape or first bytes.
        color: Order of the channels of (H, W, 3) images where `encoding` is not given.
        crop: Part of the frame that the models look at.
        max_message_bytes: Largest message that the client sends.
        memory: Where pixels are laid that the server reads there; files go into the message, and
            pixels that find no place.

    Raises:
        InvalidFrame: The image fits no encoding, not the one asked for, or not into a message.
    """
    frame = frame_pb2.Frame(frame_index=frame_index, capture_time_ns=capture_time_ns)
    if crop is not None:
        frame.crop.CopyFrom(crop_region(crop))
    if isinstance(image, (bytes, bytearray, memoryview)):
        data = bytes(image)
        frame.encoding = _ENCODINGS[_file_encoding(data, encoding)]
    else:
        pixels, name = _pixels(image, encoding, color)
        frame.encoding = _ENCODINGS[name]
        frame.height_px, frame.width_px = pixels.shape[:2]
        place = None if memory is None else memory.write(frame_index, pixels)
        if place is not None:
            frame.shared_offset_bytes = place
            return frame
        data = pixels.tobytes()
    _check_size(f"frame {frame_index}", data, max_message_bytes, "send JPEG")
    frame.data = data
    return frame


def encode_chunk(
    data: bytes | bytearray | memoryview,
    *,
    chunk_index: int,
    capture_time_ns: int,
    codec: ChunkCodec,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> frame_pb2.VideoChunk:
    """Make a piece of encoded video for the wire.

    Args:
        data: The bytes in stream order; Annex B for h264 and hevc, JPEGs in a row for mjpeg.
        chunk_index: The chunk's number, from 0.
        capture_time_ns: Time of capture of its first frame on the camera's clock, ns; echoed.
        codec: How to read `data`.
        max_message_bytes: Largest message that the client sends.

    Raises:
        InvalidRequest: An unknown codec.
        InvalidFrame: It is no bytes, or does not fit into a message.
    """
    if codec not in _CODECS:
        raise InvalidRequest(f"unknown codec '{codec}'; choose one of {', '.join(_CODECS)}")
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise InvalidFrame(f"a chunk is bytes, not {type(data).__name__}; send images by `send`")
    _check_size(f"chunk {chunk_index}", bytes(data), max_message_bytes, "send smaller pieces")
    return frame_pb2.VideoChunk(
        chunk_index=chunk_index,
        capture_time_ns=capture_time_ns,
        codec=_CODECS[codec],
        data=bytes(data),
    )


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


def _check_size(what: str, data: bytes, max_message_bytes: int, remedy: str) -> None:
    limit = max_message_bytes - _FIELD_BYTES
    if len(data) > limit:
        raise InvalidFrame(
            f"{what} holds {len(data)} bytes, over the client's limit of {limit}; "
            f"{remedy}, or raise max_message_bytes here and on the server"
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
