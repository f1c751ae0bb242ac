"""Makes DeepEthogram projects, and adds videos and behaviors to them."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import yaml

from service.behavior import BACKGROUND
from service.errors import InvalidConfig, InvalidRequest, VideoNotFound
from training.behavior_projects.channels import (
    DEFAULT_EVERY,
    measure_channels,
    update_statistics,
    write_video_statistics,
)
from training.behavior_projects.config_file import change_config, write_config
from training.data.behavior_table import NOT_LABELLED, read_label_file, write_label_table
from training.data.deepethogram import (
    CONFIG_NAME,
    LABELS_ENDING,
    VIDEO_SUFFIXES,
    DeepEthogramProject,
    picture_files,
    read_deepethogram,
)
from training.projects.backups import back_up

VideoMode = Literal["copy", "link"]
_OUTPUTS = ("{}_outputs.h5", "{}_predictions.csv")


def create_project(out: Path, name: str, *, labeler: str, behaviors: Sequence[str]) -> Path:
    """Make `out`/<name>_deepethogram with project_config.yaml, DATA and models.

    Args:
        out: folder that the project's folder is made in.
        name: of the project.
        labeler: who labels.
        behaviors: names; `background` (or `none`) is put first, whether it is named or not.

    Returns:
        The project's folder.

    Raises:
        InvalidConfig: a name is empty, given twice or unfit for a file, or there is no behavior.
        InvalidRequest: the folder exists.
    """
    if not re.fullmatch(r"[\w.+-][\w.+ -]*", name):
        raise InvalidConfig(
            f"the name {name!r} becomes that of a folder; use letters, digits, - and _"
        )
    named = _check_behaviors(behaviors)
    folder = out / f"{name}_deepethogram"
    if folder.exists():
        raise InvalidRequest(f"{folder} exists already; choose another name or place")
    project = {
        "name": name,
        "labeler": labeler,
        "class_names": [BACKGROUND, *named],
        "data_path": "DATA",
        "model_path": "models",
    }
    try:
        for data in ("DATA", "models"):
            (folder / data).mkdir(parents=True)
        write_config(folder, {"project": project})
    except BaseException:  # else the next attempt is refused
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def add_videos(
    project: Path,
    videos: Sequence[Path],
    *,
    mode: VideoMode = "link",
    every: int = DEFAULT_EVERY,
) -> list[Path]:
    """Put videos, or folders of pictures, into DATA, each with record.yaml and stats.yaml.

    All are measured before the first is placed; then the project's normalization is renewed.

    Args:
        project: the project's folder.
        videos: files or folders of pictures.
        mode: whether they are copied or linked.
        every: which frames the channel statistics look at.

    Returns:
        Where they are now.

    Raises:
        VideoNotFound: one does not exist.
        InvalidRequest: one has an ending that is not read, or the project has its name already.
        InvalidLabels: the project is damaged, or a video cannot be decoded.
    """
    data = read_deepethogram(project).data
    seen: dict[str, Path] = {}
    for video in videos:
        name = _name(video)
        if not video.exists():
            raise VideoNotFound(f"{video} does not exist; correct the path")
        if video.is_dir() and not picture_files(video):
            raise InvalidRequest(f"{video} holds no picture; name a video or a folder of pictures")
        if video.is_file() and video.suffix.lower() not in VIDEO_SUFFIXES:
            raise InvalidRequest(
                f"{video} is not one of {', '.join(VIDEO_SUFFIXES)} and no folder of pictures; "
                "convert it, such as to .mp4"
            )
        if seen.setdefault(name, video) is not video or (data / name).exists():
            raise InvalidRequest(f"the project has a video {name} already; rename {video}")
    measured = [measure_channels(video, every) for video in videos]
    placed = []
    for video, statistics in zip(videos, measured, strict=True):
        folder = data / _name(video)
        folder.mkdir()
        try:
            placed.append(_place(folder, video, mode))
            write_video_statistics(statistics, folder)
        except BaseException:  # else a part of the video is taken for the whole, now and later
            shutil.rmtree(folder, ignore_errors=True)
            raise
    update_statistics(project, every=every)
    return placed


def _place(folder: Path, video: Path, mode: VideoMode) -> Path:
    """Put a video into its folder with its record.yaml; return where it is."""
    target = folder / (f"{folder.name}{video.suffix.lower()}" if video.is_file() else video.name)
    if mode == "link":
        target.symlink_to(video.resolve())
    elif video.is_dir():
        shutil.copytree(video, target)
    else:
        shutil.copy2(video, target)
    record = {
        "key": folder.name,
        "rgb": target.name,
        "label": f"{folder.name}{LABELS_ENDING}",
        "output": f"{folder.name}_outputs.h5",
    }
    (folder / "record.yaml").write_text(yaml.safe_dump(record, sort_keys=False), "utf-8")
    return target


def add_behavior(project: Path, name: str, *, delete_outputs: bool = False) -> list[Path]:
    """Add a behavior: to the configuration and, not labelled yet (-1), to every label file.

    Args:
        project: the project's folder.
        name: of the behavior.
        delete_outputs: outputs and predictions of models, which do not know the behavior, are
            deleted; otherwise they are moved to the backup.

    Returns:
        The backups of what was changed.

    Raises:
        InvalidConfig: the project has the behavior, or the name is empty.
        InvalidLabels: a label file is damaged or has other behaviors; nothing is changed then.
    """
    found = read_deepethogram(project)
    _check_behaviors([*found.behaviors[1:], name])
    tables = _read_tables(found)
    copies = _back_up(found, delete_outputs=delete_outputs)
    for path, (labels, names) in tables.items():
        column = np.full((len(labels), 1), NOT_LABELLED, np.int8)
        write_label_table(path, np.hstack([labels, column]), (*names, name))
    with change_config(project) as config:
        config["project"]["class_names"] = [*found.behaviors, name]
    return copies


def remove_behavior(project: Path, name: str, *, delete_outputs: bool = False) -> list[Path]:
    """Remove a behavior from the configuration and its column from every label file.

    Returns, raises and does with outputs as `add_behavior`; background and the last behavior
    cannot be removed.
    """
    found = read_deepethogram(project)
    rest = tuple(one for one in found.behaviors if one != name)
    if name == BACKGROUND or name not in found.behaviors or len(rest) < 2:
        raise InvalidConfig(
            f"{name} cannot be removed from the behaviors {', '.join(found.behaviors)}; name one "
            "of them that is neither background nor the last one"
        )
    tables = _read_tables(found)
    copies = _back_up(found, delete_outputs=delete_outputs)
    for path, (labels, names) in tables.items():
        kept = [column for column, one in enumerate(names) if one != name]
        write_label_table(path, labels[:, kept], [names[column] for column in kept])
    with change_config(project) as config:
        config["project"]["class_names"] = list(rest)
    return copies


def _check_behaviors(behaviors: Sequence[str]) -> list[str]:
    named = [name.strip() for name in behaviors if name.strip() not in (BACKGROUND, "none")]
    for place, name in enumerate(named):
        if not name or name in named[:place] or "," in name:
            raise InvalidConfig(
                f"the behavior {name!r} is empty, has a comma or stands there twice; give each one "
                "name"
            )
    if not named:
        raise InvalidConfig("a project has at least one behavior besides background; name some")
    return named


def _name(video: Path) -> str:
    return video.name if video.is_dir() else video.stem


def _read_tables(
    project: DeepEthogramProject,
) -> dict[Path, tuple[np.ndarray[tuple[int, ...], np.dtype[np.int8]], tuple[str, ...]]]:
    tables = {}
    for video in project.videos:
        if video.labels is None:
            continue
        if video.labels.suffix != ".csv":
            raise InvalidRequest(
                f"{video.labels} is no CSV, which alone can be changed; import it first with "
                "`ethostream labels import`"
            )
        labels, names = read_label_file(video.labels)
        if set(names) - {BACKGROUND} != set(project.behaviors[1:]):
            raise InvalidRequest(
                f"{video.labels} has the behaviors {', '.join(names)}, but {CONFIG_NAME} names "
                f"{', '.join(project.behaviors)}; correct one of them"
            )
        tables[video.labels] = labels, names
    return tables


def _back_up(project: DeepEthogramProject, *, delete_outputs: bool) -> list[Path]:
    labels = [video.labels for video in project.videos if video.labels is not None]
    outputs = [
        path
        for video in project.videos
        for pattern in _OUTPUTS
        if (path := video.folder / pattern.format(video.name)).is_file()
    ]
    kept = [] if delete_outputs else outputs
    copies = back_up(project.folder, [project.folder / CONFIG_NAME, *labels, *kept])
    for path in outputs:
        path.unlink()
    return copies
