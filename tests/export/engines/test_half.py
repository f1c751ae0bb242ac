"""A graph in fp16 has the inputs, outputs and, nearly, the answers of the one in fp32."""

from pathlib import Path

import numpy as np
import pytest

from service.bundle import read_bundle
from service.engine import create_engine
from service.errors import BundleInvalid
from service.simulation import SimulationSettings, simulate

onnx = pytest.importorskip("onnx", reason="uv sync --extra cpu --extra train")

from export.engines.half import convert_to_half  # noqa: E402

SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "models"
HALF, FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


def load(path: Path):
    return create_engine(path, engine="onnxruntime", precision="fp32", threads=1)


def small_graph(nodes: list, constants: dict):
    """(batch, 4) float32 `numbers` to `answers`."""
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("numbers", FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("answers", FLOAT, ["batch", 4])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_keypoints_stay_where_they_are(tmp_path):
    bundle = read_bundle(SHIPPED / "openfield-mouse" / "1")
    model = onnx.load(bundle.graph_path("pose"))
    path = tmp_path / "pose.onnx"
    onnx.save(convert_to_half(model), path)
    recording = simulate(SimulationSettings(width_px=384, height_px=288, duration_s=0.4))
    frames = np.stack(list(recording.frames()))[:4]
    wanted = load(bundle.graph_path("pose")).run({"frames": frames})["keypoints"]
    half = load(path)
    found = half.run({"frames": frames})["keypoints"]
    confident = wanted[..., 2] > 0.6
    assert confident.sum() > 8
    assert found.dtype == np.float32
    assert np.abs(found - wanted)[confident].max() < 0.2  # px, and confidence
    assert half.inputs == load(bundle.graph_path("pose")).inputs


def test_the_products_are_computed_in_fp16_and_the_decoding_in_fp32():
    bundle = read_bundle(SHIPPED / "openfield-mouse" / "1")
    half = convert_to_half(onnx.load(bundle.graph_path("pose")))
    kinds = {one.name: one.data_type for one in half.graph.initializer}
    products = [node for node in half.graph.node if node.op_type == "Conv"]
    assert len(products) > 50
    assert all(kinds[node.input[1]] == HALF for node in products)
    (gather,) = [node for node in half.graph.node if node.op_type == "GatherElements"]
    assert not gather.input[0].endswith("__half")
    assert half.graph.output[0].type.tensor_type.elem_type == FLOAT


def test_a_tensor_that_is_needed_in_both_types_is_there_in_both(tmp_path):
    node = onnx.helper.make_node
    weights = {"weights": np.eye(4, dtype=np.float32), "one": np.array(1, np.float32)}
    model = small_graph(
        [
            node("MatMul", ["numbers", "weights"], ["first"]),
            node("Relu", ["first"], ["positive"]),
            node("MatMul", ["positive", "weights"], ["second"]),
            node("Add", ["second", "positive"], ["sum"]),
            node("Add", ["sum", "one"], ["answers"]),
        ],
        weights,
    )
    path = tmp_path / "small.onnx"
    onnx.save(convert_to_half(model), path)
    answers = load(path).run({"numbers": np.array([[-1, 0, 1, 2]], np.float32)})["answers"]
    np.testing.assert_array_equal(answers, [[1, 1, 3, 5]])


def test_a_constant_beyond_fp16_is_refused():
    model = small_graph(
        [onnx.helper.make_node("MatMul", ["numbers", "weights"], ["answers"])],
        {"weights": np.full((4, 4), 1e6, np.float32)},
    )
    with pytest.raises(BundleInvalid, match=r"weights holds 1e\+06, which fp16 cannot hold"):
        convert_to_half(model)


def test_a_graph_without_products_is_refused():
    model = small_graph([onnx.helper.make_node("Relu", ["numbers"], ["answers"])], {})
    with pytest.raises(BundleInvalid, match="no convolution or matrix product"):
        convert_to_half(model)
