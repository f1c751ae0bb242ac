import pytest
import torch
import torchvision
from torch import Tensor, nn

from service.errors import InvalidConfig
from training.behavior.networks.two_stream import TwoStreamResNet, load_imagenet

pytestmark = pytest.mark.needs_train

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
RESNET_18 = {
    "conv1.weight": (64, 3, 7, 7),
    "bn1.weight": (64,),
    "bn1.bias": (64,),
    "bn1.running_mean": (64,),
    "bn1.running_var": (64,),
    "bn1.num_batches_tracked": (),
    "layer1.1.conv2.weight": (64, 64, 3, 3),
    "layer2.0.downsample.0.weight": (128, 64, 1, 1),
    "layer2.0.downsample.1.running_var": (128,),
    "layer4.0.conv1.weight": (512, 256, 3, 3),
    "layer4.1.bn2.bias": (512,),
}


def make_network(depth: int = 18, **arguments: object) -> TwoStreamResNet:
    torch.manual_seed(3)
    return TwoStreamResNet(depth, behaviors=4, mean=MEAN, std=STD, **arguments)


def some_inputs(batch: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    frames = torch.randint(0, 256, (batch, 64, 64, channels), dtype=torch.uint8)
    return frames, torch.randn(batch, 10, 2, 32, 32)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def network() -> TwoStreamResNet:
    return make_network().eval()


@pytest.mark.parametrize(
    ("depth", "spatial", "flow"),
    [(18, 11_176_512, 11_229_824), (50, 23_508_032 + 1_049_088, 23_561_344 + 1_049_088)],
)
def test_its_streams_have_the_parameters_that_the_paper_counts(
    depth: int, spatial: int, flow: int
) -> None:
    with torch.device("meta"):
        network = make_network(depth)
    assert parameters(network.spatial_classifier[0]) == spatial
    assert parameters(network.flow_classifier[0]) == flow
    assert parameters(network) == spatial + flow + 2 * (512 * 4 + 4)


def test_its_tensors_have_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        tensors = make_network(18).state_dict()
        deep = make_network(50).state_dict()
    wanted = {f"spatial_classifier.0.{name}": shape for name, shape in RESNET_18.items()}
    wanted |= {f"flow_classifier.0.{name}": shape for name, shape in RESNET_18.items()}
    wanted["flow_classifier.0.conv1.weight"] = (64, 20, 7, 7)
    for stream in ("spatial", "flow"):
        wanted[f"{stream}_classifier.1.weight"] = (4, 512)
        wanted[f"{stream}_classifier.1.bias"] = (4,)
    assert {name: tuple(tensors[name].shape) for name in wanted} == wanted
    streams = ("standardize.", "spatial_classifier.", "flow_classifier.")
    assert all(name.startswith(streams) for name in tensors)

    assert deep["spatial_classifier.0.compression_fc.0.weight"].shape == (512, 2048)
    assert deep["flow_classifier.0.compression_fc.0.bias"].shape == (512,)
    assert deep["spatial_classifier.0.layer3.5.conv3.weight"].shape == (1024, 256, 1, 1)
    assert deep["flow_classifier.0.conv1.weight"].shape == (64, 20, 7, 7)


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_those_of_the_pixels_then_those_of_the_flows(
    depth: int, channels: int
) -> None:
    network = make_network(depth).eval()
    frames, flows = some_inputs(2, channels)
    with torch.no_grad():
        features, logits = network(frames, flows)
        spatial, spatial_logits = network.spatial_stream(frames)
        flow, flow_logits = network.flow_stream(flows)
    assert features.shape == (2, network.feature_size)
    assert torch.equal(features, torch.cat([spatial, flow], dim=1))
    assert torch.allclose(logits, (spatial_logits + flow_logits) / 2)


def test_gray_frames_are_frames_of_three_equal_colors(network: TwoStreamResNet) -> None:
    gray, flows = some_inputs(2, 1)
    with torch.no_grad():
        _, one = network(gray, flows)
        _, three = network(gray.expand(-1, -1, -1, 3), flows)
    assert torch.equal(one, three)


def test_the_flow_stream_sees_px_of_the_half_resolution_flow_by_flow(
    network: TwoStreamResNet,
) -> None:
    seen: list[Tensor] = []
    hook = network.flow_classifier[0].register_forward_pre_hook(lambda _, maps: seen.append(*maps))
    flows = torch.arange(20.0).reshape(1, 10, 2, 1, 1).expand(-1, -1, -1, 32, 32)
    with torch.no_grad():
        network.flow_stream(flows)
    hook.remove()
    assert seen[0][0, :, 0, 0].tolist() == [number / 2 for number in range(20)]


def test_features_are_taken_before_dropout() -> None:
    network = make_network(dropout_p=0.5).train()
    inputs = some_inputs(2)
    with torch.no_grad():
        (features, logits), (features_too, logits_too) = network(*inputs), network(*inputs)
    assert torch.equal(features, features_too)
    assert not torch.allclose(logits, logits_too)


def test_the_weight_of_the_flows_in_the_average_can_be_set() -> None:
    network = make_network(flow_weight=1.5).eval()
    frames, flows = some_inputs(2)
    with torch.no_grad():
        _, logits = network(frames, flows)
        spatial, flow = network.spatial_stream(frames)[1], network.flow_stream(flows)[1]
    assert torch.allclose(logits, 0.4 * spatial + 0.6 * flow, atol=1e-6)


def test_the_weighted_fusion_starts_at_the_mean_and_learns() -> None:
    network = make_network(fusion="weighted").eval()
    frames, flows = some_inputs(2)
    _, logits = network(frames, flows)
    spatial, flow = network.spatial_stream(frames)[1], network.flow_stream(flows)[1]
    assert torch.allclose(logits, (spatial + flow) / 2, atol=1e-6)
    logits[0].sum().backward()
    weight = network.get_parameter("fusion.flow_weight")
    assert weight.grad is not None
    assert weight.grad.abs() > 1e-4


def test_the_concatenating_fusion_has_one_last_layer() -> None:
    network = make_network(fusion="concatenate").eval()
    tensors = network.state_dict()
    assert tensors["fusion.fc.weight"].shape == (4, 1024)
    assert "spatial_classifier.1.weight" not in tensors
    with torch.no_grad():
        features, logits = network(*some_inputs(2))
    expected = features @ tensors["fusion.fc.weight"].T + tensors["fusion.fc.bias"]
    assert torch.allclose(logits, expected, atol=1e-5)


def test_an_unknown_fusion_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"unknown fusion 'max'.*average"):
        make_network(fusion="max")


