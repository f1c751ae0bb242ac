"""Small versions of a video's frames, as k-means compares them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from service.video.pyav import VideoFile
from training.data.deeplabcut_config import CropXywh
from training.frames.shots import read_shots

WIDTH_PX = 30
MAX_THUMBNAILS = 10_000
"""Longer lists are thinned evenly: 10,000 frames of 30x23 px are 28 MB, for any length of video."""


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """What k-means sees of a video."""

    frame_index: NDArray[np.int64]
    """(F,) rising."""
    pixels: NDArray[np.float32]
    """(F, D) gray levels of the small frames, one row a frame."""
    damaged: int
    """Frames that were asked for and could not be decoded."""


def read_thumbnails(
    video: VideoFile,
    indices: Sequence[int],
    *,
    crop_xywh: CropXywh | None = None,
    on_frame: Callable[[int, int], None] | None = None,
) -> Thumbnails:
    """Read `indices` once, in order, shrunk to a width of 30 px; memory does not grow with them.

    Args:
        video: opened as gray or as RGB; color stays.
        indices: frame indices; thinned evenly where there are more than `MAX_THUMBNAILS`.
        crop_xywh: part of the frame to look at, px.
        on_frame: called with the number of frames read and of all that will be.
    """
    wanted = thin_out(indices, MAX_THUMBNAILS)
    _, _, width_px, height_px = crop_xywh or (0, 0, video.shape[1], video.shape[0])
    scale = min(1.0, WIDTH_PX / width_px)
    size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    channels = 1 if len(video.shape) == 2 else 3
    small = np.empty((len(wanted), size[0] * size[1] * channels), np.float32)
    read: list[int] = []
    damaged = 0
    for shot in read_shots(video, wanted, crop_xywh):
        if shot.pixels is None:
            damaged += 1
        else:
            shrunk = cv2.resize(shot.pixels, size, interpolation=cv2.INTER_AREA)
            small[len(read)] = np.asarray(shrunk, np.float32).ravel()
            read.append(shot.frame_index)
        if on_frame is not None:
            on_frame(len(read) + damaged, len(wanted))
    return Thumbnails(np.array(read, np.int64), small[: len(read)], damaged)


def thin_out(indices: Sequence[int], limit: int) -> list[int]:
    """Return at most `limit` of `indices`, evenly spread over them."""
    if len(indices) <= limit:
        return list(indices)
    places = np.linspace(0, len(indices) - 1, limit).round().astype(np.int64)
    return [indices[place] for place in places]
