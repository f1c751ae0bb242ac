"""Reads chosen frames of a video by their index in presentation order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.video.pyav import PictureRow, VideoFile
from training.data.deeplabcut_config import CropXywh

# Frames that are decoded to reach the next one rather than to seek: seeking costs up to a group of
# pictures (12 to 250 frames) and opens the file again.
_WORTH_A_SEEK = 100


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of a video."""

    frame_index: int
    """In presentation order, from 0."""
    time_s: float
    """Presentation time, s from the stream's own zero."""
    pixels: NDArray[np.uint8] | None
    """(H, W, 3) RGB or (H, W) gray, after the crop; None where the frame is damaged or missing.
    Valid until the next shot is read: copy what is kept longer."""

    def __repr__(self) -> str:
        """Show the shape, not the pixels."""
        shape = None if self.pixels is None else self.pixels.shape
        return f"Shot({self.frame_index}, {self.time_s:.3f} s, {shape})"


def read_shots(
    video: VideoFile, indices: Sequence[int], crop_xywh: CropXywh | None = None
) -> Iterator[Shot]:
    """Yield the frames `indices` in rising order, each once, in constant memory.

    Args:
        video: an open file.
        indices: frame indices; those after the end of the video are left out.
        crop_xywh: part of the frame to return, px; must lie inside, see `check_crop`.
    """
    pixels = np.empty(video.shape, np.uint8)
    x, y, width, height = crop_xywh or (0, 0, video.shape[1], video.shape[0])
    for row in _rows(video, sorted(set(map(int, indices)))):
        shown = None
        if row.picture is not None:
            video.convert(row.picture, pixels)
            shown = pixels[y : y + height, x : x + width]
        yield Shot(row.frame_index, row.pts_ns / 1e9, shown)


def _rows(video: VideoFile, indices: Sequence[int]) -> Iterator[PictureRow]:
    """Yield the rows of rising indices, by seeking over long gaps."""
    rows, place, seek = iter(video.rows(frame_limit=0)), -_WORTH_A_SEEK, True
    for index in indices:
        if seek and index - place >= _WORTH_A_SEEK:
            rows = video.rows(index)
        row = _next(rows, index)
        if seek and row is not None and row.picture is None:
            # Where key frames are not marked as such, a decoder that began in the middle takes
            # whole pictures for damaged ones; only a reading from the start tells them apart.
            seek, rows = False, video.rows()
            row = _next(rows, index)
        if row is None:
            return
        place = index
        yield row


def _next(rows: Iterator[PictureRow], index: int) -> PictureRow | None:
    return next((row for row in rows if row.frame_index == index), None)


def check_crop(crop_xywh: CropXywh | None, shape: tuple[int, ...], video: str) -> None:
    """Refuse a crop that leaves the frame.

    Args:
        crop_xywh: left, top, width and height, px.
        shape: (H, W, ...) of the frames.
        video: its name, for the message.

    Raises:
        InvalidRequest: it is empty or not inside.
    """
    if crop_xywh is None:
        return
    x, y, width, height = crop_xywh
    if width < 1 or height < 1 or x < 0 or y < 0 or x + width > shape[1] or y + height > shape[0]:
        raise InvalidRequest(
            f"the crop x={x}, y={y}, width={width}, height={height} px is not inside the frames "
            f"of {video}, {shape[1]}x{shape[0]} px; give another --crop"
        )
