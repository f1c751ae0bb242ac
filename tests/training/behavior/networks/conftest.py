"""What the networks of every preset are held to: what torch computes, ONNX Runtime computes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from export.to_onnx import export_graph

CompareGraph = Callable[
    [nn.Module, Sequence[Tensor], Sequence[Mapping[int, str]], Sequence[Tensor]], float
]


def make_lively(network: nn.Module, *inputs: Tensor) -> nn.Module:
    """Give what starts near zero or at one values that show in the output; end in evaluation."""
    torch.manual_seed(4)
    for name, parameter in network.named_parameters():
        if "predict_flow" in name and parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.05)
    network.train()
    with torch.no_grad():
        for _ in range(5):
            network(*inputs)
    return network.eval()


@pytest.fixture
def lively() -> Callable[..., nn.Module]:
    return make_lively


@pytest.fixture
def compare_graph(tmp_path: Path) -> CompareGraph:
    """Export with example inputs, run with others; return the largest difference to torch.

    Each output must also vary by 0.05 or more, so that a small difference says something.
    """

    def compare(
        network: nn.Module,
        examples: Sequence[Tensor],
        axes: Sequence[Mapping[int, str]],
        inputs: Sequence[Tensor],
    ) -> float:
        with torch.no_grad():
            answers = network(*inputs)
        answers = [answers] if isinstance(answers, Tensor) else list(answers)
        names = [f"input{number}" for number in range(len(inputs))]
        path = export_graph(
            network,
            examples,
            input_names=names,
            output_names=[f"output{number}" for number in range(len(answers))],
            dynamic_shapes=axes,
            path=tmp_path / "network.onnx",
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        values = session.run(
            None, {name: one.numpy() for name, one in zip(names, inputs, strict=True)}
        )
        differences = []
        for answer, value in zip(answers, values, strict=True):
            assert answer.shape == value.shape
            assert answer.std() >= 0.05
            differences.append(float((answer - torch.from_numpy(value)).abs().max()))
        return max(differences)

    return compare
