"""The pose data sets: random views of labelled and simulated frames, and held-out frames as served.

Augmentation belongs to `TrainingViews`; `HeldOutFrames` goes through the preprocessing that
serves and nothing else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

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
from training.data.labels import LabelledFrame, read_picture
from training.runs import Split


@dataclass(frozen=True, slots=True)
class Example:
    """One frame in memory with its keypoints."""

    name: str
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, or (H, W) where the three channels are equal."""
    keypoints_xy: NDArray[np.float32]
    """(K, 2) px of the frame; NaN where not labelled."""


class PoseSample(TypedDict):
    """One sample as tensors; batches have the same keys with an axis B in front."""

    frames: Tensor
    """(H, W, C) uint8."""
    scores: Tensor
    offsets: Tensor
    labelled: Tensor
    """As in `service.targets.Targets`."""


class HeldOutSample(PoseSample):
    """A sample that also knows where its keypoints are in px of the frame."""

    keypoints_xy: Tensor
    """(K, 2) px of the frame; NaN where not labelled."""
    frame_scale: Tensor
    """(2,) px of the model input per px of the frame."""
    frame_offset: Tensor
    """(2,) px of the model input at the frame's origin."""


def load_examples(frames: Sequence[LabelledFrame]) -> list[Example]:
    """Read the pictures of `frames` into memory."""
    return [
        Example(frame.name, store_pixels(read_picture(frame.image)), frame.keypoints_xy)
        for frame in frames
    ]


def store_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB as it is, or as (H, W) where the three channels are equal."""
    is_gray = bool((pixels == pixels[..., :1]).all())
    return np.ascontiguousarray(pixels[..., 0]) if is_gray else pixels


def split_frames(
    names: Sequence[str], *, validation_share: float, test_share: float, seed: int
) -> Split:
    """Hold out random shares of the frames: some to choose the best epoch, some to report.

    Raises:
        InvalidConfig: a share leaves no frame of one of the three kinds.
    """
    total = len(names)
    validation, test = round(total * validation_share), round(total * test_share)
    if validation < 1 or test < 1 or validation + test >= total:
        raise InvalidConfig(
            f"validation share {validation_share:g} and test share {test_share:g} of {total} "
            f"frames are {validation} and {test}; leave at least one frame of each kind"
        )
    order = np.random.default_rng(seed).permutation(total)
    shuffled = [names[index] for index in order]
    return Split(
        rule=f"random frames: {test} of {total} for the test, {validation} to choose the epoch",
        seed=seed,
        training=tuple(sorted(shuffled[validation + test :])),
        validation=tuple(sorted(shuffled[test : validation + test])),
        test=tuple(sorted(shuffled[:test])),
    )


class TrainingViews(Dataset[PoseSample]):
    """Random views; a key is (epoch, index), so that a resumed training sees what comes next."""

    def __init__(
        self,
        labelled: Sequence[Example],
        simulated: Sequence[Example],
        augmenter: Augmenter,
        target: TargetSpec,
        *,
        simulated_share: float,
        seed: int,
    ) -> None:
        self._labelled = labelled
        self._simulated = simulated
        self._augmenter = augmenter
        self._target = target
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
        return _sample(view.pixels, targets)


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index) for `TrainingViews`; Lightning tells it the epoch."""

    def __init__(self, samples_per_epoch: int) -> None:
        self._samples_per_epoch = samples_per_epoch
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0, of the next iteration."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the keys of one epoch."""
        return ((self._epoch, index) for index in range(self._samples_per_epoch))

    def __len__(self) -> int:
        return self._samples_per_epoch


class HeldOutFrames(Dataset[HeldOutSample]):
    """Whole frames, brought to the model input as the server does."""

    def __init__(self, examples: Sequence[Example], spec: InputSpec, target: TargetSpec) -> None:
        self._examples = examples
        self._input = spec
        self._target = target

    def __getitem__(self, index: int) -> HeldOutSample:
        """Return frame `index`."""
        example = self._examples[index]
        pixels, placement = to_model_input(example.pixels, self._input)
        points = placement.to_model(example.keypoints_xy)
        targets = encode(points, self._input.width_px, self._input.height_px, self._target)
        return HeldOutSample(
            **_sample(pixels, targets),
            keypoints_xy=torch.from_numpy(example.keypoints_xy),
            frame_scale=torch.tensor([placement.scale_x, placement.scale_y]),
            frame_offset=torch.tensor([placement.offset_x_px, placement.offset_y_px]),
        )

    def __len__(self) -> int:
        return len(self._examples)


def _sample(pixels: NDArray[np.uint8], targets: Targets) -> PoseSample:
    return PoseSample(
        frames=torch.from_numpy(pixels),
        scores=torch.from_numpy(targets.scores),
        offsets=torch.from_numpy(targets.offsets),
        labelled=torch.from_numpy(targets.labelled),
    )
