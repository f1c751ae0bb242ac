"""Which videos are to be analyzed, and where the results of each go."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.errors import InvalidRequest

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "asf", "avi", "dv", "flv", "h264", "h265", "hevc", "ivf", "m2ts", "m4v", "mjpeg"),
        *("mjpg", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "mxf", "nut", "ogv", "ts", "webm"),
        "wmv",
    )
)
"""Endings by which videos are found in folders; a file that is named itself may have any."""
OVERLAY_ENDING = "_overlay.mp4"


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """One video and the beginning of its results' file names."""

    path: Path
    out: Path
    """Folder of the results."""
    stem: str

    @property
    def overlay(self) -> Path:
        """Path of the overlay video."""
        return self.out / f"{self.stem}{OVERLAY_ENDING}"


def plan_videos(paths: Sequence[Path], out: Path | None = None) -> list[PlannedVideo]:
    """List the videos of files and folders, each once, in the order of the paths.

    Folders are searched with all that is below them, except for hidden files and for overlays
    that were drawn here. A file is listed even where it does not exist, so that its analysis can
    say so. Videos of one folder that differ only in their ending keep it in their stem.

    Args:
        paths: files and folders.
        out: folder of the results, below which those of a folder keep their sub-folders; None
            puts results beside each video.

    Raises:
        InvalidRequest: no video was found, or two would write the same files.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for video, below in _videos_of(path):
            found.setdefault(video.resolve(), video.parent if out is None else out / below)
    if not found:
        raise InvalidRequest(
            f"no video is in {', '.join(map(str, paths)) or 'nothing'}; name a file, or a folder "
            f"with files that end in one of {' '.join(sorted(VIDEO_SUFFIXES))}"
        )
    stems = [(folder, video.stem) for video, folder in found.items()]
    planned = [
        PlannedVideo(
            video, folder, video.stem if stems.count((folder, video.stem)) == 1 else video.name
        )
        for video, folder in found.items()
    ]
    taken: dict[tuple[Path, str], Path] = {}
    for one in planned:
        other = taken.setdefault((one.out, one.stem), one.path)
        if other != one.path:
            raise InvalidRequest(
                f"{other} and {one.path} would write the same files in {one.out}; analyze them "
                "with a different --out each"
            )
    return planned


def _videos_of(path: Path) -> list[tuple[Path, Path]]:
    """Videos of a file or folder, each with its sub-folder."""
    if not path.is_dir():
        return [(path, Path())]
    return [
        (video, video.parent.relative_to(path))
        for video in sorted(path.rglob("*"))
        if video.suffix.lower() in VIDEO_SUFFIXES
        and video.is_file()
        and not video.name.endswith(OVERLAY_ENDING)
        and not any(part.startswith(".") for part in video.relative_to(path).parts)
    ]
