"""Features of whole recordings, stored for the training of the sequence."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from training.behavior.flow import FlowNetwork
from training.behavior.model import FeatureNetwork
from training.behavior.settings import BehaviorTraining
from training.behavior.task import window_flows
from training.data.behavior_augment import ClipAugmenter
from training.data.behavior_frames import Footage

_BATCH_FRAMES = 32


def stored_features(
    flow: FlowNetwork,
    features: FeatureNetwork,
    footage: Sequence[Footage],
    settings: BehaviorTraining,
    *,
    copies: Sequence[int] = (),
    most: int | None = None,
) -> list[tuple[NDArray[np.float32], NDArray[np.int8]]]:
    """Return (T, D) features and (T, C) labels of all labelled stretches, none over a clip limit.

    Args:
        flow: trained flow network.
        features: trained features network.
        footage: recordings.
        settings: of the training.
        copies: numbers of further, augmented copies; a stretch has one draw for all its frames,
            so that the sequence learns from features as varied as those of new recordings.
        most: largest number of stretches, drawn at random; None takes all.
    """
    flow.eval()
    features.eval()
    past = settings.flow_frames
    augmenter = ClipAugmenter(settings.augment)
    stretches = [
        (number, first, end)
        for number, one in enumerate(footage)
        for first, end in one.labelled_stretches(past, settings.stretch_frames)
    ]
    if most is not None and most < len(stretches):
        drawn = np.random.default_rng(settings.seed).permutation(len(stretches))[:most]
        stretches = [stretches[index] for index in sorted(drawn)]
    result = []
    for number, first, end in stretches:
        frames = footage[number].frames[first - past : end]
        labels = footage[number].labels[first:end]
        result.append((_features(flow, features, frames, settings), labels))
        for copy in copies:
            random = np.random.default_rng((settings.seed, copy, number, first))
            changed = augmenter(frames, random)
            result.append((_features(flow, features, changed, settings), labels))
    return result


@torch.no_grad()
def _features(
    flow: FlowNetwork,
    features: FeatureNetwork,
    frames: NDArray[np.uint8],
    settings: BehaviorTraining,
) -> NDArray[np.float32]:
    """(past + T, H, W, C) frames to the features (T, D) of those with enough past."""
    past = settings.flow_frames
    pixels = torch.from_numpy(frames)
    found = []
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16-mixed"):
        for first in range(past, len(pixels), _BATCH_FRAMES):
            end = min(first + _BATCH_FRAMES, len(pixels))
            flows = window_flows(flow, pixels[None, first - past : end])[0]
            stacks = flows.unfold(0, past, 1).permute(0, 4, 1, 2, 3)
            values, _ = features(pixels[first:end], stacks)
            found.append(values.float().numpy())
    return np.concatenate(found)
