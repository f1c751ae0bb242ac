"""Several labelled projects as one: what `train pose` and `evaluate` take on the command line."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.data.deeplabcut import read_project as read_deeplabcut
from training.data.labels import InvalidLabels, LabelledFrame, LabelledProject


@dataclass(frozen=True, slots=True)
class LabelledData:
    """The labelled frames of one or more projects with the same keypoints."""

    names: tuple[str, ...]
    """Names of the projects."""
    keypoints: tuple[str, ...]
    """Names in the order of axis K."""
    animals: tuple[str, ...]
    """Names in the order of axis N; those of the project with the most."""
    unique_keypoints: tuple[str, ...]
    """Keypoints that exist once in the scene: in row 0 of axis N only."""
    skeleton: tuple[tuple[str, str], ...]
    """Of the first project that has one."""
    frames: dict[str, LabelledFrame]
    """By the frame's name, in the order of the projects."""
    sha256: str
    """Hash over keypoints, labels and pictures."""


def read_projects(paths: Sequence[Path]) -> LabelledData:
    """Read labelled projects; those with fewer animals get empty rows for the others.

    Args:
        paths: each the folder or config.yaml of a DeepLabCut project, a SLEAP file (.slp), or a
            Lightning Pose label CSV or the folder that holds it.

    Raises:
        InvalidLabels: a project cannot be read, two have other keypoints, a frame's name (video
            folder and picture) occurs twice, or no frame of any has a point.
    """
    if not paths:
        raise InvalidLabels("no labelled project was named; name at least one")
    projects = [read_project(path) for path in paths]
    first = projects[0]
    animals = max((project.animals for project in projects), key=len)
    frames: dict[str, LabelledFrame] = {}
    for path, project in zip(paths, projects, strict=True):
        project = _in_order(path, project, paths[0], first)
        for frame in project.frames:
            if frame.name in frames:
                raise InvalidLabels(
                    f"{frame.name} of {path} is labelled twice (also as "
                    f"{frames[frame.name].picture.label}); delete one row or rename one video "
                    "folder"
                )
            missing = len(animals) - len(frame.keypoints_xy)
            padded = np.pad(
                frame.keypoints_xy, ((0, missing), (0, 0), (0, 0)), constant_values=np.nan
            )
            frames[frame.name] = replace(frame, keypoints_xy=padded)
    if not any(np.isfinite(frame.keypoints_xy).any() for frame in frames.values()):
        raise InvalidLabels(
            f"none of the {len(frames)} pictures of {', '.join(map(str, paths))} has a labelled "
            "point; place some first"
        )
    return LabelledData(
        names=tuple(project.name for project in projects),
        keypoints=first.keypoints,
        animals=animals,
        unique_keypoints=first.unique_keypoints,
        skeleton=next((project.skeleton for project in projects if project.skeleton), ()),
        frames=frames,
        sha256=hashlib.sha256("".join(one.sha256() for one in projects).encode()).hexdigest(),
    )


def read_project(path: Path) -> LabelledProject:
    """Read one project of any of the kinds of `read_projects`.

    Raises:
        InvalidLabels: it cannot be read.
    """
    if path.suffix == ".slp":
        from training.data.sleap import read_slp

        return read_slp(path)
    if is_lightning_pose(path):
        from training.data.lightning_pose import read_lightning_pose

        return read_lightning_pose(path)
    return read_deeplabcut(path)


def is_lightning_pose(path: Path) -> bool:
    """Whether this is a label CSV, or a folder with one beside labeled-data or without it."""
    is_deeplabcut = (path / "labeled-data").is_dir() or (path / "config.yaml").is_file()
    return (
        path.suffix == ".csv"
        or (path / "CollectedData.csv").is_file()
        or (not is_deeplabcut and any(path.glob("*.csv")))
    )


def choose_frames(frames: dict[str, LabelledFrame], names: Sequence[str]) -> list[LabelledFrame]:
    """Return the frames of one part of a split.

    Raises:
        InvalidLabels: the data no longer holds one of them.
    """
    lost = [name for name in names if name not in frames]
    if lost:
        raise InvalidLabels(
            f"{len(lost)} frames of the split are not in the data, such as {lost[0]}; "
            "restore them, or train anew"
        )
    return [frames[name] for name in names]


def _in_order(
    path: Path, project: LabelledProject, first_path: Path, first: LabelledProject
) -> LabelledProject:
    """Check that a project has the keypoints of the first one, and bring them to its order."""
    if set(project.keypoints) != set(first.keypoints):
        raise InvalidLabels(
            f"{path} labels {', '.join(project.keypoints)}, but {first_path} labels "
            f"{', '.join(first.keypoints)}; train on projects with the same body parts"
        )
    if (
        set(project.unique_keypoints) != set(first.unique_keypoints)
        and min(len(project.animals), len(first.animals)) > 1
    ):
        raise InvalidLabels(
            f"{path} has the unique body parts {', '.join(project.unique_keypoints) or 'none'}, "
            f"but {first_path} {', '.join(first.unique_keypoints) or 'none'}; make them the same"
        )
    order = [project.keypoints.index(name) for name in first.keypoints]
    frames = tuple(
        replace(frame, keypoints_xy=np.ascontiguousarray(frame.keypoints_xy[:, order]))
        for frame in project.frames
    )
    return replace(project, keypoints=first.keypoints, frames=frames)
