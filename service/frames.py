"""Still pictures as clients send them, and their pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.engine.device import Array
from service.errors import FrameDamaged, InvalidFrame
from service.preprocess import CropRegion, bgr_to_rgb
from service.shared_memory import SharedPixels
from service.video.base import VideoLimits
from service.video.still import decode_still

Encoding = Literal["gray8", "rgb24", "bgr24", "jpeg", "png"]
RAW_CHANNELS: Mapping[Encoding, int] = {"gray8": 1, "rgb24": 3, "bgr24": 3}


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One still picture as a client sent it."""

    frame_index: int
    capture_time_ns: int
    encoding: Encoding
    width_px: int
    height_px: int
    crop: CropRegion | None
    data: bytes
    shared: SharedPixels | None = None
    """Where raw pixels lie instead of in `data`."""

    @property
    def size_bytes(self) -> int:
        """Bytes of `data`, or those that the pixels in shared memory are declared to have."""
        return len(self.data) if self.shared is None else self.raw_bytes

    @property
    def raw_bytes(self) -> int:
        """Bytes of raw pixels of the declared size; raw encodings only."""
        return self.width_px * self.height_px * RAW_CHANNELS[self.encoding]

    def __repr__(self) -> str:
        """Show sizes, not pixels."""
        return f"EncodedFrame({self.frame_index}, {self.encoding}, {self.size_bytes} bytes)"


@dataclass(frozen=True, slots=True)
class ReadFrame:
    """One frame of a chunked stream, decoded already."""

    frame_index: int
    capture_time_ns: int
    pts_ns: int
    pixels: NDArray[np.uint8] | None
    """(H, W, 3) RGB or (H, W) gray; None where it is damaged, or read into `inputs`."""
    inputs: tuple[Array, ...] = ()
    """Of the stream's models, as `FramePreparer.wanted` asks for them."""
    size: tuple[int, int] = (0, 0)
    """Width and height of the frame that `inputs` show, px."""


def read_frame(frame: EncodedFrame | ReadFrame, limits: VideoLimits) -> NDArray[np.uint8]:
    """Return the pixels of a frame: (H, W, 3) RGB or (H, W) gray, uint8.

    Those of a frame in shared memory are the memory itself, unless their order changes.

    Raises:
        FrameDamaged: the encoded picture is not whole.
        InvalidFrame: the bytes do not match the encoding and size.
        FrameTooLarge: more pixels than `limits` takes.
    """
    index = frame.frame_index
    if isinstance(frame, ReadFrame):
        if frame.pixels is None:
            raise FrameDamaged(f"frame {index} is damaged in the encoded stream; send a key frame")
        return frame.pixels
    if not frame.data and frame.shared is None:
        raise InvalidFrame(f"frame {index} is 0 bytes; send JPEG, PNG or raw pixels")
    if frame.encoding == "jpeg" or frame.encoding == "png":
        try:
            return decode_still(frame.data, frame.encoding, limits)
        except InvalidFrame as error:
            raise type(error)(f"frame {index}: {error}") from error
    width_px, height_px = frame.width_px, frame.height_px
    limits.check(f"frame {index}", width_px, height_px)
    expected = frame.raw_bytes
    if not expected or frame.size_bytes != expected:
        raise InvalidFrame(
            f"frame {index} has {frame.size_bytes} bytes, but {frame.encoding} of "
            f"{width_px}x{height_px} px has {expected}; send the size that the pixels have"
        )
    pixels = _raw_pixels(frame)
    if RAW_CHANNELS[frame.encoding] == 1:
        return pixels.reshape(height_px, width_px)
    image = pixels.reshape(height_px, width_px, 3)
    return bgr_to_rgb(image) if frame.encoding == "bgr24" else image


def _raw_pixels(frame: EncodedFrame) -> NDArray[np.uint8]:
    if frame.shared is None:
        return np.frombuffer(frame.data, np.uint8)
    try:
        return frame.shared.segment.pixels(frame.shared.offset_bytes, frame.raw_bytes)
    except InvalidFrame as error:
        raise InvalidFrame(f"frame {frame.frame_index}: {error}") from error
