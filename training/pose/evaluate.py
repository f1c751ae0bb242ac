"""The error of a pose bundle or run on labelled frames, through the functions that serve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from service.bundle import Bundle, InputSpec
from service.engine import Engine, choose_engine, load_graph
from service.results.atomic import replacing
from training.data.frames import Example, keypoint_indices, load_examples
from training.data.labels import InvalidLabels
from training.data.projects import LabelledData, choose_frames, read_projects
from training.pose.agreement import human_figures
from training.pose.predictions import FigureOptions, PosePredictions, predict, summarize
from training.pose.trained import TorchEngine, read_graph, read_settings
from training.runs import Run, Split, SplitPart

__all__ = [
    "EvaluationOptions",
    "MeasuredPart",
    "PoseMeasurement",
    "PosePredictions",
    "evaluate_bundle",
    "evaluate_run",
    "measure_bundle",
    "measure_run",
    "predict",
    "summarize",
]

Part = SplitPart | Literal["all"]
RUN_CUTOFF = 0.6
"""Confidence from which a point of a run counts as found; DeepLabCut's default."""


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What is measured beside the usual."""

    figures: FigureOptions = field(default_factory=FigureOptions)
    second_labels: Path | None = None
    """Another person's labels of the same frames."""
    animals: int | None = None
    """N that a run's network looks for; None takes as many as it was trained with."""


@dataclass(frozen=True, slots=True)
class MeasuredPart:
    """One part of the labelled frames, what was found in it and the figures."""

    name: str
    """training, validation, test or all."""
    examples: tuple[Example, ...]
    found: PosePredictions
    figures: Mapping[str, object]
    """As `summarize` returns them, with `frames`, and `human` where second labels were given."""


@dataclass(frozen=True, slots=True)
class PoseMeasurement:
    """A model measured on labelled frames; a report draws it."""

    kind: Literal["bundle", "run"]
    model: str
    """`<name>@<version>` of a bundle, name of a run."""
    engine: str
    precision: str
    confidence_cutoff: float
    keypoints: tuple[str, ...]
    skeleton: tuple[tuple[str, str], ...]
    parts: tuple[MeasuredPart, ...]
    """The reported one first."""
    metrics_table: Path | None = None
    """metrics.csv of the run."""
    steps_per_epoch: int | None = None

    def sections(self) -> dict[str, dict[str, object]]:
        """Return the figures of each part by its name."""
        return {part.name: dict(part.figures) for part in self.parts}

    def figures(self) -> dict[str, object]:
        """Return those of the reported part, and of each part where there are several."""
        chosen = self.parts[0]
        result: dict[str, object] = {
            self.kind: self.model,
            "part": chosen.name,
            "engine": self.engine,
            "precision": self.precision,
            "confidence_cutoff": self.confidence_cutoff,
            **chosen.figures,
        }
        if len(self.parts) > 1:
            result["parts"] = self.sections()
        return result


def evaluate_bundle(
    bundle: Bundle,
    data: Sequence[Path],
    *,
    part: Part | None = None,
    engine: str,
    precision: str,
    threads: int,
    options: EvaluationOptions | None = None,
) -> dict[str, object]:
    """Return the figures of `measure_bundle`."""
    return measure_bundle(
        bundle,
        data,
        part=part,
        engine=engine,
        precision=precision,
        threads=threads,
        options=options,
    ).figures()


def measure_bundle(
    bundle: Bundle,
    data: Sequence[Path],
    *,
    part: Part | None = None,
    engine: str,
    precision: str,
    threads: int,
    options: EvaluationOptions | None = None,
) -> PoseMeasurement:
    """Measure a bundle through the engine that serves it.

    Args:
        bundle: a pose bundle.
        data: labelled projects and files.
        part: of the bundle's split.json, or `all` frames; None measures each part of the split and
            reports the test frames.
        engine: auto, or an engine of `service/engine_names.py`.
        precision: auto, or one that passed the bundle's parity gate on the engine.
        threads: processor threads.
        options: what is measured beside the usual.

    Raises:
        InvalidLabels: the data cannot be read or lacks frames of the split.
        InvalidConfig: a keypoint of the bundle is not labelled.
    """
    labels = read_projects(data)
    spec = bundle.manifest.pose
    assert spec is not None, "a pose bundle has the section `pose`"
    keypoint_indices(labels.keypoints, spec.keypoints)
    text = bundle.document("split")
    split = msgspec.json.decode(text, type=Split) if text else None
    parts = _choose(labels, split, part, f"bundle {bundle.name}")
    engine, precision = choose_engine(bundle.manifest, engine, precision)
    graph = load_graph(bundle, "pose", engine=engine, precision=precision, threads=threads)
    size, cutoff = bundle.manifest.input, spec.confidence_cutoff
    return PoseMeasurement(
        kind="bundle",
        model=f"{bundle.name}@{bundle.version}",
        engine=graph.engine,
        precision=graph.precision,
        confidence_cutoff=cutoff,
        keypoints=spec.keypoints,
        skeleton=spec.skeleton,
        parts=_measure(graph, size, labels, spec.keypoints, cutoff, parts, options),
    )


