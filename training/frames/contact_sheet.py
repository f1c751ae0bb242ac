"""One picture that shows many: small frames in rows, each with a line of text below it."""

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from service.drawing import colors
from service.drawing.poses import draw_poses
from service.drawing.text import draw_text
from training.frames.pictures import write_picture

_WIDTH_PX = 1600
_TILE_PX = 320
_LEAST_COLUMNS = 5
_GAP_PX = 6
_CAPTION_PX = 20
_TITLE_PX = 30
_TEXT_PX = 12


class ContactSheet:
    """Gathers small pictures and writes them as one; holds no full-size frame."""

    def __init__(self, title: str, pictures: int) -> None:
        """Prepare a sheet of about `pictures` pictures below `title`."""
        self._title = title
        self._columns = max(1, min(pictures, max(_LEAST_COLUMNS, math.isqrt(pictures))))
        self._tile_px = max(48, min(_TILE_PX, _WIDTH_PX // self._columns))
        self._tiles: list[NDArray[np.uint8]] = []
        self._captions: list[str] = []

    def add(
        self,
        pixels: NDArray[np.uint8],
        caption: str,
        *,
        keypoints_xy: NDArray[np.float32] | None = None,
        confidence: NDArray[np.float32] | None = None,
        skeleton: tuple[tuple[int, int], ...] = (),
        confidence_cutoff: float = 0.0,
    ) -> None:
        """Add a picture.

        Args:
            pixels: (H, W, 3) RGB, any size.
            caption: the line below it.
            keypoints_xy: (N, K, 2) px of `pixels` to draw on it.
            confidence: (N, K) in [0, 1] of those.
            skeleton: pairs of keypoint numbers that are joined.
            confidence_cutoff: points below it are not drawn.
        """
        scale = self._tile_px / pixels.shape[1]
        size = (self._tile_px, max(1, round(pixels.shape[0] * scale)))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        tile = np.ascontiguousarray(cv2.resize(pixels, size, interpolation=way), np.uint8)
        if keypoints_xy is not None and confidence is not None:
            draw_poses(
                tile,
                ((keypoints_xy + 0.5) * scale - 0.5).astype(np.float32),
                confidence,
                skeleton=skeleton,
                confidence_cutoff=confidence_cutoff,
                radius_px=max(2.0, self._tile_px / 90),
            )
        self._tiles.append(tile)
        self._captions.append(caption)

    def write(self, path: Path) -> None:
        """Write the sheet as PNG.

        Raises:
            InvalidRequest: the folder cannot be written to.
        """
        high_px = max((tile.shape[0] for tile in self._tiles), default=0) + _CAPTION_PX + _GAP_PX
        rows = math.ceil(len(self._tiles) / self._columns)
        width_px = self._columns * (self._tile_px + _GAP_PX) + _GAP_PX
        sheet = np.full((_TITLE_PX + rows * high_px, max(width_px, 480), 3), colors.PANEL, np.uint8)
        draw_text(
            sheet, self._title, _GAP_PX, _TITLE_PX // 2, size_px=_TEXT_PX + 2, color=colors.TEXT
        )
        for place, (tile, caption) in enumerate(zip(self._tiles, self._captions, strict=True)):
            row, column = divmod(place, self._columns)
            left = _GAP_PX + column * (self._tile_px + _GAP_PX)
            top = _TITLE_PX + row * high_px
            sheet[top : top + tile.shape[0], left : left + self._tile_px] = tile
            middle = top + tile.shape[0] + _CAPTION_PX // 2
            draw_text(sheet, caption, left, middle, size_px=_TEXT_PX, color=colors.DIM_TEXT)
        write_picture(path, sheet)


def caption(frame_index: int, time_s: float) -> str:
    """Index and time of a frame as a contact sheet shows them: `#1234  0:41.13`."""
    minutes, seconds = divmod(time_s, 60)
    return f"#{frame_index}  {int(minutes)}:{seconds:05.2f}"
