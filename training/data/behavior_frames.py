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
from training.data.labels import InvalidLabels


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

    def labelled_windows(self, past_frames: int) -> list[int]:
        """Frames that are labelled and have `past_frames` earlier ones in their clip."""
        known = (self.labels != NOT_LABELLED).all(axis=1)
        return [
            frame
            for first, end in self.clips
            for frame in range(first + past_frames, end)
            if known[frame]
        ]

    def labelled_stretches(self, past_frames: int, longest: int) -> list[tuple[int, int]]:
        """Cut the frames with enough past into (first, first after) stretches within clips.

        A stretch is at most `longest` frames and holds at least one labelled frame.
        """
        known = (self.labels != NOT_LABELLED).all(axis=1)
        stretches = []
        for clip_first, end in self.clips:
            for first in range(clip_first + past_frames, end, longest):
                stretch = (first, min(first + longest, end))
                if known[stretch[0] : stretch[1]].any():
                    stretches.append(stretch)
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
    """Yield the frames of a video as (H, W, 3) RGB.

    Raises:
        InvalidLabels: it is no video that can be decoded.
    """
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError) as error:
        raise InvalidLabels(f"{path} cannot be decoded: {error}; restore it") from error


def video_rate_hz(path: Path) -> float:
    """Return the mean frame rate that a video states.

    Raises:
        InvalidLabels: it is no video, or states none.
    """
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
