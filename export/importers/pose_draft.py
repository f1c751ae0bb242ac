"""The bundle of an imported pose network, once its graph is written: gate, figures and card."""

from pathlib import Path

from torch import nn

from export.importers.draft import ImportOptions, Origin, provenance, split, write_card
from export.importers.frames import GateFrames, read_gate_frames
from export.importers.gate import TorchReference, measure_pose
from export.pose import CONFIDENCE_CUTOFF
from export.write_bundle import BundleDraft
from service.bundle import InputSpec, PoseSpec
from service.engine import Engine
from training.pose.evaluate import PosePredictions, summarize

_IMPORTED = "the imported network, torch fp32"


def draft_pose(
    path: Path,
    reference: nn.Module | Engine,
    origin: Origin,
    size: InputSpec,
    keypoints: tuple[str, ...],
    options: ImportOptions,
    *,
    skeleton: tuple[tuple[str, str], ...] = (),
    left_right: tuple[tuple[str, str], ...] = (),
    unique_keypoints: tuple[str, ...] = (),
    animals: int | None = None,
    reference_name: str = _IMPORTED,
) -> BundleDraft:
    """Pass a graph through the gate and describe it.

    Args:
        path: the graph, frames to keypoints.
        reference: what it was made from: a torch network, or an engine.
        origin: for the card.
        size: the graph's input.
        keypoints: names on axis K.
        options: the command's.
        skeleton: pairs of keypoints that are drawn connected.
        left_right: pairs that change places in a mirror.
        unique_keypoints: those that exist once in the scene.
        animals: N of the graph; None takes that of the options.
        reference_name: as PARITY.json tells it.

    Raises:
        BundleInvalid: an engine disagrees with the reference.
        InvalidConfig: the reference is sure of nothing in the frames.
    """
    frames = read_gate_frames(
        options.frames, keypoints, most=options.most_frames, calibrates=options.int8
    )
    engine = TorchReference(reference) if isinstance(reference, nn.Module) else reference
    gate = measure_pose(path, engine, frames, size, name=reference_name)
    measured, metrics = _measured(frames, gate.found, keypoints)
    title = "Keypoints: " + ", ".join(keypoints)
    return BundleDraft(
        task="pose",
        description=options.description or f"{', '.join(keypoints)}; imported from {origin.tool}",
        input=size,
        pose=PoseSpec(
            keypoints=keypoints,
            skeleton=skeleton,
            left_right=left_right,
            max_animals=options.animals if animals is None else animals,
            unique_keypoints=unique_keypoints,
            confidence_cutoff=CONFIDENCE_CUTOFF,
        ),
        graphs={"pose": path},
        quantized=dict(gate.quantized),
        parity=gate.parity,
        card=write_card(title, origin, gate.parity, measured, options),
        split=split(),
        provenance=provenance(origin, options.license, metrics),
    )


def _measured(
    frames: GateFrames, found: PosePredictions, keypoints: tuple[str, ...]
) -> tuple[str, dict[str, float]]:
    """Return Markdown and figures of the error on labelled frames; nothing without labels."""
    if not frames.are_labelled:
        return "", {}
    figures = summarize(found, keypoints, CONFIDENCE_CUTOFF)
    metrics = {
        name: value
        for name in ("mean_error_px", "rmse_px")
        if isinstance(value := figures[name], float)
    }
    mean, points = figures["mean_error_px"], figures["points"]
    text = (
        f"Mean distance to the label: {mean:.2f} px of the frame, over {points} points of "
        f"{len(frames.examples)} {frames.source}. Whether these frames were trained on is not "
        "known."
        if isinstance(mean, float)
        else ""
    )
    return text, metrics
