"""Which videos are to be analyzed, and where the results of each go."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.errors import InvalidRequest
from service.video.pictures import PictureList, is_picture, natural_key

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "asf", "avi", "dv", "flv", "h264", "h265", "hevc", "ivf", "m2ts", "m4v", "mjpeg"),
        *("mjpg", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "mxf", "nut", "ogv", "ts", "webm"),
        "wmv",
    )
)
"""Endings by which videos are found in folders; a file that is named itself may have any."""
OUTPUTS_ENDING = "_outputs.h5"
"""Of the file that DeepEthogram keeps its own groups in, too."""
OVERLAY_ENDING = "_overlay.mp4"
REPORT_ENDING = "_report.html"
JOB_REPORT = "report.html"
"""The page that tells what became of many videos."""


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """One video (or pictures that are one) and the beginning of its results' file names."""

    path: Path
    """Of pictures, their folder."""
    out: Path
    """Folder of the results."""
    stem: str
    pictures: tuple[Path, ...] = ()
    """Empty for a video."""

    @property
    def source(self) -> Path | PictureList:
        """What is to be read."""
        return PictureList(self.path, self.pictures) if self.pictures else self.path

    @property
    def overlay(self) -> Path:
        """Path of the overlay video."""
        return self.out / f"{self.stem}{OVERLAY_ENDING}"

    @property
    def report(self) -> Path:
        """Path of the page that shows what was found."""
        return self.out / f"{self.stem}{REPORT_ENDING}"


def plan_videos(paths: Sequence[Path], out: Path | None = None) -> list[PlannedVideo]:
    """List the videos of files and folders, each once, in the order of the paths.

    Folders are searched with all that is below them, except for hidden files and for overlays
    that were drawn here. Where a folder holds no video, its pictures are taken: those of one
    folder are one video, in the order of their names; pictures that are named themselves, too. A
    file is listed even where it does not exist, so that its analysis can say so. Videos of one
    folder that differ only in their ending keep it in their stem.

    Args:
        paths: files and folders.
        out: folder of the results, below which those of a folder keep their sub-folders; None
            puts results beside each video, those of pictures into their folder.

    Raises:
        InvalidRequest: no video was found, or two would write the same files.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    """By the file itself: its name, which may be that of a link, and the folder of its results."""
    pictures: dict[Path, list[Path]] = {}
    for path in paths:
        for video, below in _videos_of(path):
            named = video.parent.resolve() / video.name
            found.setdefault(video.resolve(), (named, video.parent if out is None else out / below))
        for picture, below in _pictures_of(path):
            folder = picture.parent.resolve()
            found.setdefault(folder, (folder, picture.parent if out is None else out / below))
            pictures.setdefault(folder, []).append(folder / picture.name)
    if not found:
        raise InvalidRequest(
            f"no video is in {', '.join(map(str, paths)) or 'nothing'}; name a file, a folder of "
            f"pictures, or one with files that end in one of {' '.join(sorted(VIDEO_SUFFIXES))}"
        )
    stems = [(folder, video.stem) for video, folder in found.values() if video not in pictures]
    planned = []
    for video, folder in found.values():
        listed = tuple(sorted(set(pictures.get(video, ())), key=natural_key))
        is_alone = not listed and stems.count((folder, video.stem)) == 1
        planned.append(PlannedVideo(video, folder, video.stem if is_alone else video.name, listed))
    taken: dict[tuple[Path, str], Path] = {}
    for one in planned:
        other = taken.setdefault((one.out, one.stem), one.path)
        if other != one.path:
            raise InvalidRequest(
                f"{other} and {one.path} would write the same files in {one.out}; analyze them "
                "with a different --out each"
            )
    return planned


def in_random_order(planned: Sequence[PlannedVideo]) -> list[PlannedVideo]:
    """Shuffle, so that several processes on one list rarely begin the same video."""
    return random.sample(planned, len(planned))


def _videos_of(path: Path) -> list[tuple[Path, Path]]:
    """Videos of a file or folder, each with its sub-folder."""
    if not path.is_dir():
        return [] if is_picture(path) else [(path, Path())]
    return [
        (video, video.parent.relative_to(path))
        for video in _files_below(path)
        if video.suffix.lower() in VIDEO_SUFFIXES and not video.name.endswith(OVERLAY_ENDING)
    ]


def _pictures_of(path: Path) -> list[tuple[Path, Path]]:
    """Pictures of a file or of a folder without videos, each with where its results belong."""
    if not path.is_dir():
        return [(path, Path())] if is_picture(path) else []
    if _videos_of(path):
        return []
    return [
        (picture, Path() if picture.parent == path else picture.parent.parent.relative_to(path))
        for picture in _files_below(path)
        if is_picture(picture)
    ]


def _files_below(path: Path) -> list[Path]:
    return [
        file
        for file in sorted(path.rglob("*"))
        if file.is_file() and not any(one.startswith(".") for one in file.relative_to(path).parts)
    ]
