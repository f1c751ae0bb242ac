"""Reads folders of videos with DeepEthogram-style label files: one row a frame, one column each.

A label file `<video>_labels.csv` stands beside its video, or in a folder `labels` beside a folder
`videos`. Its first column is the frame index, the others are behaviors with 1 (present), 0
(absent) or -1 (not labelled). An optional `clips.csv` (video, first_frame, last_frame) in the
named folder says where a joined video jumps; no window may cross such a limit.
"""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.behavior import BACKGROUND
from training.data.labels import InvalidLabels

NOT_LABELLED = -1
_SUFFIX = "_labels.csv"
_VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm")


@dataclass(frozen=True, slots=True)
class BehaviorRecording:
    """One labelled recording; its pixels are read later."""

    name: str
    """Unique among all recordings of a training: the name of the video without its suffix."""
    video: Path
    labels: NDArray[np.int8]
    """(T, C): 1 present, 0 absent, -1 not labelled."""
    clips: tuple[tuple[int, int], ...]
    """(first, first after) frame of each uninterrupted stretch."""


@dataclass(frozen=True, slots=True)
class BehaviorProject:
    """All labelled recordings of one or more folders."""

    behaviors: tuple[str, ...]
    """Names in the order of axis C; `background` first where it is a column of its own."""
    recordings: tuple[BehaviorRecording, ...]

    def sha256(self) -> str:
        """Hash of the names, behaviors, labels, clip limits and video bytes."""
        digest = hashlib.sha256("\n".join(self.behaviors).encode())
        for recording in self.recordings:
            digest.update(f"{recording.name}{recording.clips}".encode())
            digest.update(recording.labels.tobytes())
            digest.update(recording.video.read_bytes())
        return digest.hexdigest()

    def choose(self, names: Sequence[str]) -> list[BehaviorRecording]:
        """Return the recordings of those names, in that order.

        Raises:
            InvalidLabels: the data does not hold one of them.
        """
        known = {recording.name: recording for recording in self.recordings}
        lost = [name for name in names if name not in known]
        if lost:
            raise InvalidLabels(
                f"recording {lost[0]} is not in the data, which holds {', '.join(known)}; "
                "restore it, or name another"
            )
        return [known[name] for name in names]


def read_behavior_project(
    folders: Sequence[Path], *, exclusive: bool, behaviors: Sequence[str] | None = None
) -> BehaviorProject:
    """Read every label file below `folders`.

    Args:
        folders: searched with all their folders.
        exclusive: True: each labelled frame has one behavior, and `background` is a column,
            first; False: any number a frame, and a column `background` is left out.
        behaviors: names and order that are wanted (without `background` where not exclusive);
            None takes those of the first file.

    Raises:
        InvalidLabels: there is no label file, one cannot be read, its columns differ from
            `behaviors`, a value is none of 1, 0 and -1, no frame is labelled, a video is
            missing, or two recordings share a name.
    """
    recordings: dict[str, BehaviorRecording] = {}
    wanted = tuple(behaviors) if behaviors is not None else None
    for folder in folders:
        files = sorted(folder.rglob(f"*{_SUFFIX}"))
        if not files:
            raise InvalidLabels(
                f"{folder} holds no file *{_SUFFIX}; name a folder of videos with label files"
            )
        clips = _read_clips(folder / "clips.csv")
        for file in files:
            name = file.name.removesuffix(_SUFFIX)
            if name in recordings:
                raise InvalidLabels(
                    f"{file} and another file label a recording {name}; rename one of the two"
                )
            labels, wanted = read_labels(file, exclusive=exclusive, behaviors=wanted)
            video = _find_video(file, name)
            recordings[name] = BehaviorRecording(
                name=name,
                video=video,
                labels=labels,
                clips=_check_clips(clips.get(video.name), len(labels), video),
            )
    return BehaviorProject(wanted or (), tuple(recordings.values()))


