"""Static quantization of exported graphs to int8, calibrated on real frames.

What is written is the same graph with QuantizeLinear and DequantizeLinear pairs (QDQ), which ONNX
Runtime and OpenVINO both read: weights signed with one scale per output channel, activations
unsigned between the smallest and the largest value that the calibration saw. In float stay all
that comes before the first convolution (cast, normalization), the last layers before an answer
(score maps, offsets, logits) and all that comes after them (arg-max, soft-max).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import onnx
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.calibrate import prepare_weights
from export.parity import ParityReport
from export.to_onnx import remove_traces
from service.engine import Tensors

FLOAT_LAYERS = (0, 3, 6)
"""How many of a graph's first layers stay in float, in the order in which that is tried. They see
the finest maps: they are the fastest in int8, and the error of the rest comes mostly from them."""

_LAYERS = ("Conv", "Gemm")
"""Transposed convolutions stay in float: ONNX Runtime has them in float alone."""
_ACTIVATIONS = ("Clip", "Relu", "LeakyRelu")
_FOLLOWERS = (*_ACTIVATIONS, "Add", "MaxPool", "Resize", "Concat")
"""Computed in int8 where all that they take is."""

log = logging.getLogger("ethostream.export")


class Graph(Protocol):
    """Anything that computes a graph, such as an engine."""

    def run(self, inputs: Tensors) -> Tensors:
        """Compute one batch."""
        ...


class Recorder:
    """Computes a graph and keeps what it was given, to calibrate with.

    Args:
        graph: what is computed.
        every: keep every how many-th batch; windows of frames fill the memory soon.
    """

    def __init__(self, graph: Graph, *, every: int = 1) -> None:
        self._graph = graph
        self._every = every
        self._calls = 0
        self.batches: list[Tensors] = []

    def run(self, inputs: Tensors) -> Tensors:
        """See `Graph.run`."""
        if self._calls % self._every == 0:
            self.batches.append(dict(inputs))
        self._calls += 1
        return self._graph.run(inputs)


@dataclass(frozen=True, slots=True)
class Quantization:
    """Graphs in int8 and how they came about."""

    graphs: Mapping[str, Path]
    """QDQ files by graph name; a graph that has no layer to quantize is left out."""
    note: str
    """What PARITY.json tells of it."""


def quantize_graphs(
    graphs: Mapping[str, Path],
    batches: Mapping[str, Sequence[Tensors]],
    folder: Path,
    passes: Callable[[Mapping[str, Path]], bool],
) -> Quantization | None:
    """Quantize the named graphs, with as few of their first layers in float as pass.

    Args:
        graphs: exported ONNX files by name.
        batches: for each graph that is to be quantized, inputs of real frames; none of those that
            the gate measures on.
        folder: where `<name>.int8.onnx` are written.
        passes: judges a choice by frames of the calibration.

    Returns:
        The first of `FLOAT_LAYERS` that passes, or the last one; None where no graph has a layer
        to quantize. The parity gate decides whether it is shipped.
    """
    calibration = max((sum(map(_rows, one)) for one in batches.values()), default=0)
    found: Quantization | None = None
    for float_layers in FLOAT_LAYERS:
        paths = {}
        for name, inputs in batches.items():
            path = folder / f"{name}.int8.onnx"
            if quantize_graph(graphs[name], path, inputs, float_layers=float_layers):
                paths[name] = path
        if not paths:
            return found
        first = f"the first {float_layers} layers and " if float_layers else ""
        found = Quantization(
            graphs=paths,
            note=f"int8 by static quantization of {', '.join(sorted(paths))} on {calibration} "
            f"frames that no figure here is of; in float: {first}the last ones before the answers",
        )
        if passes(paths):
            break
        log.info("int8 with %d layers in float does not pass on its calibration", float_layers)
    return found


def add_int8(
    parity: ParityReport,
    graphs: Mapping[str, Path],
    batches: Mapping[str, Sequence[Tensors]],
    *,
    on_calibration: Callable[[Mapping[str, Path]], ParityReport],
    on_held_out: Callable[[Mapping[str, Path]], ParityReport],
) -> tuple[ParityReport, Mapping[str, Path]]:
    """Quantize graphs, beside which they are written, and measure them as those in float were.

    Args:
        parity: what the engines gave in float.
        graphs: as of `quantize_graphs`.
        batches: as of `quantize_graphs`.
        on_calibration: measures quantized graphs on the frames of the calibration.
        on_held_out: measures them on the frames of `parity`.

    Returns:
        The report with int8, and the quantized graphs by name where an engine passed with them.
    """
    folder = next(iter(graphs.values())).parent
    made = quantize_graphs(graphs, batches, folder, lambda one: on_calibration(one).all_passed)
    if made is None:
        return parity, {}
    report = parity.with_int8(on_held_out(made.graphs), quantization=made.note)
    return report, made.graphs if report.has_passed("int8") else {}


def quantize_graph(
    source: Path, target: Path, batches: Sequence[Tensors], *, float_layers: int = 0
) -> bool:
    """Write `source` in int8 as `target`.

    Args:
        source: an ONNX graph.
        target: where the QDQ graph is written.
        batches: inputs of real frames, at least one.
        float_layers: how many of the first layers stay in float.

    Returns:
        Whether there was a layer to quantize; otherwise nothing is written.
    """
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # Symbolic shapes would need another package and change nothing for convolutions.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        model = onnx.load(prepared)
        for index, node in enumerate(model.graph.node):
            node.name = node.name or f"node{index}"
        chosen = _quantized_nodes(model.graph, float_layers)
        if not chosen:
            return False
        layers = [node.name for node in model.graph.node if node.op_type in _LAYERS]
        prepare_weights(model, [name for name in chosen if name in layers], batches)
        quantization.quantize_static(
            model,
            str(target),
            _Batches(batches),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=[*_LAYERS, *_FOLLOWERS],
            nodes_to_quantize=chosen,
            # The extremes: percentiles and entropy cost accuracy where activations are bounded.
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
    _finish(source, target)
    return True


class _Batches(quantization.CalibrationDataReader):  # type: ignore[misc]  # untyped
    """Hands the calibration its inputs one by one."""

    def __init__(self, batches: Sequence[Tensors]) -> None:
        self._left = iter(batches)

    def get_next(self) -> Tensors | None:
        return next(self._left, None)


def _quantized_nodes(graph: onnx.GraphProto, float_layers: int) -> list[str]:
    """Name the layers that are computed in int8 and what follows them directly."""
    constants = {tensor.name for tensor in graph.initializer}
    layers = [
        node
        for node in graph.node
        if node.op_type in _LAYERS and all(name in constants for name in node.input[1:])
    ]
    last = _last_layers(graph)
    chosen = {node.name for node in layers[float_layers:] if node.name not in last}
    produced_by = {name: node.name for node in graph.node for name in node.output}
    for node in graph.node:  # in the order of computation
        taken = [name for name in node.input if name and name not in constants]
        is_inside = bool(taken) and all(produced_by.get(name) in chosen for name in taken)
        if node.op_type in _FOLLOWERS and is_inside:
            chosen.add(node.name)
    return [node.name for node in graph.node if node.name in chosen]


def _last_layers(graph: onnx.GraphProto) -> set[str]:
    """Name the layers that reach an output of the graph through no other layer or activation."""
    producers = {name: node for node in graph.node for name in node.output}
    last: set[str] = set()
    waiting = [output.name for output in graph.output]
    seen = set(waiting)
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or node.op_type in _ACTIVATIONS:
            continue
        if node.op_type in (*_LAYERS, "ConvTranspose"):
            last.add(node.name)
            continue
        waiting += [name for name in node.input if name not in seen]
        seen.update(node.input)
    return last


def _finish(source: Path, target: Path) -> None:
    """Give the quantized file the metadata of its source and drop notes of the tools."""
    model = onnx.load(target)
    remove_traces(model)
    properties = onnx.load(source, load_external_data=False).metadata_props
    onnx.helper.set_model_props(model, {one.key: one.value for one in properties})
    model.producer_name, model.producer_version = "ethostream", ""
    onnx.checker.check_model(model, full_check=True)
    target.write_bytes(model.SerializeToString(deterministic=True))


def _rows(inputs: Tensors) -> int:
    return len(next(iter(inputs.values())))
