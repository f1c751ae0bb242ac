import numpy as np
import pytest
import torch

from service.targets import TargetSpec, decode, encode
from training.backbones import load_backbone
from training.pose.model import STRIDE_PX, PoseMaps, PoseNetwork, locate

pytestmark = pytest.mark.needs_train


def test_locate_agrees_with_the_reference_of_the_targets() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(3, 4, 9, 12, generator=generator)
    offsets = torch.randn(3, 4, 2, 9, 12, generator=generator)
    found = locate(PoseMaps(logits, offsets)).numpy()
    assert found.shape == (3, 1, 4, 3)
    for index in range(3):
        expected = decode(logits[index].sigmoid().numpy(), offsets[index].numpy(), STRIDE_PX)
        assert np.abs(found[index, 0] - expected).max() < 1e-4


def test_locate_gives_the_encoded_keypoints_back() -> None:
    points = np.random.default_rng(1).uniform(0, 63, (5, 2)).astype(np.float32)
    targets = encode(points, 64, 64, TargetSpec())
    maps = PoseMaps(
        torch.from_numpy(targets.scores)[None] * 20 - 10, torch.from_numpy(targets.offsets)[None]
    )
    found = locate(maps)[0, 0].numpy()
    assert np.abs(found[:, :2] - points).max() < 0.1
    assert (found[:, 2] > 0.99).all()


def test_confidences_beyond_the_precision_of_float32_still_have_an_order() -> None:
    logits = torch.full((1, 1, 2, 2), 30.0)
    logits[0, 0, 1, 0] = 31.0
    found = locate(PoseMaps(logits, torch.zeros(1, 1, 2, 2, 2)))
    assert found[0, 0, 0, :2].tolist() == [3.5, 11.5]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_network_starts_unsure_everywhere(channels: int) -> None:
    network = PoseNetwork(load_backbone(None), keypoints=2).eval()
    frames = torch.randint(0, 256, (2, 64, 96, channels), dtype=torch.uint8)
    maps = network(frames)
    assert tuple(maps.score_logits.shape) == (2, 2, 8, 12)
    assert tuple(maps.offsets.shape) == (2, 2, 2, 8, 12)
    assert maps.score_logits.sigmoid().max() < 0.1
