import pytest
import torch

from training.behavior.networks.tiny_motionnet_3d import TinyMotionNet3D

pytestmark = pytest.mark.needs_train

COLORS = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
KEYS = {
    "conv1.0.weight": (16, 3, 7, 7, 7),
    "conv1.1.running_mean": (16,),
    "conv2.0.weight": (32, 16, 5, 5, 5),
    "conv3.0.weight": (64, 32, 3, 3, 3),
    "conv4.0.weight": (32, 64, 3, 3, 3),
    "conv5.0.weight": (32, 32, 2, 3, 3),
    "iconv3.0.weight": (64, 64, 2, 3, 3),
    "iconv2.0.weight": (32, 32, 2, 3, 3),
    "deconv3.0.weight": (32, 32, 1, 4, 4),
    "deconv3.1.weight": (32,),
    "deconv2.0.weight": (32, 16, 1, 4, 4),
    "xconv3.0.weight": (32, 98, 3, 3, 3),
    "xconv3.0.bias": (32,),
    "xconv3.1.weight": (32,),
    "xconv2.0.weight": (16, 50, 3, 3, 3),
    "predict_flow4.0.weight": (2, 32, 3, 3, 3),
    "predict_flow4.0.bias": (2,),
    "predict_flow3.0.weight": (2, 32, 3, 3, 3),
    "predict_flow2.0.weight": (2, 16, 3, 3, 3),
    "upsampled_flow4_to_3.weight": (2, 2, 1, 4, 4),
    "upsampled_flow3_to_2.bias": (2,),
}


def some_frames(batch: int, height: int, width: int, channels: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(0, 256, (batch, 11, height, width, channels), dtype=torch.uint8)


def test_it_has_the_parameters_that_the_paper_counts() -> None:
    network = TinyMotionNet3D(*COLORS)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert round(count / 1e6, 2) == 0.44


def test_its_tensors_have_the_published_names_and_shapes() -> None:
    tensors = TinyMotionNet3D(*COLORS).state_dict()
    assert {name: tuple(tensors[name].shape) for name in KEYS} == KEYS
    assert "conv1.0.bias" not in tensors


@pytest.mark.parametrize(("height", "width"), [(64, 32), (56, 72)])
def test_flows_are_half_a_quarter_and_an_eighth_of_the_size(height: int, width: int) -> None:
    network = TinyMotionNet3D(*COLORS).eval()
    with torch.no_grad():
        flows = network(some_frames(1, height, width, 3))
    assert [tuple(flow.shape) for flow in flows] == [
        (1, 10, 2, height // scale, width // scale) for scale in (2, 4, 8)
    ]


def test_gray_frames_are_frames_of_three_equal_colors(lively) -> None:
    gray = some_frames(1, 32, 32, 1)
    network = lively(TinyMotionNet3D(*COLORS), gray)
    with torch.no_grad():
        one, three = network(gray), network(gray.expand(-1, -1, -1, -1, 3))
    assert one[0].std() > 0.05
    assert all(torch.equal(first, second) for first, second in zip(one, three, strict=True))


def test_flows_leave_in_px_of_the_input() -> None:
    network = TinyMotionNet3D(*COLORS).eval()
    for name, parameter in network.named_parameters():
        if "predict_flow" in name:
            parameter.data.zero_()
            if name.endswith("bias"):
                parameter.data.copy_(torch.tensor([1.0, -3.0]))
    with torch.no_grad():
        flows = network(some_frames(1, 32, 32, 1))
    for flow, px in zip(flows, (2.0, 4.0, 8.0), strict=True):
        assert (flow[:, :, 0] == px).all()
        assert (flow[:, :, 1] == -3 * px).all()


def test_the_exported_graph_gives_the_same_flows(lively, compare_graph) -> None:
    frames = some_frames(3, 32, 40, 1)
    network = lively(TinyMotionNet3D(*COLORS), frames)
    assert compare_graph(network, [frames[:2]], [{0: "batch"}], [frames]) <= 1e-4
