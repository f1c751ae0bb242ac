"""Wraps the ONNX graph of another tool: frames in, keypoints out, everything between inside.

What comes before and after the graph is written in torch, exported, and joined to it, so that the
same two modules around the original file are the reference that the joined graph is held to.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, compose, inliner, version_converter
from torch import nn

from export.importers.description import Description, InputDescription
from export.importers.layers import Pixels, create_answers
from export.to_onnx import OPSET, export_graph, remove_traces
from service.engine import Tensors, TensorSpec, default_threads
from service.errors import BundleInvalid, InvalidConfig
from training.runs import code_commit

_TYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.UINT8: torch.float32,  # the cast that such graphs begin with is skipped
}
_IR_VERSION = 10


@dataclass(frozen=True, slots=True)
class Original:
    """The graph of another tool, as its file holds it."""

    path: Path
    model: ModelProto
    input_name: str
    element_type: int
    """Of the input, as ONNX numbers them."""
    fixed_batch: int | None
    """Rows that the graph takes at once; None where any number is taken."""


class OriginalReference:
    """The original file in ONNX Runtime between the two torch modules, as an engine.

    Args:
        original: the graph.
        before: frames to its input.
        after: its outputs to keypoints.
        outputs: names of those outputs, in the order of `after`'s arguments.
    """

    engine = "onnxruntime:cpu"
    precision = "fp32"
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def __init__(
        self, original: Original, before: nn.Module, after: nn.Module, outputs: tuple[str, ...]
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = default_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(original.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the binding raises its own unexported classes
            raise InvalidConfig(
                f"ONNX Runtime cannot load {original.path}: {error}; export it again with "
                f"operators of the ONNX standard, opset {OPSET} best"
            ) from error
        self._original = original
        self._before, self._after = before.eval(), after.eval()
        self._names = list(outputs)

    def answers(self, frames: NDArray[np.generic]) -> list[NDArray[np.generic]]:
        """Return the outputs of the original for (B, H, W, C) uint8 frames."""
        with torch.no_grad():
            pixels = self._before(torch.from_numpy(frames)).numpy()
        if self._original.element_type == TensorProto.UINT8:
            pixels = pixels.astype(np.uint8)
        count = self._original.fixed_batch or len(pixels)
        found = []
        for first in range(0, len(pixels), count):
            part = pixels[first : first + count]
            missing = count - len(part)
            padded = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
            values = self._session.run(self._names, {self._original.input_name: padded})
            found.append([value[: len(part)] for value in values])
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def run(self, inputs: Tensors) -> Tensors:
        """See `service.engine.Engine.run`."""
        answers = [torch.from_numpy(one) for one in self.answers(inputs["frames"])]
        with torch.no_grad():
            return {"keypoints": self._after(*answers).numpy()}


def read_original(path: Path, described: InputDescription) -> Original:
    """Read a graph and check its input against its description.

    Raises:
        InvalidConfig: it is no ONNX file, uses operators of others than the ONNX standard, or
            its input is not what the description says.
    """
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except FileNotFoundError as error:
        raise InvalidConfig(f"{path} does not exist; name an ONNX file") from error
    except Exception as error:  # protobuf, the checker and files raise classes of their own
        raise InvalidConfig(f"{path} is not a valid ONNX file: {error}; export it again") from error
    model = inliner.inline_local_functions(model)
    foreign = next((node for node in model.graph.node if node.domain not in ("", "ai.onnx")), None)
    if foreign is not None:
        raise InvalidConfig(
            f"{path} uses the operator {foreign.op_type} of {foreign.domain}, which not every "
            "engine has; export it again with operators of the ONNX standard"
        )
    weights = {tensor.name for tensor in model.graph.initializer}
    taken = [value for value in model.graph.input if value.name not in weights]
    named = [value for value in taken if described.name in ("", value.name)]
    if len(taken) != 1 or not named:
        shown = ", ".join(value.name for value in taken)
        raise InvalidConfig(
            f"{path} takes {shown}, and the description names "
            f"{described.name or 'none'}; graphs with exactly one input can be imported"
        )
    kind = taken[0].type.tensor_type
    if kind.elem_type not in _TYPES:
        raise InvalidConfig(
            f"{path} takes {TensorProto.DataType.Name(kind.elem_type)}; export it with float or "
            "uint8 pixels"
        )
    sizes = [axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim]
    _check_shape(path, sizes, described)
    return Original(path, model, taken[0].name, kind.elem_type, sizes[0])


def join(
    original: Original, description: Description, path: Path, *, animals: int
) -> tuple[Path, OriginalReference, int]:
    """Write the graph with its preprocessing and decoding inside.

    Args:
        original: the graph.
        description: what its tensors mean.
        path: where the joined graph goes; helper files are written beside it.
        animals: N where the graph leaves it open.

    Returns:
        The path, the reference, and N of the answers.

    Raises:
        InvalidConfig: an output is missing, or is not what the description says.
        BundleInvalid: the joined graph is not valid ONNX.
    """
    size = description.input
    before = Pixels(size, _TYPES[original.element_type])
    after, names = create_answers(description, animals=animals)
    known = [value.name for value in original.model.graph.output]
    lost = [name for name in names if name not in known]
    if lost:
        raise InvalidConfig(
            f"{original.path} has no output {lost[0]}; it has {', '.join(known)}: correct the "
            "description"
        )
    reference = OriginalReference(original, before, after, names)
    frames = np.zeros((2, size.height_px, size.width_px, size.channels), np.uint8)
    examples = [torch.from_numpy(one) for one in reference.answers(frames)]
    count = _check_answers(original, description, after, examples)
    first = export_graph(
        before,
        [torch.from_numpy(frames)],
        input_names=["frames"],
        output_names=["pixels"],
        dynamic_shapes=[{0: "batch"}],
        path=path.with_name("before.onnx"),
    )
    last = export_graph(
        after,
        examples,
        input_names=[f"in_{name}" for name in names],
        output_names=["keypoints"],
        dynamic_shapes=[{0: "batch"}] * len(examples),
        path=path.with_name("after.onnx"),
        metadata={"keypoints": ",".join(description.keypoints)},
    )
    joined = _merge(original, onnx.load(str(first)), onnx.load(str(last)), names)
    path.write_bytes(joined.SerializeToString(deterministic=True))
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # the checker and shape inference raise classes of their own
        raise BundleInvalid(
            f"{original.path} cannot be joined with its preprocessing: {error}; export it with "
            f"opset {OPSET} and a dynamic batch axis"
        ) from error
    return path, reference, count


def _check_shape(path: Path, sizes: list[int | None], described: InputDescription) -> None:
    colors = [described.channels]
    sides = [described.height_px, described.width_px]
    wanted = [*colors, *sides] if described.layout == "NCHW" else [*sides, *colors]
    fits = len(sizes) == 4 and all(
        size in (None, like) for size, like in zip(sizes[1:], wanted, strict=True)
    )
    if not fits:
        shown = ["any" if size is None else size for size in sizes]
        raise InvalidConfig(
            f"the input of {path} has the shape {shown}, but the description says "
            f"{['any', *wanted]} ({described.layout}); correct the description"
        )


def _check_answers(
    original: Original,
    description: Description,
    after: nn.Module,
    examples: list[torch.Tensor],
) -> int:
    """Try the decoding on two frames, and return N."""
    shapes = ", ".join(str(tuple(one.shape)) for one in examples)
    try:
        with torch.no_grad():
            found = after(*examples)
    except (RuntimeError, IndexError, ValueError) as error:
        raise InvalidConfig(
            f"the outputs of {original.path}, of shapes {shapes}, are not what the description "
            f"says: {error}; correct it"
        ) from error
    wanted = (2, len(description.keypoints), 3)
    if found.ndim != 4 or (found.shape[0], *found.shape[2:]) != wanted:
        raise InvalidConfig(
            f"the outputs of {original.path}, of shapes {shapes}, give answers of shape "
            f"{tuple(found.shape)}, but (2, animals, {wanted[1]}, 3) is expected for "
            f"{wanted[1]} keypoints; correct the description"
        )
    return int(found.shape[1])


def _merge(
    original: Original, before: ModelProto, after: ModelProto, names: tuple[str, ...]
) -> ModelProto:
    core = ModelProto()
    core.CopyFrom(original.model)
    del core.metadata_props[:]
    remove_traces(core)
    _open_batch(core, original)
    opset = next(one.version for one in core.opset_import if one.domain in ("", "ai.onnx"))
    if opset < OPSET:
        core = _convert(core, OPSET, original.path)
    elif opset > OPSET:
        before = _convert(before, opset, original.path)
        after = _convert(after, opset, original.path)
    for model in (before, core, after):
        model.ir_version = _IR_VERSION
        opsets = [one for one in model.opset_import if one.domain in ("", "ai.onnx")]
        version = opsets[0].version
        del model.opset_import[:]
        model.opset_import.append(onnx.helper.make_opsetid("", version))
        del model.metadata_props[:]  # each part may tell of another origin
    core = compose.add_prefix(core, "net_")
    pixels_io = [("pixels", f"net_{original.input_name}")]
    joined = compose.merge_models(
        compose.add_prefix(before, "in_", rename_inputs=False, rename_outputs=False),
        core,
        io_map=pixels_io,
        outputs=[f"net_{name}" for name in names],
    )
    joined = compose.merge_models(
        joined,
        compose.add_prefix(after, "out_", rename_inputs=False, rename_outputs=False),
        io_map=[(f"net_{name}", f"in_{name}") for name in names],
        outputs=["keypoints"],
    )
    version = joined.opset_import[0].version  # merging lists it once for each part
    del joined.opset_import[:]
    joined.opset_import.append(onnx.helper.make_opsetid("", version))
    joined.producer_name = "ethostream"
    onnx.helper.set_model_props(joined, {"code_commit": code_commit()})
    joined.graph.name = "pose"
    return joined


def _open_batch(core: ModelProto, original: Original) -> None:
    """Make the batch axis of the input dynamic, and a uint8 input one of floats.

    The cast that a uint8 graph begins with then does nothing: TensorRT takes no uint8 in the
    middle of a graph.
    """
    for value in core.graph.input:
        if value.name != original.input_name:
            continue
        kind = value.type.tensor_type
        if kind.elem_type == TensorProto.UINT8:
            users = [node for node in core.graph.node if value.name in node.input]
            if any(node.op_type != "Cast" for node in users):
                raise InvalidConfig(
                    f"{original.path} takes uint8 and does not cast it first; export it with "
                    "float pixels"
                )
            kind.elem_type = TensorProto.FLOAT
        kind.shape.dim[0].dim_param = "batch"
    # Shapes that were inferred for one batch size would contradict the open axis.
    del core.graph.value_info[:]
    for value in core.graph.output:
        if value.type.tensor_type.HasField("shape") and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _convert(model: ModelProto, opset: int, path: Path) -> ModelProto:
    try:
        return version_converter.convert_version(model, opset)
    except Exception as error:  # the converter raises classes of its own
        raise InvalidConfig(
            f"{path} cannot be brought to opset {opset}: {error}; export it with opset {OPSET}"
        ) from error
