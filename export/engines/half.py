"""Converts an ONNX graph to fp16 where that helps: from its first matrix product to its last.

A strongly typed engine computes in the types that stand in the graph. What comes before (casting
and normalizing pixels) and after (arg-max, offsets, coordinates in px, which fp16 could not tell
apart beyond 2048) stays in fp32, and so do inputs and outputs.
"""

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from service.errors import BundleInvalid

_PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_OWN_TYPE = {"Cast", "Constant", "ConstantOfShape", "QuantizeLinear", "DequantizeLinear", "Range"}
"""Operators whose output has a type of their own choice: they stay as they are."""
_FLOAT_INPUTS = {"Resize": (1, 2)}
"""Inputs that are fp32 by the operator's definition: region and scales."""
_LARGEST = float(np.finfo(np.float16).max)


def convert_to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` that computes in fp16 between its first and last matrix product.

    Raises:
        BundleInvalid: the graph has no matrix product, holds subgraphs, or holds a constant that
            is out of the range of fp16.
    """
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    graph = typed.graph
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        raise BundleInvalid("a graph with If, Loop or Scan is not converted to fp16; take fp32")
    chosen = _between_products(list(graph.node))
    if not chosen:
        raise BundleInvalid("the graph has no convolution or matrix product; fp16 gains nothing")
    nodes = _Conversion(graph, chosen).nodes()
    constants = [one for one in graph.initializer if any(one.name in n.input for n in nodes)]
    halves = {
        name: constant
        for constant in graph.initializer
        if any((name := f"{constant.name}__half") in n.input for n in nodes)
    }
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    graph.initializer.extend(_halved(constant, name) for name, constant in halves.items())
    onnx.checker.check_model(typed, full_check=True)
    return typed


class _Conversion:
    """Rewrites the nodes; `<name>__half` is the fp16 twin of an fp32 tensor."""

    def __init__(self, graph: onnx.GraphProto, chosen: set[int]) -> None:
        self._graph = graph
        self._chosen = chosen
        values = (*graph.value_info, *graph.input, *graph.output)
        self._types = {one.name: one.type.tensor_type.elem_type for one in values}
        self._constants = {one.name: one.data_type for one in graph.initializer}
        self._halved: set[str] = set()
        """Names whose twin exists by now."""
        self._full: set[str] = {one.name for one in graph.input}
        """Names whose fp32 tensor exists by now."""

    def nodes(self) -> list[NodeProto]:
        """Return the new nodes, in an order that can be computed."""
        nodes: list[NodeProto] = []
        for number, node in enumerate(self._graph.node):
            if number in self._chosen:
                keep = _FLOAT_INPUTS.get(node.op_type, ())
                for place, name in enumerate(node.input):
                    if place not in keep and self._is_float(name):
                        nodes += self._half_of(name)
                        node.input[place] = f"{name}__half"
                    else:
                        nodes += self._full_of(name)
                for place, name in enumerate(node.output):
                    if self._is_float(name):
                        self._halved.add(name)
                        node.output[place] = f"{name}__half"
                    else:
                        self._full.add(name)
            else:
                for name in node.input:
                    nodes += self._full_of(name)
                self._full.update(node.output)
            nodes.append(node)
        for output in self._graph.output:
            nodes += self._full_of(output.name)
        return nodes

    def _is_float(self, name: str) -> bool:
        kind = self._constants.get(name, self._types.get(name))
        return bool(kind == TensorProto.FLOAT)

    def _half_of(self, name: str) -> list[NodeProto]:
        """Make the twin of an fp32 tensor where there is none; constants are halved as such."""
        if name in self._halved or name in self._constants:
            return []
        self._halved.add(name)
        return [_cast(name, f"{name}__half", TensorProto.FLOAT16)]

    def _full_of(self, name: str) -> list[NodeProto]:
        """Make the fp32 tensor of a twin where there is only that."""
        if name in self._full or name not in self._halved:
            return []
        self._full.add(name)
        return [_cast(f"{name}__half", name, TensorProto.FLOAT)]


def _between_products(nodes: list[NodeProto]) -> set[int]:
    """Return the nodes on a way from one matrix product to another, and these themselves."""
    makers = {name: number for number, node in enumerate(nodes) for name in node.output}
    after: set[int] = set()
    for number, node in enumerate(nodes):
        if node.op_type in _PRODUCTS or any(makers.get(name) in after for name in node.input):
            after.add(number)
    before: set[int] = set()
    for number in reversed(range(len(nodes))):
        if nodes[number].op_type in _PRODUCTS or number in before:
            before.add(number)
            before.update(makers[name] for name in nodes[number].input if name in makers)
    return {number for number in after & before if nodes[number].op_type not in _OWN_TYPE}


def _halved(constant: TensorProto, name: str) -> TensorProto:
    values = numpy_helper.to_array(constant)
    if values.size and not np.abs(values).max() <= _LARGEST:
        raise BundleInvalid(
            f"the constant {constant.name} holds {np.abs(values).max():.4g}, which fp16 cannot "
            "hold; take fp32"
        )
    return numpy_helper.from_array(values.astype(np.float16), name)


def _cast(name: str, to_name: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [name], [to_name], name=f"cast__{to_name}", to=to)
