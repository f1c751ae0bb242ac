"""Many frames on one sheet, each with its pose drawn and a line about it."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.drawing import colors
from service.drawing.poses import draw_poses
from service.drawing.text import draw_text
from service.errors import InvalidVideo
from service.results.atomic import replacing
from service.tracks.track import Track
from service.video.pyav import PictureRow, VideoFile

_TILE_PX, _CAPTION_PX, _GAP_PX = 300, 26, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One frame of the sheet."""

    row: int
    """Row of the track."""
    caption: str


def draw_contact_sheet(
    video: Path,
    track: Track,
    tiles: Sequence[Tile],
    out: Path,
    *,
    cutoff: float,
    span_px: float,
    columns: int = 6,
) -> None:
    """Draw a PNG of some frames, each cut out around the animals.

    Points below the cut-off are drawn too, hollow: they are what the sheet is looked at for.

    Args:
        video: the file that the track is of.
        track: its poses.
        tiles: the frames, in the order of the sheet.
        out: file to write, .png.
        cutoff: confidence from which a point is drawn filled.
        span_px: least side of the part that is cut out, px of the video.
        columns: tiles beside each other.

    Raises:
        InvalidVideo: the video cannot be read, or lacks one of the frames.
    """
    frames = read_frames(video, {int(track.frame_index[tile.row]) for tile in tiles})
    rows = -(-len(tiles) // columns)
    step_x, step_y = _TILE_PX + _GAP_PX, _TILE_PX + _CAPTION_PX + _GAP_PX
    sheet = np.full(
        (rows * step_y + _GAP_PX, columns * step_x + _GAP_PX, 3), colors.PANEL, np.uint8
    )
    for place, tile in enumerate(tiles):
        pixels = frames[int(track.frame_index[tile.row])]
        picture = _cut_out(pixels, track, tile.row, cutoff, span_px)
        top, left = _GAP_PX + place // columns * step_y, _GAP_PX + place % columns * step_x
        sheet[top : top + _TILE_PX, left : left + _TILE_PX] = picture
        draw_text(
            sheet[:, : left + _TILE_PX],
            tile.caption,
            left + 4,
            top + _TILE_PX + _CAPTION_PX // 2,
            size_px=13,
            color=colors.TEXT,
        )
    with replacing(out) as unfinished:
        Image.fromarray(sheet).save(unfinished)


def read_frames(video: Path, frame_indices: Collection[int]) -> dict[int, NDArray[np.uint8]]:
    """Read some frames, (H, W, 3) uint8 RGB each, by their numbers.

    Where seeking does not give a frame exactly, the file is read through from its beginning.

    Raises:
        InvalidVideo: the file has no such frame, or it has no pixels.
    """
    source = VideoFile(video)
    found: dict[int, NDArray[np.uint8]] = {}
    for frame_index in sorted(frame_indices):
        _take_frames(source, source.rows(frame_index, 1), {frame_index}, found)
        if frame_index not in found:
            break
    if len(found) < len(frame_indices):
        rows = source.rows(0, max(frame_indices) + 1)
        _take_frames(source, rows, set(frame_indices) - set(found), found)
    for frame_index in frame_indices:
        if frame_index not in found:
            raise InvalidVideo(
                f"{video} has {source.frames} frames and no whole frame {frame_index}; give the "
                "video that was analyzed"
            )
    return found


def _take_frames(
    source: VideoFile,
    rows: Iterable[PictureRow],
    wanted: set[int],
    found: dict[int, NDArray[np.uint8]],
) -> None:
    for row in rows:
        if row.frame_index in wanted and row.picture is not None:
            found[row.frame_index] = np.empty(source.shape, np.uint8)
            source.convert(row.picture, found[row.frame_index])


def _cut_out(
    pixels: NDArray[np.uint8], track: Track, row: int, cutoff: float, span_px: float
) -> NDArray[np.uint8]:
    """(tile, tile, 3) square around the points of one frame, with the points on it."""
    height_px, width_px = pixels.shape[:2]
    xy = track.keypoints_xy[row]
    known = xy[np.isfinite(xy).all(axis=-1)]
    low, high = (known.min(axis=0), known.max(axis=0)) if len(known) else (np.zeros(2),) * 2
    if not len(known):
        low, high = np.zeros(2), np.array([width_px, height_px], np.float64)
    side = float(max(span_px, 1.25 * (high - low).max()))
    corner = (low + high) / 2 - side / 2
    scale = _TILE_PX / side
    move = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    picture = np.ascontiguousarray(
        cv2.warpAffine(pixels, move, (_TILE_PX, _TILE_PX), flags=cv2.INTER_LINEAR), np.uint8
    )
    drawn_xy = ((xy - corner) * scale).astype(np.float32)
    confidence = np.nan_to_num(track.confidence[row], nan=0.0)
    bones = track.places(track.skeleton) if track.rows != "detections" else []
    draw_poses(
        picture,
        drawn_xy,
        confidence,
        skeleton=bones,
        confidence_cutoff=cutoff,
        radius_px=4.0,
    )
    for animal, place in zip(*np.nonzero(confidence < cutoff), strict=True):
        point = drawn_xy[animal, place]
        if np.isfinite(point).all():
            center = (round(float(point[0])), round(float(point[1])))
            cv2.circle(picture, center, 6, colors.series_color(int(place)), 2, cv2.LINE_AA)
    return picture
