"""A few frames of a video with what was found on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from service.drawing.contact_sheet import read_frames
from service.drawing.painter import OverlayOptions, OverlayPainter
from service.report.page import Picture, jpeg_address
from service.report.words import duration_text
from service.results import VideoResults
from service.results.rows import row_times_s
from service.values import FrameStatus
from service.video.base import VideoLimits
from service.video.pictures import read_picture

STILLS = 4
_WIDEST_PX = 960
_TRAIL_FRAMES = 20


@dataclass(frozen=True, slots=True)
class Still:
    """One frame of the video."""

    row: int
    """Of the results."""
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""


def read_stills(video: Path, results: VideoResults, count: int = STILLS) -> list[Still]:
    """Read some frames, as far apart from each other as the video is long.

    Args:
        video: the file that the results are of, or the folder of the pictures.
        results: what was found.
        count: frames; fewer, where fewer have pixels.

    Raises:
        VideoNotFound: the file is gone.
        InvalidVideo: it cannot be read, or is another one.
        InvalidFrame: a picture cannot be read.
        OSError: a picture is gone.
    """
    usable = np.flatnonzero(np.isin(results.status, [FrameStatus.OK, FrameStatus.REPEATED]))
    if not len(usable):
        return []
    parts = np.array_split(usable, min(count, len(usable)))
    rows = [int(part[len(part) // 2]) for part in parts]
    if results.files:
        limits = VideoLimits()
        return [Still(row, read_picture(video / results.files[row], "rgb", limits)) for row in rows]
    found = read_frames(video, [int(results.frame_index[row]) for row in rows])
    return [Still(row, found[int(results.frame_index[row])]) for row in rows]


def draw_stills(results: VideoResults, stills: Sequence[Still]) -> list[Picture]:
    """Draw what was found on some frames."""
    if not stills:
        return []
    options = OverlayOptions(trail_frames=_TRAIL_FRAMES)
    painter = OverlayPainter(results, stills[0].pixels.shape, options)
    return [_draw(painter, results, one) for one in stills]


def _draw(painter: OverlayPainter, results: VideoResults, still: Still) -> Picture:
    image = painter.paint(still.pixels, still.row)
    if image.shape[1] > _WIDEST_PX:
        height_px = round(image.shape[0] * _WIDEST_PX / image.shape[1])
        image = np.asarray(
            cv2.resize(image, (_WIDEST_PX, height_px), interpolation=cv2.INTER_AREA), np.uint8
        )
    time_s = float(row_times_s(results)[still.row])
    caption = f"Frame {results.frame_index[still.row]}"
    if time_s == time_s:  # pictures have no time
        caption += f", {duration_text(time_s)}"
    alt = f"{caption}, with {' and '.join(_shown(results))} drawn"
    return Picture(jpeg_address(image), alt, caption)


def _shown(results: VideoResults) -> Sequence[str]:
    parts = ["keypoints"] if results.poses else []
    return [*parts, *(["behavior probabilities"] if results.behaviors else [])] or ["its time"]
