"""Converts labels: CSV to .h5 and back, DeepLabCut projects to SLEAP files and back.

Values pass in double precision. Label files that are there are changed only with `in_place`, and
are then copied to the project's folder label-backups first.
"""

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from service.errors import InvalidRequest
from service.results.atomic import replacing
from training.data.deeplabcut import read_project, read_tables, table_points
from training.data.deeplabcut_config import CONFIG_NAME, read_config
from training.data.labels import FilePicture, Picture
from training.data.projects import is_lightning_pose
from training.data.projects import read_project as read_any
from training.data.sleap import read_slp_labels, write_slp
from training.data.write_deeplabcut import write_label_table, write_table
from training.projects.backups import back_up
from training.projects.create import Labelling, create_project_at


def convert_tables(project: Path, kind: Literal["csv", "h5"], out: Path | None) -> list[Path]:
    """Write each label file of a DeepLabCut project as `kind`, from the other kind.

    Args:
        project: the project's folder.
        kind: `h5` is written from the CSV files, `csv` from the .h5 files.
        out: folder that gets labeled-data/<video>/CollectedData_<scorer>.<kind>; None writes
            beside the label files, after backing up those that are there.

    Returns:
        The files that were written.

    Raises:
        InvalidLabels: there are no files to convert, or one is malformed.
    """
    config_path = project / CONFIG_NAME
    scorer = read_config(config_path).scorer if config_path.is_file() else None
    tables = read_tables(project, scorer=scorer, tables="csv" if kind == "h5" else "h5")
    written = []
    for table in tables:
        path = table.path.with_suffix(f".{kind}")
        if out is not None:
            path = out / path.relative_to(project)
        elif path.is_file():
            back_up(project, [path])
        write_table(table, path)
        written.append(path)
    return written


def deeplabcut_to_slp(project: Path, out: Path) -> int:
    """Write the labels of a DeepLabCut project as one .slp file that refers to its pictures.

    Returns:
        The number of frames.

    Raises:
        InvalidLabels: the project cannot be read.
        InvalidRequest: the file exists, or these are labels of another tool.
    """
    _refuse_existing(out)
    if is_lightning_pose(project) or project.suffix == ".slp":
        raise InvalidRequest(
            f"{project} is no DeepLabCut project; make one of it first, with --to deeplabcut"
        )
    labels = read_project(project)  # checks everything
    config_path = project / CONFIG_NAME
    scorer = read_config(config_path).scorer if config_path.is_file() else None
    write_slp(
        out,
        keypoints=labels.keypoints,
        animals=labels.animals,
        unique_keypoints=labels.unique_keypoints,
        skeleton=labels.skeleton,
        frames=[
            (
                table.path.parent / row.file_name,
                table_points(table, row, labels.keypoints, labels.animals),
            )
            for table in read_tables(project, scorer=scorer)
            for row in table.rows
        ],
    )
    return len(labels.frames)


def to_deeplabcut(source: Path, out: Path, *, scorer: str, task: str) -> int:
    """Make a DeepLabCut project of a .slp file or of Lightning Pose labels.

    Args:
        source: the .slp file, the Lightning Pose CSV, or its folder.
        out: the project's folder.
        scorer: who is named as having labelled.
        task: of the project.

    Returns:
        The number of frames.

    Raises:
        InvalidLabels: the labels cannot be read.
        InvalidRequest: the folder exists.
    """
    if source.suffix == ".slp":
        read = read_slp_labels(source)
        frames: list[tuple[str, Picture, np.ndarray]] = [
            (one.name, one.picture, one.keypoints_xy) for one in read.frames
        ]
        keypoints, animals, unique = read.keypoints, read.animals, read.unique_keypoints
        skeleton = read.skeleton
    else:
        labels = read_any(source)
        frames = [(one.name, one.picture, one.keypoints_xy) for one in labels.frames]
        keypoints, animals, unique = labels.keypoints, labels.animals, ()
        skeleton = labels.skeleton
    several = len(animals) > 1
    if not several:
        animals, unique = (), ()
    else:
        # DeepLabCut has the unique body parts last.
        keypoints = (*(name for name in keypoints if name not in unique), *unique)
        order = [(read.keypoints).index(name) for name in keypoints]
        frames = [(name, picture, points[:, order]) for name, picture, points in frames]
    create_project_at(
        out,
        Labelling(
            task=task,
            scorer=scorer,
            keypoints=keypoints,
            animals=animals,
            unique_keypoints=unique,
            skeleton=skeleton,
        ),
    )
    rows: dict[str, list[tuple[str, np.ndarray]]] = {}
    folders: dict[str, str] = {}
    for name, picture, points in frames:
        folder, file_name = name.rsplit("/", 1) if "/" in name else ("pictures", name)
        if folder not in folders:
            folders[folder] = _free_name(folder.replace("/", "_"), folders.values())
        video = folders[folder]
        target = out / "labeled-data" / video / file_name
        write_picture(picture, target)
        rows.setdefault(video, []).append((f"labeled-data/{video}/{file_name}", points))
    for video, of_video in rows.items():
        stem = out / "labeled-data" / video / f"CollectedData_{scorer}"
        write_label_table(stem, scorer, keypoints, animals, unique, of_video)
    return len(frames)


def _free_name(name: str, taken: Collection[str]) -> str:
    """Return the name, with a number where another folder has it."""
    names = (name, *(f"{name}_{number}" for number in range(2, len(taken) + 2)))
    return next(one for one in names if one not in taken)


def write_picture(picture: Picture, target: Path) -> None:
    """Copy a picture file, or write the pixels of another kind of picture as PNG."""
    with replacing(target) as unfinished:
        if isinstance(picture, FilePicture):
            shutil.copyfile(picture.path, unfinished)
        else:
            Image.fromarray(picture.read()).save(unfinished)


def _refuse_existing(out: Path) -> None:
    if out.exists():
        raise InvalidRequest(f"{out} exists already; name another file or delete it")
