"""Prepares weights of a graph for int8: equal ranges, and biases against what rounding shifts.

Both steps are of Nagel et al. 2019 (arXiv 1906.04721), with calibration frames where that paper
needs no data. They matter most for depthwise networks, whose channels differ by far in range and
whose few weights a channel round to another sum.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import numpy_helper

from service.engine import Tensors

_LARGEST_SCALE = 64.0
"""A channel that is next to silent in the calibration may speak elsewhere."""
_LEVELS = 127
_Array = NDArray[np.float32]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Channels:
    """What a layer is given, channel by channel, over all calibration frames."""

    mean: _Array
    """(channels,)."""
    peak: _Array
    """(channels,) largest value."""


def prepare_weights(
    model: onnx.ModelProto, layers: Sequence[str], batches: Sequence[Tensors]
) -> None:
    """Change weights and biases of `model` in place, for layers that are then rounded to int8.

    Args:
        model: an ONNX graph with constant weights.
        layers: names of the Conv and Gemm nodes that are to be computed in int8.
        batches: inputs of real frames.
    """
    nodes = [node for node in model.graph.node if node.name in set(layers)]
    seen = watch_layers(model, nodes, batches)
    scaled = equalize(model, nodes, seen)
    for node in nodes:
        mean = seen[node.name].mean * scaled.get(node.name, np.float32(1))
        _correct_bias(model.graph, node, mean)
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [one for one in model.graph.initializer if one.name not in used]:
        model.graph.initializer.remove(tensor)


def watch_layers(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], batches: Sequence[Tensors]
) -> dict[str, Channels]:
    """Return what each of the layers is given, by its name."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    names: list[str] = []
    for node in nodes:
        rank = max(2, len(weights[node.input[1]].dims))
        axes = numpy_helper.from_array(
            np.array([0, *range(2, rank)], np.int64), f"{node.name}/watched_axes"
        )
        watched.graph.initializer.append(axes)
        for kind in ("ReduceMean", "ReduceMax"):
            name = f"{node.name}/watched_{kind}"
            watched.graph.node.append(
                onnx.helper.make_node(kind, [node.input[0], axes.name], [name], keepdims=0)
            )
            watched.graph.output.append(
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            )
            names.append(name)
    session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    found = [dict(zip(names, session.run(names, dict(batch)), strict=True)) for batch in batches]
    sizes = [len(next(iter(batch.values()))) for batch in batches]
    return {
        node.name: Channels(
            mean=np.average(
                [one[f"{node.name}/watched_ReduceMean"] for one in found], axis=0, weights=sizes
            ).astype(np.float32),
            peak=np.max([one[f"{node.name}/watched_ReduceMax"] for one in found], axis=0),
        )
        for node in nodes
    }


def equalize(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], seen: dict[str, Channels]
) -> dict[str, _Array]:
    """Scale the channels between a layer and a depthwise one after it to one range.

    Both layers have a scale for each of these channels, so nothing is lost. The activation between
    them (ReLU, or ReLU6 below its limit) commutes with positive scales.

    Returns:
        The scales (channels,) of what a layer is given, by its name.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    readers = Counter(name for node in model.graph.node for name in node.input)
    layers = {node.name for node in nodes}
    scaled = {}
    for node in nodes:
        activation = producers.get(node.input[0])
        before = producers.get(activation.input[0]) if activation is not None else None
        if (
            not _is_depthwise(model.graph, node)
            or activation is None
            or not _is_rectifier(model.graph, activation)
            or before is None
            or before.name not in layers
            or any(
                readers[name] > 1
                for name in (*before.input[1:], *before.output, *activation.output, node.input[1])
            )
        ):
            continue
        peak = seen[node.name].peak
        scale = np.clip(peak.max() / np.maximum(peak, 1e-9), 1, _LARGEST_SCALE).astype(np.float32)
        _multiply(model.graph, before.input[1], scale)
        if len(before.input) > 2:
            _multiply(model.graph, before.input[2], scale)
        _multiply(model.graph, node.input[1], 1 / scale)
        scaled[node.name] = scale
    return scaled


def _correct_bias(graph: onnx.GraphProto, node: onnx.NodeProto, mean: _Array) -> None:
    """Move the bias by what rounding the weights changes for the mean input."""
    stored = _initializer(graph, node.input[1])
    weights = numpy_helper.to_array(stored)
    rows = weights.T if _is_transposed(node) else weights
    flat = rows.reshape(len(rows), -1)
    step = np.maximum(np.abs(flat).max(axis=1, keepdims=True) / _LEVELS, 1e-12)
    lost = (flat - np.round(flat / step) * step).reshape(rows.shape)
    groups = _attribute(node, "group", 1)
    per_input = lost.reshape(len(rows), rows.shape[1], -1).sum(axis=2)  # (out, in / groups)
    given = np.repeat(mean.reshape(groups, -1), len(rows) // groups, axis=0)
    shift = (per_input * given).sum(axis=1).astype(np.float32)
    if len(node.input) > 2 and node.input[2]:
        bias = _initializer(graph, node.input[2])
        shift = numpy_helper.to_array(bias) + shift
    name = f"{node.name}/bias"
    graph.initializer.append(numpy_helper.from_array(shift, name))
    del node.input[2:]
    node.input.append(name)


def _is_depthwise(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    group = _attribute(node, "group", 1)
    return bool(group > 1 and group == _initializer(graph, node.input[1]).dims[0])


def _is_rectifier(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    """Whether a node is ReLU, or a Clip from 0 to a constant."""
    if node.op_type != "Clip":
        return bool(node.op_type == "Relu")
    limits = {tensor.name: tensor for tensor in graph.initializer}
    lowest = limits.get(node.input[1]) if len(node.input) > 1 else None
    return lowest is not None and float(numpy_helper.to_array(lowest)) == 0.0


def _is_transposed(node: onnx.NodeProto) -> bool:
    return bool(node.op_type == "Gemm" and not _attribute(node, "transB", 0))


def _multiply(graph: onnx.GraphProto, name: str, scale: _Array) -> None:
    """Scale the first axis of a constant."""
    stored = _initializer(graph, name)
    values = numpy_helper.to_array(stored)
    values = values * scale.reshape(-1, *(1,) * (values.ndim - 1))
    stored.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))


def _initializer(graph: onnx.GraphProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in graph.initializer if tensor.name == name)


def _attribute(node: onnx.NodeProto, name: str, default: _T) -> _T:
    for attribute in node.attribute:
        if attribute.name == name:
            value: _T = onnx.helper.get_attribute_value(attribute)
            return value
    return default
