"""The frames that the gate of an import looks at: those that are named, or simulated ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.bundle import BehaviorSpec, InputSpec
from service.errors import InvalidConfig
from service.preprocess import to_model_input
from service.simulation import SimulationSettings, simulate
from service.video.pictures import is_picture
from training.data.behavior_frames import Footage, decode_video
from training.data.behavior_labels import NOT_LABELLED, read_behavior_project
from training.data.deepethogram import is_deepethogram
from training.data.frames import Example, keypoint_indices, load_examples, store_pixels
from training.data.projects import read_projects

_VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")
_Item = TypeVar("_Item")
_SIMULATED = "simulated frames of `ethostream simulate`, seed 0"


@dataclass(frozen=True, slots=True)
class GateFrames:
    """Frames and where they are from."""

    source: str
    """As PARITY.json and the card name them."""
    examples: tuple[Example, ...]
    """With the labels of the data, in the model's order of keypoints; all NaN without labels."""
    calibration: tuple[Example, ...] = ()
    """Other frames of the same source, for int8."""

    @property
    def are_labelled(self) -> bool:
        """Whether a person labelled any point."""
        return any(bool(np.isfinite(one.keypoints_xy).any()) for one in self.examples)


@dataclass(frozen=True, slots=True)
class GateFootage:
    """Consecutive frames at model size, and where they are from."""

    source: str
    recordings: tuple[Footage, ...]
    """With the labels of the data; -1 where nobody labelled."""
    calibration: tuple[Footage, ...] = ()
    """Other frames of the same source, for int8."""

    @property
    def are_labelled(self) -> bool:
        """Whether a person labelled any frame."""
        return any(bool((one.labels != NOT_LABELLED).any()) for one in self.recordings)


def read_gate_frames(
    path: Path | None, keypoints: Sequence[str], *, most: int, calibrates: bool = False
) -> GateFrames:
    """Read frames for the gate of a pose model.

    Args:
        path: a video, a folder of pictures or of videos, or labelled data as `evaluate` takes it;
            None simulates frames.
        keypoints: names of the model's keypoints.
        most: frames that are taken, spread over what there is.
        calibrates: take as many once more, between them, for int8.

    Raises:
        InvalidConfig: there are no frames at `path`.
        InvalidLabels: the data or a video cannot be read.
    """
    if calibrates:
        both = read_gate_frames(path, keypoints, most=2 * most)
        if len(both.examples) < 2:
            raise InvalidConfig(f"{path} holds one frame; int8 needs others to calibrate on")
        return GateFrames(both.source, both.examples[::2], both.examples[1::2])
    if path is not None and _is_labelled_pose(path):
        labels = read_projects([path])
        shared = [name for name in keypoints if name in labels.keypoints]
        frames = _spread(list(labels.frames.values()), most)
        if len(shared) == len(keypoints):
            places = keypoint_indices(labels.keypoints, keypoints)
            return GateFrames(
                f"labelled frames of {path.name}",
                tuple(load_examples(frames, keypoints=places)),
            )
        pictures: Iterable[NDArray[np.uint8]] = (one.picture.read() for one in frames)
        return _unlabelled(f"frames of {path.name}", pictures, len(keypoints), most)
    if path is None:
        found = simulate(SimulationSettings(duration_s=most / 2, frame_rate_hz=2)).frames()
        return _unlabelled(_SIMULATED, found, len(keypoints), most)
    return _unlabelled(f"frames of {path.name}", _pictures(path), len(keypoints), most)


