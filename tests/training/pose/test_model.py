import numpy as np
import pytest
import torch

from service.targets import TargetSpec, decode, encode
from training.backbones import create_backbone
from training.pose.heads import DeconvolutionHead, PyramidHead
from training.pose.model import PoseMaps, PoseNetwork, locate

pytestmark = pytest.mark.needs_train

SPECS = [TargetSpec(), TargetSpec(kind="gaussian")]


def pyramid_network(keypoints: int = 2) -> PoseNetwork:
    backbone = create_backbone("mobilenet_v2", weights="random")
    head = PyramidHead(backbone.channels, keypoints, width=32, starts_unsure=True)
    return PoseNetwork(backbone, head)


def deepercut_network(*, skip: bool = True, intermediate: bool = False) -> PoseNetwork:
    backbone = create_backbone("resnet_18", weights="random", output_stride=16)
    head = DeconvolutionHead(
        backbone.channels, 2, skip=skip, intermediate=intermediate, starts_unsure=True
    )
    return PoseNetwork(backbone, head)


@pytest.mark.parametrize("animals", [1, 3])
@pytest.mark.parametrize("spec", SPECS)
def test_locate_agrees_with_the_reference_of_the_targets(spec: TargetSpec, animals: int) -> None:
    generator = torch.Generator().manual_seed(2)
    scores = torch.rand(3, 4, 9, 12, generator=generator)
    offsets = torch.randn(3, 4, 2, 9, 12, generator=generator)
    answered = scores.logit() if spec.kind == "disc" else scores
    found = locate(PoseMaps(answered, offsets), spec, animals=animals).numpy()
    assert found.shape == (3, animals, 4, 3)
    for index in range(3):
        expected = decode(scores[index].numpy(), offsets[index].numpy(), spec, animals=animals)
        assert np.abs(found[index] - expected).max() < 1e-3


def test_locate_gives_the_encoded_keypoints_of_each_animal_back() -> None:
    points = np.array([[[20.0, 30.0], [90.0, 40.0]], [[100.0, 100.0], [30.0, 95.0]]], np.float32)
    spec = TargetSpec()
    targets = encode(points, 128, 128, spec)
    maps = PoseMaps(
        torch.from_numpy(targets.scores)[None] * 20 - 10, torch.from_numpy(targets.offsets)[None]
    )
    found = locate(maps, spec, animals=3)[0].numpy()
    for keypoint in range(2):
        sure = found[:, keypoint][found[:, keypoint, 2] > 0.9]
        distances = np.linalg.norm(sure[:, None, :2] - points[None, :, keypoint], axis=2)
        assert distances.shape == (2, 2)
        assert distances.min(axis=0).max() < 0.1


def test_a_unique_keypoint_is_sure_in_the_first_row_only() -> None:
    scores = torch.full((1, 2, 8, 16), -5.0)
    scores[0, :, 2, 2] = 4.0
    scores[0, :, 5, 12] = 3.0
    found = locate(
        PoseMaps(scores, torch.zeros(1, 2, 2, 8, 16)), TargetSpec(), animals=2, unique=(1,)
    )
    assert (found[0, :, 0, 2] > 0.9).all()
    assert found[0, 0, 1, 2] > 0.9
    assert found[0, 1, 1, 2] == 0


def test_confidences_beyond_the_precision_of_float32_still_have_an_order() -> None:
    logits = torch.full((1, 1, 2, 2), 30.0)
    logits[0, 0, 1, 0] = 31.0
    found = locate(PoseMaps(logits, torch.zeros(1, 1, 2, 2, 2)), TargetSpec())
    assert found[0, 0, 0, :2].tolist() == [3.5, 11.5]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("make", [pyramid_network, deepercut_network])
def test_the_network_starts_unsure_everywhere(make: object, channels: int) -> None:
    network = make().eval()
    frames = torch.randint(0, 256, (2, 64, 96, channels), dtype=torch.uint8)
    maps = network(frames)
    assert tuple(maps.scores.shape) == (2, 2, 8, 12)
    assert tuple(maps.offsets.shape) == (2, 2, 2, 8, 12)
    assert maps.scores.sigmoid().max() < 0.1


def test_the_intermediate_bank_is_supervised_in_training_only() -> None:
    network = deepercut_network(intermediate=True)
    frames = torch.zeros(2, 64, 96, 3, dtype=torch.uint8)
    supervised = network.train()(frames).intermediate_scores
    assert supervised is not None
    assert tuple(supervised.shape) == (2, 2, 8, 12)
    assert network.eval()(frames).intermediate_scores is None


def test_the_skip_of_conv3_reaches_the_output() -> None:
    network = deepercut_network().eval()
    frames = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    before = network(frames).scores
    assert network.head.skip_scores is not None
    torch.nn.init.ones_(network.head.skip_scores.weight)
    assert (network(frames).scores != before).any()
    assert deepercut_network(skip=False).head.skip_scores is None
