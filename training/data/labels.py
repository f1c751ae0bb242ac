"""What every reader of labelled keypoints returns, and the error that all of them raise."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import InvalidRequest

EDGE_SLACK_PX = 1.0
"""How far outside a picture a click on its very edge may lie, px."""


class InvalidLabels(InvalidRequest):
    """A label file or a picture that it names cannot be used as it is."""


class Picture(Protocol):
    """Where the pixels of a labelled frame are."""

    @property
    def label(self) -> str:
        """As messages name it: a path, or `video.mp4 frame 120`."""

    def read(self) -> NDArray[np.uint8]:
        """Return (H, W, 3) RGB.

        Raises:
            InvalidLabels: it cannot be read; the message names it.
        """

    def sha256(self) -> str:
        """Hash that changes when the pixels do."""


@dataclass(frozen=True, slots=True)
class FilePicture:
    """A picture file."""

    path: Path

    @property
    def label(self) -> str:
        """The path."""
        return str(self.path)

    def read(self) -> NDArray[np.uint8]:
        """Return (H, W, 3) RGB."""
        return read_picture(self.path)

    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class VideoPicture:
    """A frame of a video."""

    path: Path
    frame_index: int
    """In presentation order, from 0."""

    @property
    def label(self) -> str:
        """The video's path and the frame's number."""
        return f"{self.path} frame {self.frame_index}"

    def read(self) -> NDArray[np.uint8]:
        """Return (H, W, 3) RGB."""
        from service.drawing.contact_sheet import read_frames
        from service.errors import InvalidVideo

        try:
            return read_frames(self.path, {self.frame_index})[self.frame_index]
        except (InvalidVideo, OSError) as error:
            raise InvalidLabels(
                f"{self.label} is labelled and cannot be read ({error}); restore the video or "
                "delete the label"
            ) from error

    def sha256(self) -> str:
        """Hash of the video's bytes and the frame's number."""
        found = self.path.stat()
        whole = _file_sha256(self.path, found.st_size, found.st_mtime_ns)
        return hashlib.sha256(f"{whole} {self.frame_index}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One picture with the keypoints that a person placed; none placed means: nothing is there."""

    name: str
    """Unique in its project, such as `m4s1/img0003.png`."""
    picture: Picture
    keypoints_xy: NDArray[np.float32]
    """(N, K, 2) px of the picture; NaN where a keypoint was not placed."""


@dataclass(frozen=True, slots=True)
class LabelledProject:
    """All labelled frames of a project."""

    name: str
    keypoints: tuple[str, ...]
    """Names in the order of axis K."""
    animals: tuple[str, ...]
    """Names in the order of axis N; one entry where one animal is labelled."""
    frames: tuple[LabelledFrame, ...]
    unique_keypoints: tuple[str, ...] = ()
    """Those of `keypoints` that exist once in the scene: they stand in row 0 of axis N only."""
    skeleton: tuple[tuple[str, str], ...] = ()
    """Pairs of keypoints to draw a line between."""

    def sha256(self) -> str:
        """Hash of the names, keypoints and pictures of all frames."""
        digest = hashlib.sha256("\n".join(self.keypoints).encode())
        for frame in self.frames:
            digest.update(frame.name.encode())
            digest.update(frame.keypoints_xy.tobytes())
            digest.update(frame.picture.sha256().encode())
        return digest.hexdigest()


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return the picture at `path` as (H, W, 3) RGB.

    Raises:
        InvalidLabels: the file is no picture that can be read.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise InvalidLabels(f"{path} is not a readable picture; restore it or delete its label row")
    return np.asarray(picture, np.uint8)


def picture_size_px(path: Path) -> tuple[int, int]:
    """Return width and height of a picture file, from its header alone.

    Raises:
        InvalidLabels: the file is no picture that can be read, or several.
    """
    try:
        with Image.open(path) as picture:
            # A camera's JPEG may hold smaller copies of itself, and is an MPO then.
            pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
            size_px = picture.size
    except (OSError, ValueError, SyntaxError) as error:
        raise InvalidLabels(
            f"{path} is not a readable picture; restore it or delete its label row"
        ) from error
    if pages > 1:
        raise InvalidLabels(
            f"{path} holds {pages} pictures and its labels belong to one; save that one as a file "
            "of its own"
        )
    return size_px


def check_inside(
    where: str, keypoint: str, point_xy: tuple[float, float], size_px: tuple[int, int]
) -> None:
    """Check that a point lies in its picture, give or take `EDGE_SLACK_PX`.

    Args:
        where: file and row, as the message names them.
        keypoint: name of the point.
        point_xy: px of the picture; NaN passes.
        size_px: width and height of the picture.

    Raises:
        InvalidLabels: it lies outside.
    """
    x, y = point_xy
    width_px, height_px = size_px
    slack = EDGE_SLACK_PX
    if x < -slack or y < -slack or x > width_px - 1 + slack or y > height_px - 1 + slack:
        raise InvalidLabels(
            f"{where}: {keypoint} is at ({x:g}, {y:g}), outside its picture of "
            f"{width_px} x {height_px} px; correct it, or leave it empty for a missing point"
        )


def match_animals(names: Sequence[str], animals: Sequence[str]) -> list[int]:
    """Return the row of each of a file's animals in a project: by name, the others in turn.

    Args:
        names: of the file's animals, no more than the project's.
        animals: of the project.
    """
    taken = {name: animals.index(name) for name in names if name in animals}
    free = [slot for slot in range(len(animals)) if slot not in taken.values()]
    return [taken[name] if name in taken else free.pop(0) for name in names]


def left_right_pairs(keypoints: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Find the keypoints that change places in a mirror, by their names.

    These hold `left` and `right`, or an `l` and `r` that begins or ends a word of the name, in
    either case: leftpaw, Left_Paw, pawL, L_paw, paw_l1.
    """
    pairs: list[tuple[str, str]] = []
    free = set(keypoints)
    for name in keypoints:
        others = [one for one in _right_names(name) if one in free]
        if name in free and others:
            pairs.append((name, others[0]))
            free -= {name, others[0]}
    return tuple(pairs)


def _right_names(name: str) -> Iterator[str]:
    """Yield what the partner of a left keypoint may be called; nothing for most others."""
    for left, right in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")):
        if left in name:
            yield name.replace(left, right)
    for found in re.finditer(r"(?<![^\W\d_])l|l(?![^\W\d_])", name, re.IGNORECASE):
        side = "r" if found[0] == "l" else "R"
        yield name[: found.start()] + side + name[found.end() :]


@lru_cache(maxsize=64)
def _file_sha256(path: Path, size: int, changed_ns: int) -> str:
    """Hash of a file; size and time of change are there to make the cache forget it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
