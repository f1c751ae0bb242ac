"""Exports a torch module to one ONNX file that every engine of the service reads."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from service.errors import BundleInvalid
from training.runs import code_commit

OPSET = 18
"""The one that the exporter's own operators are written in; for a newer one it only raises their
versions. The networks have the same nodes from 18 to 23, and nothing gets faster, but older
run-times read 18 as well. README.md has what was tried."""


def export_graph(
    module: nn.Module,
    example_inputs: Sequence[Tensor],
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    dynamic_shapes: Sequence[Mapping[int, str]],
    path: Path,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write `module` as the ONNX file `path`, weights inside, and check it.

    The exporter simplifies it: constants are folded, norms fused into convolutions, repeated and
    idle nodes removed.

    Args:
        module: the graph; it is exported in evaluation mode, as it stands on the CPU.
        example_inputs: one tensor per input. Dynamic axes need a size of 2 or more, since sizes
            of 1 are taken for fixed.
        input_names: one name per input.
        output_names: one name per output.
        dynamic_shapes: for each input, the names of its dynamic axes by their number.
        path: where the file goes.
        metadata: stored with the graph, such as the name of the bundle.

    Raises:
        BundleInvalid: the written file is not a valid ONNX graph.
    """
    axes = [
        {axis: torch.export.Dim(name) for axis, name in shape.items()} for shape in dynamic_shapes
    ]
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter warns of its own dependencies; what it writes is checked below.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            tuple(example_inputs),
            dynamo=True,
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_shapes=tuple(axes),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None, "the dynamo exporter returns a program"
    graph = program.model_proto
    remove_traces(graph)
    onnx.helper.set_model_props(graph, {"code_commit": code_commit(), **(metadata or {})})
    graph.producer_name = "ethostream"
    path.write_bytes(graph.SerializeToString(deterministic=True))
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except onnx.checker.ValidationError as error:
        raise BundleInvalid(f"{path} is not a valid ONNX graph: {error}") from error
    return path


def remove_traces(graph: onnx.ModelProto) -> None:
    """Drop what the exporter notes of the source: paths of this machine, in every node."""
    graph.doc_string = ""
    graph.graph.doc_string = ""
    del graph.graph.metadata_props[:]
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output):
        del value.metadata_props[:]
    for tensor in graph.graph.initializer:
        del tensor.metadata_props[:]
