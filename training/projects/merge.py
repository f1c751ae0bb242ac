"""Merges corrected labels into a project's CollectedData files and begins the next iteration.

Corrected labels are labeled-data/<video>/machinelabels-iter<i>.csv or .h5 of the project's present
iteration i, or a .slp file that a person refined in SLEAP. A picture that CollectedData has already
keeps its labels (napari-deeplabcut saves corrections there, and a machine's must not take their
place) unless it is asked to replace them. Label files are copied to label-backups first, and
config.yaml is changed last: a merge that was killed is simply called again.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.deeplabcut import read_pair, read_project, read_tables, table_points
from training.data.deeplabcut_config import CONFIG_NAME, ProjectConfig, read_config
from training.data.label_table import LabelTable, TableRow
from training.data.labels import (
    InvalidLabels,
    Picture,
    check_inside,
    match_animals,
    picture_size_px,
)
from training.data.sleap import read_slp_labels
from training.data.write_deeplabcut import write_label_table
from training.projects.backups import back_up
from training.projects.config_file import set_iteration
from training.projects.convert import write_picture


@dataclass(frozen=True, slots=True)
class NewLabels:
    """The corrected labels of one picture."""

    file_name: str
    keypoints_xy: NDArray[np.float64]
    """(N, K, 2) px in the order of config.yaml."""
    picture: Picture | None
    """Where its pixels come from; None where it lies in the video's folder."""


