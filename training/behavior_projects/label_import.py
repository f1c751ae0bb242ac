"""Brings labels from elsewhere into a DeepEthogram project, and fills or closes those it has.

Whatever changes a label file copies it to label-backups first.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.results.deepethogram import prediction_table
from service.results.parquet import read_results
from service.video.pyav import VideoFile
from training.data.behavior_table import NOT_LABELLED, read_label_file, write_label_table
from training.data.boris import boris_labels, is_boris, read_boris
from training.data.deepethogram import (
    H5_LABELS_ENDING,
    LABELS_ENDING,
    DeepEthogramProject,
    ProjectVideo,
    picture_files,
    read_deepethogram,
)
from training.data.labels import InvalidLabels
from training.projects.backups import back_up

Missing = Literal["error", "absent", "unlabelled"]
PREDICTIONS_ENDING = "_predictions.csv"
_INDEX_NAMES = ("", "frame", "frames", "index", "frame_index", "time")


@dataclass(frozen=True, slots=True)
class Written:
    """What was written for one video."""

    video: str
    path: Path
    frames: int
    labelled: int
    """Frames whose behaviors are all labelled."""
    changed: int
    """Frames whose labels are others than before."""


def import_labels(
    project: Path,
    source: Path,
    *,
    video: str | None = None,
    rename: Mapping[str, str] | None = None,
    missing: Missing = "error",
    subject: str | None = None,
    replace: bool = False,
) -> list[Written]:
    """Import labels of one video, or of all videos of a file of BORIS events.

    Args:
        project: the project's folder.
        source: CSV of frames x behaviors with 1, 0 and -1, with or without a first column that
            counts the frames (from 0 or 1); .h5 with `scores` or `labels`; or BORIS events.
        video: name of the project's video; None takes the name of the file, or of the media.
        rename: names of the file to names of the project; `none` is background anyway.
        missing: what behaviors of the project get that the file does not have.
        subject: of BORIS events; None takes those of all together.
        replace: take the place of labels that the video has.

    Raises:
        InvalidLabels: the file cannot be read, has an unknown or a missing behavior, another
            number of rows than the video has frames, or names no video of the project.
        InvalidRequest: a video has labels already.
        InvalidVideo: the video cannot be decoded.
    """
    found = read_deepethogram(project)
    renamed = dict(rename or {})
    labels: list[tuple[ProjectVideo, NDArray[np.int8]]]
    if is_boris(source):
        labels = _from_boris(found, source, video, renamed, subject)
    else:
        endings = f"({LABELS_ENDING}|{H5_LABELS_ENDING}|{PREDICTIONS_ENDING})$"
        values, names = read_label_file(source, found.behaviors, _INDEX_NAMES)
        one = found.video(video or _stem(source, endings))
        values = _arrange(values, names, found, source, renamed, missing)
        _check_rows(len(values), one, source)
        labels = [(one, values)]
    for one, _ in labels:
        if one.labels is not None and not replace:
            raise InvalidRequest(
                f"{one.name} has labels in {one.labels}; give --replace to put them into the "
                "backup and take the new ones"
            )
    return [_write(found, one, values) for one, values in labels]


def finalize_labels(project: Path, videos: Sequence[str] = ()) -> list[Written]:
    """Make every -1 of a video a 0, so that the frames without a behavior are background.

    Args:
        project: the project's folder.
        videos: names; empty takes all that have a labelled frame, and only those.

    Raises:
        InvalidLabels: a named video has no labels or is not in the project.
    """
    found = read_deepethogram(project)
    chosen = [found.video(name) for name in videos] or [
        video for video in found.videos if video.labels is not None
    ]
    written = []
    for video in chosen:
        if video.labels is None:
            raise InvalidLabels(f"{video.name} has no labels; label or import some first")
        labels = _current(found, video)
        if not videos and not (labels != NOT_LABELLED).any():
            continue
        written.append(_write(found, video, np.where(labels == NOT_LABELLED, np.int8(0), labels)))
    return written


def labels_from_predictions(
    project: Path,
    results: Sequence[Path],
    *,
    bundle: str | None = None,
    replace: bool = False,
) -> list[Written]:
    """Take predictions as labels, to be corrected; they fill what is not labelled yet.

    Args:
        project: the project's folder.
        results: .parquet results of this service, or `<video>_predictions.csv`, each of a video
            of the project.
        bundle: whose answers count where several bundles answered.
        replace: take the place of labels that are there, too.

    Raises:
        InvalidLabels: a file is no such result, its behaviors are not those of the project, or it
            has frames that the video has not.
        InvalidRequest: several bundles answered and none is named.
    """
    found = read_deepethogram(project)
    filled: list[tuple[ProjectVideo, NDArray[np.int8]]] = []
    for path in results:
        name, table = _read_predictions(path, bundle)
        video = found.video(name)
        frames = frame_count(video.video)
        if len(table) and (table.index.min() < 0 or table.index.max() >= frames):
            raise InvalidLabels(
                f"{path} has frame {table.index.max()}, but {video.name} has {frames} frames; give "
                "the results of this video"
            )
        values = table.to_numpy(np.int8)
        arranged = _arrange(values, tuple(map(str, table.columns)), found, path, {}, "error")
        labels = np.full((frames, len(found.behaviors) - 1), NOT_LABELLED, np.int8)
        labels[table.index.to_numpy()] = arranged
        if video.labels is not None and not replace:
            current = _current(found, video)
            _check_rows(len(current), video, video.labels)
            labels = np.where(current == NOT_LABELLED, labels, current)
        filled.append((video, labels))
    return [_write(found, video, labels) for video, labels in filled]


def frame_count(video: Path) -> int:
    """Number of frames of a video, or of pictures in a folder.

    Raises:
        InvalidVideo: it cannot be decoded.
    """
    return len(picture_files(video)) if video.is_dir() else VideoFile(video).frames


def _from_boris(
    project: DeepEthogramProject,
    source: Path,
    video: str | None,
    rename: Mapping[str, str],
    subject: str | None,
) -> list[tuple[ProjectVideo, NDArray[np.int8]]]:
    exports = read_boris(source, subject)
    if video is not None and len(exports) != 1:
        raise InvalidRequest(
            f"{source} has events of {len(exports)} media files, so that --video cannot name one; "
            "leave it out: each goes to the video of its name"
        )
    labels = []
    for export in exports:
        one = project.video(video or Path(export.media).stem)
        if one.video.is_dir():
            raise InvalidLabels(
                f"{one.video} is a folder of pictures, which has no times for the events of "
                f"{source}; give labels for each frame"
            )
        file = VideoFile(one.video)
        rate_hz = file.info.frame_rate_hz or export.frame_rate_hz
        if not rate_hz:
            raise InvalidLabels(f"neither {one.video} nor {source} states a frame rate; convert it")
        labels.append(
            (
                one,
                boris_labels(
                    export.renamed(rename),
                    project.behaviors[1:],
                    frames=file.frames,
                    frame_rate_hz=rate_hz,
                ),
            )
        )
    return labels


def _arrange(
    values: NDArray[np.int8],
    names: Sequence[str],
    project: DeepEthogramProject,
    source: Path,
    rename: Mapping[str, str],
    missing: Missing,
) -> NDArray[np.int8]:
    """Bring columns to the project's order, without background."""
    known = [rename.get(name, name) for name in names]
    named = project.behaviors[1:]
    unknown = [name for name in known if name not in project.behaviors]
    lost = [name for name in named if name not in known]
    if unknown or (lost and missing == "error"):
        raise InvalidLabels(
            f"{source} has the behaviors {', '.join(known)}, but the project has "
            f"{', '.join(project.behaviors)}: "
            + (
                f"{unknown[0]} is unknown; add it to the project or rename it (--rename)"
                if unknown
                else f"{lost[0]} is missing; say what it is (--missing absent or unlabelled)"
            )
        )
    fill = np.int8(0 if missing == "absent" else NOT_LABELLED)
    columns = [
        values[:, known.index(name)] if name in known else np.full(len(values), fill)
        for name in named
    ]
    return np.column_stack(columns).astype(np.int8)


