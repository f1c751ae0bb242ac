"""Features of whole recordings, stored for the training of the sequence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.behavior.networks.base import FeatureExtractor, FlowGenerator
from training.behavior.presets import window_shape
from training.behavior.settings import BehaviorTraining
from training.data.behavior_augment import ClipAugmenter
from training.data.behavior_frames import Footage, WindowShape

_BATCH_FRAMES = 32


def stored_features(
    flow: FlowGenerator,
    features: FeatureExtractor,
    footage: Sequence[Footage],
    settings: BehaviorTraining,
    *,
    copies: Sequence[int] = (),
    most: int | None = None,
) -> list[tuple[NDArray[np.float32], NDArray[np.int8]]]:
    """Return (T, D) features and (T, C) labels of all labelled stretches, none over a clip limit.

    Args:
        flow: trained flow generator.
        features: trained feature extractor.
        footage: recordings.
        settings: of the training.
        copies: numbers of further, augmented copies; a stretch has one draw for all its frames,
            so that the sequence learns from features as varied as those of new recordings.
        most: largest number of stretches, drawn at random; None takes all.
    """
    augmenter = ClipAugmenter(settings.augment)
    stretches = _stretches(footage, settings)
    if most is not None and most < len(stretches):
        drawn = np.random.default_rng(settings.seed).permutation(len(stretches))[:most]
        stretches = [stretches[index] for index in sorted(drawn)]
    result = []
    for one in stretches:
        result.append((_compute(flow, features, one.frames, settings)[0], one.labels))
        for copy in copies:
            random = np.random.default_rng((settings.seed, copy, *one.place))
            changed = augmenter(one.frames, random)
            result.append((_compute(flow, features, changed, settings)[0], one.labels))
    return result


def stored_logits(
    flow: FlowGenerator,
    features: FeatureExtractor,
    footage: Sequence[Footage],
    settings: BehaviorTraining,
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return the logits (N, C) of the features alone and the labels (N, C) of all stretches."""
    stretches = _stretches(footage, settings)
    logits = [_compute(flow, features, one.frames, settings)[1] for one in stretches]
    return np.concatenate(logits), np.concatenate([one.labels for one in stretches])


@dataclass(frozen=True, slots=True)
class _Stretch:
    frames: NDArray[np.uint8]
    """(past + T + future, H, W, C)."""
    labels: NDArray[np.int8]
    """(T, C)."""
    place: tuple[int, int]
    """Number of the recording and first frame."""


def _stretches(footage: Sequence[Footage], settings: BehaviorTraining) -> list[_Stretch]:
    shape = window_shape(settings)
    return [
        _Stretch(shape.around(one.frames, clip, first, end), one.labels[first:end], (number, first))
        for number, one in enumerate(footage)
        for first, end, clip in one.labelled_stretches(shape, settings.stretch_frames)
    ]


@torch.no_grad()
def _compute(
    flow: FlowGenerator,
    features: FeatureExtractor,
    frames: NDArray[np.uint8],
    settings: BehaviorTraining,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(past + T + future, H, W, C) frames to features (T, D) and logits (T, C)."""
    flow.eval()
    features.eval()
    shape = window_shape(settings)
    pixels = torch.from_numpy(frames)
    last = len(pixels) - settings.flow_frames
    found = []
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16-mixed"):
        for first in range(0, last, _BATCH_FRAMES):
            end = min(first + _BATCH_FRAMES, last) + settings.flow_frames
            found.append(extract(flow, features, pixels[first:end], shape))
    values, logits = (torch.cat(one).float().numpy() for one in zip(*found, strict=True))
    return values, logits


def extract(
    flow: FlowGenerator, features: FeatureExtractor, frames: Tensor, shape: WindowShape
) -> tuple[Tensor, Tensor]:
    """Return features (T, D) and logits (T, C) of consecutive frames.

    Args:
        flow: flow generator.
        features: feature extractor.
        frames: (past + T + future, H, W, C) uint8.
        shape: of the window.
    """
    windows = frames.unfold(0, shape.frames, 1).movedim(-1, 1)
    if flow.input_frames == 2:  # each flow is in several windows and computed once
        pairs = frames.unfold(0, 2, 1).movedim(-1, 1)
        flows = flow(pairs)[0][:, 0].unfold(0, shape.frames - 1, 1).movedim(-1, 1)
    else:
        flows = flow(windows)[0]
    answered = windows[:, shape.past_frames]
    found: tuple[Tensor, Tensor] = features(
        windows if features.input_frames > 1 else answered, flows.float()
    )
    return found


def window_flows(flow: FlowGenerator, windows: Tensor) -> Tensor:
    """Return the flows (B, F, 2, h, w) of windows (B, F + 1, H, W, C) uint8."""
    if flow.input_frames != 2:
        flows: Tensor = flow(windows)[0]
        return flows.float()
    pairs = windows.unfold(1, 2, 1).movedim(-1, 2)
    flows = flow(pairs.flatten(0, 1))[0]
    return flows.float().reshape(len(windows), -1, *flows.shape[2:])
