"""Checks all labels of a project, counts them, and draws them on their pictures."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.drawing import colors
from service.drawing.poses import draw_poses
from service.drawing.text import draw_text
from service.results.atomic import replacing
from training.data.labels import LabelledFrame, LabelledProject
from training.data.projects import read_project

SHEET_NAME = "labels.png"
_TILE_WIDTH_PX, _TILE_HEIGHT_PX, _CAPTION_PX, _GAP_PX, _COLUMNS = 320, 240, 24, 6, 6
_SHEET_FRAMES = 60


@dataclass(frozen=True, slots=True)
class KeypointCount:
    """How often a keypoint is labelled."""

    keypoint: str
    placed: int
    """Points, over all frames and animals."""
    missing: int
    """Places without a point: in each frame one an animal, or one for a unique keypoint."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check of labels found."""

    name: str
    animals: tuple[str, ...]
    frames: dict[str, int]
    """Labelled frames of each video."""
    empty: int
    """Frames without a point."""
    keypoints: tuple[KeypointCount, ...]
    drawn: Path | None
    """Folder of the drawn pictures."""


def check_labels(project: Path, out: Path | None) -> CheckReport:
    """Read everything that a training would read, count it, and draw it.

    Args:
        project: as `read_projects` takes it.
        out: folder for the drawn pictures, one folder a video, and the contact sheet
            `labels.png`; None draws nothing.

    Raises:
        InvalidLabels: something cannot be used; the message names file, row and remedy.
    """
    labels = read_project(project)
    points = np.stack([frame.keypoints_xy for frame in labels.frames])
    placed = np.asarray(np.isfinite(points).all(axis=-1), np.bool_)
    videos: dict[str, int] = {}
    for frame in labels.frames:
        video = _video(frame)
        videos[video] = videos.get(video, 0) + 1
    counts = []
    for place, name in enumerate(labels.keypoints):
        slots = 1 if name in labels.unique_keypoints else len(labels.animals)
        found = int(placed[:, :, place].sum())
        counts.append(KeypointCount(name, found, len(points) * slots - found))
    if out is not None:
        _draw(labels, out)
    else:
        for frame in labels.frames:
            frame.picture.read()
    return CheckReport(
        name=labels.name,
        animals=labels.animals,
        frames=videos,
        empty=int((~placed.any(axis=(1, 2))).sum()),
        keypoints=tuple(counts),
        drawn=out,
    )


def _video(frame: LabelledFrame) -> str:
    return frame.name.rsplit("/", 1)[0]


def _draw(labels: LabelledProject, out: Path) -> None:
    sheet_every = max(1, -(-len(labels.frames) // _SHEET_FRAMES))
    tiles = []
    for number, frame in enumerate(labels.frames):
        pixels = _draw_frame(labels, frame)
        path = (out / frame.name).with_suffix(".png")
        with replacing(path) as unfinished:
            Image.fromarray(pixels).save(unfinished)
        if number % sheet_every == 0:
            tiles.append((frame.name, _tile(pixels)))
    with replacing(out / SHEET_NAME) as unfinished:
        Image.fromarray(_sheet(labels, tiles)).save(unfinished)


def _draw_frame(labels: LabelledProject, frame: LabelledFrame) -> NDArray[np.uint8]:
    pixels = np.ascontiguousarray(frame.picture.read())
    bones = [
        (labels.keypoints.index(one), labels.keypoints.index(two)) for one, two in labels.skeleton
    ]
    draw_poses(
        pixels,
        frame.keypoints_xy,
        np.asarray(np.isfinite(frame.keypoints_xy).all(axis=-1), np.float32),
        skeleton=bones,
        confidence_cutoff=0.5,
        radius_px=max(2.5, max(pixels.shape[:2]) / 160),
    )
    return pixels


def _tile(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = min(_TILE_WIDTH_PX / width, _TILE_HEIGHT_PX / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _sheet(
    labels: LabelledProject, tiles: list[tuple[str, NDArray[np.uint8]]]
) -> NDArray[np.uint8]:
    """Tiles with their names, below a line with the keypoints in their colors."""
    step_x, step_y = _TILE_WIDTH_PX + _GAP_PX, _TILE_HEIGHT_PX + _CAPTION_PX + _GAP_PX
    columns = min(_COLUMNS, max(2, len(tiles)))
    rows = -(-len(tiles) // columns)
    width = columns * step_x + _GAP_PX
    shown = [(name, colors.series_color(place)) for place, name in enumerate(labels.keypoints)]
    per_line = max(1, width // 150)
    head = _CAPTION_PX * (-(-len(shown) // per_line)) + _GAP_PX
    sheet = np.full((head + rows * step_y + _GAP_PX, width, 3), colors.PANEL, np.uint8)
    for place, (name, color) in enumerate(shown):
        left, line = _GAP_PX + place % per_line * 150, place // per_line
        top = _GAP_PX + line * _CAPTION_PX + _CAPTION_PX // 2
        draw_text(sheet[:, : left + 146], name, left, top, size_px=14, color=color)
    for place, (name, picture) in enumerate(tiles):
        top = head + place // columns * step_y
        left = _GAP_PX + place % columns * step_x
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        draw_text(
            sheet[:, : left + _TILE_WIDTH_PX],
            name,
            left + 2,
            top + _TILE_HEIGHT_PX + _CAPTION_PX // 2,
            size_px=13,
            color=colors.TEXT,
        )
    return sheet
