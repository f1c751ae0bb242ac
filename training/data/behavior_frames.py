"""Labelled recordings in memory: pixels as the model sees them, which takes little at its size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from service.behavior import runs
from service.bundle import InputSpec
from service.preprocess import to_model_input
from training.data.behavior_labels import NOT_LABELLED, BehaviorRecording, check_frame_count
from training.data.deepethogram import picture_files
from training.data.labels import InvalidLabels, read_picture


@dataclass(frozen=True, slots=True)
class WindowShape:
    """Which frames an answered one is seen with, and what stands beyond the ends of a clip."""

    past_frames: int
    future_frames: int = 0
    fill: tuple[int, ...] = ()
    """Gray levels, one a channel; without any, only frames with a full window are answered."""

    @property
    def frames(self) -> int:
        """Frames of a window."""
        return self.past_frames + 1 + self.future_frames

    def answered(self, first: int, end: int) -> range:
        """The frames of the clip (first, first after) that have a window."""
        if self.fill:
            return range(first, end)
        return range(
            first + self.past_frames, max(first + self.past_frames, end - self.future_frames)
        )

    def around(
        self, frames: NDArray[np.uint8], clip: tuple[int, int], first: int, end: int
    ) -> NDArray[np.uint8]:
        """Cut the frames that the windows of `first` to `end` of a clip look at.

        Returns:
            (past_frames + end - first + future_frames, H, W, C).
        """
        start, stop = first - self.past_frames, end + self.future_frames
        inside = frames[max(start, clip[0]) : min(stop, clip[1])]
        if len(inside) == stop - start:
            return inside
        result = np.empty((stop - start, *frames.shape[1:]), np.uint8)
        result[:] = self.fill
        before = max(0, clip[0] - start)
        result[before : before + len(inside)] = inside
        return result


@dataclass(frozen=True, slots=True)
class Footage:
    """One recording at model size."""

    name: str
    frames: NDArray[np.uint8]
    """(T, H, W, C)."""
    labels: NDArray[np.int8]
    """(T, C): 1 present, 0 absent, -1 not labelled."""
    clips: tuple[tuple[int, int], ...]
    """(first, first after) frame of each uninterrupted stretch."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """(T,) frames whose behaviors are all labelled."""
        return np.asarray((self.labels != NOT_LABELLED).all(axis=1))

    def labelled_windows(self, shape: WindowShape) -> list[tuple[int, tuple[int, int]]]:
        """List (frame, its clip) of the labelled frames that have a window."""
        known = self.known
        return [
            (frame, clip) for clip in self.clips for frame in shape.answered(*clip) if known[frame]
        ]

    def labelled_stretches(
        self, shape: WindowShape, longest: int
    ) -> list[tuple[int, int, tuple[int, int]]]:
        """Cut the frames that have a window into (first, first after, clip).

        A stretch is at most `longest` frames and holds at least one labelled frame.
        """
        known = self.known
        stretches = []
        for clip in self.clips:
            answered = shape.answered(*clip)
            for first in range(answered.start, answered.stop, longest):
                end = min(first + longest, answered.stop)
                if known[first:end].any():
                    stretches.append((first, end, clip))
        return stretches


def load_footage(recordings: Sequence[BehaviorRecording], spec: InputSpec) -> list[Footage]:
    """Decode and resize all frames of `recordings`.

    Raises:
        InvalidLabels: a video cannot be decoded, or has not as many frames as label rows.
    """
    footage = []
    for recording in recordings:
        shape = (len(recording.labels), spec.height_px, spec.width_px, spec.channels)
        pixels = np.zeros(shape, np.uint8)
        count = 0
        for frame in decode_video(recording.video):
            if count < len(pixels):
                pixels[count] = to_model_input(frame, spec)[0]
            count += 1
        check_frame_count(recording, count)
        footage.append(Footage(recording.name, pixels, recording.labels, recording.clips))
    return footage


def decode_video(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video, or of a folder of pictures, as (H, W, 3) RGB.

    Raises:
        InvalidLabels: it is no video that can be decoded.
    """
    if path.is_dir():
        yield from map(read_picture, picture_files(path))
        return
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError) as error:
        raise InvalidLabels(f"{path} cannot be decoded: {error}; restore it") from error


def video_rate_hz(path: Path) -> float:
    """Return the mean frame rate that a video states.

    Raises:
        InvalidLabels: it is no video, or states none, as folders of pictures do.
    """
    if path.is_dir():
        raise InvalidLabels(f"the pictures in {path} have no frame rate; give --frame-rate")
    try:
        with av.open(str(path)) as container:
            rate = container.streams.video[0].average_rate
    except (av.FFmpegError, IndexError) as error:
        raise InvalidLabels(f"{path} cannot be opened: {error}; restore it") from error
    if not rate:
        raise InvalidLabels(f"{path} states no frame rate; give --frame-rate")
    return float(rate)


def bout_lengths(labels: NDArray[np.int8], clips: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return for each behavior the lengths in frames of its labelled bouts, cut at the clips."""
    return [
        [
            end - first
            for clip_first, clip_end in clips
            for first, end in runs(labels[clip_first:clip_end, column] == 1)
        ]
        for column in range(labels.shape[1])
    ]
