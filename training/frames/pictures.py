"""Pictures of frames in a project's folder, named as DeepLabCut names them."""

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.results.atomic import replacing

_NAME = re.compile(r"img(\d+)\.png")


def picture_name(frame_index: int, frames: int) -> str:
    """Name of the picture of a frame: `img0120.png` in a video of 1,001 to 10,000 frames.

    Args:
        frame_index: in presentation order, from 0.
        frames: length of the video.
    """
    return f"img{frame_index:0{len(str(max(0, frames - 1)))}d}.png"


def frames_in(folder: Path) -> set[int]:
    """Return the frame indices of the pictures in `folder`; none where it does not exist."""
    if not folder.is_dir():
        return set()
    names = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return {int(name[1]) for name in names if name}


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) RGB or (H, W) gray pixels as PNG; the file is there whole or not at all.

    Raises:
        InvalidRequest: the folder cannot be written to.
    """
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    try:
        with replacing(path) as unfinished:
            _, coded = cv2.imencode(".png", ordered)
            unfinished.write_bytes(coded.tobytes())
    except OSError as error:
        raise InvalidRequest(
            f"{path} cannot be written ({error.strerror}); free the disk or allow writing there"
        ) from error


def free_path(path: Path) -> Path:
    """Return `path`, or where that exists the first of `name-2`, `name-3`, … that does not."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found


def folder_names(videos: Sequence[Path]) -> dict[Path, str]:
    """Name the folder of each video: its stem, as DeepLabCut does.

    Raises:
        InvalidRequest: two videos would share a folder.
    """
    names: dict[str, Path] = {}
    for video in videos:
        other = names.setdefault(video.stem, video)
        if other != video:
            raise InvalidRequest(
                f"the pictures of {other} and {video} would go to one folder, {video.stem}; "
                "rename one of them, or use another project or --out"
            )
    return {video: name for name, video in names.items()}
