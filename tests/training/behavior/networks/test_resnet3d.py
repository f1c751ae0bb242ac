import pytest
import torch
import torchvision
from torch import Tensor, nn

from training.behavior.networks.resnet3d import RESNET_34, TwoStreamResNet3D
from training.behavior.networks.two_stream import load_imagenet

pytestmark = pytest.mark.needs_train

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SMALL = (1, 1, 1, 1)
KEYS = {
    "spatial_classifier.0.conv1.weight": (64, 3, 7, 7, 7),
    "flow_classifier.0.conv1.weight": (64, 2, 7, 7, 7),
    "spatial_classifier.0.bn1.running_mean": (64,),
    "spatial_classifier.0.layer1.2.conv2.weight": (64, 64, 3, 3, 3),
    "spatial_classifier.0.layer2.0.downsample.0.weight": (128, 64, 1, 1, 1),
    "spatial_classifier.0.layer2.0.downsample.1.weight": (128,),
    "flow_classifier.0.layer3.5.bn2.bias": (256,),
    "flow_classifier.0.layer4.2.conv2.weight": (512, 512, 3, 3, 3),
    "spatial_classifier.1.weight": (4, 512),
    "flow_classifier.1.bias": (4,),
}


def make_network(blocks: tuple[int, int, int, int] = SMALL) -> TwoStreamResNet3D:
    torch.manual_seed(3)
    return TwoStreamResNet3D(behaviors=4, mean=MEAN, std=STD, blocks=blocks)


def some_inputs(batch: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    frames = torch.randint(0, 256, (batch, 11, 32, 32, channels), dtype=torch.uint8)
    return frames, torch.randn(batch, 10, 2, 16, 16)


@pytest.fixture(scope="module")
def network() -> TwoStreamResNet3D:
    return make_network().eval()


def resnet_34_parameters(channels: int) -> int:
    """Count convolutions and the two numbers of each normalized channel, layer by layer."""
    count = channels * 64 * 7**3 + 2 * 64
    before = 64
    for after, blocks in zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True):
        count += before * after * 27 + (2 * blocks - 1) * after * after * 27
        count += 2 * blocks * 2 * after
        if before != after:
            count += before * after + 2 * after
        before = after
    return count


def test_its_streams_have_the_parameters_that_the_paper_counts() -> None:
    with torch.device("meta"):
        network = make_network(RESNET_34)
    for stream, channels in (("spatial", 3), ("flow", 2)):
        trunk = network.get_submodule(f"{stream}_classifier.0")
        count = sum(parameter.numel() for parameter in trunk.parameters())
        assert count == resnet_34_parameters(channels)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6) == 127


def test_its_tensors_have_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        tensors = make_network(RESNET_34).state_dict()
    assert {name: tuple(tensors[name].shape) for name in KEYS} == KEYS
    assert "spatial_classifier.0.layer1.0.downsample.0.weight" not in tensors


def test_features_are_those_of_the_pixels_then_those_of_the_flows(
    network: TwoStreamResNet3D,
) -> None:
    frames, flows = some_inputs(2)
    with torch.no_grad():
        features, logits = network(frames, flows)
        spatial, spatial_logits = network.spatial_stream(frames)
        flow, flow_logits = network.flow_stream(flows)
    assert features.shape == (2, 1024)
    assert torch.equal(features, torch.cat([spatial, flow], dim=1))
    assert torch.allclose(logits, (spatial_logits + flow_logits) / 2)


def test_gray_frames_are_frames_of_three_equal_colors(network: TwoStreamResNet3D) -> None:
    gray, flows = some_inputs(2, 1)
    with torch.no_grad():
        _, one = network(gray, flows)
        _, three = network(gray.expand(-1, -1, -1, -1, 3), flows)
    assert torch.equal(one, three)


def test_the_flow_stream_has_time_on_an_axis_of_its_own(network: TwoStreamResNet3D) -> None:
    seen: list[Tensor] = []
    hook = network.flow_classifier[0].register_forward_pre_hook(lambda _, maps: seen.append(*maps))
    flows = torch.arange(20.0).reshape(1, 10, 2, 1, 1).expand(-1, -1, -1, 16, 16)
    with torch.no_grad():
        network.flow_stream(flows)
    hook.remove()
    assert seen[0].shape == (1, 2, 10, 16, 16)
    assert seen[0][0, 0, :, 0, 0].tolist() == [float(number) for number in range(10)]


def test_the_exported_graph_gives_the_same_features_and_logits(lively, compare_graph) -> None:
    inputs = some_inputs(3)
    network = lively(make_network(), *inputs)
    examples = [one[:2] for one in inputs]
    assert compare_graph(network, examples, [{0: "batch"}] * 2, inputs) <= 1e-4


def test_imagenet_kernels_are_spread_over_time() -> None:
    torch.manual_seed(8)
    flat = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, list(SMALL))
    network = make_network()
    load_imagenet(network, flat.state_dict())
    trunk = network.spatial_classifier[0]
    for name in ("conv1.weight", "layer2.0.conv1.weight", "layer2.0.downsample.0.weight"):
        kernels = trunk.get_parameter(name)
        assert torch.allclose(kernels.sum(dim=2), flat.get_parameter(name), atol=1e-6)
        assert torch.equal(kernels[:, :, 0], kernels[:, :, -1])
    first = network.get_parameter("flow_classifier.0.conv1.weight")
    mean = flat.conv1.weight.mean(dim=1, keepdim=True)
    assert torch.allclose(first.sum(dim=2), mean.expand(-1, 2, -1, -1), atol=1e-6)
    assert isinstance(trunk.layer1[0].downsample, nn.Identity)
