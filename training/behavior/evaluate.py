"""The figures of a behavior bundle on labelled recordings, through what serves.

Frames go through the service's preprocessing, engines and pure functions, with the windows that a
stream would cut. At a clip limit everything starts anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from service.bundle import BehaviorSpec, Bundle, InputSpec
from service.engine import Tensors, choose_engine, load_graph
from service.errors import InvalidConfig
from training.behavior.figures import SecondLabels, as_dict, from_logits, measure
from training.behavior.invariance import draw_invariance, measure_invariance
from training.behavior.report import write_report
from training.data.behavior_frames import Footage, WindowShape, load_footage
from training.data.behavior_labels import (
    BehaviorProject,
    BehaviorRecording,
    read_behavior_project,
)
from training.data.labels import InvalidLabels
from training.runs import Split

_BATCH_FRAMES = 16
_SEQUENCE_FRAMES = 512


class Graph(Protocol):
    """Anything that computes a graph, such as an engine."""

    def run(self, inputs: Tensors) -> Tensors:
        """Compute one batch."""
        ...


Part = Literal["test", "all"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a bundle says of one recording, beside its labels."""

    name: str
    logits: NDArray[np.float32]
    """(T, C); NaN where a frame has no full window in its clip."""
    labels: NDArray[np.int8]
    """(T, C): 1 present, 0 absent, -1 not labelled."""
    clips: tuple[tuple[int, int], ...]
    """(first, first after) frame of each uninterrupted stretch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """What is measured and written."""

    part: Part = "test"
    """`test` takes the test recordings of the split, `all` every one."""
    engine: str = "auto"
    precision: str = "auto"
    threads: int = 1
    second_labels: tuple[Path, ...] = ()
    """Folders with another person's labels of the same recordings."""
    report: Path | None = None
    """Folder of report.html."""
    invariance: bool = False
    """Measure shifted, turned and mirrored recordings too."""
    features_alone: bool = False
    """Measure a run without its sequence too."""


def evaluate_bundle(
    bundle: Bundle, data: Sequence[Path], options: EvaluationOptions
) -> dict[str, object]:
    """Measure `bundle` on labelled recordings.

    Args:
        bundle: a behavior bundle.
        data: folders of labelled recordings.
        options: what is measured and written.

    Returns:
        The figures of `training.behavior.figures.as_dict`, with what was measured and how.

    Raises:
        InvalidLabels: the data cannot be read or lacks recordings of the split.
        InvalidConfig: no frame is both labelled and answered, second labels do not fit, or the
            features alone are asked for.
    """
    if options.features_alone:
        raise InvalidConfig(
            f"bundle {bundle.name} has thresholds for its sequence only; measure the features "
            "alone of the run that it comes from"
        )
    spec = bundle.manifest.behavior
    assert spec is not None, "a behavior bundle has the section `behavior`"
    project = read_behavior_project(data, exclusive=spec.exclusive, behaviors=spec.behaviors)
    engine, precision = choose_engine(bundle.manifest, options.engine, options.precision)
    graphs = {
        name: load_graph(bundle, name, engine=engine, precision=precision, threads=options.threads)
        for name in bundle.manifest.graph_names
    }
    part, recordings = choose_recordings(bundle, project, options.part)
    told = {
        "bundle": f"{bundle.name}@{bundle.version}",
        "part": part,
        "engine": graphs["features"].engine,
        "precision": graphs["features"].precision,
    }
    options = replace(options, part=part)
    return told | measure_recordings(
        graphs, recordings, bundle.manifest.input, spec, options, title=told["bundle"]
    )


def measure_recordings(
    graphs: Mapping[str, Graph],
    recordings: Sequence[BehaviorRecording],
    size: InputSpec,
    spec: BehaviorSpec,
    options: EvaluationOptions,
    *,
    title: str,
) -> dict[str, object]:
    """Compare what graphs say of labelled recordings with their labels.

    Args:
        graphs: flow, features and, where the spec has one, sequence.
        recordings: labelled recordings.
        size: what the graphs take.
        spec: what they answer.
        options: what is written beside the figures.
        title: names the model in the report.

    Returns:
        The figures of `training.behavior.figures.as_dict`, the number of `recordings`, and
        `invariance` where it is asked for.

    Raises:
        InvalidLabels: a video cannot be read.
        InvalidConfig: no frame is both labelled and answered, or second labels do not fit.
    """

    def footage() -> Iterator[Footage]:
        for recording in recordings:
            yield load_footage([recording], size)[0]

    answers = from_logits(
        [predict(graphs, one, spec) for one in footage()], exclusive=spec.exclusive
    )
    second = _second_labels(options.second_labels, spec, {one.name for one in answers})
    figures = measure(answers, spec, second=second)
    told: dict[str, object] = {"recordings": len(answers), **as_dict(figures)}
    if options.report is not None:
        notes = f"{options.part} recordings"
        write_report(figures, answers, options.report, title=title, notes=notes, second=second)
    if options.invariance:
        found = measure_invariance(lambda one: predict(graphs, one, spec), list(footage()), spec)
        told["invariance"] = found.as_dict()
        if options.report is not None:
            draw_invariance(found).savefig(options.report / "invariance.png", dpi=110)
    return told


