"""Export of a behavior run: its three graphs, their parity on real frames, figures and card."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import numpy as np
import torch

from export import quantize
from export.behavior_card import MeasuredRecordings, write_card
from export.parity import CANDIDATES, INT8_CANDIDATES, ParityReport, Verdict, compare_engines
from export.quantize import Recorder
from export.to_onnx import export_graph
from export.write_bundle import BundleDraft
from service.behavior import present, probabilities
from service.bundle import BehaviorSpec, Provenance
from service.engine import create_engine, default_threads
from training.behavior.evaluate import Graph, Prediction, predict
from training.behavior.figures import summarize
from training.behavior.networks.causal_head import CausalHead
from training.behavior.settings import BehaviorTraining
from training.behavior.stages import (
    Networks,
    read_decisions,
    read_networks,
    read_run_data,
    read_settings,
)
from training.behavior.trained import FlowGraph, behavior_spec, sequence_names, torch_graphs
from training.data.behavior_frames import Footage, load_footage
from training.data.behavior_labels import BehaviorProject
from training.runs import Run, Split

GATE = (
    "fp32: at least 99.9 % of the thresholded frames equal; bf16, fp16 and int8: macro F1 at most "
    "0.01 lower"
)
_FP32_EQUAL_SHARE, _F1_LOSS = 0.999, 0.01
PARITY_FRAMES = 10_000
"""Whole recordings are compared until there are that many frames."""
_CALIBRATION_RECORDINGS, _CALIBRATION_FRAMES = 8, 6000
_RANGE_FRAMES = 128
"""Of the calibration, evenly taken, that ranges are drawn from; all of them judge the result."""
_CONTEXT_FRAMES = 16
_QUANTIZED = ("flow", "features")
"""The sequence graph stays in float: it is small, and its errors would add up in its state."""


def draft_bundle(
    run: Run,
    folder: Path,
    *,
    data: Sequence[Path],
    description: str,
    license: str,
    about: str,
    int8: bool = True,
) -> BundleDraft:
    """Export the best networks of a behavior run.

    Args:
        run: a finished run.
        folder: where the graphs are written.
        data: the labelled recordings; empty takes the paths that the run was trained with.
        description: one sentence for lists of models.
        license: license of the weights.
        about: Markdown for the card: sources and licenses of the data, intended use.
        int8: quantize flow and features as well; shipped where an engine passes with them.

    Raises:
        BundleInvalid: a graph disagrees with its network.
        InvalidLabels: the data is not that of the run.
        NotFound: the run is not finished.
    """
    settings = read_settings(run)
    networks = read_networks(run)
    spec = behavior_spec(settings, read_decisions(run), networks)
    project = read_run_data(settings, list(data) or [Path(one) for one in settings.data])
    paths = export_behavior_graphs(networks, settings, folder)
    references = torch_graphs(networks)
    footage = load_footage(project.choose(run.split().test), settings.input)
    found = [predict(references, one, spec) for one in footage]
    parity = measure_parity(paths, footage, found, spec)
    quantized: Mapping[str, Path] = {}
    if int8:
        calibration = calibration_footage(project, run.split(), settings)
        parity, quantized = add_int8(parity, paths, references, footage, found, calibration, spec)
    parts = measured_parts(found, spec, settings.report)
    figures = parts[0].figures
    wanted = ("macro_f1", "accuracy", "auroc", "chance_f1", "clip_macro_f1", "clip_accuracy")
    return BundleDraft(
        task="behavior",
        description=description,
        input=settings.input,
        behavior=spec,
        graphs=paths,
        quantized=dict(quantized),
        parity=parity,
        card=write_card(run, settings, spec, parts, parity, license=license, about=about),
        split=(run.directory / "split.json").read_bytes(),
        provenance=Provenance(
            run=run.name,
            code_commit=run.versions()["commit"],
            data=", ".join(sorted({Path(one).name for one in settings.data})),
            data_sha256=settings.data_sha256,
            license=license,
            metrics=msgspec.convert(
                {name: figures[name] for name in wanted if figures.get(name) is not None},
                dict[str, float],
            ),
        ),
    )


def export_behavior_graphs(
    networks: Networks, settings: BehaviorTraining, folder: Path
) -> dict[str, Path]:
    """Write flow.onnx, features.onnx and, if there is one, sequence.onnx, with dynamic batch."""
    spec = settings.input
    window = settings.flow_frames + 1
    frames = torch.zeros(
        (2, window, spec.height_px, spec.width_px, spec.channels), dtype=torch.uint8
    )
    flows = torch.zeros((2, settings.flow_frames, 2, spec.height_px // 2, spec.width_px // 2))
    metadata = {"behaviors": ",".join(settings.behaviors)}
    export_graph(
        FlowGraph(networks.flow),
        [frames[:, : networks.flow.input_frames]],
        input_names=["frames"],
        output_names=["flows"],
        dynamic_shapes=[{0: "batch"}],
        path=folder / "flow.onnx",
        metadata=metadata,
    )
    export_graph(
        networks.features,
        [frames if networks.features.input_frames > 1 else frames[:, 0], flows],
        input_names=["frames", "flows"],
        output_names=["features", "logits"],
        dynamic_shapes=[{0: "batch"}, {0: "batch"}],
        path=folder / "features.onnx",
        metadata=metadata,
    )
    if networks.sequence is None:
        return {name: folder / f"{name}.onnx" for name in ("flow", "features")}
    inputs, outputs = sequence_names(networks.sequence)
    features = torch.zeros(2, 3, networks.features.feature_size)
    time_too: dict[int, str] = {0: "batch", 1: "time"}
    second = (
        (torch.zeros(2, networks.sequence.state_size), {0: "batch"})
        if isinstance(networks.sequence, CausalHead)
        else (torch.ones(2, 3), time_too)
    )
    export_graph(
        networks.sequence,
        [features, second[0]],
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=[time_too, second[1]],
        path=folder / "sequence.onnx",
        metadata=metadata,
    )
    return {name: folder / f"{name}.onnx" for name in ("flow", "features", "sequence")}


def calibration_footage(
    project: BehaviorProject, split: Split, settings: BehaviorTraining
) -> list[Footage]:
    """Read recordings that trained or chose epochs: none of those that the export measures on."""
    names = [name for name in (*split.training, *split.validation) if name not in set(split.test)]
    chosen = names[:: max(1, -(-len(names) // _CALIBRATION_RECORDINGS))]
    found = load_footage(project.choose(chosen), settings.input)
    labelled = [one for one in found if one.known.any()]
    return [_stretch(one, _CALIBRATION_FRAMES // len(labelled)) for one in labelled]


def measure_parity(
    paths: Mapping[str, Path],
    footage: Sequence[Footage],
    reference: Sequence[Prediction],
    spec: BehaviorSpec,
    *,
    candidates: Sequence[tuple[str, str]] = CANDIDATES,
) -> ParityReport:
    """Compare the engines of this machine with `reference` on the same recordings.

    Raises:
        BundleInvalid: an engine disagrees in fp32.
    """
    count, frames = 0, 0
    while count < len(footage) and frames < PARITY_FRAMES:
        frames += len(footage[count].frames)
        count += 1

    def compute(engine: str, precision: str) -> Sequence[Prediction]:
        graphs = {
            name: create_engine(path, engine=engine, precision=precision, threads=default_threads())
            for name, path in paths.items()
        }
        return [predict(graphs, one, spec) for one in footage[:count]]

    def judge(precision: str, wanted: Sequence[Prediction], found: Sequence[Prediction]) -> Verdict:
        return judge_behavior(precision, wanted, found, spec)

    return compare_engines(
        compute, reference[:count], judge, samples=frames, gate=GATE, candidates=candidates
    )


def add_int8(
    parity: ParityReport,
    paths: Mapping[str, Path],
    references: Mapping[str, Graph],
    footage: Sequence[Footage],
    reference: Sequence[Prediction],
    calibration: Sequence[Footage],
    spec: BehaviorSpec,
) -> tuple[ParityReport, Mapping[str, Path]]:
    """Quantize flow and features and measure them on the same recordings as in float.

    Args:
        parity: what the engines gave in float.
        paths: the exported graphs; the quantized ones are written beside them.
        references: the trained networks.
        footage: the recordings that the gate measures on.
        reference: what the networks answer on them.
        calibration: other recordings.
        spec: what the graphs answer.

    Returns:
        The report with int8, and the quantized graphs by name where an engine passed with them.
    """
    every = max(1, sum(len(one.frames) for one in calibration) // _RANGE_FRAMES)
    recorders = {name: Recorder(references[name], every=every) for name in _QUANTIZED}
    expected = [predict({**references, **recorders}, one, spec) for one in calibration]
    batches = {name: recorder.batches for name, recorder in recorders.items()}
    if not all(batches.values()):
        return parity, {}

    def measure(
        quantized: Mapping[str, Path], frames: Sequence[Footage], wanted: Sequence[Prediction]
    ) -> ParityReport:
        graphs = {**paths, **quantized}
        return measure_parity(graphs, frames, wanted, spec, candidates=INT8_CANDIDATES)

    return quantize.add_int8(
        parity,
        paths,
        batches,
        on_calibration=lambda graphs: measure(graphs, calibration, expected),
        on_held_out=lambda graphs: measure(graphs, footage, reference),
    )


def judge_behavior(
    precision: str,
    reference: Sequence[Prediction],
    found: Sequence[Prediction],
    spec: BehaviorSpec,
) -> Verdict:
    """Judge one engine's logits by `GATE`, over all frames that the reference answers.

    An engine that answers fewer fails. Where the reference finds next to nothing of what is
    labelled, F1 has nothing to lose: the verdict is then against every precision but fp32.

    Args:
        precision: fp32 has its own limit.
        reference: what torch answers in fp32.
        found: what the engine answers.
        spec: what the graphs answer.

    Raises:
        InvalidConfig: the reference answers no labelled frame.
    """
    wanted = np.concatenate([one.logits for one in reference])
    gotten = np.concatenate([one.logits for one in found])
    names = [f"frame {i} of {one.name}" for one in reference for i in range(len(one.logits))]
    answered = ~np.isnan(wanted).any(axis=1)
    wanted, gotten = wanted[answered], gotten[answered]
    frames = np.flatnonzero(answered)
    lost = ~np.isfinite(gotten).all(axis=1)
    if lost.any():
        figures = {"frames": float(len(wanted)), "unanswered_frames": float(lost.sum())}
        return Verdict(passed=False, figures=figures, worst_frame=names[frames[lost.argmax()]])
    shown = present(probabilities(wanted, exclusive=spec.exclusive), spec)
    shown_too = present(probabilities(gotten, exclusive=spec.exclusive), spec)
    equal_share = float((shown == shown_too).all(axis=1).mean())
    before, after = (_macro_f1(one, spec) for one in (reference, found))
    differences = np.abs(wanted - gotten)
    figures = {
        "frames": float(len(wanted)),
        "equal_share": equal_share,
        "mean_logit_difference": float(differences.mean()),
        "max_logit_difference": float(differences.max()),
        "reference_macro_f1": before,
        "macro_f1": after,
        "macro_f1_loss": before - after,
    }
    is_exact = equal_share >= _FP32_EQUAL_SHARE
    is_close = before > _F1_LOSS and before - after <= _F1_LOSS
    passed = is_exact if precision == "fp32" else is_close
    worst = frames[differences.max(axis=1).argmax()]
    return Verdict(passed=passed, figures=figures, worst_frame=names[worst])


def _macro_f1(answers: Sequence[Prediction], spec: BehaviorSpec) -> float:
    return float(summarize(answers, spec, shuffles=0)["macro_f1"] or 0.0)  # type: ignore[arg-type]


def _stretch(footage: Footage, frames: int) -> Footage:
    """That many frames of a recording, from shortly before its first labelled one."""
    first = max(0, int(footage.known.argmax()) - _CONTEXT_FRAMES)
    clips = (
        (max(begin, first) - first, min(end, first + frames) - first)
        for begin, end in footage.clips
        if end > first and begin < first + frames
    )
    part = slice(first, first + frames)
    return Footage(footage.name, footage.frames[part], footage.labels[part], tuple(clips))


def measured_parts(
    found: Sequence[Prediction], spec: BehaviorSpec, report: Sequence[str]
) -> list[MeasuredRecordings]:
    """Return figures of all recordings, then of those that each pattern of `report` names."""
    groups = [("all test recordings", list(found))]
    for pattern in report:
        groups.append((f"`{pattern}`", [one for one in found if fnmatchcase(one.name, pattern)]))
    return [
        MeasuredRecordings(title, len(group), summarize(group, spec))
        for title, group in groups
        if group
    ]
