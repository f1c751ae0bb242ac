import pytest
import torch

from training.behavior.networks.tiny_motionnet import TinyMotionNet, in_px, stack

pytestmark = pytest.mark.needs_train

COLORS = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
KEYS = {
    "conv1.0.weight": (64, 33, 7, 7),
    "conv1.0.bias": (64,),
    "conv1.1.weight": (64,),
    "conv1.1.bias": (64,),
    "conv1.1.running_mean": (64,),
    "conv1.1.running_var": (64,),
    "conv1.1.num_batches_tracked": (),
    "conv2.0.weight": (128, 64, 5, 5),
    "conv3.0.weight": (256, 128, 3, 3),
    "conv4.0.weight": (128, 256, 3, 3),
    "deconv3.0.weight": (128, 128, 4, 4),
    "deconv3.0.bias": (128,),
    "deconv2.0.weight": (128, 64, 4, 4),
    "xconv3.0.weight": (128, 404, 3, 3),
    "xconv3.1.running_var": (128,),
    "xconv2.0.weight": (64, 212, 3, 3),
    "xconv2.1.bias": (64,),
    "predict_flow4.weight": (20, 128, 3, 3),
    "predict_flow3.weight": (20, 128, 3, 3),
    "predict_flow2.weight": (20, 64, 3, 3),
    "upsampled_flow4_to_3.weight": (20, 20, 4, 4),
    "upsampled_flow4_to_3.bias": (20,),
    "upsampled_flow3_to_2.weight": (20, 20, 4, 4),
}


def some_frames(batch: int, height: int, width: int, channels: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(0, 256, (batch, 11, height, width, channels), dtype=torch.uint8)


def test_it_has_the_parameters_that_the_paper_counts() -> None:
    network = TinyMotionNet(*COLORS)
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_951_784


def test_its_tensors_have_the_published_names_and_shapes() -> None:
    tensors = TinyMotionNet(*COLORS).state_dict()
    assert {name: tuple(tensors[name].shape) for name in KEYS} == KEYS
    assert "predict_flow4.bias" not in tensors


@pytest.mark.parametrize(("height", "width"), [(64, 96), (56, 72)])
def test_flows_are_half_a_quarter_and_an_eighth_of_the_size(height: int, width: int) -> None:
    network = TinyMotionNet(*COLORS).eval()
    with torch.no_grad():
        flows = network(some_frames(2, height, width, 3))
    assert [tuple(flow.shape) for flow in flows] == [
        (2, 10, 2, height // scale, width // scale) for scale in (2, 4, 8)
    ]


def test_gray_frames_are_frames_of_three_equal_colors(lively) -> None:
    gray = some_frames(1, 32, 32, 1)
    network = lively(TinyMotionNet(*COLORS), gray)
    with torch.no_grad():
        one, three = network(gray), network(gray.expand(-1, -1, -1, -1, 3))
    assert one[0].std() > 0.05
    assert all(torch.equal(first, second) for first, second in zip(one, three, strict=True))


def test_an_untrained_network_sees_next_to_no_motion() -> None:
    torch.manual_seed(3)
    with torch.no_grad():
        flows = TinyMotionNet(*COLORS)(some_frames(1, 32, 32, 1))
    assert max(flow.abs().max() for flow in flows) < 1.0


def test_channels_are_stacked_frame_by_frame() -> None:
    colors = torch.arange(11 * 3, dtype=torch.float32).reshape(1, 11, 1, 1, 3)
    assert stack(colors).flatten().tolist() == list(range(33))


def test_flows_leave_in_px_of_the_input() -> None:
    numbers = torch.arange(20, dtype=torch.float32).reshape(1, 20, 1, 1)
    half, quarter = in_px(numbers, numbers)
    assert half[0, 3, :, 0, 0].tolist() == [12.0, 14.0]
    assert quarter[0, 3, :, 0, 0].tolist() == [24.0, 28.0]


def test_the_exported_graph_gives_the_same_flows(lively, compare_graph) -> None:
    frames = some_frames(3, 64, 64, 1)
    network = lively(TinyMotionNet(*COLORS), frames)
    assert compare_graph(network, [frames[:2]], [{0: "batch"}], [frames]) <= 1e-4
