import math

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from training.behavior.losses import BehaviorLoss, starting_bias

pytestmark = pytest.mark.needs_train


def test_rare_behaviors_weigh_more_by_the_fourth_root_of_their_odds() -> None:
    loss = BehaviorLoss(np.array([10, 160]), 170, exclusive=False)
    assert loss.weights.tolist() == pytest.approx([16**0.25, (10 / 160) ** 0.25])
    weights = BehaviorLoss(np.array([16, 1]), 17, exclusive=True).weights
    assert weights[1] / weights[0] == pytest.approx(2.0)
    assert weights.mean() == pytest.approx(1.0)


def test_the_focal_loss_of_a_worked_example() -> None:
    loss = BehaviorLoss(np.array([5]), 10, exclusive=False)
    found = loss(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.int8))
    assert found.item() == pytest.approx(0.5 * math.log(2))


def test_what_is_right_and_sure_costs_next_to_nothing() -> None:
    loss = BehaviorLoss(np.array([5]), 10, exclusive=False)
    label = torch.ones(1, 1, dtype=torch.int8)
    good, unsure, bad = (loss(torch.full((1, 1), x), label).item() for x in (3.0, 0.0, -3.0))
    assert good < 0.05 * bad
    assert good < unsure < bad


@pytest.mark.parametrize("exclusive", [True, False])
def test_logits_gathered_on_the_host_meet_the_weights_of_a_gpu(exclusive: bool) -> None:
    with FakeTensorMode():  # minds devices, and needs none
        loss = BehaviorLoss(np.array([5, 5]), 10, exclusive=exclusive)
        loss.weights = torch.ones(2, device="cuda")
        found = loss(torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.int8))
    assert found.device.type == "cpu"


@pytest.mark.parametrize("exclusive", [True, False])
def test_frames_without_labels_take_no_part(exclusive: bool) -> None:
    loss = BehaviorLoss(np.array([5, 5]), 10, exclusive=exclusive)
    logits = torch.tensor([[1.0, -1.0], [5.0, 2.0]], requires_grad=True)
    labels = torch.tensor([[1, 0], [-1, -1]], dtype=torch.int8)
    found = loss(logits, labels)
    assert found.item() == pytest.approx(loss(logits[:1], labels[:1]).item())
    found.backward()
    assert logits.grad is not None
    assert (logits.grad[1] == 0).all()
    nothing = loss(logits.detach(), torch.full((2, 2), -1, dtype=torch.int8))
    assert nothing.item() == 0.0


def test_an_untrained_network_begins_at_the_shares() -> None:
    bias = starting_bias(np.array([10, 0]), 40)
    assert torch.sigmoid(bias[0]).item() == pytest.approx(0.25)
    assert bias[1] < -3