def read_labels(
    path: Path, *, exclusive: bool, behaviors: tuple[str, ...] | None = None
) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """Read one label file; see `read_behavior_project`.

    Returns:
        (T, C) int8 with 1, 0 or -1, and the names of the C behaviors.
    """
    try:
        table = pd.read_csv(path, index_col=0)
    except (OSError, ValueError) as error:
        raise InvalidLabels(f"{path} is not a label table: {error}") from error
    names = tuple(BACKGROUND if name == "none" else str(name) for name in table.columns)
    columns = dict(zip(names, table.columns, strict=True))
    if behaviors is None:
        named = tuple(name for name in names if name != BACKGROUND)
        behaviors = (BACKGROUND, *named) if exclusive else named
    found, needed = set(names) - {BACKGROUND}, set(behaviors) - {BACKGROUND}
    if found != needed:
        raise InvalidLabels(
            f"{path} has the behaviors {_join(found)}, but {_join(needed)} are wanted: unknown "
            f"{_join(found - needed)}; missing {_join(needed - found)}; correct its first line"
        )
    values = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    bad = ~np.isin(values, (1.0, 0.0, -1.0))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InvalidLabels(
            f"{path} has {str(table.iloc[row, column])!r} in row {row} of {names[column]}; "
            "give 1 (present), 0 (absent) or -1 (not labelled)"
        )
    by_name = {
        name: values[:, table.columns.get_loc(column)].astype(np.int8)
        for name, column in columns.items()
    }
    labels = np.column_stack([by_name[name] for name in behaviors if name != BACKGROUND])
    if exclusive:
        labels = _exclusive(labels, behaviors, path)
    if not len(labels) or (labels == NOT_LABELLED).any(axis=1).all():
        raise InvalidLabels(f"{path} labels no frame; label some, or leave the file out")
    return labels, behaviors


def check_frame_count(recording: BehaviorRecording, frames: int) -> None:
    """Check that there is a row for each frame.

    Raises:
        InvalidLabels: there are more rows than frames, or fewer.
    """
    if frames != len(recording.labels):
        raise InvalidLabels(
            f"{recording.video} has {frames} frames, but its label file has "
            f"{len(recording.labels)} rows; give one row a frame, -1 where not labelled"
        )


def _exclusive(
    labels: NDArray[np.int8], behaviors: tuple[str, ...], path: Path
) -> NDArray[np.int8]:
    """Add background = none of the others in front and check that one is present a frame."""
    unlabelled = (labels == NOT_LABELLED).any(axis=1)
    counts = (labels == 1).sum(axis=1)
    if (counts > 1).any():
        row = int(np.argmax(counts > 1))
        names = [behaviors[column + 1] for column in np.flatnonzero(labels[row] == 1)]
        raise InvalidLabels(
            f"{path} has {' and '.join(names)} in row {row}, but one behavior a frame is "
            "wanted; correct the row, or train without --exclusive"
        )
    result = np.column_stack([counts == 0, labels == 1]).astype(np.int8)
    result[unlabelled] = NOT_LABELLED
    return result


def _find_video(labels: Path, name: str) -> Path:
    folders = (labels.parent, labels.parent.parent / "videos")
    for folder in folders:
        for suffix in _VIDEO_SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    raise InvalidLabels(
        f"{labels} has no video {name} ({', '.join(_VIDEO_SUFFIXES)}) beside it or in "
        f"{folders[1]}; put it there"
    )


def _read_clips(path: Path) -> dict[str, list[tuple[int, int]]]:
    if not path.is_file():
        return {}
    clips: dict[str, list[tuple[int, int]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                limits = int(row["first_frame"]), int(row["last_frame"]) + 1
                clips.setdefault(row["video"], []).append(limits)
            except (KeyError, ValueError, TypeError) as error:
                raise InvalidLabels(
                    f"{path} has a row without video, first_frame or last_frame as whole "
                    f"numbers: {row}; correct it"
                ) from error
    return clips


def _check_clips(
    clips: list[tuple[int, int]] | None, frames: int, video: Path
) -> tuple[tuple[int, int], ...]:
    if clips is None:
        return ((0, frames),)
    ordered = sorted(clips)
    ends = [0, *(end for _, end in ordered)]
    for (first, end), before in zip(ordered, ends, strict=False):
        if first < before or end <= first or end > frames:
            raise InvalidLabels(
                f"clips.csv has a clip of {video.name} from frame {first} to {end - 1}, which "
                f"overlaps another or is not within its {frames} frames; correct it"
            )
    return tuple(ordered)


def _join(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
