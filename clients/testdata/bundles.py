"""The two bundles of the test vectors: a few nodes each, with answers worked out in whole numbers.

Sums stay below 2^24 and every division is by a power of two, so that each float32 on the way is
exact: any engine that computes in fp32 gives the same keypoints and logits, to the last digit.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from clients.testdata.record import BEHAVIOR, POSE
from service.bundle import (
    BehaviorSpec,
    FileEntry,
    InputSpec,
    Manifest,
    PoseSpec,
    Provenance,
    Task,
    describe_file,
    write_manifest,
)

WIDTH_PX, HEIGHT_PX = 32, 24
_BLOCK = (1, 1, 2, HEIGHT_PX // 2, WIDTH_PX // 2)
_PIXELS = [1, 2, 3]  # axes H, W, C of a batch of frames

Node = tuple[str, list[str], str, dict[str, Any]]


def write_bundles(models: Path) -> None:
    """Write both bundles as version 1 below `models`."""
    pose = PoseSpec(keypoints=("bright", "dark"), skeleton=(("bright", "dark"),), max_animals=2)
    _write(models, POSE, "pose", {"pose": _pose_graph()}, pose=pose)
    behavior = BehaviorSpec(
        behaviors=("bright", "brightening"),
        exclusive=False,
        thresholds=(0.5, 0.75),
        min_bout_frames=(3, 2),
        frame_rate_hz=30.0,
        flow_frames=2,
        past_frames=1,
        future_frames=1,
        sequence="none",
        feature_size=2,
        state_size=0,
    )
    graphs = {"flow": _flow_graph(), "features": _features_graph()}
    _write(models, BEHAVIOR, "behavior", graphs, behavior=behavior)


def _pose_graph() -> onnx.ModelProto:
    """Animal n: the n-th brightest and the n-th darkest pixel; confidence by its gray level."""
    nodes: list[Node] = [
        ("Cast", ["frames"], "gray", {"to": TensorProto.FLOAT}),
        ("Reshape", ["gray", "flat_shape"], "flat", {}),
        ("Sub", ["full", "flat"], "inverse", {}),
        ("Concat", ["flat", "inverse"], "both", {"axis": 1}),
        ("Reshape", ["both", "both_shape"], "kinds", {}),  # (B, K, H W)
        ("TopK", ["kinds", "two"], "levels,places", {"axis": 2}),  # (B, K, N)
        ("Cast", ["places"], "places_f", {"to": TensorProto.FLOAT}),
        ("Mul", ["places_f", "per_width"], "rows_f", {}),
        ("Floor", ["rows_f"], "y", {}),
        ("Mul", ["y", "width"], "begins", {}),
        ("Sub", ["places_f", "begins"], "x", {}),
        ("Mul", ["levels", "per_level"], "confidence", {}),
        *(("Unsqueeze", [name, "last"], f"{name}_column", {}) for name in ("x", "y", "confidence")),
        ("Concat", ["x_column", "y_column", "confidence_column"], "points", {"axis": 3}),
        ("Transpose", ["points"], "keypoints", {"perm": [0, 2, 1, 3]}),  # (B, N, K, 3)
    ]
    constants = {
        "flat_shape": np.array([-1, HEIGHT_PX * WIDTH_PX]),
        "both_shape": np.array([-1, 2, HEIGHT_PX * WIDTH_PX]),
        "two": np.array([2]),
        "last": np.array([3]),
        "full": np.array(255, np.float32),
        "width": np.array(WIDTH_PX, np.float32),
        "per_width": np.array(1 / WIDTH_PX, np.float32),
        "per_level": np.array(1 / 256, np.float32),
    }
    frames = ("frames", TensorProto.UINT8, ["batch", HEIGHT_PX, WIDTH_PX, 1])
    return _model(nodes, constants, [frames], [("keypoints", ["batch", 2, 2, 3])])


def _flow_graph() -> onnx.ModelProto:
    """Every value is the step of the frames' summed gray levels, in 1024ths."""
    nodes: list[Node] = [
        ("Cast", ["frames"], "gray", {"to": TensorProto.FLOAT}),
        ("ReduceSum", ["gray", "pixel_axes"], "sums", {"keepdims": 0}),  # (B, 2)
        ("MatMul", ["sums", "step"], "steps", {}),  # (B, 1)
        ("Reshape", ["steps", "step_shape"], "steps_5d", {}),
        ("Mul", ["steps_5d", "block"], "flows", {}),
    ]
    constants = {
        "pixel_axes": np.array([2, 3, 4]),
        "step": np.array([[-1.0], [1.0]], np.float32),
        "step_shape": np.array([-1, 1, 1, 1, 1]),
        "block": np.full(_BLOCK, 1 / 1024, np.float32),
    }
    frames = ("frames", TensorProto.UINT8, ["batch", 2, HEIGHT_PX, WIDTH_PX, 1])
    return _model(nodes, constants, [frames], [("flows", ["batch", *_BLOCK[1:]])])


