"""Several labelled projects as one: what `train pose` and `evaluate` take on the command line."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.deeplabcut import read_project
from training.data.labels import InvalidLabels, LabelledFrame


@dataclass(frozen=True, slots=True)
class LabelledData:
    """The labelled frames of one or more projects with the same keypoints."""

    names: tuple[str, ...]
    """Names of the projects."""
    keypoints: tuple[str, ...]
    """Names in the order of axis K."""
    frames: dict[str, LabelledFrame]
    """By the frame's name, in the order of the projects."""
    sha256: str
    """Hash over keypoints, labels and pictures."""


def read_projects(paths: Sequence[Path]) -> LabelledData:
    """Read the DeepLabCut projects at `paths`.

    Raises:
        InvalidLabels: a project cannot be read, two have other keypoints, or a frame's name
            (video folder and picture) occurs twice.
    """
    projects = [read_project(path) for path in paths]
    keypoints = projects[0].keypoints
    frames: dict[str, LabelledFrame] = {}
    for path, project in zip(paths, projects, strict=True):
        if project.keypoints != keypoints:
            raise InvalidLabels(
                f"{path} labels {', '.join(project.keypoints)}, but {paths[0]} labels "
                f"{', '.join(keypoints)}; train on projects with the same body parts"
            )
        for frame in project.frames:
            if frame.name in frames:
                raise InvalidLabels(
                    f"{frame.name} of {path} is labelled twice (also as "
                    f"{frames[frame.name].image}); delete one row or rename one video folder"
                )
            frames[frame.name] = frame
    return LabelledData(
        names=tuple(project.name for project in projects),
        keypoints=keypoints,
        frames=frames,
        sha256=hashlib.sha256("".join(one.sha256() for one in projects).encode()).hexdigest(),
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
