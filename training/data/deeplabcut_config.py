"""Reads a DeepLabCut project's config.yaml: what is labelled, and which videos and frames are."""

from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import msgspec

from service.errors import VideoNotFound
from training.data.labels import InvalidLabels

CONFIG_NAME = "config.yaml"
CropXywh = tuple[int, int, int, int]
"""Left, top, width and height, px."""
_Name = str | int | float
_Names = list[_Name] | None


class _VideoEntry(msgspec.Struct, frozen=True, kw_only=True):
    crop: str = ""


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that are used; DeepLabCut has more of them, and each version adds some."""

    Task: _Name = ""
    scorer: _Name = ""
    multianimalproject: bool | None = None
    bodyparts: list[_Name] | str | None = None
    individuals: _Names = None
    uniquebodyparts: _Names = None
    multianimalbodyparts: _Names = None
    # Two names a bone; DeepLabCut's template has bones such as [bodypart1, bodypart2] and [].
    skeleton: list[list[_Name]] | None = None
    video_sets: dict[str, _VideoEntry | None] | None = None
    start: float = 0.0
    stop: float = 1.0
    numframes2pick: int = 20
    iteration: int = 0


@dataclass(frozen=True, slots=True)
class ProjectVideo:
    """A video that the project lists."""

    name: str
    """As config.yaml writes its path."""
    path: Path
    """Where it is on this machine; where config.yaml says, if it is nowhere."""
    crop_xywh: CropXywh | None
    """The part of the frame that config.yaml names, px; None where it names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectConfig:
    """What config.yaml says of a project."""

    path: Path
    """The file itself."""
    task: str = ""
    scorer: str
    animals: tuple[str, ...]
    """Names of the animals; empty in a project with one animal."""
    keypoints: tuple[str, ...]
    """All body parts, those of every animal before the unique ones."""
    unique_keypoints: tuple[str, ...]
    skeleton: tuple[tuple[str, str], ...] = ()
    """Pairs of known keypoints; the template's examples of others are left out."""
    videos: tuple[ProjectVideo, ...] = ()
    """In the order of config.yaml."""
    start: float = 0.0
    """First moment to pick frames from, as a share of the video, in [0, 1]."""
    stop: float = 1.0
    """Last moment, as a share of the video, in [0, 1]."""
    number: int = 20
    """Frames to pick of each video."""
    iteration: int = 0
    """Rounds of refinement that were merged."""

    @property
    def directory(self) -> Path:
        """The project's folder."""
        return self.path.parent

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
            return ProjectVideo(str(path), path, None)
        names = ", ".join(video.path.name for video in self.videos) or "none"
        raise VideoNotFound(
            f"{path} does not exist, and {self.path} lists no video of that name (it lists: "
            f"{names}); correct the path"
        )


def is_project(path: Path) -> bool:
    """Whether `path` is a folder with a config.yaml, or that file itself."""
    return _config_path(path).is_file()


def read_config(path: Path) -> ProjectConfig:
    """Read config.yaml.

    A video that is not where config.yaml says is looked for by its name in the project's folder
    `videos`: the path is that of the machine on which the project was made.

    Args:
        path: the project's folder, or its config.yaml.

    Raises:
        InvalidLabels: there is no config.yaml, it is malformed, it names no body part or one or an
            animal twice, or a value is outside its range.
    """
    path = _config_path(path)
    try:
        file = msgspec.yaml.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise InvalidLabels(
            f"{path} cannot be read ({error.strerror}); name the folder of a DeepLabCut project"
        ) from error
    except msgspec.MsgspecError as error:
        raise InvalidLabels(f"{path} is malformed ({error}); correct or restore it") from error
    several = bool(file.multianimalproject)
    unique = _texts(file.uniquebodyparts) if several else ()
    parts = file.multianimalbodyparts if several else file.bodyparts
    if isinstance(parts, str):
        raise InvalidLabels(
            f"{path} has bodyparts {parts!r} without multianimalproject: true; give a list of "
            "body parts, or set that key"
        )
    keypoints = (*_texts(parts), *unique)
    animals = _texts(file.individuals) if several else ()
    _check_names(path, keypoints, animals, several=several)
    _check_picking(path, file)
    bones = [_texts(bone) for bone in file.skeleton or []]
    return ProjectConfig(
        path=path,
        task=str(file.Task),
        scorer=str(file.scorer),
        animals=animals,
        keypoints=keypoints,
        unique_keypoints=unique,
        skeleton=tuple(
            (bone[0], bone[1]) for bone in bones if len(bone) == 2 and set(bone) <= set(keypoints)
        ),
        videos=tuple(
            ProjectVideo(name, _locate(path.parent, name), _crop(path, name, entry))
            for name, entry in (file.video_sets or {}).items()
        ),
        start=file.start,
        stop=file.stop,
        number=file.numframes2pick,
        iteration=file.iteration,
    )


def _config_path(path: Path) -> Path:
    return path if path.name == CONFIG_NAME and not path.is_dir() else path / CONFIG_NAME


def _texts(names: _Names) -> tuple[str, ...]:
    return tuple(map(str, names or ()))


def _check_names(
    path: Path, keypoints: tuple[str, ...], animals: tuple[str, ...], *, several: bool
) -> None:
    for kind, names in (("body part", keypoints), ("individual", animals)):
        for place, name in enumerate(names):
            if name in names[:place]:
                raise InvalidLabels(f"{path} names the {kind} {name} twice; delete one of them")
    if not keypoints or (several and not animals):
        raise InvalidLabels(
            f"{path} names no {'body parts' if not keypoints else 'individuals'}; add them"
        )


def _check_picking(path: Path, file: _File) -> None:
    if not 0 <= file.start < file.stop <= 1:
        raise InvalidLabels(
            f"{path} has start {file.start:g} and stop {file.stop:g}; give shares of the video "
            "with 0 <= start < stop <= 1"
        )
    if file.numframes2pick < 1 or file.iteration < 0:
        raise InvalidLabels(
            f"{path} has numframes2pick {file.numframes2pick} and iteration {file.iteration}; "
            "they are at least 1 and at least 0"
        )


def _locate(directory: Path, name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    # PureWindowsPath takes both kinds of slashes.
    inside = directory / "videos" / PureWindowsPath(name).name
    return inside if inside.is_file() else Path(name)


def _crop(path: Path, name: str, entry: _VideoEntry | None) -> CropXywh | None:
    if entry is None or not entry.crop.strip():
        return None
    try:
        left, right, top, bottom = (int(float(part)) for part in entry.crop.split(","))
    except (ValueError, OverflowError):
        raise InvalidLabels(
            f"{path} has the crop {entry.crop!r} for {name}; write x1, x2, y1, y2 in px"
        ) from None
    if not (0 <= left < right and 0 <= top < bottom):
        raise InvalidLabels(
            f"{path} has the crop {entry.crop!r} for {name}; x1 < x2 and y1 < y2, in px"
        )
    return left, top, right - left, bottom - top


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and one.samefile(other)
