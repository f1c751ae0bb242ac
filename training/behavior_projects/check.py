"""Says what is wrong with the labels of a project, where, and what to do; counts them.

Rules: videos of different sizes are fine (each is scaled to the model input, its shape kept).
Frames with a -1 are left out alone. Videos without any label are passed over. `background` is
recomputed, whatever its column says.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.behavior import BACKGROUND, runs
from service.errors import EthostreamError
from service.video.pyav import VideoFile
from training.data.behavior_labels import clip_limits, read_behavior_project
from training.data.behavior_splits import missing_behaviors
from training.data.behavior_table import NOT_LABELLED, read_label_file
from training.data.deepethogram import (
    CONFIG_NAME,
    SPLIT_NAME,
    DeepEthogramProject,
    ProjectVideo,
    is_deepethogram,
    picture_files,
    read_deepethogram,
    read_split,
)
from training.data.labels import InvalidLabels, picture_size_px


@dataclass(frozen=True, slots=True)
class BehaviorCount:
    """How often one behavior is labelled."""

    behavior: str
    frames: int
    """Where it is present."""
    bouts: int
    """Cut where a clip of a joined video ends."""
    recordings: int
    """With one such frame at least."""


@dataclass(frozen=True, slots=True)
class ProjectReport:
    """What a check found."""

    behaviors: tuple[BehaviorCount, ...]
    """Background first."""
    recordings: int
    """With labels that can be used."""
    frames: int
    """Whose behaviors are all labelled."""
    partly: int
    """Frames that have a -1, of these recordings."""
    errors: tuple[str, ...]
    """Each has to be corrected before training."""
    notes: tuple[str, ...]
    """What to know of."""


def check_project(folder: Path) -> ProjectReport:
    """Check a DeepEthogram project, or a folder of videos with label files.

    Every video is opened and its frames are counted against its labels.

    Raises:
        InvalidLabels: the project cannot be read as a whole.
    """
    collected = _Collected()
    if is_deepethogram(folder):
        project = read_deepethogram(folder)
        for video in project.videos:
            collected.look_at(video, project)
        behaviors = project.behaviors[1:]
    else:
        flat = read_behavior_project([folder], exclusive=False)
        behaviors = flat.behaviors
        for recording in flat.recordings:
            labels = collected.look_at_frames(
                recording.name, recording.video, len(recording.labels)
            )
            if labels:
                collected.tables[recording.name] = recording.labels
                collected.clips[recording.name] = recording.clips
    counts = collected.count(behaviors)
    errors = collected.errors
    for one in counts:
        if one.frames or not collected.tables:
            continue
        if one.behavior == BACKGROUND:
            collected.notes.append("every frame has a behavior: background cannot be learned")
        else:
            errors.append(
                f"{one.behavior} is present in no labelled frame: it cannot be learned; label "
                "some, or remove it"
            )
    if not collected.tables:
        errors.append(f"no video of {folder} has labels that can be used; label some frames")
    _check_split(folder, collected, errors)
    sizes = sorted(set(collected.sizes.values()))
    if len(sizes) > 1:
        collected.notes.append(
            f"videos have {len(sizes)} sizes ({', '.join(f'{w} x {h}' for w, h in sizes)} px): "
            "each is scaled to the model input, its shape kept"
        )
    known = [(table != NOT_LABELLED).all(axis=1) for table in collected.tables.values()]
    return ProjectReport(
        behaviors=counts,
        recordings=len(collected.tables),
        frames=int(sum(one.sum() for one in known)),
        partly=int(sum((~one).sum() for one in known)),
        errors=tuple(errors),
        notes=tuple(collected.notes),
    )


@dataclass(slots=True)
class _Collected:
    tables: dict[str, NDArray[np.int8]] = field(default_factory=dict)
    """(T, C) of each usable recording, without background."""
    clips: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def look_at(self, video: ProjectVideo, project: DeepEthogramProject) -> None:
        behaviors = project.behaviors
        if video.labels is None:
            self.look_at_frames(video.name, video.video, None)
            self.notes.append(f"{video.name} has no labels; it is passed over")
            return
        try:
            values, names = read_label_file(video.labels, behaviors)
            limits = clip_limits(project.folder, video.video, len(values))
        except InvalidLabels as error:
            self.errors.append(str(error))
            return
        found, needed = set(names) - {BACKGROUND}, set(behaviors[1:])
        for name in sorted(found ^ needed):
            what = "unknown" if name in found else "missing"
            self.errors.append(
                f"{video.labels}: the behavior {name} is {what}; correct its first line, or "
                f"{CONFIG_NAME}"
            )
        if not self.look_at_frames(video.name, video.video, len(values)) or found != needed:
            return
        labels = values[:, [names.index(name) for name in behaviors[1:]]]
        known = (labels != NOT_LABELLED).all(axis=1)
        if not known.any():
            only = [
                name
                for name, column in zip(behaviors[1:], labels.T, strict=True)
                if (column == NOT_LABELLED).all()
            ]
            is_empty = len(only) == len(behaviors) - 1
            if is_empty:
                self.notes.append(f"{video.name} has no labelled frame; it is passed over")
            else:
                self.errors.append(
                    f"{video.labels} labels no frame with all behaviors: "
                    f"{', '.join(only) or 'some'} is -1; label it, finalize the labels or remove "
                    "the behavior"
                )
            return
        if BACKGROUND in names:
            column = values[:, names.index(BACKGROUND)]
            wrong = int((known & ((column == 1) != ~(labels == 1).any(axis=1))).sum())
            if wrong:
                self.notes.append(
                    f"{video.name}: background contradicts the behaviors in {wrong} frames; it is "
                    "recomputed"
                )
        self.tables[video.name], self.clips[video.name] = labels, limits

    def look_at_frames(self, name: str, video: Path, rows: int | None) -> bool:
        """Open a video; False where it cannot be used with that many rows of labels."""
        try:
            if video.is_dir():
                files = picture_files(video)
                frames, self.sizes[name] = len(files), picture_size_px(files[0])
            else:
                file = VideoFile(video)
                frames = file.frames
                self.sizes[name] = file.info.width_px, file.info.height_px
        except EthostreamError as error:
            self.errors.append(str(error))
            return False
        if rows is not None and rows != frames:
            self.errors.append(
                f"{video} has {frames} frames, but its label file has {rows} rows; give one row a "
                "frame, -1 where not labelled"
            )
            return False
        return True

    def count(self, behaviors: tuple[str, ...]) -> tuple[BehaviorCount, ...]:
        tables = [_with_background(table) for table in self.tables.values()]
        limits = [self.clips[name] for name in self.tables]
        counts = []
        for column, name in enumerate((BACKGROUND, *behaviors)):
            shown = [table[:, column] for table in tables]
            counts.append(
                BehaviorCount(
                    behavior=name,
                    frames=int(sum(one.sum() for one in shown)),
                    bouts=sum(
                        len(runs(one[first:end]))
                        for one, clips in zip(shown, limits, strict=True)
                        for first, end in clips
                    ),
                    recordings=sum(bool(one.any()) for one in shown),
                )
            )
        return tuple(counts)


def _with_background(labels: NDArray[np.int8]) -> NDArray[np.bool_]:
    """(T, 1 + C) what is present in frames whose behaviors are all labelled."""
    known = (labels != NOT_LABELLED).all(axis=1)
    shown = (labels == 1) & known[:, None]
    return np.column_stack([known & ~shown.any(axis=1), shown])


def _check_split(folder: Path, collected: _Collected, errors: list[str]) -> None:
    """Compare split.yaml with the labels, where both can be read."""
    if errors or not is_deepethogram(folder):
        return
    path = read_deepethogram(folder).data / SPLIT_NAME
    if not path.is_file():
        return
    try:
        split = read_split(path)
    except InvalidLabels as error:
        errors.append(str(error))
        return
    project = read_behavior_project([folder], exclusive=False)
    for part, names in missing_behaviors(split, project).items():
        if names:
            collected.notes.append(f"{path}: {', '.join(names)} occurs in no {part} recording")
    placed = {*split.training, *split.validation, *split.test}
    new = [one.name for one in project.recordings if one.name not in placed]
    if new:
        collected.notes.append(f"{path} does not place {', '.join(new)}; extend it")