@pytest.mark.parametrize("fusion", ["average", "weighted", "concatenate"])
def test_a_start_bias_reaches_the_logits_as_it_is(fusion: str) -> None:
    network = make_network(fusion=fusion, flow_weight=1.5).eval()
    inputs = some_inputs(1)
    bias = torch.tensor([-2.0, 0.0, 1.0, 3.0])
    with torch.no_grad():
        network.start_at(torch.zeros(4))
        before = network(*inputs)[1]
        network.start_at(bias)
        after = network(*inputs)[1]
    assert torch.allclose(after - before, bias.expand(1, -1), atol=1e-5)


def test_the_exported_graph_gives_the_same_features_and_logits(lively, compare_graph) -> None:
    inputs = some_inputs(3)
    network = lively(make_network(), *inputs)
    examples = [one[:2] for one in inputs]
    assert compare_graph(network, examples, [{0: "batch"}] * 2, inputs) <= 1e-4


def test_imagenet_weights_make_the_spatial_stream_the_published_network() -> None:
    torch.manual_seed(8)
    published = torchvision.models.resnet18(weights=None).eval()
    network = make_network().eval()
    names = load_imagenet(network, published.state_dict())
    published.fc = nn.Identity()
    frames, _ = some_inputs(2)
    with torch.no_grad():
        features, _ = network.spatial_stream(frames)
        expected = published(network.standardize(frames).permute(0, 3, 1, 2))
    assert torch.allclose(features, expected, atol=1e-5)

    first = network.get_parameter("flow_classifier.0.conv1.weight")
    assert first.shape[1] == 20
    assert torch.allclose(first, published.conv1.weight.mean(dim=1, keepdim=True).expand_as(first))
    untouched = set(network.state_dict()) - set(names)
    assert {name.split(".")[-1] for name in untouched if ".0." in name} == {"num_batches_tracked"}


def test_imagenet_weights_leave_the_compression_of_the_deep_network_as_it_is() -> None:
    network = make_network(50)
    before = network.get_parameter("spatial_classifier.0.compression_fc.0.weight").clone()
    published = torchvision.models.resnet50(weights=None).state_dict()
    load_imagenet(network, published)
    after = network.get_parameter("spatial_classifier.0.compression_fc.0.weight")
    deepest = network.get_parameter("flow_classifier.0.layer4.2.conv3.weight")
    assert torch.equal(before, after)
    assert torch.equal(deepest, published["layer4.2.conv3.weight"])


def test_weights_of_another_network_are_refused_and_nothing_changes(
    network: TwoStreamResNet,
) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.device("meta"):
        deeper = torchvision.models.resnet34(weights=None).state_dict()
        wider = torchvision.models.wide_resnet50_2(weights=None).state_dict()
        partial = torchvision.models.resnet18(weights=None).state_dict()
    del partial["layer3.0.conv1.weight"]
    with pytest.raises(InvalidConfig, match=r"hold a tensor layer1\.2\.conv1\.weight"):
        load_imagenet(network, deeper)
    with pytest.raises(InvalidConfig, match=r"conv3\.weight|shape"):
        load_imagenet(network, wider)
    with pytest.raises(InvalidConfig, match=r"hold no tensor layer3\.0\.conv1\.weight"):
        load_imagenet(network, partial)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_weights_of_another_shape_are_refused(network: TwoStreamResNet) -> None:
    weights = torchvision.models.resnet18(weights=None).state_dict()
    weights["layer1.0.conv1.weight"] = torch.zeros(64, 64, 1, 1)
    with pytest.raises(InvalidConfig, match=r"layer1\.0\.conv1\.weight .*\(64, 64, 1, 1\)"):
        load_imagenet(network, weights)
