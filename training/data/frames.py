"""The pose data sets: random views of labelled and simulated frames, and held-out frames as served.

Augmentation belongs to `TrainingViews`; `HeldOutFrames` goes through the preprocessing that
serves and nothing else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from service.bundle import InputSpec
from service.errors import InvalidConfig
from service.preprocess import to_model_input
from service.targets import Targets, TargetSpec, encode
from training.data.augment import Augmenter
from training.data.labels import LabelledFrame

MissingPoints = Literal["absent", "ignored"]
"""What a point without a label means: not visible, so that confidence there is trained to be
low; or unknown."""


@dataclass(frozen=True, slots=True)
class Example:
    """One frame in memory with its keypoints."""

    name: str
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, or (H, W) where the three channels are equal."""
    keypoints_xy: NDArray[np.float32]
    """(N, K, 2) px of the frame; NaN where not labelled."""
    unknown: tuple[int, ...] = ()
    """Indices of keypoints that nobody looked for: their NaN says nothing."""


class PoseSample(TypedDict):
    """One sample as tensors; batches have the same keys with an axis B in front."""

    frames: Tensor
    """(H, W, C) uint8."""
    scores: Tensor
    offsets: Tensor
    near: Tensor
    """As in `service.targets.Targets`."""
    known: Tensor
    """(K,) 1 where the keypoint's maps take part in the loss, else 0."""


class HeldOutSample(PoseSample):
    """A sample that also knows where its keypoints are in px of the frame."""

    keypoints_xy: Tensor
    """(N, K, 2) px of the frame; NaN where not labelled."""
    frame_scale: Tensor
    """(2,) px of the model input per px of the frame."""
    frame_offset: Tensor
    """(2,) px of the model input at the frame's origin."""


def load_examples(
    frames: Sequence[LabelledFrame], *, keypoints: Sequence[int] | None = None
) -> list[Example]:
    """Read the pictures of `frames` into memory.

    Args:
        frames: labelled frames.
        keypoints: places on axis K that are kept, in this order; None keeps all.

    Raises:
        InvalidLabels: a picture cannot be read.
    """
    return [
        Example(
            frame.name,
            store_pixels(frame.picture.read()),
            frame.keypoints_xy if keypoints is None else frame.keypoints_xy[:, list(keypoints)],
        )
        for frame in frames
    ]


def keypoint_indices(labelled: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Return where each of the `wanted` keypoints stands among the labelled ones.

    Raises:
        InvalidConfig: one of them is not labelled.
    """
    unknown = [name for name in wanted if name not in labelled]
    if unknown:
        raise InvalidConfig(f"{unknown[0]} is not labelled; the data labels {', '.join(labelled)}")
    return tuple(labelled.index(name) for name in wanted)


def store_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB as it is, or as (H, W) where the three channels are equal."""
    is_gray = bool((pixels == pixels[..., :1]).all())
    return np.ascontiguousarray(pixels[..., 0]) if is_gray else pixels


class TrainingViews(Dataset[PoseSample]):
    """Random views; a key is (epoch, index), so that a resumed training sees what comes next."""

    def __init__(
        self,
        labelled: Sequence[Example],
        simulated: Sequence[Example],
        augmenter: Augmenter,
        target: TargetSpec,
        *,
        missing: MissingPoints,
        simulated_share: float,
        seed: int,
    ) -> None:
        self._labelled = labelled
        self._simulated = simulated
        self._augmenter = augmenter
        self._target = target
        self._missing = missing
        self._simulated_share = simulated_share
        self._seed = seed

    def __getitem__(self, key: tuple[int, int]) -> PoseSample:
        """Return the view `index` of the epoch."""
        random = np.random.default_rng((self._seed, *key))
        is_simulated = random.random() < self._simulated_share
        source = self._simulated if is_simulated else self._labelled
        example = source[int(random.integers(len(source)))]
        view = self._augmenter(example.pixels, example.keypoints_xy, random)
        height_px, width_px = view.pixels.shape[:2]
        targets = encode(view.keypoints_xy, width_px, height_px, self._target)
        known = _known(targets, example, self._missing) & ~view.covered
        return _sample(view.pixels, targets, known)


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index) for `TrainingViews`; Lightning tells it the epoch.

    Several processes share an epoch: each takes every so-manieth view.
    """

    def __init__(self, samples_per_epoch: int) -> None:
        self._samples_per_epoch = samples_per_epoch
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0, of the next iteration."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the keys of this process's part of one epoch."""
        rank, processes = _process()
        mine = range(rank, len(self) * processes, processes)
        return ((self._epoch, index) for index in mine)

    def __len__(self) -> int:
        return -(-self._samples_per_epoch // _process()[1])


def _process() -> tuple[int, int]:
    """Number of this process and how many train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class HeldOutFrames(Dataset[HeldOutSample]):
    """Whole frames, brought to the model input as the server does."""

    def __init__(
        self,
        examples: Sequence[Example],
        spec: InputSpec,
        target: TargetSpec,
        *,
        missing: MissingPoints,
    ) -> None:
        self._examples = examples
        self._input = spec
        self._target = target
        self._missing = missing

    def __getitem__(self, index: int) -> HeldOutSample:
        """Return frame `index`."""
        example = self._examples[index]
        pixels, placement = to_model_input(example.pixels, self._input)
        points = placement.to_model(example.keypoints_xy)
        targets = encode(points, self._input.width_px, self._input.height_px, self._target)
        return HeldOutSample(
            **_sample(pixels, targets, _known(targets, example, self._missing)),
            keypoints_xy=torch.from_numpy(example.keypoints_xy),
            frame_scale=torch.tensor([placement.scale_x, placement.scale_y]),
            frame_offset=torch.tensor([placement.offset_x_px, placement.offset_y_px]),
        )

    def __len__(self) -> int:
        return len(self._examples)


def _known(targets: Targets, example: Example, missing: MissingPoints) -> NDArray[np.bool_]:
    """(K,) which maps say something: a keypoint that was looked for and is not there does."""
    known = np.full(len(targets.labelled), missing == "absent") | (targets.labelled > 0)
    known[list(example.unknown)] = False
    return known


def _sample(pixels: NDArray[np.uint8], targets: Targets, known: NDArray[np.bool_]) -> PoseSample:
    return PoseSample(
        frames=torch.from_numpy(pixels),
        scores=torch.from_numpy(targets.scores),
        offsets=torch.from_numpy(targets.offsets),
        near=torch.from_numpy(targets.near),
        known=torch.from_numpy(known.astype(np.float32)),
    )