def predict(graphs: Mapping[str, Graph], footage: Footage, spec: BehaviorSpec) -> Prediction:
    """Run the graphs flow, features and sequence over one recording, clip by clip."""
    shape = WindowShape(spec.past_frames, spec.feature_future_frames, spec.window_fill)
    logits = np.full((len(footage.frames), len(spec.behaviors)), np.nan, np.float32)
    for clip in footage.clips:
        answered = shape.answered(*clip)
        if answered:
            frames = shape.around(footage.frames, clip, answered.start, answered.stop)
            logits[answered.start : answered.stop] = _predict_frames(graphs, frames, spec)
    return Prediction(footage.name, logits, footage.labels, footage.clips)


def _predict_frames(
    graphs: Mapping[str, Graph], frames: NDArray[np.uint8], spec: BehaviorSpec
) -> NDArray[np.float32]:
    """(past + T + future, H, W, C) consecutive frames to the logits (T, C)."""
    found = []
    last = len(frames) - spec.flow_frames
    for first in range(0, last, _BATCH_FRAMES):
        end = min(first + _BATCH_FRAMES, last) + spec.flow_frames
        found.append(_extract(graphs, frames[first:end], spec))
    features, logits = (np.concatenate(one).astype(np.float32) for one in zip(*found, strict=True))
    if spec.sequence == "none":
        return logits
    if spec.sequence == "window":
        return _classify_windows(graphs["sequence"], features, spec)
    state: NDArray[np.generic] = np.zeros((1, spec.state_size), np.float32)
    answers = []
    for feature in features:
        answer = graphs["sequence"].run({"features": feature[None, None], "state": state})
        state = answer["next_state"]
        answers.append(answer["logits"][0, 0].astype(np.float32))
    return np.stack(answers)


def _extract(
    graphs: Mapping[str, Graph], frames: NDArray[np.uint8], spec: BehaviorSpec
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """(past + T + future, H, W, C) frames to features (T, D) and logits (T, C)."""
    if spec.flow_input_frames == 2:
        pairs = np.stack([frames[:-1], frames[1:]], axis=1)
        flow = graphs["flow"].run({"frames": pairs})["flows"][:, 0]
        flows = np.moveaxis(sliding_window_view(flow, spec.flow_frames, axis=0), -1, 1)
    else:
        flows = graphs["flow"].run({"frames": _windows(frames, spec)})["flows"]
    if spec.feature_input_frames > 1:
        chosen = _windows(frames, spec)
    else:
        chosen = frames[spec.past_frames : len(frames) - spec.feature_future_frames]
    answer = graphs["features"].run(
        {"frames": np.ascontiguousarray(chosen), "flows": np.ascontiguousarray(flows)}
    )
    return answer["features"], answer["logits"]


def _windows(frames: NDArray[np.uint8], spec: BehaviorSpec) -> NDArray[np.uint8]:
    """(F + T, H, W, C) to (T, F + 1, H, W, C)."""
    windows = sliding_window_view(frames, spec.flow_frames + 1, axis=0)
    return np.ascontiguousarray(np.moveaxis(windows, -1, 1))


def _classify_windows(
    graph: Graph, features: NDArray[np.float32], spec: BehaviorSpec
) -> NDArray[np.float32]:
    """(T, D) to (T, C), in parts that see as far beyond their ends as a window does."""
    past, future = spec.sequence_past_frames, spec.sequence_future_frames
    padded = np.pad(features, ((past, future), (0, 0)))
    valid = np.pad(np.ones(len(features), np.float32), (past, future))
    logits = []
    for first in range(0, len(features), _SEQUENCE_FRAMES):
        count = min(_SEQUENCE_FRAMES, len(features) - first)
        part = slice(first, first + past + count + future)
        answer = graph.run({"features": padded[None, part], "valid": valid[None, part]})
        logits.append(answer["logits"][0, past : past + count].astype(np.float32))
    return np.concatenate(logits)


def _second_labels(
    folders: Sequence[Path], spec: BehaviorSpec, measured: set[str]
) -> SecondLabels | None:
    if not folders:
        return None
    project = read_behavior_project(folders, exclusive=spec.exclusive, behaviors=spec.behaviors)
    return {one.name: one.labels for one in project.recordings if one.name in measured}


def choose_recordings(
    bundle: Bundle, project: BehaviorProject, part: Part
) -> tuple[Part, Sequence[BehaviorRecording]]:
    """Return the recordings of a part, and which part that is: all of them for imported bundles.

    Raises:
        InvalidLabels: the bundle tells no split, or the project lacks recordings of it.
    """
    if part == "all":
        return part, project.recordings
    text = bundle.document("split")
    if not text:
        raise InvalidLabels(
            f"bundle {bundle.name} has no split.json, so its test recordings are unknown; "
            "use --part all on data that it was not trained on"
        )
    split = msgspec.json.decode(text, type=Split)
    return ("all", project.recordings) if split.is_unknown else ("test", project.choose(split.test))
