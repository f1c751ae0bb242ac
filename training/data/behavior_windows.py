"""The behavior data sets: frames to flow, windows and stretches, never across a clip limit."""

from collections.abc import Sequence
from typing import TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from service.errors import InvalidConfig
from training.data.behavior_augment import ClipAugmenter
from training.data.behavior_frames import Footage, WindowShape


class WindowSample(TypedDict):
    """A window and the label of its answered frame; batches have an axis B in front."""

    frames: Tensor
    """(F + 1, H, W, C) uint8."""
    labels: Tensor
    """(C,) int8: 1, 0 or -1."""


class SequenceSample(TypedDict):
    """Stored features of consecutive frames; batches have an axis B in front."""

    features: Tensor
    """(T, D) float32; zeros after the end of a shorter stretch."""
    valid: Tensor
    """(T,) float32; 1 up to the end of the stretch, then 0."""
    labels: Tensor
    """(T, C) int8; -1 where not labelled and after the end."""


class FlowClips(Dataset[Tensor]):
    """Random near frames, (W, H, W_px, C) uint8, forward or backward in time.

    Args:
        footage: recordings; all frames of a sample are of one clip.
        length: W.
        augmenter: changes all frames alike.
        widest_gap: steps between two frames, drawn from 1; animals often move less than a px from
            one frame to the next, which teaches little.
        shift_px: in half of the samples each frame is also displaced against the one before by up
            to this, px.
        crop: width and height of a random part that is kept of each sample, px; None keeps all.
            A part costs less, and flow looks only so far.
        crop_tries: each sample draws a number up to this, and of so many random parts keeps the one
            that changes most: an animal is small, and what stands still teaches little.
        seed: of all choices. A key is (epoch, index), so that a resumed training sees what
            comes next.
    """

    def __init__(
        self,
        footage: Sequence[Footage],
        length: int,
        augmenter: ClipAugmenter,
        *,
        widest_gap: int = 1,
        shift_px: float = 0.0,
        crop: tuple[int, int] | None = None,
        crop_tries: int = 1,
        seed: int,
    ) -> None:
        self._footage = footage
        self._crop = crop
        self._crop_tries = crop_tries
        self._length = length
        self._places = flow_places(footage, length, widest_gap)
        self._augmenter = augmenter
        self._shift_px = shift_px
        self._seed = seed

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        """Return sample `index` of the epoch."""
        random = np.random.default_rng((self._seed, *key))
        gap = int(random.integers(len(self._places)))
        recording, frame = self._places[gap][int(random.integers(len(self._places[gap])))]
        step = gap + 1
        chosen = [frame + step * place for place in range(self._length)]
        clip = self._footage[recording].frames[chosen]
        if random.random() < 0.5:
            clip = clip[::-1]
        clip = self._augmenter(clip, random)
        if random.random() < 0.5 and self._shift_px:
            offset_px = random.uniform(-self._shift_px, self._shift_px, 2)
            for place in range(1, self._length):
                clip[place] = _displace(clip[place], place * offset_px)
        if self._crop is not None:
            tries = int(random.integers(self._crop_tries)) + 1
            clip = max((_random_part(clip, self._crop, random) for _ in range(tries)), key=_change)
        return torch.from_numpy(clip)


class TrainingWindows(Dataset[WindowSample]):
    """Augmented windows; rare behaviors may be drawn more often than they occur.

    Args:
        footage: recordings.
        shape: which frames the labelled one is seen with.
        augmenter: changes each window.
        oversampling_exponent: a window is drawn with weight (1 / share of its rarest present
            behavior) ** exponent; 0 draws all alike.
        seed: of all choices. A key is (epoch, index).
    """

    def __init__(
        self,
        footage: Sequence[Footage],
        shape: WindowShape,
        augmenter: ClipAugmenter,
        *,
        oversampling_exponent: float,
        seed: int,
    ) -> None:
        self._footage = footage
        self._shape = shape
        self._augmenter = augmenter
        self._seed = seed
        self._windows = labelled_windows(footage, shape)
        labels = np.stack([footage[one].labels[frame] for one, frame, _ in self._windows])
        self._cumulative = sampling_weights(labels, oversampling_exponent).cumsum()

    def __getitem__(self, key: tuple[int, int]) -> WindowSample:
        """Return window `index` of the epoch."""
        random = np.random.default_rng((self._seed, *key))
        drawn = np.searchsorted(self._cumulative, random.random() * self._cumulative[-1])
        recording, frame, clip = self._windows[min(int(drawn), len(self._windows) - 1)]
        footage = self._footage[recording]
        window = self._shape.around(footage.frames, clip, frame, frame + 1)
        frames = self._augmenter(window, random)
        labels = footage.labels[frame]
        return WindowSample(frames=torch.from_numpy(frames), labels=torch.from_numpy(labels))