def _check_rows(rows: int, video: ProjectVideo, source: Path) -> None:
    frames = frame_count(video.video)
    if rows != frames:
        raise InvalidLabels(
            f"{source} has {rows} rows, but {video.video} has {frames} frames; give one row a "
            "frame, -1 where not labelled"
        )


def _current(project: DeepEthogramProject, video: ProjectVideo) -> NDArray[np.int8]:
    assert video.labels is not None
    values, names = read_label_file(video.labels, project.behaviors)
    return _arrange(values, names, project, video.labels, {}, "error")


def _write(project: DeepEthogramProject, video: ProjectVideo, labels: NDArray[np.int8]) -> Written:
    path = video.folder / f"{video.name}{LABELS_ENDING}"
    changed = len(labels)
    if video.labels is not None:
        back_up(project.folder, [video.labels])
        try:
            before = _current(project, video)
            if before.shape == labels.shape:
                changed = int((before != labels).any(axis=1).sum())
        except InvalidLabels:
            pass  # what is replaced need not be readable; it is in the backup
    write_label_table(path, labels, project.behaviors[1:])
    known = int((labels != NOT_LABELLED).all(axis=1).sum())
    return Written(video.name, path, len(labels), known, changed)


def _read_predictions(path: Path, bundle: str | None) -> tuple[str, pd.DataFrame]:
    if path.suffix != ".parquet":
        values, names = read_label_file(path)
        return _stem(path, f"{PREDICTIONS_ENDING}$"), pd.DataFrame(values, columns=list(names))
    results = read_results(path)
    answers = results.behavior_answers()
    chosen = [one for one in answers if bundle in (None, one[0].name, str(one[0].key))]
    if len(chosen) != 1:
        raise InvalidRequest(
            f"{path} has behavior answers of "
            f"{', '.join(str(one.key) for one, _ in answers) or 'no bundle'}; name one of them"
        )
    return results.provenance.source.stem, prediction_table(results, *chosen[0])


def _stem(path: Path, endings: str) -> str:
    shortened = re.sub(endings, "", path.name)
    return shortened if shortened != path.name else path.stem