@dataclass(frozen=True, slots=True)
class VideoMerge:
    """What a merge does to the labels of one video."""

    folder: Path
    source: Path
    labels: tuple[NewLabels, ...]
    """Those that are merged."""
    added: int
    replaced: int
    kept: int
    """Pictures that were labelled before and keep their labels."""


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What a merge does, before it does it."""

    project: Path
    config: ProjectConfig
    videos: tuple[VideoMerge, ...]

    @property
    def iteration(self) -> int:
        """Iteration after the merge."""
        return self.config.iteration + 1


def plan_merge(project: Path, *, source: Path | None = None, replaces: bool = False) -> MergePlan:
    """Read and check everything that a merge takes; nothing is written.

    Args:
        project: folder of a DeepLabCut project with a config.yaml.
        source: a refined .slp file; None takes the project's machine labels.
        replaces: whether pictures that are labelled already get the corrected labels.

    Raises:
        InvalidLabels: there is nothing to merge, or labels cannot be used as they are.
    """
    config = read_config(project / CONFIG_NAME)
    if any((project / "labeled-data").glob("*/CollectedData_*")):
        read_project(project)  # what is there must be in order before something is added to it
    new = _from_slp(project, config, source) if source else _from_machine(project, config)
    if not new:
        raise InvalidLabels(
            f"{project / 'labeled-data'} holds no machinelabels-iter{config.iteration}.csv or .h5; "
            "pick frames with `ethostream outliers`, correct their labels, then merge"
        )
    there = {table.path.parent: table for table in _collected(project, config)}
    videos = []
    for folder, origin, labels in new:
        table = there.get(folder)
        known = {row.file_name for row in table.rows} if table else set()
        old = [one for one in labels if one.file_name in known]
        merged = [one for one in labels if replaces or one.file_name not in known]
        videos.append(
            VideoMerge(
                folder=folder,
                source=origin,
                labels=tuple(merged),
                added=len(labels) - len(old),
                replaced=len(old) if replaces else 0,
                kept=0 if replaces else len(old),
            )
        )
    return MergePlan(project=project, config=config, videos=tuple(videos))


def merge(plan: MergePlan) -> list[Path]:
    """Do what the plan says.

    Returns:
        The copies of the label files as they were before.
    """
    config, project = plan.config, plan.project
    there = {table.path.parent: table for table in _collected(project, config)}
    changed = [video for video in plan.videos if video.labels]
    stems = {video.folder: video.folder / f"CollectedData_{config.scorer}" for video in changed}
    before = [project / CONFIG_NAME]
    for stem in stems.values():
        pair = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".csv", ".h5"))
        before += [path for path in pair if path.is_file()]
    copies = back_up(project, before)
    for video in changed:
        _write(config, stems[video.folder], there.get(video.folder), video)
    set_iteration(config.path, plan.iteration)
    return copies


def _write(config: ProjectConfig, stem: Path, table: LabelTable | None, video: VideoMerge) -> None:
    animals = config.animals or ("animal1",)
    rows: dict[str, NDArray[np.float64]] = {}
    if table is not None:
        for row in table.rows:
            rows[row.file_name] = table_points(table, row, config.keypoints, animals)
    for one in video.labels:
        target = video.folder / one.file_name
        if one.picture is not None and not target.exists():
            write_picture(one.picture, target)
        rows[one.file_name] = one.keypoints_xy
    write_label_table(
        stem,
        config.scorer,
        config.keypoints,
        config.animals,
        config.unique_keypoints,
        [
            (f"labeled-data/{video.folder.name}/{name}", rows[name])
            for name in sorted(rows, key=lambda name: (_number(name), name))
        ],
    )


def _collected(project: Path, config: ProjectConfig) -> list[LabelTable]:
    stem = f"CollectedData_{config.scorer}"
    found = sorted((project / "labeled-data").glob(f"*/{stem}.*"))
    folders = dict.fromkeys(path.parent for path in found if path.suffix in (".csv", ".h5"))
    if not folders:
        return []
    return [
        table
        for table in read_tables(project, scorer=config.scorer)
        if table.path.stem == stem and table.path.parent in folders
    ]


def _from_machine(
    project: Path, config: ProjectConfig
) -> list[tuple[Path, Path, tuple[NewLabels, ...]]]:
    stem = f"machinelabels-iter{config.iteration}"
    found = []
    for folder in sorted(one for one in (project / "labeled-data").iterdir() if one.is_dir()):
        table = read_pair(folder, stem)
        if table is None:
            continue
        _check_names(table, config)
        labels = tuple(_machine_labels(table, row, config) for row in table.rows)
        found.append((folder, table.path, labels))
    return found


def _check_names(table: LabelTable, config: ProjectConfig) -> None:
    animals = {one for one in table.individuals if one not in ("", "single")}
    if (
        set(table.keypoints) - set(config.keypoints)
        or animals - set(config.animals)
        or table.has_individuals != bool(config.animals)
    ):
        raise InvalidLabels(
            f"{table.path} has the body parts {', '.join(table.keypoints)} and the individuals "
            f"{', '.join(sorted(animals)) or 'none'}, but {config.path} names "
            f"{', '.join(config.keypoints)} and {', '.join(config.animals) or 'none'}; bring them "
            "to the same"
        )


def _machine_labels(table: LabelTable, row: TableRow, config: ProjectConfig) -> NewLabels:
    image = table.path.parent / row.file_name
    where = f"{table.path} {row.where}"
    if not image.is_file():
        raise InvalidLabels(
            f"{where} labels {row.picture}, but {image} does not exist; restore the picture or "
            "delete the row"
        )
    points = table_points(
        table, replace(row, values=row.values[:, :2]), config.keypoints, config.animals or ("",)
    )
    size_px = picture_size_px(image)
    for place, name in enumerate(config.keypoints):
        for x, y in points[:, place]:
            check_inside(where, name, (float(x), float(y)), size_px)
    return NewLabels(row.file_name, points, None)


def _from_slp(
    project: Path, config: ProjectConfig, source: Path
) -> list[tuple[Path, Path, tuple[NewLabels, ...]]]:
    labels = read_slp_labels(source)
    if set(labels.keypoints) != set(config.keypoints):
        raise InvalidLabels(
            f"{source} has the keypoints {', '.join(labels.keypoints)}, but {config.path} names "
            f"{', '.join(config.keypoints)}; bring them to the same"
        )
    animals = config.animals or ("animal1",)
    if len(labels.animals) > len(animals):
        raise InvalidLabels(
            f"{source} labels {len(labels.animals)} animals, but {config.path} names "
            f"{len(animals)}; add individuals there, or delete instances in SLEAP"
        )
    slots = match_animals(labels.animals, animals)
    order = [labels.keypoints.index(name) for name in config.keypoints]
    found: dict[Path, list[NewLabels]] = {}
    for frame in labels.frames:
        video, name = frame.name.rsplit("/", 1)
        folder = project / "labeled-data" / video
        points = np.full((len(animals), len(order), 2), np.nan)
        points[slots] = frame.keypoints_xy[:, order]
        for place, keypoint in enumerate(config.keypoints):
            if keypoint in config.unique_keypoints:  # on the track `single`, which is row 0
                points[:, place] = np.nan
                points[0, place] = frame.keypoints_xy[0, order[place]]
        file_name = _existing_name(folder, name)
        found.setdefault(folder, []).append(NewLabels(file_name, points, frame.picture))
    return [(folder, source, tuple(of_video)) for folder, of_video in found.items()]


def _existing_name(folder: Path, name: str) -> str:
    """The picture of the same frame that is in the folder, however many digits its name has."""
    if (folder / name).exists() or not folder.is_dir():
        return name
    for path in sorted(folder.glob("img*.png")):
        if _number(path.name) == _number(name):
            return path.name
    return name


def _number(name: str) -> int:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else -1