class HeldOutWindows(Dataset[WindowSample]):
    """Windows as the server cuts them, every `stride`-th labelled frame."""

    def __init__(self, footage: Sequence[Footage], shape: WindowShape, *, stride: int) -> None:
        self._footage = footage
        self._shape = shape
        self._windows = labelled_windows(footage, shape)[::stride]

    def __getitem__(self, index: int) -> WindowSample:
        """Return window `index`."""
        recording, frame, clip = self._windows[index]
        footage = self._footage[recording]
        frames = self._shape.around(footage.frames, clip, frame, frame + 1)
        return WindowSample(
            frames=torch.from_numpy(frames), labels=torch.from_numpy(footage.labels[frame])
        )

    def __len__(self) -> int:
        return len(self._windows)


class FeatureStretches(Dataset[SequenceSample]):
    """Stretches of stored features, all padded at their end to the same length."""

    def __init__(
        self, stretches: Sequence[tuple[NDArray[np.float32], NDArray[np.int8]]], length: int
    ) -> None:
        self._stretches = stretches
        self._length = length

    def __getitem__(self, index: int) -> SequenceSample:
        """Return stretch `index`."""
        features, labels = self._stretches[index]
        padding = ((0, self._length - len(features)), (0, 0))
        valid = np.arange(self._length) < len(features)
        return SequenceSample(
            features=torch.from_numpy(np.pad(features, padding)),
            valid=torch.from_numpy(valid.astype(np.float32)),
            labels=torch.from_numpy(np.pad(labels, padding, constant_values=-1)),
        )

    def __len__(self) -> int:
        return len(self._stretches)


def flow_places(
    footage: Sequence[Footage], length: int, widest_gap: int
) -> list[list[tuple[int, int]]]:
    """List by step (1, 2, ...) the (recording, first frame) of `length` frames within a clip.

    Steps that are too wide for every clip are left out.

    Raises:
        InvalidConfig: even neighboring frames have no place.
    """
    places = [clip_places(footage, length, step) for step in range(1, widest_gap + 1)]
    if not places[0]:
        raise InvalidConfig(f"no clip of any recording has {length} frames; give longer recordings")
    return [one for one in places if one]


def clip_places(footage: Sequence[Footage], length: int, step: int) -> list[tuple[int, int]]:
    """List the (recording, first frame) of `length` frames, `step` apart, within a clip."""
    return [
        (index, frame)
        for index, one in enumerate(footage)
        for first, end in one.clips
        for frame in range(first, end - (length - 1) * step)
    ]


def labelled_windows(
    footage: Sequence[Footage], shape: WindowShape
) -> list[tuple[int, int, tuple[int, int]]]:
    """List (recording, frame, clip) of all labelled frames that have a window.

    Raises:
        InvalidConfig: there is none.
    """
    windows = [
        (index, frame, clip)
        for index, one in enumerate(footage)
        for frame, clip in one.labelled_windows(shape)
    ]
    if not windows:
        raise InvalidConfig(
            f"no labelled frame has {shape.past_frames} earlier and {shape.future_frames} later "
            "frames in its clip; give longer clips or fewer flow frames"
        )
    return windows


def sampling_weights(labels: NDArray[np.int8], exponent: float) -> NDArray[np.float64]:
    """Return the (N,) weights of `TrainingWindows` for (N, C) labels."""
    shares = (labels == 1).mean(axis=0)
    none_share = max((labels != 1).all(axis=1).mean(), 1.0 / len(labels))
    rarest = np.where(labels == 1, shares, np.inf).min(axis=1)
    rarest = np.where(np.isinf(rarest), none_share, rarest)
    weights: NDArray[np.float64] = (1.0 / rarest) ** exponent
    return weights


def _random_part(
    clip: NDArray[np.uint8], size: tuple[int, int], random: np.random.Generator
) -> NDArray[np.uint8]:
    """Cut the same part of `size` (width, height) out of all frames (W, H, W_px, C)."""
    width_px, height_px = size
    y = int(random.integers(clip.shape[1] - height_px + 1))
    x = int(random.integers(clip.shape[2] - width_px + 1))
    return np.ascontiguousarray(clip[:, y : y + height_px, x : x + width_px])


def _change(clip: NDArray[np.uint8]) -> float:
    """Mean absolute difference of neighboring frames of (W, H, W_px, C), gray levels."""
    return float(np.abs(np.diff(clip.astype(np.int16), axis=0)).mean())


def _displace(frame: NDArray[np.uint8], offset_px: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Move the content of an (H, W, C) frame, edges repeated."""
    matrix = np.column_stack([np.eye(2), offset_px])
    size = (frame.shape[1], frame.shape[0])
    moved = cv2.warpAffine(frame, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8).reshape(frame.shape)
