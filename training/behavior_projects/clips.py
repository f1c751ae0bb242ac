"""Cuts one video for each labelled bout."""

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.behavior import runs
from service.drawing.encode import VideoWriter, open_video, suffix_of
from service.errors import InvalidConfig, InvalidRequest
from service.video.pyav import VideoFile
from training.data.behavior_labels import (
    NOT_LABELLED,
    BehaviorRecording,
    check_frame_count,
    read_behavior_project,
)
from training.data.deepethogram import picture_files
from training.data.labels import read_picture

LIST_NAME = "bouts.csv"
_PICTURES_RATE_HZ = 30.0


@dataclass(frozen=True, slots=True)
class BoutClip:
    """One bout and its video."""

    path: Path
    video: str
    behavior: str
    onset_frame: int
    offset_frame: int
    """First frame after the bout."""
    first_frame: int
    """Of the clip, which begins before the onset where there is a margin."""
    end_frame: int
    """First frame after the clip."""


def cut_bouts(
    folders: Sequence[Path],
    out: Path,
    *,
    behaviors: Sequence[str] = (),
    margin_frames: int = 0,
    longest_frames: int | None = None,
    codec: str = "h264",
) -> list[BoutClip]:
    """Write `out`/<behavior>/<video>_<onset>-<last>.<suffix> and a list of all, bouts.csv.

    Every video is decoded once, from its beginning to its last bout. Bouts end where a clip of a
    joined video ends.

    Args:
        folders: labelled recordings, as `read_behavior_project` reads them.
        out: new or empty folder.
        behaviors: which; empty takes all but background.
        margin_frames: shown before the onset and after the offset, within the same clip.
        longest_frames: longer clips are cut there.
        codec: of `service.drawing.encode`.

    Raises:
        InvalidConfig: an unknown behavior or codec, or a number out of range.
        InvalidRequest: `out` holds something.
        InvalidLabels: the labels cannot be read, or are of another number of frames.
    """
    suffix = suffix_of(codec)
    if margin_frames < 0 or (longest_frames is not None and longest_frames < 1):
        raise InvalidConfig(
            f"a margin of {margin_frames} and at most {longest_frames} frames make no clip; give "
            "a margin from 0 and a length from 1"
        )
    if out.exists() and any(out.iterdir()):
        raise InvalidRequest(f"{out} is not empty; name a new folder")
    project = read_behavior_project(folders, exclusive=False)
    unknown = [name for name in behaviors if name not in project.behaviors]
    if unknown:
        raise InvalidConfig(
            f"{unknown[0]} is no behavior of the project; choose of {', '.join(project.behaviors)}"
        )
    clips = []
    for recording in project.recordings:
        found = []
        for column, behavior in enumerate(project.behaviors):
            if behaviors and behavior not in behaviors:
                continue
            for onset, offset, first, end in _bouts(recording, column, margin_frames):
                end = end if longest_frames is None else min(end, first + longest_frames)
                path = out / behavior / f"{recording.name}_{onset}-{offset - 1}{suffix}"
                found.append(BoutClip(path, recording.name, behavior, onset, offset, first, end))
        _cut(recording, found, codec)
        clips += found
    _write_list(clips, out)
    return clips


def _bouts(
    recording: BehaviorRecording, column: int, margin: int
) -> list[tuple[int, int, int, int]]:
    """Onset, offset, first and end frame of the clip, of each bout."""
    labels: NDArray[np.int8] = recording.labels
    shown = (labels[:, column] == 1) & (labels != NOT_LABELLED).all(axis=1)
    return [
        (
            start + onset,
            start + offset,
            max(start, start + onset - margin),
            min(end, start + offset + margin),
        )
        for start, end in recording.clips
        for onset, offset in runs(shown[start:end])
    ]


def _cut(recording: BehaviorRecording, clips: Sequence[BoutClip], codec: str) -> None:
    if not clips:
        return
    video = recording.video
    file = None if video.is_dir() else VideoFile(video)
    pictures = picture_files(video) if file is None else ()
    check_frame_count(recording, len(pictures) if file is None else file.frames)
    rate_hz = (file.info.frame_rate_hz if file else 0.0) or _PICTURES_RATE_HZ
    waiting = sorted(clips, key=lambda one: one.first_frame, reverse=True)
    open_clips: list[tuple[BoutClip, VideoWriter, ExitStack]] = []

    def show(index: int, pixels: NDArray[np.uint8]) -> None:
        while waiting and waiting[-1].first_frame <= index:
            clip = waiting.pop()
            stack = cleaning.enter_context(ExitStack())
            writer = stack.enter_context(open_video(clip.path, codec, rate_hz))
            open_clips.append((clip, writer, stack))
        for entry in [*open_clips]:
            clip, writer, stack = entry
            writer.write(pixels, (index - clip.first_frame) / rate_hz)
            if index + 1 >= clip.end_frame:
                stack.close()
                open_clips.remove(entry)

    last = max(one.end_frame for one in clips)
    with ExitStack() as cleaning:
        if file is None:
            for index, path in enumerate(pictures[:last]):
                if open_clips or (waiting and waiting[-1].first_frame <= index):
                    show(index, read_picture(path))
            return
        pixels = np.zeros(file.shape, np.uint8)  # a frame that cannot be decoded shows the last one
        for row in file.rows(frame_limit=last):
            if open_clips or (waiting and waiting[-1].first_frame <= row.frame_index):
                if row.picture is not None:
                    file.convert(row.picture, pixels)
                show(row.frame_index, pixels)


def _write_list(clips: Sequence[BoutClip], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    names = ("video", "behavior", "onset_frame", "offset_frame", "first_frame", "end_frame")
    with (out / LIST_NAME).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", *names))
        for clip in clips:
            writer.writerow((clip.path.relative_to(out), *(getattr(clip, name) for name in names)))
