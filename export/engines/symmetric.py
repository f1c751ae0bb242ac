"""Converts an int8 graph to the form that TensorRT reads: signed, symmetric, biases in float.

The graphs of `export.quantize` have unsigned activations with a zero point, which ONNX Runtime and
OpenVINO compute best, and biases of 32 bits; TensorRT knows neither. A scale grows until both ends
of its range fit around 0, so that up to one bit is lost: the gate judges the engine on its own.
The ends stay where they were, by clips: the quantizer took the activation functions out of the
graph whose work the saturation of unsigned numbers does.
"""

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from service.errors import BundleInvalid

_PAIR = ("QuantizeLinear", "DequantizeLinear")
_LARGEST_U8, _LARGEST_S8 = 255, 127


def convert_to_symmetric(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` whose quantization is symmetric in int8.

    Raises:
        BundleInvalid: the graph is not quantized, or scales are computed in it.
    """
    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph = found.graph
    constants = {one.name: one for one in graph.initializer}
    if not any(node.op_type in _PAIR for node in graph.node):
        raise BundleInvalid("the graph is not quantized; take the precision fp32 or fp16")
    nodes = []
    for node in graph.node:
        if node.op_type in _PAIR:
            if any(name not in constants for name in node.input[1:]) or len(node.input) != 3:
                raise BundleInvalid(
                    f"{node.name} of the graph has no constant scale and zero point; export the "
                    "bundle again"
                )
            bias = constants.get(node.input[0])
            if bias is not None and bias.data_type == TensorProto.INT32:
                _add(graph, constants, node.output[0], _dequantized(node, constants))
                continue
            if constants[node.input[2]].data_type == TensorProto.UINT8:
                if node.op_type == "QuantizeLinear":
                    nodes.append(_clip(node, graph, constants))
                _center(node, graph, constants)
        nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [one for one in graph.initializer if one.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    onnx.checker.check_model(found, full_check=True)
    return found


def _clip(node: NodeProto, graph: onnx.GraphProto, constants: dict[str, TensorProto]) -> NodeProto:
    """Keep what is quantized inside the range that it had; `node` takes the clipped values."""
    scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:])
    names = []
    for end, level in (("least", 0), ("most", _LARGEST_U8)):
        names.append(f"{node.input[1]}__{end}_{node.input[2]}")
        _add(graph, constants, names[-1], ((level - zero.astype(np.float32)) * scale))
    clipped = f"{node.output[0]}__clipped"
    clip = helper.make_node("Clip", [node.input[0], *names], [clipped], name=clipped)
    node.input[0] = clipped
    return clip


def _center(node: NodeProto, graph: onnx.GraphProto, constants: dict[str, TensorProto]) -> None:
    """Give a quantization of activations, or its inverse, a signed range around 0."""
    scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:])
    reach = np.maximum(zero, _LARGEST_U8 - zero).astype(np.float32) * scale
    names = [f"{node.input[1]}__centered_{node.input[2]}", f"{node.input[2]}__centered"]
    _add(graph, constants, names[0], (reach / _LARGEST_S8).astype(np.float32))
    _add(graph, constants, names[1], np.zeros_like(zero, np.int8))
    node.input[1:] = names


def _dequantized(
    node: NodeProto, constants: dict[str, TensorProto]
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    whole, scale, zero = (
        numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input
    )
    return np.asarray((whole - zero) * scale, np.float32)


def _add(
    graph: onnx.GraphProto,
    constants: dict[str, TensorProto],
    name: str,
    values: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]",
) -> None:
    if name not in constants:
        constants[name] = numpy_helper.from_array(np.asarray(values), name)
        graph.initializer.append(constants[name])
