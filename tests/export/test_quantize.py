from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export import quantize
from export.quantize import FLOAT_LAYERS, Recorder, quantize_graph, quantize_graphs
from service.engine import create_engine
from tests.export.small_network import batches_of, smooth_frames, write_small_network

pytestmark = pytest.mark.needs_train


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_network(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def quantized(graph: Path) -> Path:
    path = graph.with_name("small.int8.onnx")
    assert quantize_graph(graph, path, batches_of(smooth_frames(16, seed=1)))
    return path


def answers(path: Path, engine: str, precision: str, frames: np.ndarray) -> np.ndarray:
    loaded = create_engine(path, engine=engine, precision=precision, threads=1)
    return loaded.run({"frames": frames})["maps"]


def int8_layers(path: Path) -> list[str]:
    """Name the layers whose weights are stored in int8, in the order of computation."""
    nodes = onnx.load(path).graph.node
    dequantized = {
        name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output
    }
    return [node.name for node in nodes if node.op_type == "Conv" and node.input[1] in dequantized]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_one_int8_file_answers_in_every_engine_nearly_as_the_float_graph(
    graph: Path, quantized: Path, engine: str
) -> None:
    frames = smooth_frames(6, seed=2)  # none of those of the calibration
    wanted = answers(graph, "onnxruntime", "fp32", frames)
    for part in (frames, frames[:1]):
        found = answers(quantized, engine, "int8", part)
        error = np.abs(found - wanted[: len(part)])
        assert 0 < error.mean() < 0.03 * wanted.std()


def test_normalization_and_last_layer_stay_in_float(graph: Path, quantized: Path) -> None:
    layers = [node.name for node in onnx.load(graph).graph.node if node.op_type == "Conv"]
    assert len(layers) == 6
    assert int8_layers(quantized) == layers[:-1]
    nodes = {node.output[0]: node for node in onnx.load(quantized).graph.node}
    for node in nodes.values():
        if node.op_type in ("Sub", "Div"):
            before = nodes.get(node.input[0])
            assert before is None or before.op_type != "DequantizeLinear"


def test_the_first_layers_can_stay_in_float(graph: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.int8.onnx"
    assert quantize_graph(graph, path, batches_of(smooth_frames(4, seed=1)), float_layers=3)
    layers = [node.name for node in onnx.load(graph).graph.node if node.op_type == "Conv"]
    assert int8_layers(path) == layers[3:-1]


def test_the_int8_file_is_smaller_in_its_weights_and_tells_nothing_of_this_machine(
    graph: Path, quantized: Path
) -> None:
    model = onnx.load(quantized)
    onnx.checker.check_model(model, full_check=True)
    assert {one.key: one.value for one in model.metadata_props}["keypoints"] == "a,b"
    assert b"site-packages" not in quantized.read_bytes()
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    kinds = {one.name: one.data_type for one in model.graph.initializer}
    weights = [name for name in kinds if name.endswith("weight_quantized")]
    assert len(weights) == 5
    assert all(kinds[name] == TensorProto.INT8 for name in weights)


def test_the_same_calibration_gives_the_same_file(
    graph: Path, quantized: Path, tmp_path: Path
) -> None:
    path = tmp_path / "again.onnx"
    assert quantize_graph(graph, path, batches_of(smooth_frames(16, seed=1)))
    assert path.read_bytes() == quantized.read_bytes()


def test_a_graph_without_layers_is_not_quantized(tmp_path: Path) -> None:
    shape = ["batch", 4]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "no layers",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(model, tmp_path / "plain.onnx")
    batch = {"x": np.ones((2, 4), np.float32)}
    target = tmp_path / "plain.int8.onnx"
    assert not quantize_graph(tmp_path / "plain.onnx", target, [batch])
    assert not target.exists()
    paths, batches = {"plain": tmp_path / "plain.onnx"}, {"plain": [batch]}
    assert quantize_graphs(paths, batches, tmp_path, lambda _: True) is None


def test_more_layers_stay_in_float_until_the_calibration_passes(
    graph: Path, tmp_path: Path
) -> None:
    frames = batches_of(smooth_frames(4, seed=1))
    tried: list[int] = []

    def passes(paths: dict[str, Path]) -> bool:
        tried.append(len(int8_layers(paths["small"])))
        return len(tried) == 2

    made = quantize_graphs({"small": graph}, {"small": frames}, tmp_path, passes)
    assert made is not None
    assert tried == [5, 5 - FLOAT_LAYERS[1]]
    assert int8_layers(made.graphs["small"]) == int8_layers(tmp_path / "small.int8.onnx")
    assert "of small on 4 frames" in made.note
    assert "first 3 layers" in made.note


def test_where_nothing_passes_the_most_careful_one_is_left_for_the_gate(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "FLOAT_LAYERS", (0, 4))
    frames = batches_of(smooth_frames(4, seed=1))
    made = quantize_graphs({"small": graph}, {"small": frames}, tmp_path, lambda _: False)
    assert made is not None
    assert len(int8_layers(made.graphs["small"])) == 1


def test_a_recorder_keeps_what_a_graph_was_given(graph: Path) -> None:
    recorder = Recorder(create_engine(graph, engine="onnxruntime", precision="fp32", threads=1))
    frames = smooth_frames(3, seed=1)
    answer = recorder.run({"frames": frames})
    assert answer["maps"].shape == (3, 2, 16, 16)
    assert [batch["frames"] is frames for batch in recorder.batches] == [True]
    seldom = Recorder(recorder, every=2)
    for _ in range(3):
        seldom.run({"frames": frames})
    assert (len(seldom.batches), len(recorder.batches)) == (2, 4)
