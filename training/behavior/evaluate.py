"""The figures of a behavior bundle on labelled recordings, through what serves.

Frames go through the service's preprocessing, engines and pure functions in the order of a
stream: each frame is flowed against the one before it, features see the last F flows, and the
sequence carries its state from frame to frame. At a clip limit everything starts anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.behavior import apply_bout_rule, present, probabilities
from service.behavior_statistics import (
    agreement,
    auroc,
    chance_f1,
    frame_accuracy,
    mean_defined,
)
from service.bundle import BehaviorSpec, Bundle
from service.engine import Tensors, choose_engine, create_engine
from service.errors import InvalidConfig
from training.data.behavior_frames import Footage, load_footage
from training.data.behavior_labels import (
    BehaviorProject,
    BehaviorRecording,
    read_behavior_project,
)
from training.data.labels import InvalidLabels
from training.runs import Split

_BATCH_FRAMES = 16


class Graph(Protocol):
    """Anything that computes a graph, such as an engine."""

    def run(self, inputs: Tensors) -> Tensors:
        """Compute one batch."""
        ...


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a bundle says of one recording, beside its labels."""

    name: str
    logits: NDArray[np.float32]
    """(T, C); NaN where a frame has not enough past in its clip."""
    labels: NDArray[np.int8]
    """(T, C): 1 present, 0 absent, -1 not labelled."""
    clips: tuple[tuple[int, int], ...]
    """(first, first after) frame of each uninterrupted stretch."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """(T,) frames that are both labelled and answered."""
        answered = ~np.isnan(self.logits).any(axis=1)
        return np.asarray(answered & (self.labels >= 0).all(axis=1))


def evaluate_bundle(
    bundle: Bundle,
    data: Sequence[Path],
    *,
    part: Literal["test", "all"],
    engine: str,
    precision: str,
    threads: int,
) -> dict[str, object]:
    """Measure `bundle` on labelled recordings.

    Args:
        bundle: a behavior bundle.
        data: folders of labelled recordings.
        part: `test` takes the test recordings of the bundle's split.json, `all` every one.
        engine: auto, onnxruntime or openvino.
        precision: auto, fp32 or bf16.
        threads: processor threads.

    Returns:
        The figures of `summarize`, with what was measured and how.

    Raises:
        InvalidLabels: the data cannot be read or lacks recordings of the split.
    """
    spec = bundle.manifest.behavior
    assert spec is not None, "a behavior bundle has the section `behavior`"
    project = read_behavior_project(data, exclusive=spec.exclusive, behaviors=spec.behaviors)
    engine, precision = choose_engine(bundle.manifest, engine, precision)
    graphs = {
        name: create_engine(
            bundle.graph_path(name), engine=engine, precision=precision, threads=threads
        )
        for name in bundle.manifest.graphs
    }
    found = [
        predict(graphs, load_footage([recording], bundle.manifest.input)[0], spec)
        for recording in _part(bundle, project, part)
    ]
    return {
        "bundle": f"{bundle.name}@{bundle.version}",
        "part": part,
        "recordings": len(found),
        "engine": graphs["features"].engine,
        "precision": graphs["features"].precision,
        **summarize(found, spec),
        "per_recording": {one.name: _short(summarize([one], spec, shuffles=0)) for one in found},
    }


def predict(graphs: Mapping[str, Graph], footage: Footage, spec: BehaviorSpec) -> Prediction:
    """Run the graphs flow, features and sequence over one recording."""
    logits = np.full((len(footage.frames), len(spec.behaviors)), np.nan, np.float32)
    for first, end in footage.clips:
        frames = footage.frames[first:end]
        if len(frames) > spec.flow_frames:
            logits[first + spec.flow_frames : end] = _predict_clip(graphs, frames, spec)
    return Prediction(footage.name, logits, footage.labels, footage.clips)


def summarize(
    found: Sequence[Prediction], spec: BehaviorSpec, *, shuffles: int = 100
) -> dict[str, object]:
    """Compare predictions with labels, over all answered and labelled frames together.

    Args:
        found: predictions of one recording or more.
        spec: of the bundle.
        shuffles: circular shuffles for the chance level; 0 leaves it out.

    Returns:
        `macro_f1`, `accuracy` (exclusive: share of frames that are right; else of entries),
        `auroc` (mean), `chance_f1`, `per_class` with f1, precision, recall, auroc and frames;
        `macro_f1_after_bout_rule`; for exclusive bundles also `macro_f1_without_background`
        and, where recordings consist of clips, `clip_accuracy` and `clip_macro_f1` of the mean
        probabilities of each clip. What is not defined is None.

    Raises:
        InvalidConfig: no frame is both labelled and answered.
    """
    values = [probabilities(one.logits, exclusive=spec.exclusive) for one in found]
    shown = [present(one, spec) for one in values]
    known = [one.known for one in found]
    if not any(one.any() for one in known):
        raise InvalidConfig(
            f"no frame is labelled and has {spec.flow_frames} earlier frames in its clip; "
            "give longer clips or more labels"
        )
    truth_parts = [one.labels[flags] == 1 for one, flags in zip(found, known, strict=True)]
    shown_parts = [one[flags] for one, flags in zip(shown, known, strict=True)]
    truth, claimed = np.concatenate(truth_parts), np.concatenate(shown_parts)
    probability = np.concatenate([one[flags] for one, flags in zip(values, known, strict=True)])
    match = agreement(truth, claimed)
    areas = auroc(truth, probability)
    figures: dict[str, object] = {
        "frames": len(truth),
        "frames_without_context": sum(
            int(((one.labels >= 0).all(axis=1) & ~flags).sum())
            for one, flags in zip(found, known, strict=True)
        ),
        "macro_f1": _figure(match.macro_f1),
        "accuracy": frame_accuracy(truth, claimed) if spec.exclusive else match.accuracy,
        "auroc": _figure(mean_defined(areas)),
    }
    if shuffles:
        paired = [pair for pair in zip(truth_parts, shown_parts, strict=True) if len(pair[0])]
        chance = chance_f1(*map(list, zip(*paired, strict=True)), shuffles=shuffles)
        figures["chance_f1"] = _figure(chance)
    ruled = np.concatenate(
        [
            _by_clip(one, clip.clips, spec)[flags]
            for one, clip, flags in zip(shown, found, known, strict=True)
        ]
    )
    figures["macro_f1_after_bout_rule"] = _figure(agreement(truth, ruled).macro_f1)
    if spec.exclusive:
        figures["macro_f1_without_background"] = _figure(mean_defined(match.f1[1:]))
    if spec.exclusive and any(len(one.clips) > 1 for one in found):
        figures |= _clip_figures(found, values)
    figures["per_class"] = {
        name: {
            "f1": _figure(match.f1[column]),
            "precision": _figure(match.precision[column]),
            "recall": _figure(match.recall[column]),
            "auroc": _figure(areas[column]),
            "frames": int(match.frames[column]),
        }
        for column, name in enumerate(spec.behaviors)
    }
    return figures


def _predict_clip(
    graphs: Mapping[str, Graph], frames: NDArray[np.uint8], spec: BehaviorSpec
) -> NDArray[np.float32]:
    """(T, H, W, C) frames of one clip to the (T - F, C) logits of those with enough past."""
    past = spec.flow_frames
    flows = []
    for start in range(0, len(frames) - 1, _BATCH_FRAMES):
        end = min(start + _BATCH_FRAMES, len(frames) - 1)
        pairs = np.stack([frames[start:end], frames[start + 1 : end + 1]], axis=1)
        flows.append(graphs["flow"].run({"frames": pairs})["flows"][:, 0])
    flow = np.concatenate(flows)
    state: NDArray[np.generic] = np.zeros((1, spec.state_size), np.float32)
    logits = []
    for start in range(past, len(frames), _BATCH_FRAMES):
        indices = range(start, min(start + _BATCH_FRAMES, len(frames)))
        stacks = np.stack([flow[index - past : index] for index in indices])
        chosen = frames[indices.start : indices.stop]
        features = graphs["features"].run({"frames": chosen, "flows": stacks})["features"]
        for feature in features:
            answer = graphs["sequence"].run({"features": feature[None, None], "state": state})
            state = answer["next_state"]
            logits.append(answer["logits"][0, 0].astype(np.float32))
    return np.stack(logits)


def _by_clip(
    shown: NDArray[np.bool_], clips: Sequence[tuple[int, int]], spec: BehaviorSpec
) -> NDArray[np.bool_]:
    """Apply the bundle's bout rule to each clip by itself."""
    result = shown.copy()
    for first, end in clips:
        result[first:end] = apply_bout_rule(
            shown[first:end], spec.min_bout_frames, exclusive=spec.exclusive
        )
    return result


