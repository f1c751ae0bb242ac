"""Mines the outliers of one video: finds them, picks some, writes pictures and machine labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.errors import InvalidRequest
from service.tracks.read import read_tracks
from service.tracks.track import Track
from service.video.pyav import VideoFile
from training.data.deeplabcut_config import ProjectConfig
from training.frames.contact_sheet import ContactSheet, caption
from training.frames.extract import Progress, look_alikes, open_rgb
from training.frames.pick import pick_uniform
from training.frames.pictures import frames_in, free_path, picture_name, write_picture
from training.frames.shots import read_shots
from training.frames.span import Moment, frames_between
from training.outliers.find import MethodCount, Outliers, find_outliers
from training.outliers.machine_labels import MachineFrame, MachineTable, sleap_io, write_sleap
from training.outliers.settings import OutlierSettings, PickSettings
from training.outliers.videos import find_video

_CAPTION_LETTERS = 44


@dataclass(frozen=True, slots=True)
class Mined:
    """What was found in the predictions of one video, and what was written of it."""

    predictions: str
    video: str
    model: str
    frames: int
    """Frames with predictions that were looked at."""
    found: tuple[MethodCount, ...]
    """What each method found."""
    outliers: int
    """Frames that any method flags."""
    present: int
    """Outliers whose picture is there already; they are not picked again."""
    damaged: int
    """Frames that were looked at and could not be decoded."""
    picked: tuple[int, ...]
    """Indices of the frames that were written, rising."""
    pictures: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """Files of machine labels."""
    contact_sheet: str = ""
    message: str = ""
    """What the caller should know; empty where all went as asked."""


def mine_outliers(
    project: ProjectConfig,
    predictions: Path,
    settings: OutlierSettings,
    picking: PickSettings,
    *,
    video: Path | None = None,
    on_progress: Progress = lambda doing, done, total: None,
) -> Mined:
    """Find the outliers of one video's predictions and write some of them for correction.

    Pictures go to labeled-data/<video>; what exists is not overwritten, and a frame whose picture
    is there is not picked again.

    Args:
        project: where they go.
        predictions: a record of ethostream, or predictions of DeepLabCut or SLEAP.
        settings: what counts as an outlier.
        picking: which of them are picked, and how they are written.
        video: that the predictions are of; None searches for it.
        on_progress: called with what is done, how much of it, and of how much.

    Raises:
        InvalidRequest: predictions, video and project do not fit each other or the settings.
        VideoNotFound: the video is not found.
        InvalidVideo: the video cannot be decoded.
    """
    track = read_tracks(predictions)
    path = find_video(predictions, project, video)
    source = open_rgb(path)
    _check_fit(track, path, source)
    span = _span(project, settings, source, path)
    outliers = find_outliers(track, settings, span, on_progress=on_progress)
    folder = project.labels / path.stem
    present = frames_in(folder)
    free = [int(index) for index in outliers.frame_index if int(index) not in present]
    job = _Job(project, track, path, source, folder, outliers, picking, on_progress)
    number = picking.number or (len(free) if settings.methods == ("list",) else project.number)
    chosen, damaged = ([], 0) if picking.dry_run else job.pick(free, number, present)
    written = job.write(chosen) if chosen else _Written((), (), (), "")
    inside = np.isin(track.frame_index, np.asarray(span, np.int64))
    return Mined(
        predictions=str(predictions),
        video=str(path),
        model=track.model,
        frames=int(inside.sum()),
        found=outliers.counts,
        outliers=len(outliers.frame_index),
        present=len(outliers.frame_index) - len(free),
        damaged=damaged + len(chosen) - len(written.picked),
        picked=written.picked,
        pictures=written.pictures,
        labels=written.labels,
        contact_sheet=written.contact_sheet,
        message=_message(outliers, free, settings, picking),
    )


@dataclass(frozen=True, slots=True)
class _Written:
    picked: tuple[int, ...]
    pictures: tuple[str, ...]
    labels: tuple[str, ...]
    contact_sheet: str


class _Job:
    """The outliers of one video on their way to pictures and labels."""

    def __init__(
        self,
        project: ProjectConfig,
        track: Track,
        video: Path,
        source: VideoFile,
        folder: Path,
        outliers: Outliers,
        picking: PickSettings,
        on_progress: Progress,
    ) -> None:
        self._project = project
        self._track = track
        self._video = video
        self._source = source
        self._folder = folder
        self._outliers = outliers
        self._picking = picking
        self._progress = on_progress

    def pick(self, free: Sequence[int], number: int, present: set[int]) -> tuple[list[int], int]:
        """Choose among the outliers; return them and how many of those looked at are damaged."""
        if len(free) <= number:
            return list(free), 0
        if self._picking.pick == "uniform":
            return pick_uniform(free, number, seed=self._picking.seed), 0
        return look_alikes(
            self._video,
            free,
            number,
            color=self._picking.color,
            seed=self._picking.seed,
            on_progress=self._progress,
        )

    def write(self, chosen: Sequence[int]) -> _Written:
        """Write the pictures, the machine labels and the contact sheet.

        What can stand in the way of the labels is found before the first picture is written: a
        picture without them would never be picked again.
        """
        write_labels = self._label_writer()
        rows = {int(index): row for row, index in enumerate(self._track.frame_index)}
        joints = () if _is_ungrouped(self._track) else _joints(self._track)
        title = f"{self._video.name}: {len(chosen)} outliers, labels by {self._track.model}"
        sheet = ContactSheet(title, len(chosen))
        frames: list[MachineFrame] = []
        for shot in read_shots(self._source, chosen):
            if shot.pixels is None:
                continue
            row = rows[shot.frame_index]
            name = picture_name(shot.frame_index, self._source.frames)
            points = np.asarray(self._track.keypoints_xy[row], np.float32)
            confidence = np.asarray(self._track.confidence[row], np.float32)
            write_picture(self._folder / name, shot.pixels)
            text = caption(shot.frame_index, shot.time_s)
            text = f"{text}  {self._outliers.reasons[shot.frame_index]}"
            sheet.add(
                shot.pixels,
                text if len(text) <= _CAPTION_LETTERS else text[: _CAPTION_LETTERS - 1] + "…",
                keypoints_xy=points,
                confidence=confidence,
                skeleton=joints,
            )
            frames.append(MachineFrame(shot.frame_index, name, points, confidence))
            self._progress("writing", len(frames), len(chosen))
        if not frames:
            return _Written((), (), (), "")
        return _Written(
            picked=tuple(frame.frame_index for frame in frames),
            pictures=tuple(str(self._folder / frame.picture) for frame in frames),
            labels=tuple(map(str, write_labels(frames))),
            contact_sheet=str(self._write_sheet(sheet)),
        )

    def _label_writer(self) -> Callable[[Sequence[MachineFrame]], Sequence[Path]]:
        if self._picking.label_format == "deeplabcut":
            return MachineTable(self._folder, self._project, self._track).write
        sleap_io()
        path = self._folder / f"machinelabels-iter{self._project.iteration}.slp"
        return lambda frames: [write_sleap(path, self._video, self._track, frames)]

    def _write_sheet(self, sheet: ContactSheet) -> Path:
        name = f"{self._folder.name}-outliers-iter{self._project.iteration}.png"
        path = free_path(self._project.contact_sheets / name)
        sheet.write(path)
        return path


def _check_fit(track: Track, video: Path, source: VideoFile) -> None:
    """Refuse predictions that cannot be of the video."""
    last = int(track.frame_index.max()) if len(track.frame_index) else -1
    if last < 0:
        raise InvalidRequest(f"{track.source} holds no frame; analyze {video} again")
    if last >= source.frames:
        raise InvalidRequest(
            f"{track.source} has predictions up to frame {last}, but {video} has "
            f"{source.frames} frames; name the right video with --video, or analyze it again"
        )


def _span(
    project: ProjectConfig, settings: OutlierSettings, source: VideoFile, video: Path
) -> range:
    return frames_between(
        settings.start or Moment(project.start, in_seconds=False),
        settings.stop or Moment(project.stop, in_seconds=False),
        frames=source.frames,
        frame_rate_hz=source.info.frame_rate_hz,
        video=str(video),
    )


def _is_ungrouped(track: Track) -> bool:
    return track.animals > 1 and track.rows == "detections"


def _joints(track: Track) -> tuple[tuple[int, int], ...]:
    names = track.keypoints
    return tuple(
        (names.index(one), names.index(two))
        for one, two in track.skeleton
        if one in names and two in names
    )


def _message(
    outliers: Outliers, free: Sequence[int], settings: OutlierSettings, picking: PickSettings
) -> str:
    if not len(outliers.frame_index):
        return (
            f"no frame is an outlier by {' or '.join(settings.methods)}; lower --epsilon, raise "
            "--p-bound, or give --share"
        )
    if not free:
        return "the pictures of all outliers are there already"
    return "nothing was written, as asked" if picking.dry_run else ""
