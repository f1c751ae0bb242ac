"""Engines under test compute the shipped bundles' graphs, and one tiny int8 graph."""

from pathlib import Path

import numpy as np
import pytest

from service.bundle import Bundle, read_bundle

SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "models"


@pytest.fixture(scope="session")
def mouse() -> Bundle:
    """The shipped pose bundle."""
    return read_bundle(SHIPPED / "openfield-mouse" / "1")


@pytest.fixture(scope="session")
def activity() -> Bundle:
    """The shipped behavior bundle that has a sequence graph."""
    return read_bundle(SHIPPED / "openfield-activity" / "1")


@pytest.fixture(scope="session")
def int8_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A QDQ graph that doubles (B, 4) float32 numbers in steps of 0.1."""
    onnx = pytest.importorskip("onnx", reason="onnx comes with the train extra")
    helper, types = onnx.helper, onnx.TensorProto
    constants = {
        "step": np.array(0.1, np.float32),
        "zero": np.array(0, np.int8),
        "weights": 20 * np.eye(4, dtype=np.int8),
    }
    nodes = [
        ("QuantizeLinear", ["numbers", "step", "zero"], "q"),
        ("DequantizeLinear", ["q", "step", "zero"], "dq"),
        ("DequantizeLinear", ["weights", "step", "zero"], "w"),
        ("MatMul", ["dq", "w"], "doubled"),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes],
        "doubles",
        [helper.make_tensor_value_info("numbers", types.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("doubled", types.FLOAT, ["batch", 4])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = tmp_path_factory.mktemp("int8") / "doubles.int8.onnx"
    onnx.save(model, path)
    return path
