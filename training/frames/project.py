"""Reads from a DeepLabCut project's config.yaml what picking and mining frames need."""

from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import msgspec

from service.errors import InvalidConfig, NotFound, VideoNotFound

CONFIG_NAME = "config.yaml"
CropXywh = tuple[int, int, int, int]
"""Left, top, width and height, px."""
SINGLE = "single"
"""The individual that DeepLabCut gives unique body parts to."""


class _VideoEntry(msgspec.Struct, frozen=True, kw_only=True):
    crop: str = ""


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that are used; DeepLabCut has more of them, and each version adds some."""

    scorer: str | int = ""
    video_sets: dict[str, _VideoEntry | None] | None = None
    bodyparts: list[str | int] | str | None = None
    individuals: list[str | int] | None = None
    uniquebodyparts: list[str | int] | None = None
    multianimalbodyparts: list[str | int] | None = None
    multianimalproject: bool | None = None
    start: float = 0.0
    stop: float = 1.0
    numframes2pick: int = 20
    iteration: int = 0


@dataclass(frozen=True, slots=True)
class ProjectVideo:
    """A video that the project lists."""

    path: Path
    """Where it is on this machine; where config.yaml says, if it is nowhere."""
    crop_xywh: CropXywh | None
    """The part of the frame that config.yaml names, px; None where it names none."""


@dataclass(frozen=True, slots=True)
class FrameProject:
    """A DeepLabCut project as picking frames sees it."""

    directory: Path
    scorer: str
    videos: tuple[ProjectVideo, ...]
    """In the order of config.yaml."""
    keypoints: tuple[str, ...]
    """All body parts: those of every animal, then the unique ones."""
    animals: tuple[str, ...]
    """Names of the animals; empty in a project with one animal."""
    unique_keypoints: tuple[str, ...]
    start: float
    """First moment to pick from, as a share of the video, in [0, 1]."""
    stop: float
    """Last moment, as a share of the video, in [0, 1]."""
    number: int
    """Frames to pick of each video."""
    iteration: int
    """Rounds of refinement that were merged."""

    @property
    def labels(self) -> Path:
        """Folder with one folder of labelled pictures for each video."""
        return self.directory / "labeled-data"

    @property
    def contact_sheets(self) -> Path:
        """Folder of contact sheets, apart from the labels so that no labelling tool opens them."""
        return self.directory / "contact-sheets"

    def find_video(self, path: Path) -> ProjectVideo:
        """Return the listed video that is meant by `path`: a file, or the name of one.

        Raises:
            VideoNotFound: there is no such file, and the project lists no video of that name.
        """
        for video in self.videos:
            if video.path.name == path.name and (not path.is_file() or _same(video.path, path)):
                return video
        if path.is_file():
            return ProjectVideo(path, None)
        names = ", ".join(video.path.name for video in self.videos) or "none"
        raise VideoNotFound(
            f"{path} does not exist, and {self.directory / CONFIG_NAME} lists no video of that "
            f"name (it lists: {names}); correct the path"
        )


def is_project(path: Path) -> bool:
    """Whether `path` is a folder with a config.yaml, or that file itself."""
    return (path / CONFIG_NAME).is_file() or (path.name == CONFIG_NAME and path.is_file())


def read_frame_project(path: Path) -> FrameProject:
    """Read config.yaml of a DeepLabCut project.

    A video that is not where config.yaml says is looked for by its name in the project's folder
    `videos`: the path is that of the machine on which the project was made.

    Args:
        path: the project's folder, or its config.yaml.

    Raises:
        NotFound: there is no config.yaml.
        InvalidConfig: it is malformed or a value is outside its range.
    """
    directory = path.parent if path.name == CONFIG_NAME and path.is_file() else path
    file = directory / CONFIG_NAME
    try:
        config = msgspec.yaml.decode(file.read_bytes(), type=_Config)
    except OSError as error:
        raise NotFound(
            f"{file} cannot be read ({error.strerror}); name the folder of a DeepLabCut project"
        ) from error
    except msgspec.MsgspecError as error:
        raise InvalidConfig(f"{file} is malformed: {error}; correct it or restore it") from error
    _check(file, config)
    unique = _names(config.uniquebodyparts)
    parts = _names(config.multianimalbodyparts if config.multianimalproject else config.bodyparts)
    return FrameProject(
        directory=directory,
        scorer=str(config.scorer),
        videos=tuple(
            ProjectVideo(_locate(directory, name), _crop(file, name, entry))
            for name, entry in (config.video_sets or {}).items()
        ),
        keypoints=(*parts, *unique) if config.multianimalproject else parts,
        animals=_names(config.individuals) if config.multianimalproject else (),
        unique_keypoints=unique if config.multianimalproject else (),
        start=config.start,
        stop=config.stop,
        number=config.numframes2pick,
        iteration=config.iteration,
    )


def _check(file: Path, config: _Config) -> None:
    if not 0 <= config.start < config.stop <= 1:
        raise InvalidConfig(
            f"{file} has start {config.start:g} and stop {config.stop:g}; give shares of the "
            "video with 0 <= start < stop <= 1"
        )
    if config.numframes2pick < 1 or config.iteration < 0:
        raise InvalidConfig(
            f"{file} has numframes2pick {config.numframes2pick} and iteration {config.iteration}; "
            "they are at least 1 and at least 0"
        )


def _names(values: list[str | int] | str | None) -> tuple[str, ...]:
    return () if values is None or isinstance(values, str) else tuple(map(str, values))


def _locate(directory: Path, name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    # PureWindowsPath takes both kinds of slashes.
    inside = directory / "videos" / PureWindowsPath(name).name
    return inside if inside.is_file() else Path(name)


def _crop(file: Path, name: str, entry: _VideoEntry | None) -> CropXywh | None:
    if entry is None or not entry.crop.strip():
        return None
    try:
        left, right, top, bottom = (int(float(part)) for part in entry.crop.split(","))
    except ValueError:
        raise InvalidConfig(
            f"{file} has the crop {entry.crop!r} for {name}; write x1, x2, y1, y2 in px"
        ) from None
    if not (0 <= left < right and 0 <= top < bottom):
        raise InvalidConfig(
            f"{file} has the crop {entry.crop!r} for {name}; x1 < x2 and y1 < y2, in px"
        )
    return left, top, right - left, bottom - top


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and one.samefile(other)
