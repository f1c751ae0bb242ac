"""Reads labelled recordings of behavior: folders of label files, DeepEthogram projects, BORIS.

A label file `<video>_labels.csv` stands beside its video, or in a folder `labels` beside a folder
`videos`. Its first column is the frame index, the others are behaviors with 1 (present), 0
(absent) or -1 (not labelled). A frame counts where all its behaviors are labelled; the others of
the recording are left out alone. An optional `clips.csv` (video, first_frame, last_frame) in the
named folder says where a joined video jumps; no window may cross such a limit.

The folder of a DeepEthogram project is read as `deepethogram` says, and a file of BORIS events,
or a folder with such files in place of label files, as `boris` says.
"""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.behavior import BACKGROUND
from service.video.pyav import VideoFile
from training.data.behavior_table import NOT_LABELLED as NOT_LABELLED
from training.data.behavior_table import read_label_file
from training.data.boris import BorisVideo, boris_labels, is_boris, read_boris
from training.data.deepethogram import (
    is_deepethogram,
    picture_files,
    read_deepethogram,
)
from training.data.labels import InvalidLabels

_SUFFIX = "_labels.csv"
_VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm")
_BACKUPS = "label-backups"


@dataclass(frozen=True, slots=True)
class BehaviorRecording:
    """One labelled recording; its pixels are read later."""

    name: str
    """Unique among all recordings of a training: the name of the video without its suffix."""
    video: Path
    """A video file, or a folder of pictures."""
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
            is_folder = recording.video.is_dir()
            for file in picture_files(recording.video) if is_folder else (recording.video,):
                digest.update(file.read_bytes())
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
        folders: searched with all their folders; or DeepEthogram projects, of which videos
            without any label are passed over; or files of BORIS events.
        exclusive: True: each labelled frame has one behavior, and `background` is a column,
            first; False: any number a frame, and a column `background` is left out.
        behaviors: names and order that are wanted (without `background` where not exclusive);
            None takes those of the first file, or of all BORIS events.

    Raises:
        InvalidLabels: there is no label file, one cannot be read, its columns differ from
            `behaviors`, a value is none of 1, 0 and -1, no frame is labelled, a video is
            missing, or two recordings share a name.
        InvalidVideo: a video of BORIS events cannot be decoded.
    """
    recordings: dict[str, BehaviorRecording] = {}
    wanted = tuple(behaviors) if behaviors is not None else None
    found = [_find_sources(folder) for folder in folders]
    for source in found:
        if source.behaviors and wanted is None:
            wanted = source.behaviors if exclusive else source.behaviors[1:]
        for name, file, place in source.tables:
            if source.behaviors and not (read_label_file(file, source.behaviors)[0] != -1).any():
                continue
            labels, wanted = read_labels(
                file, exclusive=exclusive, behaviors=wanted, columns=source.behaviors
            )
            video = place or _find_video(file, name)
            limits = _check_clips(source.clips.get(video.name), len(labels), video)
            _add(recordings, BehaviorRecording(name, video, labels, limits), file)
    if wanted is None:
        names = {one: 0 for source in found for export in source.events for one in export.behaviors}
        wanted = (BACKGROUND, *names) if exclusive else tuple(names)
    for source in found:
        for events in source.events:
            recording = _score(events, wanted, source.clips, exclusive=exclusive)
            _add(recordings, recording, events.export)
    if not recordings:
        raise InvalidLabels(
            f"no video of {', '.join(map(str, folders))} is labelled; label some frames first"
        )
    return BehaviorProject(wanted, tuple(recordings.values()))


def read_labels(
    path: Path,
    *,
    exclusive: bool,
    behaviors: tuple[str, ...] | None = None,
    columns: tuple[str, ...] = (),
) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """Read one label file; see `read_behavior_project`.

    Args:
        path: .csv, or .h5 as `behavior_table` reads it.
        exclusive: whether one behavior a frame is wanted.
        behaviors: names and order that are wanted.
        columns: of a file that does not name them, background first.

    Returns:
        (T, C) int8 with 1, 0 or -1, and the names of the C behaviors.
    """
    values, names = read_label_file(path, columns)
    if behaviors is None:
        named = tuple(name for name in names if name != BACKGROUND)
        behaviors = (BACKGROUND, *named) if exclusive else named
    found, needed = set(names) - {BACKGROUND}, set(behaviors) - {BACKGROUND}
    if found != needed:
        raise InvalidLabels(
            f"{path} has the behaviors {_join(found)}, but {_join(needed)} are wanted: unknown "
            f"{_join(found - needed)}; missing {_join(needed - found)}; correct its first line"
        )
    labels = values[:, [names.index(name) for name in behaviors if name != BACKGROUND]]
    if exclusive:
        labels = _exclusive(labels, behaviors, path)
    if not len(labels) or (labels == NOT_LABELLED).any(axis=1).all():
        empty = [
            name for name in needed if len(values) and (values[:, names.index(name)] == -1).all()
        ]
        raise InvalidLabels(
            f"{path} labels no frame"
            + (f" with all behaviors: {_join(set(empty))} is -1 throughout" if empty else "")
            + "; label some, or leave the file out"
        )
    return labels, behaviors


def clip_limits(folder: Path, video: Path, frames: int) -> tuple[tuple[int, int], ...]:
    """Return (first, first after) of each clip of a video, by clips.csv of a data folder.

    Without such a file, or a row of the video in it, the whole video is one clip.

    Raises:
        InvalidLabels: the file is damaged, or clips overlap or leave the video.
    """
    return _check_clips(_read_clips(folder / "clips.csv").get(video.name), frames, video)


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


@dataclass(frozen=True, slots=True)
class _Sources:
    """What one named folder or file holds."""

    clips: dict[str, list[tuple[int, int]]]
    tables: tuple[tuple[str, Path, Path | None], ...] = ()
    """Name, label file and video, where it is known."""
    events: tuple[BorisVideo, ...] = ()
    behaviors: tuple[str, ...] = ()
    """That a DeepEthogram project names, background first."""


def _find_sources(folder: Path) -> _Sources:
    if folder.is_file():
        return _Sources({}, events=tuple(read_boris(folder)))
    clips = _read_clips(folder / "clips.csv")
    if is_deepethogram(folder):
        project = read_deepethogram(folder)
        tables = tuple((one.name, one.labels, one.video) for one in project.videos if one.labels)
        return _Sources(clips, tables, behaviors=project.behaviors)
    files = [path for path in sorted(folder.rglob(f"*{_SUFFIX}")) if _BACKUPS not in path.parts]
    exports = () if files else (path for path in sorted(folder.glob("*")) if is_boris(path))
    events = tuple(video for path in exports for video in read_boris(path))
    if not files and not events:
        raise InvalidLabels(
            f"{folder} holds no file *{_SUFFIX} and no BORIS events; name a folder of videos with "
            "label files"
        )
    return _Sources(clips, tuple((_stem(path), path, None) for path in files), events)


def _stem(path: Path) -> str:
    return path.name.removesuffix(_SUFFIX)


def _add(
    recordings: dict[str, BehaviorRecording], recording: BehaviorRecording, file: Path
) -> None:
    if recordings.setdefault(recording.name, recording) is not recording:
        raise InvalidLabels(
            f"{file} and another file label a recording {recording.name}; rename one of the two"
        )


def _score(
    events: BorisVideo,
    behaviors: tuple[str, ...],
    clips: dict[str, list[tuple[int, int]]],
    *,
    exclusive: bool,
) -> BehaviorRecording:
    name = Path(events.media).stem
    video = _find_video(events.export, name)
    file = VideoFile(video)
    rate_hz = file.info.frame_rate_hz or events.frame_rate_hz
    if not rate_hz:
        raise InvalidLabels(f"neither {video} nor {events.export} states a frame rate; convert it")
    named = [one for one in behaviors if one != BACKGROUND]
    labels = boris_labels(events, named, frames=file.frames, frame_rate_hz=rate_hz)
    if exclusive:
        labels = _exclusive(labels, behaviors, events.export)
    limits = _check_clips(clips.get(video.name), len(labels), video)
    return BehaviorRecording(name, video, labels, limits)


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
