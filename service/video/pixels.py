"""From a decoded picture of any pixel format to RGB or full-range gray, upright."""

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from service.video.base import Color

# AVCOL_RANGE_UNSPECIFIED, and the AVCOL_SPC_ values of RGB and "unspecified".
_RANGE_UNSPECIFIED = 0
_NO_MATRIX = (0, 2)
# Those of BT.601, which holds where the stream names none.
_BT_601 = (*_NO_MATRIX, 5, 6)
_LUMA_PLANE = ("gray", *(f"yuv{j}{one}p" for j in ("", "j") for one in (411, 420, 422, 440, 444)))


class PixelConverter:
    """Converts pictures of one size; one converter belongs to one stream and one thread.

    The matrix and the range that the stream names are honored; where it names none, BT.601
    limited range is taken, as FFmpeg and OpenCV do. Gray is luma at full range.
    """

    def __init__(self, color: Color, width_px: int, height_px: int, rotation_deg: int) -> None:
        """Take the stored size and the counterclockwise rotation that shows it upright."""
        self._color = color
        self._stored = (width_px, height_px)
        self.quarter_turns = rotation_deg // 90 % 4 if rotation_deg % 90 == 0 else 0
        self._reformatter = VideoReformatter()
        size = (width_px, height_px) if self.quarter_turns % 2 else (height_px, width_px)
        self.shape: tuple[int, ...] = (*size, 3) if color == "rgb" else size

    @property
    def frame_bytes(self) -> int:
        """Bytes of one converted picture."""
        return int(np.prod(self.shape))

    def takes(self, frame: av.VideoFrame) -> bool:
        """Return whether the picture has the size that this converter was made for."""
        return (frame.width, frame.height) == self._stored

    def convert(self, frame: av.VideoFrame, out: NDArray[np.uint8]) -> None:
        """Write a picture into `out`, uint8 of `shape`."""
        np.copyto(out, self.view(frame))

    def view(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return a picture, uint8 of `shape`, in memory that the next one takes."""
        target = "rgb24" if self._color == "rgb" else "gray"
        converted = self._reformatter.reformat(
            frame,
            format=target,
            src_colorspace=Colorspace.ITU601 if frame.colorspace in _NO_MATRIX else None,
            src_color_range=_source_range(frame),
            dst_color_range=ColorRange.JPEG,
            threads=1,  # pictures run side by side already: one worker process a video
        )
        return np.rot90(_view(converted, 3 if target == "rgb24" else 1), self.quarter_turns)


def luma_is_gray(frame: av.VideoFrame) -> bool:
    """Whether a picture has 8 bits of luma in a plane of its own, weighed as gray is: BT.601."""
    return frame.colorspace in _BT_601 and frame.format.name in _LUMA_PLANE


def view_luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the (H, W) luma plane as it is stored, where `luma_is_gray`."""
    return _view(frame, 1)


def _source_range(frame: av.VideoFrame) -> ColorRange:
    if frame.color_range != _RANGE_UNSPECIFIED:
        return ColorRange(frame.color_range)
    full = frame.format.name.startswith(("yuvj", "rgb", "bgr", "gbr", "gray", "pal", "mono"))
    return ColorRange.JPEG if full else ColorRange.MPEG


def _view(frame: av.VideoFrame, channels: int) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W) without the padding at the end of each line."""
    plane = frame.planes[0]
    if plane.line_size < 0:  # stored bottom-up and passed on as it is
        return np.asarray(frame.to_ndarray(), np.uint8)
    shape = (frame.height, frame.width, channels)
    view: NDArray[np.uint8] = np.ndarray(
        shape, np.uint8, buffer=memoryview(plane), strides=(plane.line_size, channels, 1)
    )
    return view if channels == 3 else view[:, :, 0]
