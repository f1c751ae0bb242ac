from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from export.to_onnx import OPSET, export_graph

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
