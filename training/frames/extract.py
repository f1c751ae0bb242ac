"""Picks frames of one video and writes them as pictures to label."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from service.errors import InvalidRequest
from service.video.pyav import VideoFile
from training.data.deeplabcut_config import CropXywh
from training.frames.contact_sheet import ContactSheet, caption
from training.frames.pick import pick_kmeans, pick_uniform
from training.frames.pictures import frames_in, free_path, picture_name, write_picture
from training.frames.shots import check_crop, read_shots
from training.frames.span import START, STOP, Moment, frames_between
from training.frames.thumbnails import read_thumbnails

Method = Literal["uniform", "kmeans", "list"]
METHODS: tuple[str, ...] = get_args(Method)
Progress = Callable[[str, int, int], None]
"""Called with what is done, how many frames of it, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picking:
    """Which frames of a video to pick."""

    method: Method = "kmeans"
    number: int = 20
    """Pictures that the video has in the end; those that are there already count."""
    start: Moment = START
    stop: Moment = STOP
    step: int = 1
    """Every how many-th frame is looked at."""
    crop_xywh: CropXywh | None = None
    """Part of the frame that is looked at and written, px; None: all."""
    color: bool = False
    """Whether k-means compares colors rather than gray levels."""
    seed: int = 0
    frames: tuple[int, ...] = ()
    """The frame indices of method `list`."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.method not in METHODS:
            raise InvalidRequest(
                f"unknown method {self.method!r}; choose one of {', '.join(METHODS)}"
            )
        if self.number < 1 or self.step < 1:
            raise InvalidRequest(
                f"the number of frames is {self.number} and the step {self.step}; give at least 1"
            )
        if (self.method == "list") != bool(self.frames):
            raise InvalidRequest(
                "method list needs the frames to take, and no other method does; give "
                "--method list --frames 10,250"
            )


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was picked of one video."""

    video: str
    video_frames: int
    """Length of the video."""
    picked: tuple[int, ...]
    """Indices of the frames that were written, rising."""
    present: int
    """Pictures that were there before."""
    damaged: int
    """Frames that were looked at and could not be decoded."""
    pictures: tuple[str, ...]
    """The files that were written."""
    contact_sheet: str
    """Empty where nothing was picked."""
    message: str = ""
    """What the caller should know; empty where all went as asked."""


def extract_frames(
    video: Path,
    picking: Picking,
    *,
    folder: Path,
    contact_sheets: Path,
    on_progress: Progress = lambda doing, done, total: None,
) -> Extracted:
    """Pick frames of `video` and write them to `folder`; nothing that exists is overwritten.

    Memory does not grow with the video. Damaged frames are passed over and counted.

    Args:
        video: a video file.
        picking: which frames.
        folder: of the pictures, such as labeled-data/<video>.
        contact_sheets: folder of the sheet, <name of `folder`>.png.
        on_progress: called while frames are looked at.

    Raises:
        VideoNotFound: nothing is at `video`.
        InvalidVideo: it holds no video of which a frame can be decoded.
        InvalidRequest: it has too few frames in the span, the crop is outside, or a listed frame
            does not exist.
    """
    source = open_rgb(video)
    check_crop(picking.crop_xywh, source.shape, str(video))
    present = frames_in(folder)
    job = _Job(video, source, picking, folder, on_progress)
    if picking.method == "list":
        chosen, damaged = job.listed(present), 0
    else:
        candidates = job.candidates()
        number = max(0, picking.number - len(present))
        if len(candidates) - len(present.intersection(candidates)) < number:
            raise InvalidRequest(
                f"{video} has {len(candidates)} frames to pick from (every {picking.step}. of "
                f"{source.frames}, from {picking.start} to {picking.stop}), of which "
                f"{len(present.intersection(candidates))} are in {folder} already, but {number} "
                "more are asked for; give a smaller --number or --step"
            )
        chosen, damaged = job.picked(candidates, number, present)
    sheet = ContactSheet(f"{video.name}: {len(chosen)} frames by {picking.method}", len(chosen))
    written, lost = job.write(chosen, sheet)
    # A random choice may meet damaged frames: others take their places.
    while lost and picking.method == "uniform":
        damaged += len(lost)
        job.lost |= lost
        again = pick_uniform(
            candidates, len(lost), seed=picking.seed, taken={*present, *written, *job.lost}
        )
        more, lost = job.write(again, sheet)
        written |= more
    damaged += len(lost)
    return job.report(written, present, damaged, sheet, contact_sheets)


def open_rgb(video: Path) -> VideoFile:
    """Open a video for colored pictures.

    Raises:
        VideoNotFound: nothing is at `video`.
        InvalidVideo: it holds no video of which a frame can be decoded.
    """
    return VideoFile(video, color="rgb", threads=_threads())