def read_gate_footage(
    path: Path | None,
    size: InputSpec,
    spec: BehaviorSpec,
    *,
    most: int,
    calibrates: bool = False,
) -> GateFootage:
    """Read consecutive frames for the gate of a behavior model.

    Args:
        path: a video, a folder of pictures or of videos, or labelled recordings; None simulates.
        size: the model's input.
        spec: the model's behaviors.
        most: frames that are taken, from the beginning.
        calibrates: take as many more, after them, for int8.

    Raises:
        InvalidConfig: there are no frames at `path`.
        InvalidLabels: a video cannot be read.
    """
    if calibrates:
        whole = read_gate_footage(path, size, spec, most=2 * most)
        half = len(whole.recordings[0].frames) // 2
        if half < 1:
            raise InvalidConfig(f"{path} holds one frame; int8 needs others to calibrate on")
        first, second = (
            _part(whole.recordings[0], one) for one in (slice(half), slice(half, None))
        )
        return GateFootage(whole.source, (first,), (second,))
    count = len(spec.behaviors)
    frames: Iterable[NDArray[np.uint8]]
    if path is not None and path.is_dir() and _is_labelled_behavior(path):
        recording = read_behavior_project(
            [path], exclusive=spec.exclusive, behaviors=spec.behaviors
        ).recordings[0]
        labels, frames = recording.labels[:most], decode_video(recording.video)
        source = f"the first frames of the labelled recording {recording.name} of {path.name}"
    elif path is None:
        frames = simulate(
            SimulationSettings(
                duration_s=most / spec.frame_rate_hz, frame_rate_hz=spec.frame_rate_hz
            )
        ).frames()
        labels, source = np.full((most, count), NOT_LABELLED, np.int8), _SIMULATED
    else:
        frames, source = _pictures(path), f"the first frames of {path.name}"
        labels = np.full((most, count), NOT_LABELLED, np.int8)
    pixels = [
        to_model_input(frame, size)[0] for _, frame in zip(range(len(labels)), frames, strict=False)
    ]
    if not pixels:
        raise InvalidConfig(f"{path} holds no frame; name a video or a folder of pictures")
    shown = labels[: len(pixels)]
    return GateFootage(source, (Footage("gate", np.stack(pixels), shown, ((0, len(pixels)),)),))


def first_frame_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in px of the first frame that `path` names.

    Raises:
        InvalidConfig: there are no frames.
        InvalidLabels: it cannot be read.
    """
    if _is_labelled_pose(path):
        first = next(iter(read_projects([path]).frames.values())).picture.read()
    else:
        first = next(iter(_pictures(path)))
    return first.shape[1], first.shape[0]


def _part(footage: Footage, frames: slice) -> Footage:
    pixels, labels = footage.frames[frames], footage.labels[frames]
    return Footage(footage.name, pixels, labels, ((0, len(pixels)),))


def _unlabelled(
    source: str, frames: Iterable[NDArray[np.uint8]], keypoints: int, most: int
) -> GateFrames:
    """Keep at most `most` frames, spread over all of them, without knowing how many there are."""
    kept: list[NDArray[np.uint8]] = []
    stride = 1
    for index, frame in enumerate(frames):
        if index % stride:
            continue
        kept.append(store_pixels(frame))
        if len(kept) == 2 * most:
            kept, stride = kept[::2], 2 * stride
    nothing = np.full((1, keypoints, 2), np.nan, np.float32)
    chosen = _spread(kept, most)
    return GateFrames(
        source, tuple(Example(f"frame{n}", one, nothing) for n, one in enumerate(chosen))
    )


def _spread(items: Sequence[_Item], most: int) -> list[_Item]:
    if len(items) <= most:
        return list(items)
    return [items[int(place)] for place in np.linspace(0, len(items) - 1, most)]


def _pictures(path: Path) -> Iterable[NDArray[np.uint8]]:
    """Yield (H, W, 3) RGB of a video, a folder of pictures, or the videos of a folder."""
    if path.is_file():
        return decode_video(path)
    if not path.is_dir():
        raise InvalidConfig(f"{path} does not exist; name a video, a folder, or labelled data")
    if any(is_picture(one) for one in path.iterdir()):
        return decode_video(path)
    videos = sorted(one for one in path.rglob("*") if one.suffix.lower() in _VIDEO_SUFFIXES)
    if not videos:
        raise InvalidConfig(f"{path} holds neither pictures nor videos; name some frames")
    return (frame for video in videos for frame in decode_video(video))


def _is_labelled_pose(path: Path) -> bool:
    if path.suffix in (".slp", ".csv"):
        return True
    return path.is_dir() and (
        (path / "labeled-data").is_dir() or (path / "CollectedData.csv").is_file()
    )


def _is_labelled_behavior(path: Path) -> bool:
    return is_deepethogram(path) or any(path.rglob("*_labels.csv"))
