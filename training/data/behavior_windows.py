"""The behavior data sets: flow pairs, labelled windows and stretches, never across a clip limit."""

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
from training.data.behavior_frames import Footage


class WindowSample(TypedDict):
    """A window and the label of its last frame; batches have an axis B in front."""

    frames: Tensor
    """(F + 1, H, W, C) uint8."""
    labels: Tensor
    """(C,) int8: 1, 0 or -1."""


class SequenceSample(TypedDict):
    """Stored features of consecutive frames; batches have an axis B in front."""

    features: Tensor
    """(T, D) float32; zeros after the end of a shorter stretch."""
    labels: Tensor
    """(T, C) int8; -1 where not labelled and after the end."""


class FlowPairs(Dataset[Tensor]):
    """Random pairs of near frames, (2, H, W, C) uint8, forward or backward in time.

    Args:
        footage: recordings; both frames of a pair are of one clip.
        augmenter: changes both frames alike.
        widest_gap: frames between the two, drawn from 1; animals often move less than a px from
            one frame to the next, which teaches little.
        shift_px: half of the pairs are also displaced against each other by up to this, px.
        seed: of all choices. A key is (epoch, index), so that a resumed training sees what
            comes next.
    """

    def __init__(
        self,
        footage: Sequence[Footage],
        augmenter: ClipAugmenter,
        *,
        widest_gap: int = 1,
        shift_px: float = 0.0,
        seed: int,
    ) -> None:
        self._footage = footage
        self._pairs = [flow_pairs(footage, gap) for gap in range(1, widest_gap + 1)]
        self._augmenter = augmenter
        self._shift_px = shift_px
        self._seed = seed

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        """Return pair `index` of the epoch."""
        random = np.random.default_rng((self._seed, *key))
        gap = int(random.integers(len(self._pairs)))
        recording, frame = self._pairs[gap][int(random.integers(len(self._pairs[gap])))]
        pair = self._footage[recording].frames[[frame, frame + gap + 1]]
        if random.random() < 0.5:
            pair = pair[::-1]
        pair = self._augmenter(pair, random)
        if random.random() < 0.5 and self._shift_px:
            pair[1] = _displace(pair[1], random.uniform(-self._shift_px, self._shift_px, 2))
        return torch.from_numpy(pair)


class TrainingWindows(Dataset[WindowSample]):
    """Augmented windows; rare behaviors may be drawn more often than they occur.

    Args:
        footage: recordings.
        past_frames: F, frames before the labelled one.
        augmenter: changes each window.
        oversampling_exponent: a window is drawn with weight (1 / share of its rarest present
            behavior) ** exponent; 0 draws all alike.
        seed: of all choices. A key is (epoch, index).
    """

    def __init__(
        self,
        footage: Sequence[Footage],
        past_frames: int,
        augmenter: ClipAugmenter,
        *,
        oversampling_exponent: float,
        seed: int,
    ) -> None:
        self._footage = footage
        self._past_frames = past_frames
        self._augmenter = augmenter
        self._seed = seed
        self._windows = labelled_windows(footage, past_frames)
        labels = np.stack([footage[one].labels[frame] for one, frame in self._windows])
        self._cumulative = sampling_weights(labels, oversampling_exponent).cumsum()

    def __getitem__(self, key: tuple[int, int]) -> WindowSample:
        """Return window `index` of the epoch."""
        random = np.random.default_rng((self._seed, *key))
        drawn = np.searchsorted(self._cumulative, random.random() * self._cumulative[-1])
        recording, frame = self._windows[min(int(drawn), len(self._windows) - 1)]
        footage = self._footage[recording]
        frames = self._augmenter(footage.frames[frame - self._past_frames : frame + 1], random)
        labels = footage.labels[frame]
        return WindowSample(frames=torch.from_numpy(frames), labels=torch.from_numpy(labels))


class HeldOutWindows(Dataset[WindowSample]):
    """Windows as the server cuts them, every `stride`-th labelled frame."""

    def __init__(self, footage: Sequence[Footage], past_frames: int, *, stride: int) -> None:
        self._footage = footage
        self._past_frames = past_frames
        self._windows = labelled_windows(footage, past_frames)[::stride]

    def __getitem__(self, index: int) -> WindowSample:
        """Return window `index`."""
        recording, frame = self._windows[index]
        footage = self._footage[recording]
        frames = footage.frames[frame - self._past_frames : frame + 1]
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
        return SequenceSample(
            features=torch.from_numpy(np.pad(features, padding)),
            labels=torch.from_numpy(np.pad(labels, padding, constant_values=-1)),
        )

    def __len__(self) -> int:
        return len(self._stretches)


def flow_pairs(footage: Sequence[Footage], gap: int = 1) -> list[tuple[int, int]]:
    """List (recording, first frame) of all pairs of frames within a clip, `gap` frames apart.

    Raises:
        InvalidConfig: there is none.
    """
    pairs = [
        (index, frame)
        for index, one in enumerate(footage)
        for first, end in one.clips
        for frame in range(first, end - gap)
    ]
    if not pairs:
        raise InvalidConfig(
            f"no clip of any recording is longer than {gap} frames; give longer recordings"
        )
    return pairs


def labelled_windows(footage: Sequence[Footage], past_frames: int) -> list[tuple[int, int]]:
    """List (recording, frame) of all labelled frames with enough past in their clip.

    Raises:
        InvalidConfig: there is none.
    """
    windows = [
        (index, frame)
        for index, one in enumerate(footage)
        for frame in one.labelled_windows(past_frames)
    ]
    if not windows:
        raise InvalidConfig(
            f"no labelled frame has {past_frames} earlier frames in its clip; give longer clips "
            "or fewer flow frames"
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


def _displace(frame: NDArray[np.uint8], offset_px: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Move the content of an (H, W, C) frame, edges repeated."""
    matrix = np.column_stack([np.eye(2), offset_px])
    size = (frame.shape[1], frame.shape[0])
    moved = cv2.warpAffine(frame, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8).reshape(frame.shape)