def _clip_figures(
    found: Sequence[Prediction], values: Sequence[NDArray[np.float32]]
) -> dict[str, object]:
    """Figures of one answer a clip: the behavior of the highest mean probability."""
    truth, claimed = [], []
    for one, value in zip(found, values, strict=True):
        for first, end in one.clips:
            known = one.known[first:end]
            if known.any():
                mean = value[first:end][known].mean(axis=0)
                label = one.labels[first:end][known].mean(axis=0)
                truth.append(np.arange(len(mean)) == label.argmax())
                claimed.append(np.arange(len(mean)) == mean.argmax())
    return {
        "clips": len(truth),
        "clip_accuracy": frame_accuracy(np.stack(truth), np.stack(claimed)),
        "clip_macro_f1": _figure(agreement(np.stack(truth), np.stack(claimed)).macro_f1),
    }


def _short(figures: dict[str, object]) -> dict[str, object]:
    wanted = ("frames", "macro_f1", "accuracy", "clips", "clip_accuracy")
    return {name: figures[name] for name in wanted if name in figures}


def _figure(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _part(bundle: Bundle, project: BehaviorProject, part: str) -> list[BehaviorRecording]:
    if part == "all":
        return list(project.recordings)
    text = bundle.document("split")
    if not text:
        raise InvalidLabels(
            f"bundle {bundle.name} has no split.json, so its test recordings are unknown; "
            "use --part all on data that it was not trained on"
        )
    return project.choose(msgspec.json.decode(text, type=Split).test)
