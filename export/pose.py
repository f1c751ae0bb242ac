"""Export of a pose run: its graph, its parity on real frames, its figures and its card."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

from export import quantize
from export.parity import CANDIDATES, INT8_CANDIDATES, ParityReport, Verdict, compare_engines
from export.pose_card import MeasuredPart, write_card
from export.to_onnx import export_graph
from export.write_bundle import BundleDraft
from service.bundle import InputSpec, PoseSpec, Provenance
from service.engine import Tensors, create_engine, default_threads
from service.preprocess import to_model_input
from training.data.frames import Example
from training.data.labels import InvalidLabels
from training.data.projects import read_projects
from training.pose.evaluate import PosePredictions, predict, summarize
from training.pose.settings import PoseTraining
from training.pose.train import read_part, simulated_part
from training.pose.trained import PoseGraph, TorchEngine, read_graph, read_settings
from training.runs import Run, SplitPart

CONFIDENCE_CUTOFF = 0.6
GATE = (
    "fp32: confident keypoints at most 0.1 px of the frame away on average; bf16, fp16 and int8: "
    "error on labels at most 0.3 px worse, confident keypoints at most 0.5 px away at median"
)
_FP32_MEAN_PX, _MEDIAN_PX, _WORSE_PX = 0.1, 0.5, 0.3
_CALIBRATION_FRAMES, _BATCH_FRAMES = 96, 8
_MEASURED: Mapping[SplitPart, str] = {
    "test": "held-out real frames",
    "validation": "real frames that chose the epoch (none was held out)",
    "training": "real frames that were trained on (none was held out)",
}


def draft_bundle(
    run: Run,
    folder: Path,
    *,
    data: Sequence[Path],
    description: str,
    license: str,
    about: str,
    animals: int | None = None,
    int8: bool = True,
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
        int8: quantize the graph as well; it is shipped where an engine passes with it.

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
    part, names = measured_frames(run)
    examples = read_part(settings, labels, names)
    graph = read_graph(run, animals=animals)
    path = export_pose_graph(graph, settings, folder / "pose.onnx")
    reference = predict(TorchEngine(graph), examples, settings.input)
    parity = measure_parity(path, reference, examples, settings)
    quantized: Mapping[str, Path] = {}
    if int8:
        calibration = read_part(settings, labels, calibration_names(run))
        parity, quantized = add_int8(
            parity, path, graph, reference, examples, calibration, settings
        )
    figures = summarize(reference, settings.keypoints, CONFIDENCE_CUTOFF)
    parts = [MeasuredPart(_MEASURED[part], len(examples), figures)]
    reported = ("mean_error_px", "rmse_px") if part == "test" else ()
    metrics = {name: figures[name] for name in reported}
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
        quantized=dict(quantized),
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


def measured_frames(run: Run) -> tuple[SplitPart, tuple[str, ...]]:
    """Return the part of the split that the export measures on, and its frames."""
    split = run.split()
    part = split.least_known
    return part, getattr(split, part)


def calibration_names(run: Run) -> tuple[str, ...]:
    """Return the frames that int8 is calibrated on: none of those that the export measures on."""
    split, measured = run.split(), set(measured_frames(run)[1])
    names = [name for name in (*split.training, *split.validation) if name not in measured]
    step = max(1, -(-len(names) // _CALIBRATION_FRAMES))
    return tuple(names[::step])


def measure_parity(
    path: Path,
    reference: PosePredictions,
    examples: Sequence[Example],
    settings: PoseTraining,
    *,
    candidates: Sequence[tuple[str, str]] = CANDIDATES,
) -> ParityReport:
    """Compare the engines of this machine with `reference` on the same frames.

    Raises:
        BundleInvalid: an engine disagrees in fp32.
    """

    def compute(engine: str, precision: str) -> PosePredictions:
        loaded = create_engine(path, engine=engine, precision=precision, threads=default_threads())
        return predict(loaded, examples, settings.input)

    def judge(precision: str, wanted: PosePredictions, found: PosePredictions) -> Verdict:
        names = [example.name for example in examples]
        return judge_pose(precision, wanted, found, names=names)

    return compare_engines(
        compute, reference, judge, samples=len(examples), gate=GATE, candidates=candidates
    )


def add_int8(
    parity: ParityReport,
    path: Path,
    graph: PoseGraph,
    reference: PosePredictions,
    examples: Sequence[Example],
    calibration: Sequence[Example],
    settings: PoseTraining,
) -> tuple[ParityReport, Mapping[str, Path]]:
    """Quantize the graph at `path` and measure it on the same frames as in float.

    Args:
        parity: what the engines gave in float.
        path: the exported graph; the quantized one is written beside it.
        graph: the trained network.
        reference: its answers on `examples`.
        examples: the frames that the gate measures on.
        calibration: other frames.
        settings: those of the run.

    Returns:
        The report with int8, and the quantized graph by its name where an engine passed with it.
    """
    if not calibration:
        return parity, {}
    expected = predict(TorchEngine(graph), calibration, settings.input)

    def measure(
        quantized: Mapping[str, Path], wanted: PosePredictions, frames: Sequence[Example]
    ) -> ParityReport:
        return measure_parity(
            quantized["pose"], wanted, frames, settings, candidates=INT8_CANDIDATES
        )

    return quantize.add_int8(
        parity,
        {"pose": path},
        {"pose": frame_batches(calibration, settings.input)},
        on_calibration=lambda graphs: measure(graphs, expected, calibration),
        on_held_out=lambda graphs: measure(graphs, reference, examples),
    )


def frame_batches(examples: Sequence[Example], size: InputSpec) -> list[Tensors]:
    """Return frames at model size as inputs of a pose graph."""
    inputs = [to_model_input(one.pixels, size)[0] for one in examples]
    return [
        {"frames": np.stack(inputs[first : first + _BATCH_FRAMES])}
        for first in range(0, len(inputs), _BATCH_FRAMES)
    ]


def judge_pose(
    precision: str,
    reference: PosePredictions,
    found: PosePredictions,
    *,
    names: Sequence[str] = (),
) -> Verdict:
    """Judge one engine's keypoints, in px of the frame, by `GATE`.

    Rows of several animals are compared with the nearest of the other engine's, since equally
    confident ones may change places. Only points at which the reference is confident are
    compared: on flat maps the arg-max of two engines may differ by whole cells (an absent
    animal, an untrained network). Where there are none, nothing was compared and the verdict is
    against the engine.

    Args:
        precision: fp32 has its own limit.
        reference: what torch answers in fp32.
        found: what the engine answers.
        names: of the frames, to tell which is the worst; without them their index does.
    """
    # (F, N, K) of the reference, each to the nearest of the rows of the other engine.
    apart = found.keypoints_xy[:, None] - reference.keypoints_xy[:, :, None]
    moved = np.linalg.norm(apart, axis=4).min(axis=2)
    confident = reference.confidence >= CONFIDENCE_CUTOFF
    distances = moved[confident]
    if not distances.size:
        return Verdict(passed=False, figures={"confident_points": 0.0})
    before_px, after_px = (float(np.nanmean(one.errors_px())) for one in (reference, found))
    figures = {
        "confident_points": float(distances.size),
        "mean_distance_px": float(distances.mean()),
        "median_distance_px": float(np.median(distances)),
        "max_distance_px": float(distances.max()),
        "max_confidence_difference": float(np.abs(found.confidence - reference.confidence).max()),
        "reference_error_px": before_px,
        "error_px": after_px,
        "error_increase_px": after_px - before_px,
    }
    if precision == "fp32":
        passed = figures["mean_distance_px"] <= _FP32_MEAN_PX
    else:
        passed = (
            figures["median_distance_px"] <= _MEDIAN_PX
            and figures["error_increase_px"] <= _WORSE_PX
        )
    worst = int(np.where(confident, moved, -1).reshape(len(moved), -1).max(axis=1).argmax())
    name = f"frame {worst}" + (f" ({names[worst]})" if names else "")
    return Verdict(passed=passed, figures=figures, worst_frame=name)


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
