"""What every reader of labelled keypoints returns, and the error that all of them raise."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest


class InvalidLabels(InvalidRequest):
    """A label file or a picture that it names cannot be used as it is."""


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One picture with the keypoints that a person placed."""

    name: str
    """Unique in its project, such as `m4s1/img0003.png`."""
    image: Path
    keypoints_xy: NDArray[np.float32]
    """(K, 2) px of the picture; NaN where a keypoint was not placed."""


@dataclass(frozen=True, slots=True)
class LabelledProject:
    """All labelled frames of a project."""

    name: str
    keypoints: tuple[str, ...]
    """Names in the order of axis K."""
    frames: tuple[LabelledFrame, ...]

    def sha256(self) -> str:
        """Hash of the names, keypoints and picture bytes of all frames."""
        digest = hashlib.sha256("\n".join(self.keypoints).encode())
        for frame in self.frames:
            digest.update(frame.name.encode())
            digest.update(frame.keypoints_xy.tobytes())
            digest.update(frame.image.read_bytes())
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


def left_right_pairs(keypoints: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Find the keypoints that change places in a mirror, by `left` and `right` in their names."""
    names = set(keypoints)
    pairs = []
    for name in keypoints:
        for left, right in (("left", "right"), ("Left", "Right")):
            other = name.replace(left, right)
            if other != name and other in names:
                pairs.append((name, other))
    return tuple(pairs)
