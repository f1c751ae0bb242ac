"""From a decoded picture of any pixel format to RGB or full-range gray, upright."""

import av
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from service.errors import InvalidVideo
from service.video.base import Color, StoredFormat

# AVCOL_RANGE_UNSPECIFIED, and the AVCOL_SPC_ values of RGB and "unspecified".
_RANGE_UNSPECIFIED = 0
_NO_MATRIX = (0, 2)
# Weights of red and blue in luma, by AVCOL_SPC_ value: BT.709, FCC, BT.601 twice, SMPTE 240M and
# BT.2020. BT.601 holds where the stream names none.
_BT_601 = (0.299, 0.114)
_LUMA_WEIGHTS = {
    **dict.fromkeys((*_NO_MATRIX, 5, 6), _BT_601),
    1: (0.2126, 0.0722),
    4: (0.3, 0.11),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
# Matrices that FFmpeg has no conversion for.
_UNKNOWN_MATRICES = {
    8: "YCgCo",
    10: "BT.2020 with constant luminance",
    11: "SMPTE 2085",
    12: "derived from the primaries",
    13: "derived from the primaries, with constant luminance",
    14: "ICtCp",
}
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
        """Return a picture, uint8 of `shape`, in memory that the next one takes.

        Raises:
            InvalidVideo: FFmpeg does not convert pictures that are stored like this one.
        """
        target = "rgb24" if self._color == "rgb" else "gray"
        try:
            converted = self._reformatter.reformat(
                frame,
                format=target,
                src_colorspace=Colorspace.ITU601 if frame.colorspace in _NO_MATRIX else None,
                src_color_range=_source_range(frame),
                dst_color_range=ColorRange.JPEG,
                threads=1,  # pictures run side by side already: one worker process a video
            )
        except OSError as error:
            matrix = _UNKNOWN_MATRICES.get(frame.colorspace, f"number {frame.colorspace}")
            raise InvalidVideo(
                f"FFmpeg does not convert pictures in {frame.format.name} with the color matrix "
                f"{matrix} ({error.strerror}); convert the video to BT.709, or, if its colors are "
                "not stored so, correct what the stream says"
            ) from error
        plane = converted.planes[0]
        if plane.line_size < 0:  # stored bottom-up and passed on as it is
            pixels = np.asarray(converted.to_ndarray(), np.uint8)
        else:
            pixels = _view(plane, 3 if target == "rgb24" else 1)
        return np.rot90(pixels, self.quarter_turns)


def describe_picture(picture: av.VideoFrame) -> StoredFormat:
    """Return how a picture is stored."""
    return StoredFormat(
        picture.format.name,
        picture.width,
        picture.height,
        picture.colorspace,
        picture.color_range,
        picture.interlaced_frame,
    )


def is_mirrored(picture: av.VideoFrame) -> bool:
    """Whether the container asks to show a picture mirrored, turned besides or not."""
    try:
        told = picture.side_data.get("DISPLAYMATRIX")
    except ValueError:  # FFmpeg attaches kinds that PyAV has no name for (views of MV-HEVC)
        return False
    if told is None:
        return False
    a, b, _, c, d, *_ = np.frombuffer(told, np.int32, 9).astype(np.int64).tolist()
    return bool(a * d < b * c)


def make_sample(stored: StoredFormat) -> av.VideoFrame:
    """Return a small picture that is stored alike."""
    sample = av.VideoFrame(2, 2, stored.pixel_format)
    sample.colorspace, sample.color_range = stored.matrix, stored.color_range
    return sample


def has_planes(frame: av.VideoFrame) -> bool:
    """Whether a picture is stored as 8 bits of luma and, unless gray, two planes of color."""
    if frame.format.name not in _LUMA_PLANE or frame.colorspace not in _LUMA_WEIGHTS:
        return False
    return all(plane.line_size > 0 for plane in frame.planes)  # else it is stored bottom-up


def luma_is_gray(frame: av.VideoFrame) -> bool:
    """Whether luma, where a picture `has_planes`, is weighed as gray is: BT.601."""
    return _LUMA_WEIGHTS[frame.colorspace] == _BT_601


def view_planes(frame: av.VideoFrame) -> list[NDArray[np.uint8]]:
    """Return luma (H, W) and u, v (H', W') as they are stored, where a picture `has_planes`."""
    return [_view(plane) for plane in frame.planes]


def color_matrix(frame: av.VideoFrame) -> NDArray[np.float64]:
    """Return (3, 4): full-range RGB from full-range luma, u, v as stored, and 1.

    ITU-T H.273, section 8.3 (matrix coefficients), where a picture `has_planes`.
    """
    red, blue = _LUMA_WEIGHTS[frame.colorspace]
    green = 1 - red - blue
    step = 1 if _source_range(frame) == ColorRange.JPEG else 255 / 224
    from_u = 2 * (1 - blue) * step
    from_v = 2 * (1 - red) * step
    u = np.array([0, -from_u * blue / green, from_u])
    v = np.array([from_v, -from_v * red / green, 0])
    return np.stack([np.ones(3), u, v, -128 * (u + v)], axis=1)


def _source_range(frame: av.VideoFrame) -> ColorRange:
    if frame.color_range != _RANGE_UNSPECIFIED:
        return ColorRange(frame.color_range)
    full = frame.format.name.startswith(("yuvj", "rgb", "bgr", "gbr", "gray", "pal", "mono"))
    return ColorRange.JPEG if full else ColorRange.MPEG


def _view(plane: VideoPlane, channels: int = 1) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W) without the padding at the end of each line."""
    shape = (plane.height, plane.width, channels)
    view: NDArray[np.uint8] = np.ndarray(
        shape, np.uint8, buffer=memoryview(plane), strides=(plane.line_size, channels, 1)
    )
    return view if channels == 3 else view[:, :, 0]
