"""Reads the folder of a DeepEthogram project: its configuration, videos, statistics and split.

The folder that is given is the truth: the paths in project_config.yaml are often those of another
machine and are not used. A video has a folder of its name in DATA, with the video file or a folder
of its pictures, `<video>_labels.csv` (or .h5), stats.yaml and record.yaml.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from service.behavior import BACKGROUND
from service.video.pictures import is_picture, natural_key
from training.data.labels import InvalidLabels
from training.runs import Split

CONFIG_NAME = "project_config.yaml"
SPLIT_NAME = "split.yaml"
STATS_NAME = "stats.yaml"
LABELS_ENDING = "_labels.csv"
H5_LABELS_ENDING = "_labels.h5"
VIDEO_SUFFIXES = (".avi", ".mp4", ".mov", ".mkv", ".webm")
"""In the order of preference where a folder holds several."""
_PARTS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class ProjectVideo:
    """One folder of DATA."""

    name: str
    folder: Path
    video: Path
    """The video file, or the folder of its pictures."""
    labels: Path | None
    """Label file, .csv before .h5; None where the video is not labelled."""


@dataclass(frozen=True, slots=True)
class DeepEthogramProject:
    """What a project's folder holds."""

    folder: Path
    name: str
    labeler: str
    behaviors: tuple[str, ...]
    """As project_config.yaml names them, `background` first."""
    data: Path
    """The folder of the videos' folders."""
    videos: tuple[ProjectVideo, ...]

    def video(self, name: str) -> ProjectVideo:
        """Return the video of that name.

        Raises:
            InvalidLabels: there is none.
        """
        for one in self.videos:
            if one.name == name:
                return one
        raise InvalidLabels(
            f"{self.folder} has no video {name}; it has "
            f"{', '.join(one.name for one in self.videos) or 'none'}, add it with "
            "`ethostream labels add-videos`"
        )


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Mean and standard deviation of red, green and blue in [0, 1]."""

    frames: int
    """That were looked at."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def is_deepethogram(folder: Path) -> bool:
    """Whether `folder` is that of a DeepEthogram project."""
    return (folder / CONFIG_NAME).is_file()


