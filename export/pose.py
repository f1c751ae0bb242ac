"""Export of a pose run: its graph, its parity on real frames, its figures and its card."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

from export.parity import ParityReport, Verdict, compare_engines
from export.pose_card import MeasuredPart, write_card
from export.to_onnx import export_graph
from export.write_bundle import BundleDraft
from service.bundle import PoseSpec, Provenance
from service.engine import create_engine, default_threads
from training.data.frames import Example
from training.data.labels import InvalidLabels
from training.data.projects import read_projects
from training.pose.evaluate import PosePredictions, predict, summarize
from training.pose.settings import PoseTraining
from training.pose.train import read_part, simulated_part
from training.pose.trained import PoseGraph, TorchEngine, read_graph, read_settings
from training.runs import Run

CONFIDENCE_CUTOFF = 0.6
GATE = (
    "fp32: confident keypoints at most 0.1 px of the frame away on average; "
    "bf16: error on labels at most 0.3 px worse, confident keypoints at most 0.5 px away at median"
)
_FP32_MEAN_PX, _BF16_MEDIAN_PX, _BF16_WORSE_PX = 0.1, 0.5, 0.3


def draft_bundle(
    run: Run,
    folder: Path,
    *,
    data: Sequence[Path],
    description: str,
    license: str,
    about: str,
    animals: int | None = None,
) -> BundleDraft:
    """Export the best checkpoint of a pose run.

    Args:
        run: the run.
        folder: where the graph is written.
        data: the labelled projects; empty takes the paths that the run was trained with.
        description: one sentence for lists of models.
        license: license of the weights.
        about: Markdown for the card: sources and licenses of the data, intended use.
        animals: N of the bundle; None takes as many as were labelled.

    Raises:
        BundleInvalid: the graph disagrees with the network.
        InvalidLabels: the data does not hold the frames of the run's split.
    """
    settings = read_settings(run)
    labels = read_projects(data or [Path(one) for one in settings.data])
    if labels.sha256 != settings.data_sha256:
        raise InvalidLabels(
            f"the labelled data has SHA-256 {labels.sha256[:12]}…, but run {run.name} was trained "
            f"on {settings.data_sha256[:12]}…; restore the data or train anew"
        )
    examples = read_part(settings, labels, held_out_names(run))
    graph = read_graph(run, animals=animals)
    path = export_pose_graph(graph, settings, folder / "pose.onnx")
    reference = predict(TorchEngine(graph), examples, settings.input)
    parity = measure_parity(path, reference, examples, settings)
    figures = summarize(reference, settings.keypoints, CONFIDENCE_CUTOFF)
    parts = [MeasuredPart("held-out real frames", len(examples), figures)]
    metrics = {name: figures[name] for name in ("mean_error_px", "rmse_px")}
    simulated = simulated_part(settings, "test")
    if simulated:
        found = predict(TorchEngine(graph), simulated, settings.input)
        figures = summarize(found, settings.keypoints, CONFIDENCE_CUTOFF)
        parts.append(MeasuredPart("held-out simulated frames", len(simulated), figures))
        metrics["simulated_mean_error_px"] = figures["mean_error_px"]
    return BundleDraft(
        task="pose",
        description=description,
        input=settings.input,
        pose=PoseSpec(
            keypoints=settings.keypoints,
            skeleton=settings.skeleton,
            left_right=settings.left_right,
            max_animals=graph.animals,
            unique_keypoints=settings.unique_keypoints,
            confidence_cutoff=CONFIDENCE_CUTOFF,
        ),
        graphs={"pose": path},
        parity=parity,
        card=write_card(run, settings, parts, parity, license=license, about=about),
        split=(run.directory / "split.json").read_bytes(),
        provenance=Provenance(
            run=run.name,
            code_commit=run.versions()["commit"],
            data=", ".join(labels.names),
            data_sha256=settings.data_sha256,
            license=license,
            metrics=msgspec.convert(metrics, dict[str, float]),
        ),
    )


def held_out_names(run: Run) -> tuple[str, ...]:
    """Return the frames that the export measures on: the least known ones that the split has."""
    split = run.split()
    return split.test or split.validation or split.training


def measure_parity(
    path: Path, reference: PosePredictions, examples: Sequence[Example], settings: PoseTraining
) -> ParityReport:
    """Compare the engines of this machine with `reference` on the same frames.

    Raises:
        BundleInvalid: an engine disagrees in fp32.
    """

    def compute(engine: str, precision: str) -> PosePredictions:
        loaded = create_engine(path, engine=engine, precision=precision, threads=default_threads())
        return predict(loaded, examples, settings.input)

    return compare_engines(compute, reference, judge_pose, samples=len(examples), gate=GATE)


def judge_pose(precision: str, reference: PosePredictions, found: PosePredictions) -> Verdict:
    """Judge one engine's keypoints, in px of the frame, by `GATE`.

    Rows of several animals are compared with the nearest of the other engine's, since equally
    confident ones may change places. Only points at which the reference is confident are
    compared: on flat maps the arg-max of two engines may differ by whole cells (an absent
    animal, an untrained network). Where there are none, nothing was compared and the verdict is
    against the engine.
    """
    # (F, N, K) of the reference, each to the nearest of the rows of the other engine.
    apart = found.keypoints_xy[:, None] - reference.keypoints_xy[:, :, None]
    moved = np.linalg.norm(apart, axis=4).min(axis=2)
    confident = reference.confidence >= CONFIDENCE_CUTOFF
    distances = moved[confident]
    if not distances.size:
        return Verdict(passed=False, figures={"confident_points": 0.0})
    worse_px = float(np.nanmean(found.errors_px()) - np.nanmean(reference.errors_px()))
    figures = {
        "confident_points": float(distances.size),
        "mean_distance_px": float(distances.mean()),
        "median_distance_px": float(np.median(distances)),
        "max_distance_px": float(distances.max()),
        "max_confidence_difference": float(np.abs(found.confidence - reference.confidence).max()),
        "error_increase_px": worse_px,
    }
    if precision == "fp32":
        passed = figures["mean_distance_px"] <= _FP32_MEAN_PX
    else:
        passed = figures["median_distance_px"] <= _BF16_MEDIAN_PX and worse_px <= _BF16_WORSE_PX
    return Verdict(passed=passed, figures=figures)


def export_pose_graph(graph: PoseGraph, settings: PoseTraining, path: Path) -> Path:
    """Write the graph with a dynamic batch axis."""
    spec = settings.input
    shape = (2, spec.height_px, spec.width_px, spec.channels)
    return export_graph(
        graph,
        [torch.zeros(shape, dtype=torch.uint8)],
        input_names=["frames"],
        output_names=["keypoints"],
        dynamic_shapes=[{0: "batch"}],
        path=path,
        metadata={"keypoints": ",".join(settings.keypoints)},
    )
