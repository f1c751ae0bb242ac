"""A trained behavior run as graphs: what its bundle would answer, computed by torch in fp32."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import torch
from torch import Tensor, nn

from service.behavior import probabilities
from service.behavior_statistics import best_thresholds
from service.bundle import BehaviorSpec
from service.engine import Tensors
from training.behavior.evaluate import EvaluationOptions, measure_recordings
from training.behavior.features import stored_logits
from training.behavior.flow_pictures import write_flow_report
from training.behavior.networks.base import FlowGenerator
from training.behavior.networks.causal_head import CausalHead
from training.behavior.presets import SequenceModel, window_shape
from training.behavior.settings import BehaviorTraining, Decisions
from training.behavior.stages import (
    Networks,
    read_decisions,
    read_networks,
    read_run_data,
    read_settings,
)
from training.data.behavior_frames import Footage, load_footage
from training.data.behavior_labels import read_behavior_project
from training.runs import Run


def evaluate_run(run: Run, data: Sequence[Path], options: EvaluationOptions) -> dict[str, object]:
    """Measure the best networks of a finished run, in fp32.

    Args:
        run: a behavior run.
        data: labelled recordings; empty takes those that it was trained from.
        options: what is measured and written; engine, precision and threads do not count. A
            report also gets flow.json and flow.png: how well the flow explains the next frame.

    Returns:
        The figures of `training.behavior.evaluate.measure_recordings`, with what was measured,
        and `features_alone`, the same without the sequence, where that is asked for.

    Raises:
        NotFound: the training has not finished.
        InvalidLabels: the labelled data changed since, or cannot be read.
        InvalidConfig: recordings are neither labelled nor answered.
    """
    settings, networks = read_settings(run), read_networks(run)
    spec = behavior_spec(settings, read_decisions(run), networks)
    if data:
        project = read_behavior_project(
            data, exclusive=settings.exclusive, behaviors=settings.behaviors
        )
    else:
        project = read_run_data(settings, [Path(one) for one in settings.data])
    chosen = project.choose(run.split().test) if options.part == "test" else project.recordings
    told = {"run": run.name, "part": options.part, "engine": "torch:cpu", "precision": "fp32"}
    figures = measure_recordings(
        torch_graphs(networks), chosen, settings.input, spec, options, title=run.name
    )
    if options.report is not None:
        write_flow_report(networks.flow, load_footage(chosen, settings.input), options.report)
    if options.features_alone and networks.sequence is not None:
        validation = load_footage(project.choose(run.split().validation), settings.input)
        figures["features_alone"] = measure_recordings(
            torch_graphs(networks),
            chosen,
            settings.input,
            without_sequence(networks, settings, spec, validation),
            EvaluationOptions(part=options.part),
            title=run.name,
        )
    return told | figures


def without_sequence(
    networks: Networks,
    settings: BehaviorTraining,
    spec: BehaviorSpec,
    validation: Sequence[Footage],
) -> BehaviorSpec:
    """Return the spec of the features alone, with thresholds that suit them on validation."""
    thresholds = spec.thresholds
    if validation and not spec.exclusive:
        logits, labels = stored_logits(networks.flow, networks.features, validation, settings)
        known = (labels >= 0).all(axis=1)
        values = probabilities(logits[known], exclusive=False)
        thresholds = tuple(map(float, best_thresholds(labels[known] == 1, values)))
    return msgspec.structs.replace(
        spec,
        thresholds=thresholds,
        sequence="none",
        sequence_past_frames=0,
        sequence_future_frames=0,
        future_frames=spec.feature_future_frames,
        state_size=0,
        state_frames=None,
    )


def torch_graphs(networks: Networks) -> dict[str, "TorchGraph"]:
    """Return the graphs of a bundle by their names."""
    graphs = {
        "flow": TorchGraph(FlowGraph(networks.flow), ["frames"], ["flows"]),
        "features": TorchGraph(networks.features, ["frames", "flows"], ["features", "logits"]),
    }
    if networks.sequence is not None:
        graphs["sequence"] = TorchGraph(networks.sequence, *sequence_names(networks.sequence))
    return graphs


def behavior_spec(
    settings: BehaviorTraining, decisions: Decisions, networks: Networks
) -> BehaviorSpec:
    """Return what a bundle of these networks answers, and which frames an answer looks at."""
    shape, sequence = window_shape(settings), networks.sequence
    past, future = 0, 0
    if sequence is not None and not isinstance(sequence, CausalHead):
        past, future = sequence.past_frames, sequence.future_frames
    kind: Literal["causal", "window", "none"] = "none"
    if sequence is not None:
        kind = "causal" if isinstance(sequence, CausalHead) else "window"
    return BehaviorSpec(
        behaviors=settings.behaviors,
        exclusive=settings.exclusive,
        thresholds=decisions.thresholds,
        min_bout_frames=decisions.min_bout_frames,
        frame_rate_hz=settings.frame_rate_hz,
        flow_frames=settings.flow_frames,
        past_frames=shape.past_frames,
        future_frames=shape.future_frames + future,
        flow_input_frames=networks.flow.input_frames,
        feature_input_frames=networks.features.input_frames,
        window_fill=settings.window_fill,
        sequence=kind,
        sequence_past_frames=past,
        sequence_future_frames=future,
        feature_size=networks.features.feature_size,
        state_size=sequence.state_size if isinstance(sequence, CausalHead) else 0,
        state_frames=sequence.memory_frames if isinstance(sequence, CausalHead) else None,
    )


def sequence_names(network: SequenceModel) -> tuple[list[str], list[str]]:
    """Names of the inputs and outputs of the sequence graph."""
    if isinstance(network, CausalHead):
        return ["features", "state"], ["logits", "next_state"]
    return ["features", "valid"], ["logits"]


class FlowGraph(nn.Module):
    """The flow graph that serves: the finest flows of a generator."""

    def __init__(self, network: FlowGenerator) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        """(B, W, H, W_px, C) uint8 to flows (B, W - 1, 2, H/2, W_px/2) in px per frame."""
        finest: Tensor = self.network(frames)[0]
        return finest


class TorchGraph:
    """A graph computed by torch in fp32: what engines are compared with, and runs measured by."""

    def __init__(self, module: nn.Module, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._module = module.eval()
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)

    def run(self, inputs: Tensors) -> Tensors:
        """See `service.engine.Engine.run`."""
        with torch.no_grad():
            answers = self._module(*(torch.from_numpy(inputs[name]) for name in self._inputs))
        values = answers if isinstance(answers, tuple) else (answers,)
        return {name: value.numpy() for name, value in zip(self._outputs, values, strict=True)}
