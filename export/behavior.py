"""Export of a behavior run: its three graphs, their parity on real frames, figures and card."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import numpy as np
import torch

from export.behavior_card import MeasuredRecordings, write_card
from export.parity import ParityReport, Verdict, compare_engines
from export.to_onnx import export_graph
from export.write_bundle import BundleDraft
from service.behavior import present, probabilities
from service.bundle import BehaviorSpec, Provenance
from service.engine import create_engine, default_threads
from training.behavior.evaluate import Prediction, predict
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
from training.runs import Run

GATE = "fp32: at least 99.9 % of the thresholded frames equal; bf16: macro F1 at most 0.01 lower"
_FP32_EQUAL_SHARE, _BF16_F1_LOSS = 0.999, 0.01
_PARITY_FRAMES = 2000
"""Whole recordings are compared until there are that many frames."""


def draft_bundle(
    run: Run, folder: Path, *, data: Sequence[Path], description: str, license: str, about: str
) -> BundleDraft:
    """Export the best networks of a behavior run.

    Args:
        run: a finished run.
        folder: where the graphs are written.
        data: the labelled recordings; empty takes the paths that the run was trained with.
        description: one sentence for lists of models.
        license: license of the weights.
        about: Markdown for the card: sources and licenses of the data, intended use.

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
    parts = measured_parts(found, spec, settings.report)
    figures = parts[0].figures
    wanted = ("macro_f1", "accuracy", "auroc", "chance_f1", "clip_macro_f1", "clip_accuracy")
    return BundleDraft(
        task="behavior",
        description=description,
        input=settings.input,
        behavior=spec,
        graphs=paths,
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


def measure_parity(
    paths: Mapping[str, Path],
    footage: Sequence[Footage],
    reference: Sequence[Prediction],
    spec: BehaviorSpec,
) -> ParityReport:
    """Compare the engines of this machine with `reference` on the same recordings.

    Raises:
        BundleInvalid: an engine disagrees in fp32.
    """
    count, frames = 0, 0
    while count < len(footage) and frames < _PARITY_FRAMES:
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

    return compare_engines(compute, reference[:count], judge, samples=frames, gate=GATE)


def judge_behavior(
    precision: str,
    reference: Sequence[Prediction],
    found: Sequence[Prediction],
    spec: BehaviorSpec,
) -> Verdict:
    """Judge one engine's logits by `GATE`, over all answered frames."""
    wanted = np.concatenate([one.logits for one in reference])
    gotten = np.concatenate([one.logits for one in found])
    answered = ~np.isnan(wanted).any(axis=1)
    wanted, gotten = wanted[answered], gotten[answered]
    shown = present(probabilities(wanted, exclusive=spec.exclusive), spec)
    shown_too = present(probabilities(gotten, exclusive=spec.exclusive), spec)
    equal_share = float((shown == shown_too).all(axis=1).mean())
    f1 = [summarize(one, spec, shuffles=0)["macro_f1"] for one in (reference, found)]
    f1_loss = float(f1[0] or 0.0) - float(f1[1] or 0.0)  # type: ignore[arg-type]
    differences = np.abs(wanted - gotten)
    figures = {
        "frames": float(len(wanted)),
        "equal_share": equal_share,
        "mean_logit_difference": float(differences.mean()),
        "max_logit_difference": float(differences.max()),
        "macro_f1_loss": f1_loss,
    }
    is_exact = equal_share >= _FP32_EQUAL_SHARE
    passed = is_exact if precision == "fp32" else f1_loss <= _BF16_F1_LOSS
    return Verdict(passed=passed, figures=figures)


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
