"""The parity gate of imports: the imported network against each engine on the same frames.

The judges and limits are those of our own exports. Where nobody labelled the frames, the
reference's own answers stand for labels: an error, or a macro F1, that is then worse than that of
the reference is the difference between the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export import behavior, pose
from export.importers.frames import GateFootage, GateFrames
from export.parity import CANDIDATES, INT8_CANDIDATES, ParityReport, Verdict, compare_engines
from export.quantize import add_int8
from service.behavior import present, probabilities
from service.bundle import BehaviorSpec, InputSpec
from service.engine import Engine, Tensors, TensorSpec, create_engine, default_threads
from service.errors import InvalidConfig
from training.behavior.evaluate import Graph, Prediction
from training.behavior.evaluate import predict as predict_behavior
from training.data.behavior_frames import Footage
from training.data.behavior_labels import NOT_LABELLED
from training.data.frames import Example
from training.pose.evaluate import PosePredictions
from training.pose.evaluate import predict as predict_pose

_REFERENCE_LABELS = "; nobody labelled these frames, so the reference's answers stand for labels"
_NOTHING_SHOWN = "; the reference shows no behavior in them, so that only fp32 can be judged"
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Measured(Generic[_Found]):
    """What the gate says of an import."""

    parity: ParityReport
    found: _Found
    """Answers of the reference."""
    quantized: Mapping[str, Path]
    """int8 graphs by name, where an engine passed with them."""


class TorchReference:
    """A pose network computed by torch in fp32, as an engine of the service.

    Args:
        network: uint8 (B, H, W, C) frames to (B, N, K, 3) keypoints.
    """

    engine = "torch:cpu"
    precision = "fp32"
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def __init__(self, network: nn.Module) -> None:
        self._network = network.eval()

    def run(self, inputs: Tensors) -> Tensors:
        """See `service.engine.Engine.run`."""
        with torch.no_grad():
            return {"keypoints": self._network(torch.from_numpy(inputs["frames"])).numpy()}


def measure_pose(
    path: Path, reference: Engine, frames: GateFrames, size: InputSpec, *, name: str
) -> Measured[PosePredictions]:
    """Compare the engines of this machine with the reference on the same frames.

    Args:
        path: the exported graph.
        reference: computes what the graph should answer.
        frames: with labels or without; int8 is tried where they bring some to calibrate on.
        size: the graph's input.
        name: of the reference, as PARITY.json tells it.

    Raises:
        BundleInvalid: an engine disagrees in fp32.
        InvalidConfig: the reference is sure of nothing in these frames, so that nothing could be
            compared.
    """
    wanted = predict_pose(reference, frames.examples, size)
    if not (wanted.confidence >= pose.CONFIDENCE_CUTOFF).any():
        raise InvalidConfig(
            f"the imported network is nowhere sure of a keypoint (its largest confidence is "
            f"{float(wanted.confidence.max()):.2f}, {pose.CONFIDENCE_CUTOFF} counts) in "
            f"{len(frames.examples)} {frames.source}, so there is nothing to compare engines by; "
            "name frames of the kind that it was trained on with --frames"
        )

    def compare(
        graph: Path,
        examples: Sequence[Example],
        known: PosePredictions,
        candidates: Sequence[tuple[str, str]],
    ) -> ParityReport:
        def compute(engine: str, precision: str) -> PosePredictions:
            loaded = create_engine(
                graph, engine=engine, precision=precision, threads=default_threads()
            )
            found = predict_pose(loaded, examples, size)
            return replace(found, labelled_xy=known.labelled_xy)

        def judge(precision: str, one: PosePredictions, other: PosePredictions) -> Verdict:
            names = [example.name for example in examples]
            return pose.judge_pose(precision, one, other, names=names)

        gate = pose.GATE + ("" if frames.are_labelled else _REFERENCE_LABELS)
        return compare_engines(
            compute, known, judge, samples=len(examples), gate=gate, candidates=candidates
        )

    known = wanted if frames.are_labelled else _label(wanted)
    parity = compare(path, frames.examples, known, CANDIDATES)
    quantized: Mapping[str, Path] = {}
    if frames.calibration:
        expected = predict_pose(reference, frames.calibration, size)
        expected = expected if frames.are_labelled else _label(expected)
        parity, quantized = add_int8(
            parity,
            {"pose": path},
            {"pose": pose.frame_batches(frames.calibration, size)},
            on_calibration=lambda graphs: compare(
                graphs["pose"], frames.calibration, expected, INT8_CANDIDATES
            ),
            on_held_out=lambda graphs: compare(
                graphs["pose"], frames.examples, known, INT8_CANDIDATES
            ),
        )
    return Measured(_named(parity, name, frames.source), wanted, quantized)


def measure_behavior(
    paths: Mapping[str, Path],
    references: Mapping[str, Graph],
    footage: GateFootage,
    spec: BehaviorSpec,
    *,
    name: str,
) -> Measured[list[Prediction]]:
    """Compare the engines of this machine with the reference on the same recordings.

    Args:
        paths: the exported graphs.
        references: compute what the graphs should answer.
        footage: consecutive frames, labelled or not; int8 is tried where they bring some to
            calibrate on.
        spec: what the graphs answer.
        name: of the reference, as PARITY.json tells it.

    Raises:
        BundleInvalid: an engine disagrees in fp32.
    """
    recordings, calibration = footage.recordings, footage.calibration
    wanted = [predict_behavior(references, one, spec) for one in recordings]
    note = ""
    candidates: Sequence[tuple[str, str]] = CANDIDATES
    if not footage.are_labelled:
        recordings = _label_footage(recordings, wanted, spec)
        wanted = [
            replace(one, labels=known.labels) for one, known in zip(wanted, recordings, strict=True)
        ]
        answers = [predict_behavior(references, one, spec) for one in calibration]
        calibration = _label_footage(calibration, answers, spec)
        note = _REFERENCE_LABELS
        if not any((one.labels == 1).any() for one in recordings):
            note += _NOTHING_SHOWN
            candidates = [one for one in CANDIDATES if one[1] == "fp32"]
            calibration = ()
    parity = behavior.measure_parity(paths, recordings, wanted, spec, candidates=candidates)
    quantized: Mapping[str, Path] = {}
    if calibration:
        parity, quantized = behavior.add_int8(
            parity, paths, references, recordings, wanted, calibration, spec
        )
    parity = msgspec.structs.replace(parity, gate=parity.gate + note)
    return Measured(_named(parity, name, footage.source), wanted, quantized)


def _label(found: PosePredictions) -> PosePredictions:
    """Take the points that the reference is sure of for labels."""
    sure = found.confidence >= pose.CONFIDENCE_CUTOFF
    return replace(
        found, labelled_xy=np.where(sure[..., None], found.keypoints_xy, np.float32(np.nan))
    )


def _label_footage(
    footage: Sequence[Footage], found: Sequence[Prediction], spec: BehaviorSpec
) -> tuple[Footage, ...]:
    return tuple(
        replace(one, labels=_shown(answer, spec))
        for one, answer in zip(footage, found, strict=True)
    )


def _shown(answer: Prediction, spec: BehaviorSpec) -> NDArray[np.int8]:
    """(T, C) what the answer shows as labels; -1 where there is none."""
    unanswered = np.isnan(answer.logits).any(axis=1)
    values = probabilities(np.nan_to_num(answer.logits), exclusive=spec.exclusive)
    labels = present(values, spec).astype(np.int8)
    labels[unanswered] = NOT_LABELLED
    return labels


def _named(report: ParityReport, name: str, source: str) -> ParityReport:
    return msgspec.structs.replace(report, reference=f"{name}, on {source}")
