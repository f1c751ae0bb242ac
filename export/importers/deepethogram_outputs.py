"""Compares imported networks with answers that DeepEthogram itself stored for a video.

Its code is never run; where a project has `<video>_outputs.h5` of the same networks, they tell
whether the import computes what the original did, wiring and all.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from export.importers.deepethogram_files import ProjectFiles
from service.behavior import present, probabilities
from service.bundle import BehaviorSpec, InputSpec
from service.preprocess import to_model_input
from training.behavior.evaluate import predict
from training.behavior.stages import Networks
from training.behavior.trained import torch_graphs
from training.data.behavior_frames import Footage, decode_video
from training.data.deepethogram import find_video
from training.data.labels import InvalidLabels

_OUTPUTS = "_outputs.h5"
_FEATURE_GROUPS = ("resnet18", "resnet50", "resnet3d_34")
_SEQUENCE_GROUP = "tgmj"
_CHUNK_FRAMES = 180
"""DeepEthogram's sequence model starts anew after so many frames."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far the imported networks are from what DeepEthogram stored."""

    outputs: Path
    group: str
    """Of the file: which network stored it."""
    frames: int
    mean_difference: float
    """Of probabilities."""
    equal_share: float
    """Frames whose behaviors, by the thresholds, are all the same."""


def compare_with_outputs(
    files: ProjectFiles,
    networks: Networks,
    size: InputSpec,
    spec: BehaviorSpec,
    *,
    most: int,
) -> list[Comparison]:
    """Compare with the first outputs of the project that belong to a video that can be read.

    Args:
        files: the project.
        networks: imported from it.
        size: their input.
        spec: what they answer, by class names of the project.
        most: frames from the beginning of the video that are computed.

    Returns:
        One comparison for each network that stored its answers; none without any.
    """
    names = files.class_names()
    kept = [names.index(one) for one in spec.behaviors]
    for path in sorted(files.folder.glob(f"*/*/*{_OUTPUTS}")):
        stored = _read(path, len(names))
        try:
            video = find_video(path.parent)
            if video is None or not stored:
                continue
            frames = zip(range(most), decode_video(video), strict=False)
            pixels = np.stack([to_model_input(frame, size)[0] for _, frame in frames])
        except (InvalidLabels, ValueError):
            continue
        labels = np.full((len(pixels), len(spec.behaviors)), -1, np.int8)
        footage = Footage(path.stem, pixels, labels, ((0, len(pixels)),))
        graphs = torch_graphs(networks)
        found = []
        for group, values in stored.items():
            is_sequence = group == _SEQUENCE_GROUP
            if is_sequence and spec.sequence == "none":
                continue
            shown = spec if is_sequence else _without_sequence(spec)
            logits = predict(graphs, footage, shown).logits
            # The last frames of what was computed do not see what follows them in the video.
            last = min(len(values), len(pixels) - shown.future_frames)
            if is_sequence:
                last = min(last, _CHUNK_FRAMES - spec.sequence_future_frames)
            if last > 0:
                found.append(_compare(path, group, logits[:last], values[:last][:, kept], shown))
        return found
    return []


def _without_sequence(spec: BehaviorSpec) -> BehaviorSpec:
    return msgspec.structs.replace(
        spec,
        sequence="none",
        future_frames=spec.feature_future_frames,
        sequence_past_frames=0,
        sequence_future_frames=0,
    )


def _read(path: Path, classes: int) -> dict[str, NDArray[np.float32]]:
    """Return probabilities (T, K) by the network that stored them."""
    with h5py.File(path) as file:
        return {
            name: np.asarray(file[name]["P"], np.float32)
            for name in (*_FEATURE_GROUPS, _SEQUENCE_GROUP)
            if name in file and "P" in file[name] and file[name]["P"].shape[1:] == (classes,)
        }


def _compare(
    path: Path,
    group: str,
    logits: NDArray[np.float32],
    stored: NDArray[np.float32],
    spec: BehaviorSpec,
) -> Comparison:
    found = probabilities(logits, exclusive=spec.exclusive)
    equal = (present(found, spec) == present(stored, spec)).all(axis=1)
    return Comparison(
        outputs=path,
        group=group,
        frames=len(stored),
        mean_difference=float(np.abs(found - stored).mean()),
        equal_share=float(equal.mean()),
    )
