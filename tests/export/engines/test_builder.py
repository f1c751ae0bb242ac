"""Real TensorRT-RTX engines are built, on any machine, and are what the graph is."""

from pathlib import Path

import numpy as np
import pytest

from export.engines.builder import RTX_TARGETS, build_engine
from service.bundle import Bundle, read_bundle
from service.engine.base import TensorSpec
from service.engine.tensorrt_library import Library
from service.errors import BundleInvalid, EngineUnavailable
from service.graph_inputs import BATCH_SIZES, example_inputs
from tests.conftest import has_gpu

pytest.importorskip("tensorrt_rtx_bindings", reason="uv sync --inexact --extra tensorrt-rtx")
onnx = pytest.importorskip("onnx", reason="uv sync --extra cpu --extra train")

SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "models"


def shapes_of(bundle: Bundle, graph: str, sizes=BATCH_SIZES) -> dict:
    return {
        size: {
            name: array.shape
            for name, array in example_inputs(bundle.manifest, graph, size).items()
        }
        for size in sizes
    }


@pytest.fixture
def layers(monkeypatch) -> list[str]:
    """What the library itself says of the layers that it built, line by line."""
    found: list[str] = []

    def logger(library: Library):
        class Listening(library.api.ILogger):
            def __init__(self) -> None:
                library.api.ILogger.__init__(self)
                self.messages: list[str] = []

            def log(self, severity, message: str) -> None:
                if message.startswith("Engine Layer Information"):
                    found.extend(message.splitlines()[1:])

        return Listening()

    monkeypatch.setattr(Library, "logger", logger)
    return found


def test_an_engine_has_the_names_and_types_of_its_graph_and_a_profile_for_each_bucket(layers):
    bundle = read_bundle(SHIPPED / "openfield-mouse" / "1")
    path = bundle.graph_path("pose")
    built = build_engine(path, shapes_of(bundle, "pose"), runtime="tensorrt-rtx")
    assert built.inputs == (TensorSpec("frames", np.dtype(np.uint8), (None, 288, 384, 3)),)
    assert built.outputs == (TensorSpec("keypoints", np.dtype(np.float32), (None, 1, 4, 3)),)
    assert built.batch_sizes == (1, 2, 4, 8)
    assert built.gpu.split() == list(RTX_TARGETS)
    text = "\n".join(layers)
    for profile, rows in enumerate(BATCH_SIZES):
        suffix = f" [profile {profile}]" if profile else ""
        assert f"frames{suffix} (UInt8[{rows},288,384,3])" in text
        assert f"keypoints{suffix} (Float[{rows},1,4,3])" in text


@pytest.mark.parametrize(
    "graph", ["features", "sequence", pytest.param("flow", marks=pytest.mark.full)]
)
def test_graphs_of_behavior_are_built(graph, layers):
    bundle = read_bundle(SHIPPED / "openfield-activity" / "1")
    sizes = (1, 8) if graph != "flow" else (1,)  # that one takes 10 s a profile and core
    built = build_engine(
        bundle.graph_path(graph), shapes_of(bundle, graph, sizes), runtime="tensorrt-rtx"
    )
    names = {
        "flow": (["frames"], ["flows"]),
        "features": (["frames", "flows"], ["features", "logits"]),
        "sequence": (["features", "state"], ["logits", "next_state"]),
    }[graph]
    assert ([one.name for one in built.inputs], [one.name for one in built.outputs]) == names
    assert len(built.plan) > 1e6
    text = "\n".join(layers)
    assert all(f"{name} " in text for part in names for name in part)


def test_an_operator_that_the_library_lacks_is_named(tmp_path):
    helper, types = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["frames"], ["numbers"], to=types.FLOAT),
            helper.make_node("Det", ["numbers"], ["keypoints"], name="determinant"),
        ],
        "odd",
        [helper.make_tensor_value_info("frames", types.UINT8, ["batch", 4, 4])],
        [helper.make_tensor_value_info("keypoints", types.FLOAT, ["batch"])],
    )
    path = tmp_path / "pose.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path
    )
    refusal = r"cannot read the graph pose.onnx \(.*determinant and operator: Det.*UNSUPPORTED_NODE"
    with pytest.raises(BundleInvalid, match=refusal):
        build_engine(path, {1: {"frames": (1, 4, 4)}}, runtime="tensorrt-rtx")


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    path = tmp_path / "pose.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(BundleInvalid, match=r"cannot read the graph pose.onnx"):
        build_engine(path, {1: {"frames": (1, 4, 4)}}, runtime="tensorrt-rtx")


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"pictures": (1, 288, 384, 3)}, "takes frames, but the bundle's section says pictures"),
        ({"frames": (1, 96, 384, 3)}, r"takes frames as \(-1, 288, 384, 3\), but .* \(1, 96"),
    ],
)
def test_a_graph_that_is_not_what_its_bundle_says_is_refused(shapes, reason):
    path = SHIPPED / "openfield-mouse" / "1" / "pose.onnx"
    with pytest.raises(BundleInvalid, match=reason):
        build_engine(path, {1: shapes}, runtime="tensorrt-rtx")


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_tensorrt_proper_is_not_built_without_its_library_or_a_gpu():
    path = SHIPPED / "openfield-mouse" / "1" / "pose.onnx"
    with pytest.raises(EngineUnavailable, match=r"TensorRT is not installed|no usable GPU"):
        build_engine(path, {1: {"frames": (1, 288, 384, 3)}}, runtime="tensorrt")
