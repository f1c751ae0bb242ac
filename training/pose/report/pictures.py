"""Labelled pictures: where a person put each keypoint and where the network found it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from service.drawing.colors import PANEL, TEXT, series_color
from service.drawing.text import draw_text, text_width
from service.errors import InvalidRequest
from service.preprocess import bgr_to_rgb, to_color
from training.data.frames import Example
from training.pose.evaluate import MeasuredPart

MOST_PICTURES = 100
"""Written of each part, the worst first."""
_SHORTEST_WIDTH_PX = 960
"""Smaller frames are enlarged, so that marks a few px apart can be told from each other."""
_MARK_PX = 7
_LINE_PX = 26
_OUTLINE = (10, 12, 16)


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """One picture on disk."""

    path: Path
    frame: str
    error_px: float
    """Mean of its labelled points; NaN where none is labelled or found."""


def write_pictures(
    part: MeasuredPart, keypoints: Sequence[str], cutoff: float, folder: Path
) -> list[LabelledPicture]:
    """Write the pictures of a part as `folder`/<rank>-<frame>.png, those with large errors first.

    Raises:
        InvalidRequest: a picture cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    matches = part.found.match()
    means = np.array([_mean(errors) for errors in matches.errors_px])
    order = np.argsort(-np.nan_to_num(means, nan=-1.0), kind="stable")[:MOST_PICTURES]
    written = []
    for rank, index in enumerate(order, start=1):
        example, error_px = part.examples[index], float(means[index])
        picture = draw_labelled(
            example,
            part.found.keypoints_xy[index],
            part.found.confidence[index],
            matches.rows[index],
            keypoints=keypoints,
            cutoff=cutoff,
            title=f"{example.name}   mean error {error_px:.1f} px",
        )
        name = "".join(letter if letter.isalnum() else "-" for letter in Path(example.name).stem)
        video = "".join(letter if letter.isalnum() else "-" for letter in _video(example.name))
        path = folder / f"{rank:03d}-{video}{name}.png"
        if not cv2.imwrite(str(path), bgr_to_rgb(picture)):
            raise InvalidRequest(f"{path} cannot be written; choose another --report folder")
        written.append(LabelledPicture(path, example.name, error_px))
    return written


def draw_labelled(
    example: Example,
    found_xy: NDArray[np.float32],
    confidence: NDArray[np.float32],
    rows: NDArray[np.intp],
    *,
    keypoints: Sequence[str],
    cutoff: float,
    title: str,
) -> NDArray[np.uint8]:
    """Draw one frame: + the label, o found at or above the cut-off, x found below it.

    A thin line joins a label and the row that was assigned to it; colors tell keypoints apart.

    Args:
        example: the frame with its labels (N, K, 2).
        found_xy: (M, K, 2) px of the frame.
        confidence: (M, K).
        rows: (N, K) row of each label, -1 for none, as `Matches.rows` holds them.
        keypoints: names on axis K.
        cutoff: confidence from which a point counts as found.
        title: text below the frame.

    Returns:
        (H, W, 3) RGB.
    """
    pixels = to_color(example.pixels, "rgb")
    scale = max(1, -(-_SHORTEST_WIDTH_PX // pixels.shape[1]))
    image = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    image = np.ascontiguousarray(image, np.uint8)

    def place(point: NDArray[np.float32]) -> tuple[int, int]:
        x, y = np.clip((point + 0.5) * scale - 0.5, -1e4, 1e4)
        return round(float(x)), round(float(y))

    several = len(found_xy) > 1
    for keypoint in range(len(keypoints)):
        color = series_color(keypoint)
        for label, row in zip(example.keypoints_xy[:, keypoint], rows[:, keypoint], strict=True):
            if row >= 0:
                ends = place(label), place(found_xy[row, keypoint])
                cv2.line(image, *ends, color, 1, cv2.LINE_AA)
            if np.isfinite(label).all():
                _plus(image, place(label), color)
        for row, (point, sure) in enumerate(
            zip(found_xy[:, keypoint], confidence[:, keypoint], strict=True)
        ):
            if sure >= cutoff:
                cv2.circle(image, place(point), _MARK_PX, _OUTLINE, 3, cv2.LINE_AA)
                cv2.circle(image, place(point), _MARK_PX, color, 2, cv2.LINE_AA)
            elif not several or row in rows[:, keypoint]:
                _cross(image, place(point), color)
    return np.concatenate([image, _legend(image.shape[1], keypoints, title)])


def _plus(image: NDArray[np.uint8], center: tuple[int, int], color: tuple[int, int, int]) -> None:
    x, y = center
    for line, width in ((_OUTLINE, 4), (color, 2)):
        cv2.line(image, (x - _MARK_PX, y), (x + _MARK_PX, y), line, width, cv2.LINE_AA)
        cv2.line(image, (x, y - _MARK_PX), (x, y + _MARK_PX), line, width, cv2.LINE_AA)


def _cross(image: NDArray[np.uint8], center: tuple[int, int], color: tuple[int, int, int]) -> None:
    (x, y), reach = center, _MARK_PX - 2
    for line, width in ((_OUTLINE, 4), (color, 2)):
        cv2.line(image, (x - reach, y - reach), (x + reach, y + reach), line, width, cv2.LINE_AA)
        cv2.line(image, (x - reach, y + reach), (x + reach, y - reach), line, width, cv2.LINE_AA)


def _legend(width_px: int, keypoints: Sequence[str], title: str) -> NDArray[np.uint8]:
    """(h, W, 3) lines below the frame: the title, and the keypoints in their colors."""
    lines: list[list[tuple[str, int]]] = [[]]
    used_px = 10
    for place, name in enumerate(keypoints):
        needed_px = text_width(name, size_px=15) + 16
        if used_px + needed_px > width_px and lines[-1]:
            lines.append([])
            used_px = 10
        lines[-1].append((name, place))
        used_px += needed_px
    strip = np.full((_LINE_PX * (1 + len(lines)) + 6, width_px, 3), PANEL, np.uint8)
    draw_text(strip, title, 10, _LINE_PX // 2 + 2, size_px=15, color=TEXT)
    for number, line in enumerate(lines, start=1):
        x_px = 10
        for name, place in line:
            middle = _LINE_PX * number + _LINE_PX // 2
            draw_text(strip, name, x_px, middle, size_px=15, color=series_color(place))
            x_px += text_width(name, size_px=15) + 16
    return strip


def _mean(errors_px: NDArray[np.float32]) -> float:
    known = errors_px[np.isfinite(errors_px)]
    return float(known.mean()) if known.size else float("nan")


def _video(frame: str) -> str:
    return f"{Path(frame).parent.name} " if "/" in frame else ""