def read_deepethogram(folder: Path) -> DeepEthogramProject:
    """Read the folder of a DeepEthogram project; label files are looked up, not read.

    Raises:
        InvalidLabels: the folder, its configuration or its DATA is missing or damaged, the
            configuration names no behavior, or a video's folder holds no video that can be read.
    """
    config = read_config(folder)
    project = config["project"]
    names = tuple(BACKGROUND if str(one) == "none" else str(one) for one in project["class_names"])
    named = tuple(name for name in names if name != BACKGROUND)
    data = _data_folder(folder, project.get("data_path"))
    videos = tuple(
        video
        for one in sorted(data.iterdir(), key=natural_key)
        if one.is_dir() and not one.name.startswith(".") and (video := _read_video(one))
    )
    return DeepEthogramProject(
        folder=folder,
        name=str(project.get("name") or folder.name.removesuffix("_deepethogram")),
        labeler=str(project.get("labeler") or ""),
        behaviors=(BACKGROUND, *named),
        data=data,
        videos=videos,
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return project_config.yaml as plain values.

    Raises:
        InvalidLabels: it is missing, no YAML, or names no behavior or one of them twice.
    """
    path = folder / CONFIG_NAME
    config = read_yaml(path)
    project = config.get("project")
    names = project.get("class_names") if isinstance(project, dict) else None
    if not isinstance(names, list) or not names:
        raise InvalidLabels(f"{path} has no list project.class_names; name the behaviors there")
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise InvalidLabels(f"{path} names the behavior {twice[0]} twice; delete one of them")
    return config


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a YAML file as plain values; nothing but plain values is ever made from it.

    Raises:
        InvalidLabels: it cannot be read, or is no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidLabels(f"{path} cannot be read: {error}; restore it") from error
    if not isinstance(values, dict):
        raise InvalidLabels(f"{path} is no mapping of names to values; restore it")
    return values


def find_video(folder: Path, name: str | None = None) -> Path | None:
    """Return what holds the frames of a video's folder; None where nothing does.

    DeepEthogram's order: a folder of pictures, then .h5, .avi and .mp4; .mov, .mkv and .webm
    follow. An .h5 of frames is passed over where there is another file.

    Args:
        folder: in DATA.
        name: of the video; the folder's by default. Another file stem is taken where the folder
            holds but one video.

    Raises:
        InvalidLabels: it holds frames only as .h5, or several videos of other names.
    """
    name = name or folder.name
    pictures = folder / name
    if pictures.is_dir() and picture_files(pictures):
        return pictures
    for suffix in VIDEO_SUFFIXES:
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    others = [one for one in folder.iterdir() if one.suffix.lower() in VIDEO_SUFFIXES]
    if len(others) == 1:
        return others[0]
    if others:
        raise InvalidLabels(
            f"{folder} holds {len(others)} videos and none is named {name}; keep one of them"
        )
    if (folder / f"{name}.h5").is_file():
        raise InvalidLabels(
            f"{folder / name}.h5 holds frames as HDF5, which is not read; convert it to .mp4"
        )
    return None


def picture_files(folder: Path) -> tuple[Path, ...]:
    """Return the pictures of a folder in the order of their frames (frame2 before frame10)."""
    return tuple(sorted((one for one in folder.iterdir() if is_picture(one)), key=natural_key))


def read_statistics(path: Path) -> ChannelStatistics:
    """Read a video's stats.yaml, or the normalization of a project_config.yaml.

    Raises:
        InvalidLabels: it does not hold N, mean and std of three channels.
    """
    values: Any = read_yaml(path)
    values = values.get("augs", values)
    values = values.get("normalization", values) if isinstance(values, dict) else values
    try:
        mean, std = (tuple(float(one) for one in values[key]) for key in ("mean", "std"))
        red, green, blue = mean
        red_std, green_std, blue_std = std
        return ChannelStatistics(
            int(values["N"]), (red, green, blue), (red_std, green_std, blue_std)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidLabels(
            f"{path} has no normalization with N, mean and std of three channels; write it with "
            "`ethostream labels stats`"
        ) from error


def read_split(path: Path) -> Split:
    """Read split.yaml: the names of the videos for `train`, `val` and `test`.

    Raises:
        InvalidLabels: it holds no such lists, or a video is in two of them.
    """
    values = read_yaml(path)
    parts: dict[str, tuple[str, ...]] = {}
    for part in _PARTS:
        names = values.get(part) or []
        if not isinstance(names, list):
            raise InvalidLabels(f"{path} has {part}: {names!r}; give a list of video names")
        parts[part] = tuple(str(name) for name in names)
    everything = [name for names in parts.values() for name in names]
    if not everything:
        raise InvalidLabels(f"{path} lists no video for {', '.join(_PARTS)}; delete or restore it")
    twice = next((name for name in everything if everything.count(name) > 1), None)
    if twice is not None:
        raise InvalidLabels(f"{path} lists the video {twice} twice; keep it in one part")
    return Split(
        rule=f"{path.name} of the project",
        seed=0,
        training=parts["train"],
        validation=parts["val"],
        test=parts["test"],
    )


def write_split(split: Split, path: Path) -> None:
    """Write a split as DeepEthogram's split.yaml."""
    lists = dict(zip(_PARTS, (split.training, split.validation, split.test), strict=True))
    total = sum(map(len, lists.values()))
    shares = [round(len(names) / total, 4) for names in lists.values()]
    values: Mapping[str, object] = {
        "metadata": {"split": shares},
        **{part: list(names) for part, names in lists.items()},
    }
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def _data_folder(folder: Path, named: object) -> Path:
    """DATA, or what the configuration names, below the project's folder."""
    last = str(named or "DATA").replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    for name in (last, "DATA"):
        if name not in ("", ".", "..") and (folder / name).is_dir():
            return folder / name
    raise InvalidLabels(f"{folder} has no folder DATA with the videos; restore it")


def _read_video(folder: Path) -> ProjectVideo | None:
    labels = next(
        (
            path
            for ending in (LABELS_ENDING, H5_LABELS_ENDING)
            if (path := folder / f"{folder.name}{ending}").is_file()
        ),
        None,
    )
    video = find_video(folder)
    if video is None:
        if labels is None:
            return None  # a folder of something else
        raise InvalidLabels(
            f"{labels} has no video: {folder} holds no folder of pictures and no file "
            f"{folder.name} ({', '.join(VIDEO_SUFFIXES)}); put it there"
        )
    return ProjectVideo(folder.name, folder, video, labels)
