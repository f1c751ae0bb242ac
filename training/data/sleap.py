"""Reads and writes SLEAP's .slp label files through sleap-io.

What people placed counts: predicted instances are left out, and so are frames that hold nothing
else. Instances stand in the row of their track; without tracks, in the order of the file. Points on
a track named `single` are DeepLabCut's unique body parts. Pictures are those embedded in the file
(.pkg.slp), the picture files that it names, or frames of the videos that it names; one that is not
where the file says is looked for beside it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import EngineUnavailable, InvalidVideo
from service.results.atomic import replacing
from training.data.label_table import SINGLE
from training.data.labels import (
    FilePicture,
    InvalidLabels,
    LabelledFrame,
    LabelledProject,
    Picture,
    VideoPicture,
    check_inside,
    picture_size_px,
)

_EMBEDDING = (".slp", ".h5", ".hdf5")


@dataclass(frozen=True, slots=True)
class EmbeddedPicture:
    """A picture inside a .slp file."""

    path: Path
    video: int
    """Number of the video in the file."""
    frame_index: int

    @property
    def label(self) -> str:
        """The file's path and which picture of it."""
        return f"{self.path} video {self.video} frame {self.frame_index}"

    def read(self) -> NDArray[np.uint8]:
        """Return (H, W, 3) RGB."""
        try:
            pixels = np.asarray(_open(self.path).videos[self.video][self.frame_index], np.uint8)
        except Exception as error:
            # sleap-io's plugins raise what they like.
            raise InvalidLabels(
                f"{self.label} cannot be read ({error}); export the package again from SLEAP"
            ) from error
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels

    def sha256(self) -> str:
        """Hash of the pixels."""
        return hashlib.sha256(self.read().tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class SlpFrame:
    """One labelled frame with the values as the file has them."""

    name: str
    """`<video>/<picture>`."""
    picture: Picture
    keypoints_xy: NDArray[np.float64]
    """(N, K, 2) px; NaN where not placed."""


@dataclass(frozen=True, slots=True)
class SlpLabels:
    """The labels of a .slp file."""

    keypoints: tuple[str, ...]
    animals: tuple[str, ...]
    unique_keypoints: tuple[str, ...]
    skeleton: tuple[tuple[str, str], ...]
    frames: tuple[SlpFrame, ...]


def read_slp(path: Path) -> LabelledProject:
    """Read the labels of a .slp file.

    Raises:
        EngineUnavailable: sleap-io is not installed.
        InvalidLabels: the file is damaged, holds no labels of people, a picture or video is
            missing, or a point lies outside of its picture.
    """
    labels = read_slp_labels(path)
    return LabelledProject(
        name=path.resolve().stem,
        keypoints=labels.keypoints,
        animals=labels.animals,
        frames=tuple(
            LabelledFrame(one.name, one.picture, one.keypoints_xy.astype(np.float32))
            for one in labels.frames
        ),
        unique_keypoints=labels.unique_keypoints,
        skeleton=labels.skeleton,
    )


def read_slp_labels(path: Path) -> SlpLabels:
    """Read a .slp file with its values in double precision; raises as `read_slp`."""
    labels = _open(path)
    sio = _sleap_io()
    if not labels.skeletons:
        raise InvalidLabels(f"{path} has no skeleton; label some frames in SLEAP first")
    skeleton = labels.skeletons[0]
    keypoints = tuple(map(str, skeleton.node_names))
    for place, name in enumerate(keypoints):
        if name in keypoints[:place]:
            raise InvalidLabels(f"{path} names the node {name} twice; delete one of them in SLEAP")
    placed = [
        (frame, [one for one in frame.instances if not isinstance(one, sio.PredictedInstance)])
        for frame in labels.labeled_frames
    ]
    placed = [(frame, instances) for frame, instances in placed if instances]
    if not placed:
        raise InvalidLabels(
            f"{path} holds no labels that a person placed; label or correct some frames in SLEAP"
        )
    for frame, instances in placed:
        if any(tuple(map(str, one.skeleton.node_names)) != keypoints for one in instances):
            raise InvalidLabels(
                f"{path} frame {frame.frame_idx} has another skeleton than the first; keep one "
                "skeleton in a file"
            )
    tracks = [
        str(track.name)
        for track in labels.tracks
        if any(one.track is track for _, instances in placed for one in instances)
    ]
    animals = _animals(placed, tracks)
    names = _video_names(labels.videos)
    alike = [_has_files_alike(video) for video in labels.videos]
    frames = []
    for frame, instances in placed:
        number = labels.videos.index(frame.video)
        points = _points(path, frame, instances, animals, len(keypoints))
        name, picture = _picture(path, number, frame, names[number], numbered=alike[number])
        frames.append(SlpFrame(name, picture, points))
    _check_points(path, labels, frames, keypoints)
    unique: tuple[str, ...] = ()
    if SINGLE in tracks:
        unique = tuple(
            name
            for place, name in enumerate(keypoints)
            if not any(
                np.isfinite(one.numpy()[place]).any()
                for _, instances in placed
                for one in instances
                if one.track is None or one.track.name != SINGLE
            )
        )
    return SlpLabels(
        keypoints=keypoints,
        animals=animals,
        unique_keypoints=unique,
        skeleton=tuple(
            (str(edge.source.name), str(edge.destination.name)) for edge in skeleton.edges
        ),
        frames=tuple(frames),
    )


def write_slp(
    path: Path,
    *,
    keypoints: Sequence[str],
    animals: Sequence[str],
    unique_keypoints: Sequence[str],
    skeleton: Sequence[tuple[str, str]],
    frames: Sequence[tuple[Path, NDArray[np.float64]]],
) -> None:
    """Write a .slp file that refers to picture files; each folder of them is one video.

    Args:
        path: of the file to write.
        keypoints: K names.
        animals: N names; with more than one, each has a track.
        unique_keypoints: those in row 0 only; they go to an instance on the track `single`.
        skeleton: pairs of keypoints.
        frames: picture and (N, K, 2) px, NaN where not placed.

    Raises:
        EngineUnavailable: sleap-io is not installed.
    """
    sio = _sleap_io()
    nodes = sio.Skeleton(nodes=list(keypoints), edges=list(skeleton), name="animal")
    several = len(animals) > 1
    names = [*animals, *([SINGLE] if unique_keypoints and several else [])]
    tracks = {name: sio.Track(name) for name in names} if several else {}
    is_unique = np.array([several and name in unique_keypoints for name in keypoints])
    folders: dict[Path, list[Path]] = {}
    for picture, _ in frames:
        folders.setdefault(picture.parent, []).append(picture)
    videos = {
        folder: sio.Video.from_filename([str(picture.resolve()) for picture in pictures])
        for folder, pictures in folders.items()
    }
    labelled = []
    for picture, points in frames:
        rows = [
            (name, np.where(is_unique[:, None], np.nan, points[place]))
            for place, name in enumerate(animals)
        ]
        if is_unique.any():
            rows.append((SINGLE, np.where(is_unique[:, None], points[0], np.nan)))
        instances = [
            sio.Instance.from_numpy(row, skeleton=nodes, track=tracks.get(name))
            for name, row in rows
            if np.isfinite(row).any() or not several
        ]
        labelled.append(
            sio.LabeledFrame(
                video=videos[picture.parent],
                frame_idx=folders[picture.parent].index(picture),
                instances=instances,
            )
        )
    labels = sio.Labels(
        labelled, videos=list(videos.values()), skeletons=[nodes], tracks=list(tracks.values())
    )
    with replacing(path) as unfinished:
        labels.save(str(unfinished), format="slp", embed=False, verbose=False)


def _sleap_io() -> Any:
    try:
        import sleap_io
    except ImportError as error:
        raise EngineUnavailable(
            "sleap-io is not installed, which reads .slp files; run `uv sync --extra analysis`"
        ) from error
    return sleap_io


def _open(path: Path) -> Any:
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError as error:
        raise InvalidLabels(
            f"{path} cannot be read ({error.strerror}); name a .slp file of SLEAP"
        ) from error
    return _load(path, changed_ns)


@lru_cache(maxsize=4)
def _load(path: Path, changed_ns: int) -> Any:
    """Open a file; the time of its change is there to make the cache forget it."""
    sio = _sleap_io()
    try:
        return sio.load_slp(str(path))
    except Exception as error:
        # Damaged files make h5py, json and sleap-io raise errors of many kinds.
        raise InvalidLabels(
            f"{path} is damaged or no .slp file of SLEAP ({error}); restore it or save it again"
        ) from error


def _animals(placed: Sequence[tuple[Any, list[Any]]], tracks: Sequence[str]) -> tuple[str, ...]:
    most = max(
        sum(one.track is None or one.track.name != SINGLE for one in instances)
        for _, instances in placed
    )
    named = tuple(name for name in tracks if name != SINGLE)
    extra = range(len(named), max(1, most))
    return (*named, *(f"animal{number + 1}" for number in extra))


def _points(
    path: Path, frame: Any, instances: Sequence[Any], animals: tuple[str, ...], keypoints: int
) -> NDArray[np.float64]:
    points = np.full((len(animals), keypoints, 2), np.nan)
    free = list(range(len(animals)))
    # Those with a track first, so that the others take the rows that are left.
    for one in sorted(instances, key=lambda one: one.track is None):
        found = np.asarray(one.numpy(), np.float64)[:, :2]
        if one.track is not None and one.track.name == SINGLE:
            points[0] = np.where(np.isfinite(found), found, points[0])
            continue
        slot = free[0] if one.track is None else animals.index(str(one.track.name))
        if slot not in free:
            raise InvalidLabels(
                f"{path} frame {frame.frame_idx} of {_video_file(frame.video)} has two instances "
                f"on the track {animals[slot]}; give one of them another track in SLEAP"
            )
        free.remove(slot)
        points[slot] = np.where(np.isfinite(found), found, points[slot])
    return points


def _video_file(video: Any) -> str:
    return str(video.filename[0] if isinstance(video.filename, list) else video.filename)


def _video_names(videos: Sequence[Any]) -> list[str]:
    """A name for each video that no other one has."""
    names: list[str] = []
    for number, video in enumerate(videos):
        file = _video_file(video)
        if not isinstance(video.filename, list) and Path(file).suffix in _EMBEDDING:
            source = video.source_video
            file = _video_file(source) if source is not None else f"video{number}"
        path = PureWindowsPath(file)
        name = path.parent.name if isinstance(video.filename, list) else path.stem
        name = name or f"video{number}"
        while name in names:
            name += "-2"
        names.append(name)
    return names


def _has_files_alike(video: Any) -> bool:
    """Whether pictures of several folders are one video, and some have the same file name."""
    files = video.filename if isinstance(video.filename, list) else []
    return len({PureWindowsPath(str(one)).name for one in files}) < len(files)


def _picture(
    path: Path, number: int, frame: Any, name: str, *, numbered: bool
) -> tuple[str, Picture]:
    index = int(frame.frame_idx)
    filename = frame.video.filename
    if isinstance(filename, list):
        file = _locate(path, str(filename[index]))
        file_name = f"img{index:06d}{file.suffix}" if numbered else file.name
        return f"{name}/{file_name}", FilePicture(file)
    picture_name = f"{name}/img{index:06d}.png"
    if Path(str(filename)).suffix in _EMBEDDING:
        return picture_name, EmbeddedPicture(path, number, index)
    return picture_name, VideoPicture(_locate(path, str(filename)), index)


def _locate(path: Path, name: str) -> Path:
    given = Path(name)
    parts = PureWindowsPath(name)
    for candidate in (
        given,
        path.parent / parts.name,
        path.parent / parts.parent.name / parts.name,
    ):
        if candidate.is_file():
            return candidate
    raise InvalidLabels(
        f"{path} labels {name}, which does not exist; put it there or beside the .slp file, or "
        "export a package (.pkg.slp) from SLEAP"
    )


def _check_points(
    path: Path, labels: Any, frames: Sequence[SlpFrame], keypoints: Sequence[str]
) -> None:
    sizes: dict[object, tuple[int, int]] = {}
    for frame in frames:
        picture = frame.picture
        key = picture.frame_index if isinstance(picture, EmbeddedPicture) else None
        source = (getattr(picture, "path", None), getattr(picture, "video", None), key)
        if source not in sizes:
            sizes[source] = _size_px(picture)
        for place, name in enumerate(keypoints):
            for x, y in frame.keypoints_xy[:, place]:
                check_inside(f"{path} {frame.name}", name, (x, y), sizes[source])


def _size_px(picture: Picture) -> tuple[int, int]:
    from service.video.pyav import VideoFile

    if isinstance(picture, FilePicture):
        return picture_size_px(picture.path)
    if isinstance(picture, VideoPicture):
        try:
            height_px, width_px = VideoFile(picture.path).shape[:2]
        except (InvalidVideo, OSError) as error:
            raise InvalidLabels(
                f"{picture.label} is labelled and cannot be read ({error}); restore the video"
            ) from error
        return width_px, height_px
    height_px, width_px = picture.read().shape[:2]
    return width_px, height_px
