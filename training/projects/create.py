"""Makes DeepLabCut projects and adds videos to them."""

import datetime
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.errors import InvalidConfig, InvalidRequest, VideoNotFound
from service.results.atomic import replacing
from service.video.pyav import VideoFile
from training.data.deeplabcut_config import CONFIG_NAME, CropXywh, read_config
from training.projects.config_file import add_video_sets, write_config

VideoMode = Literal["copy", "link"]
_FOLDERS = ("videos", "labeled-data", "training-datasets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """What is labelled in a new project, and by whom."""

    task: str
    scorer: str
    keypoints: tuple[str, ...]
    """Body parts, unique ones included."""
    animals: tuple[str, ...] = ()
    """Names of several animals; empty for one."""
    unique_keypoints: tuple[str, ...] = ()
    """Those of `keypoints` that exist once in the scene; only with several animals."""
    skeleton: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that DeepLabCut's layout cannot hold."""
        for kind, names in (("keypoint", self.keypoints), ("animal", self.animals)):
            for place, name in enumerate(names):
                if not name.strip() or name in names[:place]:
                    raise InvalidConfig(
                        f"the {kind} {name!r} is empty or stands there twice; give each one name"
                    )
        for kind, name in (("task", self.task), ("scorer", self.scorer)):
            if not re.fullmatch(r"[\w.+ -]+", name):
                raise InvalidConfig(
                    f"the {kind} {name!r} becomes part of file names; use letters and digits"
                )
        if not self.keypoints:
            raise InvalidConfig("a project has at least one keypoint; name some")
        if "single" in self.animals:
            raise InvalidConfig("the animal name 'single' is kept for unique keypoints; rename it")
        strange = [one for one in self.unique_keypoints if one not in self.keypoints]
        strange += [name for bone in self.skeleton for name in bone if name not in self.keypoints]
        if strange:
            raise InvalidConfig(
                f"{strange[0]} is no keypoint of the project; choose from "
                f"{', '.join(self.keypoints)}"
            )
        if self.unique_keypoints and not self.animals:
            raise InvalidConfig(
                "unique keypoints are for several animals; name the animals, or give them as "
                "keypoints"
            )
        if self.animals and set(self.unique_keypoints) == set(self.keypoints):
            raise InvalidConfig("every keypoint is unique; name some that each animal has")


def create_project(
    labelling: Labelling,
    videos: Sequence[Path],
    out: Path,
    *,
    mode: VideoMode = "link",
    date: datetime.date | None = None,
) -> Path:
    """Make `out`/<Task>-<scorer>-<date> with config.yaml and the folders of DeepLabCut.

    Args:
        labelling: what is labelled.
        videos: files; none is allowed where pictures come from elsewhere.
        out: folder that the project's folder is made in.
        mode: whether the videos are copied into the project or linked.
        date: of the project; today by default.

    Returns:
        The project's folder.

    Raises:
        InvalidRequest: the folder exists, or two videos have one name.
        VideoNotFound: a video does not exist.
        InvalidVideo: a video cannot be read.
    """
    day = date or datetime.date.today()
    folder = out / f"{labelling.task}-{labelling.scorer}-{day.isoformat()}"
    return create_project_at(folder, labelling, videos, mode=mode, date=day)


def create_project_at(
    folder: Path,
    labelling: Labelling,
    videos: Sequence[Path] = (),
    *,
    mode: VideoMode = "link",
    date: datetime.date | None = None,
) -> Path:
    """Make a project as `create_project` does, in exactly this folder."""
    if folder.exists() and any(folder.iterdir()):
        raise InvalidRequest(
            f"{folder} exists already; add videos to it with `ethostream project add-videos`, or "
            "choose another place"
        )
    day = date or datetime.date.today()
    crops = [_crop(video, None) for video in videos]
    _check_names([*videos])
    try:
        for name in _FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
        placed = [_place(folder, video, mode) for video in videos]
        write_config(
            folder / CONFIG_NAME,
            task=labelling.task,
            scorer=labelling.scorer,
            date=f"{_MONTHS[day.month - 1]}{day.day}",
            videos={str(path): crop for path, crop in zip(placed, crops, strict=True)},
            keypoints=labelling.keypoints,
            animals=labelling.animals,
            unique_keypoints=labelling.unique_keypoints,
            skeleton=labelling.skeleton,
        )
    except BaseException:  # else the next attempt finds a project, of which half is missing
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def add_videos(
    project: Path,
    videos: Sequence[Path],
    *,
    mode: VideoMode = "link",
    crop_xywh: CropXywh | None = None,
) -> list[Path]:
    """Add videos to a project: its folders and `video_sets` of config.yaml.

    Args:
        project: the project's folder.
        videos: files.
        mode: whether they are copied into the project or linked.
        crop_xywh: part of the frame that is used, px; None takes the whole frame.

    Returns:
        The paths that config.yaml now names.

    Raises:
        InvalidRequest: a video of that name is in the project, or the crop lies outside a frame.
        VideoNotFound: a video does not exist.
        InvalidVideo: a video cannot be read.
    """
    config = read_config(project / CONFIG_NAME)
    crops = [_crop(video, crop_xywh) for video in videos]
    _check_names([*(Path(one.name.replace("\\", "/")) for one in config.videos), *videos])
    placed = []
    for video, crop in zip(videos, crops, strict=True):  # those before one that fails are whole
        placed.append(_place(project, video, mode))
        add_video_sets(config.path, {str(placed[-1]): crop})
    return placed


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _check_names(videos: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for video in videos:
        other = seen.setdefault(video.stem, video)
        if other is not video:
            raise InvalidRequest(
                f"{video} and {other} would share the folder labeled-data/{video.stem}; rename "
                "one of them"
            )


def _crop(video: Path, crop_xywh: CropXywh | None) -> str:
    if not video.is_file():
        raise VideoNotFound(f"{video} does not exist; correct the path")
    height_px, width_px = VideoFile(video).shape[:2]
    x, y, width, height = crop_xywh or (0, 0, width_px, height_px)
    if min(x, y) < 0 or min(width, height) < 1 or x + width > width_px or y + height > height_px:
        raise InvalidRequest(
            f"the crop {x},{y},{width},{height} lies outside the frames of {video}, "
            f"{width_px} x {height_px} px; give X,Y,W,H inside"
        )
    return f"{x}, {x + width}, {y}, {y + height}"


def _place(folder: Path, video: Path, mode: VideoMode) -> Path:
    target = folder / "videos" / video.name
    (folder / "labeled-data" / video.stem).mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() or target.is_symlink():
        if target.resolve() != video.resolve():
            raise InvalidRequest(f"{target} exists already; rename {video}")
    elif mode == "copy":
        with replacing(target) as unfinished:
            shutil.copy2(video, unfinished)
    else:
        target.symlink_to(video.resolve())
    return target.absolute()