def look_alikes(
    video: Path,
    indices: Sequence[int],
    number: int,
    *,
    color: bool = False,
    crop_xywh: CropXywh | None = None,
    seed: int = 0,
    taken: Sequence[int] = (),
    on_progress: Progress = lambda doing, done, total: None,
) -> tuple[list[int], int]:
    """Pick `number` of `indices` by k-means on small pictures; see `pick_kmeans`.

    Args:
        video: a video file.
        indices: frames to choose from.
        number: how many.
        color: compare colors rather than gray levels.
        crop_xywh: part of the frame to compare, px.
        seed: of the choice.
        taken: frames of `indices` that are not chosen again.
        on_progress: called while frames are looked at.

    Returns:
        The chosen frames, rising, and how many of those looked at are damaged.
    """
    source = VideoFile(video, color="rgb" if color else "gray", threads=_threads())
    seen = read_thumbnails(
        source,
        indices,
        crop_xywh=crop_xywh,
        on_frame=lambda done, total: on_progress("looking", done, total),
    )
    return pick_kmeans(seen, number, seed=seed, taken=taken), seen.damaged


class _Job:
    """One video on its way to pictures."""

    def __init__(
        self, video: Path, source: VideoFile, picking: Picking, folder: Path, progress: Progress
    ) -> None:
        self._video = video
        self._source = source
        self._picking = picking
        self._folder = folder
        self._progress = progress
        self.lost: set[int] = set()

    def candidates(self) -> range:
        span = frames_between(
            self._picking.start,
            self._picking.stop,
            frames=self._source.frames,
            frame_rate_hz=self._source.info.frame_rate_hz,
            video=str(self._video),
        )
        return span[:: self._picking.step]

    def listed(self, present: set[int]) -> list[int]:
        wanted = sorted(set(self._picking.frames))
        outside = [index for index in wanted if not 0 <= index < self._source.frames]
        if outside:
            raise InvalidRequest(
                f"{self._video} has the frames 0 to {self._source.frames - 1}; "
                f"{', '.join(map(str, outside))} cannot be taken: correct --frames"
            )
        return [index for index in wanted if index not in present]

    def picked(self, candidates: range, number: int, present: set[int]) -> tuple[list[int], int]:
        taken = sorted(present.intersection(candidates))
        if not number:
            return [], 0
        if self._picking.method == "uniform":
            return pick_uniform(candidates, number, seed=self._picking.seed, taken=taken), 0
        return look_alikes(
            self._video,
            candidates,
            number,
            color=self._picking.color,
            crop_xywh=self._picking.crop_xywh,
            seed=self._picking.seed,
            taken=taken,
            on_progress=self._progress,
        )

    def write(self, chosen: Sequence[int], sheet: ContactSheet) -> tuple[set[int], set[int]]:
        """Write the pictures; return the frames written and those that are damaged."""
        written: set[int] = set()
        lost: set[int] = set()
        for shot in read_shots(self._source, chosen, self._picking.crop_xywh):
            if shot.pixels is None:
                lost.add(shot.frame_index)
            else:
                write_picture(self._path(shot.frame_index), shot.pixels)
                sheet.add(shot.pixels, caption(shot.frame_index, shot.time_s))
                written.add(shot.frame_index)
            self._progress("writing", len(written) + len(lost), len(chosen))
        return written, lost

    def report(
        self,
        written: set[int],
        present: set[int],
        damaged: int,
        sheet: ContactSheet,
        contact_sheets: Path,
    ) -> Extracted:
        path = free_path(contact_sheets / f"{self._folder.name}.png") if written else None
        if path is not None:
            sheet.write(path)
        return Extracted(
            video=str(self._video),
            video_frames=self._source.frames,
            picked=tuple(sorted(written)),
            present=len(present),
            damaged=damaged,
            pictures=tuple(str(self._path(index)) for index in sorted(written)),
            contact_sheet="" if path is None else str(path),
            message=self._message(written, present),
        )

    def _message(self, written: set[int], present: set[int]) -> str:
        asked = self._picking.number
        if self._picking.method == "list":
            missing = set(self._picking.frames) - present - written
            listed = ", ".join(map(str, sorted(missing)))
            return f"damaged in the video, not written: {listed}" if missing else ""
        if not written and len(present) >= asked:
            return f"{len(present)} pictures are there already; give a --number over that for more"
        if len(written) + len(present) < asked:
            return f"{len(written) + len(present)} pictures instead of {asked}: others are damaged"
        return ""

    def _path(self, index: int) -> Path:
        return self._folder / picture_name(index, self._source.frames)


def _threads() -> int:
    return min(4, os.cpu_count() or 1)