def evaluate_run(
    run: Run, *, options: EvaluationOptions | None = None
) -> dict[str, dict[str, object]]:
    """Measure the torch network of a run on its own data, and write its evaluation.json.

    Args:
        run: a pose run with a checkpoint.
        options: what is measured beside the usual.

    Returns:
        The figures of `summarize`, with `frames`, by part of the split: training, validation and
        test, as far as they have frames.

    Raises:
        InvalidLabels: the run's data cannot be read or lost frames.
        NotFound: the run has no checkpoint.
    """
    return write_evaluation(run, measure_run(run, options=options))


def write_evaluation(run: Run, measured: PoseMeasurement) -> dict[str, dict[str, object]]:
    """Write evaluation.json of the run, and return what it says: the figures by part."""
    order = ("training", "validation", "test")
    sections = measured.sections()
    sections = {name: sections[name] for name in order if name in sections}
    with replacing(run.evaluation) as path:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(sections), indent=2) + b"\n")
    return sections


def measure_run(
    run: Run,
    data: Sequence[Path] = (),
    *,
    part: Part | None = None,
    options: EvaluationOptions | None = None,
) -> PoseMeasurement:
    """Measure the torch network of a run, in fp32.

    Args:
        run: a pose run with a checkpoint.
        data: labelled projects and files; empty takes those of the run.
        part: as for `measure_bundle`.
        options: what is measured beside the usual.

    Raises:
        InvalidLabels: the data cannot be read or lacks frames of the split.
        InvalidConfig: a keypoint of the run is not labelled.
        NotFound: the run has no checkpoint.
    """
    settings = read_settings(run)
    labels = read_projects(data or [Path(path) for path in settings.data])
    keypoint_indices(labels.keypoints, settings.keypoints)
    chosen = _choose(labels, run.split(), part, f"run {run.name}")
    graph = TorchEngine(read_graph(run, animals=options.animals if options else None))
    parts = _measure(graph, settings.input, labels, settings.keypoints, RUN_CUTOFF, chosen, options)
    return PoseMeasurement(
        kind="run",
        model=run.name,
        engine=graph.engine,
        precision=graph.precision,
        confidence_cutoff=RUN_CUTOFF,
        keypoints=settings.keypoints,
        skeleton=settings.skeleton,
        parts=parts,
        metrics_table=run.metrics_table if run.metrics_table.is_file() else None,
        steps_per_epoch=settings.steps_per_epoch,
    )


def _choose(
    labels: LabelledData, split: Split | None, part: Part | None, model: str
) -> dict[str, tuple[str, ...]]:
    """Names of frames by part, the reported one first."""
    if part == "all" or (split is not None and split.is_unknown):
        return {"all": tuple(labels.frames)}
    if split is None:
        raise InvalidLabels(
            f"{model} has no split.json, so its test frames are unknown; "
            "use --part all on data that it was not trained on"
        )
    named = {"test": split.test, "validation": split.validation, "training": split.training}
    chosen = {name: names for name, names in named.items() if names and part in (None, name)}
    if not chosen:
        raise InvalidLabels(
            f"the split of {model} has no {part} frames; name another part, or --part all"
        )
    reported = next(iter(chosen))
    # What is told beside the reported part may be left at home, such as the training frames.
    return {
        name: names
        for name, names in chosen.items()
        if name == reported or labels.frames.keys() >= set(names)
    }


def _measure(
    graph: Engine,
    spec: InputSpec,
    labels: LabelledData,
    keypoints: tuple[str, ...],
    cutoff: float,
    parts: Mapping[str, Sequence[str]],
    options: EvaluationOptions | None,
) -> tuple[MeasuredPart, ...]:
    wanted = options or EvaluationOptions()
    places = keypoint_indices(labels.keypoints, keypoints)
    measured: list[MeasuredPart] = []
    for name, names in parts.items():
        examples = load_examples(choose_frames(labels.frames, names), keypoints=places)
        found = predict(graph, examples, spec)
        figures = {
            "frames": len(examples),
            **summarize(found, keypoints, cutoff, wanted.figures),
        }
        # The reported part is compared with people; the others are beside it.
        if wanted.second_labels is not None and not measured:
            figures["human"] = human_figures(examples, found, keypoints, wanted.second_labels)
        measured.append(MeasuredPart(name, tuple(examples), found, figures))
    return tuple(measured)
