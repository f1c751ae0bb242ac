from pathlib import Path

import numpy as np
import onnx.parser
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from export.to_onnx import OPSET, export_graph
from tests.export.simplified import removable_nodes

pytestmark = pytest.mark.needs_train


class Brighten(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Linear(3, 3, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        return self.gain(frames.float()).mean(dim=(1, 2))


def test_a_graph_is_one_file_with_a_dynamic_batch_and_no_traces_of_this_machine(
    tmp_path: Path,
) -> None:
    module = Brighten()
    path = export_graph(
        module,
        [torch.zeros(2, 8, 8, 3, dtype=torch.uint8)],
        input_names=["frames"],
        output_names=["means"],
        dynamic_shapes=[{0: "batch"}],
        path=tmp_path / "graph.onnx",
        metadata={"keypoints": "a,b"},
    )
    assert [one.name for one in tmp_path.iterdir()] == ["graph.onnx"]
    model = onnx.load(path)
    assert model.opset_import[0].version == OPSET
    assert {one.key: one.value for one in model.metadata_props}["keypoints"] == "a,b"
    assert b".py" not in path.read_bytes()

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    for batch in (frames, frames[:1]):
        answer = session.run(["means"], {"frames": batch})[0]
        expected = module(torch.from_numpy(batch)).detach().numpy()
        assert np.abs(answer - expected).max() < 1e-3


class Wordy(nn.Module):
    """Scales, drops nothing, norms and computes a thing twice, as networks in training do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.nothing = nn.Identity()

    def forward(self, frames: Tensor) -> Tensor:
        pixels = frames.float().permute(0, 3, 1, 2) / torch.full((1, 3, 1, 1), 2.0).sqrt().pow(2)
        maps = self.nothing(self.drop(self.norm(self.conv(pixels))))
        return maps.relu() + maps.relu()


def test_what_computes_nothing_is_not_exported(tmp_path: Path) -> None:
    module = Wordy().eval()
    path = export_graph(
        module,
        [torch.zeros(2, 8, 8, 3, dtype=torch.uint8)],
        input_names=["frames"],
        output_names=["maps"],
        dynamic_shapes=[{0: "batch"}],
        path=tmp_path / "graph.onnx",
    )
    nodes = [one.op_type for one in onnx.load(path).graph.node]
    assert sorted(nodes) == ["Add", "Cast", "Conv", "Div", "Relu", "Transpose"]
    assert removable_nodes(path) == []

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    expected = module(torch.from_numpy(frames)).detach().numpy()
    assert np.abs(session.run(["maps"], {"frames": frames})[0] - expected).max() < 1e-3


def test_the_search_for_what_computes_nothing_finds_it(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 18]>
    graph (float[batch, 2] x) => (float[batch, 2] y) <float[2] a = {1, 2}, float[2] b = {3, 4}>
    {
      same = Identity(x)
      sum = Add(a, b)
      one = Mul(same, sum)
      two = Mul(same, sum)
      y = Add(one, two)
    }"""
    path = tmp_path / "graph.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    found = [one.split()[0] for one in removable_nodes(path)]
    assert found[:3] == ["Identity", "Add", "Mul"]
