import pytest
import torch

from training.behavior.networks.motionnet import MotionNet

pytestmark = pytest.mark.needs_train

COLORS = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
KEYS = {
    "conv1.0.weight": (64, 33, 3, 3),
    "conv1_1.0.weight": (64, 64, 3, 3),
    "conv4_1.1.running_mean": (512,),
    "conv6_1.0.weight": (1024, 1024, 3, 3),
    "deconv5.0.weight": (1024, 512, 4, 4),
    "deconv4.0.weight": (1044, 256, 4, 4),
    "deconv3.0.weight": (788, 128, 4, 4),
    "deconv2.0.weight": (404, 64, 4, 4),
    "xconv5.0.weight": (512, 1044, 3, 3),
    "xconv4.0.weight": (256, 788, 3, 3),
    "xconv3.0.weight": (128, 404, 3, 3),
    "xconv2.0.weight": (64, 212, 3, 3),
    "predict_flow6.weight": (20, 1024, 3, 3),
    "predict_flow5.weight": (20, 512, 3, 3),
    "predict_flow4.weight": (20, 256, 3, 3),
    "predict_flow3.weight": (20, 128, 3, 3),
    "predict_flow2.weight": (20, 64, 3, 3),
    "upsampled_flow6_to_5.weight": (20, 20, 4, 4),
    "upsampled_flow3_to_2.bias": (20,),
}


def some_frames(batch: int, height: int, width: int, channels: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(0, 256, (batch, 11, height, width, channels), dtype=torch.uint8)


def test_it_has_the_parameters_that_the_paper_counts() -> None:
    with torch.device("meta"):
        network = MotionNet(*COLORS)
    assert sum(parameter.numel() for parameter in network.parameters()) == 45_882_896


def test_its_tensors_have_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        tensors = MotionNet(*COLORS).state_dict()
    assert {name: tuple(tensors[name].shape) for name in KEYS} == KEYS


@pytest.fixture(scope="module")
def network() -> MotionNet:
    torch.manual_seed(2)
    return MotionNet(*COLORS)


@pytest.mark.parametrize(("height", "width"), [(64, 32), (56, 72)])
def test_flows_are_half_a_quarter_and_an_eighth_of_the_size(
    network: MotionNet, height: int, width: int
) -> None:
    with torch.no_grad():
        flows = network.eval()(some_frames(2, height, width, 3))
    assert [tuple(flow.shape) for flow in flows] == [
        (2, 10, 2, height // scale, width // scale) for scale in (2, 4, 8)
    ]


def test_gray_frames_are_frames_of_three_equal_colors(network: MotionNet, lively) -> None:
    gray = some_frames(2, 32, 32, 1)
    network = lively(network, gray)
    with torch.no_grad():
        one, three = network(gray), network(gray.expand(-1, -1, -1, -1, 3))
    assert one[0].std() > 0.05
    assert all(torch.equal(first, second) for first, second in zip(one, three, strict=True))


def test_the_exported_graph_gives_the_same_flows(network: MotionNet, lively, compare_graph) -> None:
    frames = some_frames(3, 40, 32, 1)
    network = lively(network, frames)
    assert compare_graph(network, [frames[:2]], [{0: "batch"}], [frames]) <= 1e-4
