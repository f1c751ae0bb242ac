"""Folders and lists of picture files, read as a video without times: one picture, one frame.

The order is that of the names with numbers taken as numbers. Pictures may differ in size.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from service.errors import FrameTooLarge, InvalidFrame, InvalidVideo
from service.values import FrameStatus, VideoInfo
from service.video.base import Color, VideoLimits
from service.video.still import StillEncoding, decode_still
from service.video.tiff import count_pages

PICTURE_SUFFIXES = frozenset(
    f".{name}" for name in ("bmp", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp")
)
"""Endings by which pictures are known."""


@dataclass(frozen=True, slots=True)
class PictureList:
    """Pictures that are analyzed as one video."""

    folder: Path
    files: tuple[Path, ...]
    """In the order of their frames."""

    def __post_init__(self) -> None:
        """Refuse an empty list."""
        if not self.files:
            raise InvalidVideo(f"no picture of {self.folder} is named; name at least one")

    def __repr__(self) -> str:
        """Show the folder and the number."""
        return f"PictureList({self.folder}, {len(self.files)} pictures)"

    @property
    def names(self) -> tuple[str, ...]:
        """File names without the folder."""
        return tuple(path.name for path in self.files)


@dataclass(frozen=True, slots=True)
class PictureFrame:
    """One picture of a list, or why there are no pixels."""

    frame_index: int
    status: FrameStatus
    pixels: NDArray[np.uint8] | None
    """(H, W, 3) RGB or (H, W) gray."""
    reason: str


class PictureReader:
    """Reads a list of pictures, one at a time."""

    def __init__(
        self, files: Iterable[Path], *, color: Color = "rgb", limits: VideoLimits | None = None
    ) -> None:
        """Take the list and look for a picture that can be read, which tells the size.

        Raises:
            InvalidVideo: none can be read.
        """
        self._files = tuple(files)
        self._color = color
        self._limits = limits or VideoLimits()
        for frame in self.frames():
            if frame.pixels is not None:
                height_px, width_px = frame.pixels.shape[:2]
                break
            first_reason = frame.reason
        else:
            raise InvalidVideo(
                f"none of {len(self._files)} pictures can be read; the last one {first_reason}"
            )
        self.info = VideoInfo(
            width_px=width_px,
            height_px=height_px,
            frame_rate_hz=0.0,
            claimed_frames=len(self._files),
            codec="pictures",
            decoder=f"opencv {cv2.__version__}",
        )

    def frames(
        self, first_frame: int = 0, frame_limit: int | None = None
    ) -> Iterator[PictureFrame]:
        """Yield a frame for every picture; a damaged one is CORRUPT, one that is gone MISSING."""
        end = len(self._files) if frame_limit is None else first_frame + frame_limit
        for frame_index, path in list(enumerate(self._files))[first_frame:end]:
            try:
                pixels = read_picture(path, self._color, self._limits)
            except FileNotFoundError:
                yield _no_picture(frame_index, FrameStatus.MISSING, f"({path.name}) is not there")
            except (InvalidFrame, FrameTooLarge, OSError) as error:
                yield _no_picture(frame_index, FrameStatus.CORRUPT, f"({path.name}): {error}")
            else:
                yield PictureFrame(frame_index, FrameStatus.OK, pixels, "")


def read_picture(path: Path, color: Color, limits: VideoLimits) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB or (H, W) gray pixels; 16 bits a channel become 8.

    Raises:
        InvalidFrame: the file holds no whole picture, or several.
        FrameTooLarge: it has more pixels than the limits.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    encoding = _encoding(data)
    if encoding is not None:
        pixels = decode_still(data, encoding, limits)
    else:
        pixels = _decode_other(data, limits)
    if color == "gray":
        gray = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        return np.asarray(gray, np.uint8)
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    return pixels


def is_picture(path: Path) -> bool:
    """Whether a file's ending is that of a picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def natural_key(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort frame2.png before frame10.png."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(one), "") if one.isdecimal() else (-1, one) for one in parts], path.name


def _encoding(data: bytes) -> StillEncoding | None:
    """JPEG and PNG of 8 bits, whose size is known before anything is decoded; None for others."""
    if data.startswith(b"\xff\xd8"):
        return "jpeg"
    if data.startswith(b"\x89PNG") and len(data) > 24 and data[24] <= 8:
        return "png"
    return None


def _decode_other(data: bytes, limits: VideoLimits) -> NDArray[np.uint8]:
    pages = count_pages(data)
    if pages > 1:
        raise InvalidFrame(
            f"it holds {pages} pages, and a file is one frame; save each page as a file, or all as "
            "a video"
        )
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise InvalidFrame(f"{len(data)} bytes are no picture ({error.err})") from error
    if pixels is None:
        raise InvalidFrame(f"{len(data)} bytes are no picture that can be read")
    height_px, width_px = pixels.shape[:2]
    limits.check("the picture", width_px, height_px)
    return np.asarray(pixels, np.uint8)


def _no_picture(frame_index: int, status: FrameStatus, reason: str) -> PictureFrame:
    return PictureFrame(frame_index, status, None, reason)
