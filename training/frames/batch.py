"""Picks frames of many videos, one after the other; a bad one stops no other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)

from service.errors import EthostreamError, InvalidRequest, VideoNotFound
from service.results.plan import plan_videos
from training.data.deeplabcut_config import CropXywh, ProjectConfig, ProjectVideo, read_config
from training.frames.extract import Extracted, Method, Picking, Progress, extract_frames
from training.frames.pictures import folder_names
from training.frames.span import START, STOP, Moment

_NUMBER = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the caller asks of all videos; None takes the project's value, or the default."""

    method: Method = "kmeans"
    number: int | None = None
    start: Moment | None = None
    stop: Moment | None = None
    step: int = 1
    crop_xywh: CropXywh | None = None
    crop_from_config: bool = False
    """Take the crop that config.yaml gives for each video."""
    color: bool = False
    seed: int = 0
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class VideoTask:
    """One video and what to do with it."""

    video: Path
    picking: Picking
    folder: Path
    """Of the pictures."""
    contact_sheets: Path


@dataclass(frozen=True, slots=True)
class VideoReport:
    """What became of one video."""

    video: str
    state: Literal["done", "failed"]
    folder: str
    extracted: Extracted | None = None
    """None where it failed."""
    message: str = ""
    """Why it failed."""


def project_tasks(project: Path, videos: Sequence[Path], choices: Choices) -> list[VideoTask]:
    """Plan the videos of a DeepLabCut project: all of them, or those that are named.

    Args:
        project: the project's folder, or its config.yaml.
        videos: files, or names of videos that config.yaml lists; empty takes all of those.
        choices: what to pick.

    Raises:
        InvalidLabels: there is no config.yaml, or it is malformed.
        VideoNotFound: there is no such video.
        InvalidRequest: the project lists no video, or two would share a folder.
    """
    read = read_config(project)
    chosen = [read.find_video(path) for path in videos] or list(read.videos)
    if not chosen:
        raise InvalidRequest(
            f"{read.directory} lists no video in its config.yaml (video_sets); add one there, or "
            "name the video after the project"
        )
    names = folder_names([video.path for video in chosen])
    return [
        VideoTask(
            video.path,
            _picking(choices, read, video),
            read.labels / names[video.path],
            read.contact_sheets,
        )
        for video in chosen
    ]


def bare_tasks(paths: Sequence[Path], out: Path | None, choices: Choices) -> list[VideoTask]:
    """Plan videos that belong to no project.

    Args:
        paths: files, and folders that are searched for videos.
        out: folder that gets a folder of pictures for each video.
        choices: what to pick.

    Raises:
        InvalidRequest: `out` is missing, a choice needs a project, or there is no video.
    """
    if out is None:
        raise InvalidRequest(
            f"{paths[0]} is no DeepLabCut project (a folder with config.yaml); for bare videos "
            "give --out DIR as the place of the pictures"
        )
    if choices.crop_from_config:
        raise InvalidRequest("--crop config is for DeepLabCut projects; give --crop X,Y,W,H")
    videos = [planned.path for planned in plan_videos(paths, out)]
    names = folder_names(videos)
    picking = _picking(choices, None, None)
    return [VideoTask(one, picking, out / names[one], out / "contact-sheets") for one in videos]


def extract_all(tasks: Sequence[VideoTask], *, show_progress: bool) -> list[VideoReport]:
    """Pick the frames of all videos.

    Args:
        tasks: what to do.
        show_progress: draw bars on standard error.

    Returns:
        One report for each task, in their order.
    """
    with progress_bars(show_progress=show_progress) as bars:
        return [_extract(task, bars) for task in tasks]


@contextmanager
def progress_bars(*, show_progress: bool) -> Iterator[Bars]:
    """Give bars on standard error; without a terminal, or unless `show_progress`, none is drawn."""
    console = Console(stderr=True)
    with Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
        console=console,
        disable=not (show_progress and console.is_terminal),
    ) as bars:
        yield bars


def bar_of(bars: Bars, name: str) -> Progress:
    """Return a function that shows the progress of one video on a bar of its own."""
    bar = bars.add_task(name, total=None)

    def show(doing: str, done: int, total: int) -> None:
        bars.update(bar, description=f"{name}: {doing}", completed=done, total=total)

    return show


def _extract(task: VideoTask, bars: Bars) -> VideoReport:
    video, folder = str(task.video), str(task.folder)
    try:
        if not task.video.is_file():
            raise VideoNotFound(
                f"{task.video} does not exist; copy it there, put it into the project's folder "
                "videos, or correct video_sets in config.yaml"
            )
        extracted = extract_frames(
            task.video,
            task.picking,
            folder=task.folder,
            contact_sheets=task.contact_sheets,
            on_progress=bar_of(bars, task.video.name),
        )
    except EthostreamError as error:
        return VideoReport(video, "failed", folder, message=str(error))
    return VideoReport(video, "done", folder, extracted)


def _picking(
    choices: Choices, project: ProjectConfig | None, video: ProjectVideo | None
) -> Picking:
    start, stop, number, crop = START, STOP, _NUMBER, choices.crop_xywh
    if project is not None and video is not None:
        start = Moment(project.start, in_seconds=False)
        stop = Moment(project.stop, in_seconds=False)
        number = project.number
        crop = video.crop_xywh if choices.crop_from_config else crop
    return Picking(
        method=choices.method,
        number=number if choices.number is None else choices.number,
        start=choices.start or start,
        stop=choices.stop or stop,
        step=choices.step,
        crop_xywh=crop,
        color=choices.color,
        seed=choices.seed,
        frames=choices.frames,
    )