def _features_graph() -> onnx.ModelProto:
    """Logits: how much brighter than gray level 64 the frame is, and how much brighter it grew."""
    nodes: list[Node] = [
        ("Cast", ["frames"], "gray", {"to": TensorProto.FLOAT}),
        ("ReduceSum", ["gray", "pixel_axes"], "sums", {"keepdims": 0}),  # (B,)
        ("Sub", ["sums", "middle"], "above", {}),
        ("Mul", ["above", "per_level"], "bright", {}),
        ("Slice", ["flows", "begin", "end", "block_axes"], "corner", {}),
        ("ReduceSum", ["corner", "flow_axes"], "growth", {"keepdims": 0}),  # (B,)
        ("Mul", ["growth", "per_step"], "brightening", {}),
        *(
            ("Unsqueeze", [name, "last"], f"{name}_column", {})
            for name in ("bright", "brightening")
        ),
        ("Concat", ["bright_column", "brightening_column"], "features", {"axis": 1}),
        ("Identity", ["features"], "logits", {}),
    ]
    constants = {
        "pixel_axes": np.array(_PIXELS),
        "flow_axes": np.array([1, 2, 3, 4]),
        "block_axes": np.array([2, 3, 4]),
        "begin": np.array([0, 0, 0]),
        "end": np.array([1, 1, 1]),
        "last": np.array([1]),
        "middle": np.array(64 * HEIGHT_PX * WIDTH_PX, np.float32),
        "per_level": np.array(1 / 4096, np.float32),
        "per_step": np.array(1 / 2, np.float32),
    }
    inputs = [
        ("frames", TensorProto.UINT8, ["batch", HEIGHT_PX, WIDTH_PX, 1]),
        ("flows", TensorProto.FLOAT, ["batch", 2, *_BLOCK[2:]]),
    ]
    outputs = [("features", ["batch", 2]), ("logits", ["batch", 2])]
    return _model(nodes, constants, inputs, outputs)


def _model(
    nodes: list[Node],
    constants: dict[str, Any],
    inputs: list[tuple[str, int, list[Any]]],
    outputs: list[tuple[str, list[Any]]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs.split(","), **more) for kind, ins, outs, more in nodes],
        "vectors",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def _write(
    models: Path, name: str, task: Task, graphs: dict[str, onnx.ModelProto], **section: Any
) -> None:
    folder = models / name / "1"
    folder.mkdir(parents=True, exist_ok=True)
    entries: dict[str, FileEntry] = {}
    for graph, model in graphs.items():
        (folder / f"{graph}.onnx").write_bytes(model.SerializeToString())
        entries[graph] = describe_file(folder, f"{graph}.onnx")
    manifest = Manifest(
        name=name,
        version=1,
        task=task,
        description="Made for the clients' test vectors; knows nothing of animals",
        input=InputSpec(width_px=WIDTH_PX, height_px=HEIGHT_PX, color="gray", fit="stretch"),
        graphs=entries,
        precisions={"onnxruntime": ("fp32",), "openvino": ("fp32",)},
        provenance=Provenance(
            run="none", code_commit="none", data="none", data_sha256="", license="Apache-2.0"
        ),
        **section,
    )
    write_manifest(folder, manifest)
