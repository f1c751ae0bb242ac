import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.behavior.losses import BehaviorLoss
from training.behavior.networks.base import FlowGenerator
from training.behavior.networks.two_stream import TwoStreamResNet
from training.behavior.task import FeatureTask

pytestmark = pytest.mark.needs_train


class CountedFlow(FlowGenerator):
    """No motion; counts how often it is asked."""

    input_frames = 11

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, frames: Tensor) -> list[Tensor]:
        self.calls += 1
        return [torch.zeros(len(frames), 10, 2, frames.shape[2] // 2, frames.shape[3] // 2)]


def has_gradient(module: nn.Module) -> bool:
    return any(one.grad is not None and one.grad.any() for one in module.parameters())


@pytest.mark.parametrize(
    ("epoch", "pixels", "flows"),
    [(0, True, False), (1, True, False), (2, False, True), (3, False, True), (4, True, True)],
)
def test_a_curriculum_trains_the_pixels_then_the_flows_then_both(
    epoch: int, pixels: bool, flows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2)
    network = TwoStreamResNet(18, behaviors=3, mean=(0.5,) * 3, std=(0.2,) * 3)
    flow = CountedFlow()
    task = FeatureTask(
        network,
        flow,
        answered=5,
        l2_sp=None,
        curriculum_epochs=2,
        loss=BehaviorLoss(np.full(3, 4), 12, exclusive=True),
        exclusive=True,
        learning_rate=1e-3,
        weight_decay=0.0,
    )
    monkeypatch.setattr(FeatureTask, "current_epoch", epoch)
    monkeypatch.setattr(task, "log", lambda *_, **__: None)
    batch = {
        "frames": torch.randint(0, 256, (2, 11, 64, 64, 1), dtype=torch.uint8),
        "labels": torch.eye(3, dtype=torch.int8)[:2],
    }
    task.training_step(batch, 0).backward()
    assert has_gradient(network.spatial_classifier) == pixels
    assert has_gradient(network.flow_classifier) == flows
    assert flow.calls == flows  # flow is most of the work: the pixels alone need none
