from pathlib import Path

import pytest
import torch

from service.errors import InvalidConfig
from training.backbones import BACKBONES, create_backbone

pytestmark = pytest.mark.needs_train


@pytest.mark.parametrize("name", [n for n in BACKBONES if n not in ("resnet_101",)])
def test_the_maps_have_the_stated_strides_and_channels(name: str) -> None:
    backbone = create_backbone(name, weights="random").eval()
    maps = backbone(torch.zeros(1, 3, 64, 96))
    sizes = [tuple(one.shape[1:]) for one in maps]
    fine, middle, deep = backbone.channels
    assert sizes == [(fine, 8, 12), (middle, 4, 6), (deep, 2, 3)]


@pytest.mark.parametrize("name", ["resnet_18", "resnet_50"])
def test_a_resnet_can_stay_at_stride_16(name: str) -> None:
    backbone = create_backbone(name, weights="random", output_stride=16).eval()
    maps = backbone(torch.zeros(1, 3, 64, 96))
    assert backbone.deep_stride == 16
    assert tuple(maps.deep.shape) == (1, backbone.channels[2], 4, 6)


def test_resnet_101_is_supervised_at_its_twelfth_block() -> None:
    dilated = create_backbone("resnet_101", weights="random", output_stride=16).eval()
    seen = []
    dilated.layer3[11].register_forward_hook(lambda _, __, maps: seen.append(maps))
    maps = dilated(torch.zeros(1, 3, 32, 32))
    assert maps.stride16 is seen[0]


def test_weights_of_a_file_are_taken_and_layers_beyond_the_cut_ignored(tmp_path: Path) -> None:
    stored = create_backbone("mobilenet_v2", weights="random").state_dict()
    stored["features.18.0.weight"] = torch.ones(1)
    torch.save(stored, tmp_path / "weights.pth")
    loaded = create_backbone("mobilenet_v2", weights=tmp_path / "weights.pth").state_dict()
    assert all((stored[name] == value).all() for name, value in loaded.items())


@pytest.mark.real_data
def test_efficientnet_lite_takes_files_of_its_two_namings(
    shared_data: Path, tmp_path: Path
) -> None:
    published = shared_data / "weights" / "efficientnet-lite0-57934424.pth"
    network = create_backbone("efficientnet_lite0", weights=published).eval()
    first = torch.load(published, weights_only=True)["_conv_stem.weight"]
    assert (network.layers.conv_stem.weight == first).all()
    timm_names = {
        name.removeprefix("layers."): value for name, value in network.state_dict().items()
    }
    torch.save(timm_names, tmp_path / "timm.pth")
    again = create_backbone("efficientnet_lite0", weights=tmp_path / "timm.pth").eval()
    frames = torch.rand(1, 3, 64, 64) * 255
    assert (network(frames).deep == again(frames).deep).all()


def test_training_keeps_the_statistics_of_pretrained_networks_only(tmp_path: Path) -> None:
    frames = torch.rand(2, 3, 64, 64) * 255
    random = create_backbone("mobilenet_v2", weights="random").train()
    torch.save(random.state_dict(), tmp_path / "weights.pth")
    pretrained = create_backbone("mobilenet_v2", weights=tmp_path / "weights.pth").train()
    before = pretrained.features[0][1].running_mean.clone()
    for network in (random, pretrained):
        network(frames)
    assert (pretrained.features[0][1].running_mean == before).all()
    assert (random.features[0][1].running_mean != before).any()


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="does not exist"):
        create_backbone("mobilenet_v2", weights=tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InvalidConfig, match="is a pickle with code"):
        create_backbone("mobilenet_v2", weights=tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InvalidConfig, match="holds list, not a mapping"):
        create_backbone("mobilenet_v2", weights=tmp_path / "list.pth")
    stored = create_backbone("mobilenet_v2", weights="random").state_dict()
    del stored["features.3.conv.0.0.weight"]
    torch.save(stored, tmp_path / "short.pth")
    with pytest.raises(InvalidConfig, match=r"lacks 1 of \d+ layers of mobilenet_v2, such as"):
        create_backbone("mobilenet_v2", weights=tmp_path / "short.pth")


def test_what_does_not_exist_is_refused_with_what_does() -> None:
    with pytest.raises(InvalidConfig, match="choose one of mobilenet_v2"):
        create_backbone("vgg", weights="random")
    with pytest.raises(InvalidConfig, match="no output stride of 16"):
        create_backbone("mobilenet_v2", weights="random", output_stride=16)


def test_weights_that_cannot_be_fetched_are_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from training.backbones.mobilenet import MobileNetBackbone

    def unreachable(self: MobileNetBackbone) -> dict[str, torch.Tensor]:
        raise OSError("no route")

    monkeypatch.setattr(MobileNetBackbone, "published_weights", unreachable)
    with pytest.raises(InvalidConfig, match=r"cannot be fetched \(no route\); give them as a file"):
        create_backbone("mobilenet_v2", weights="imagenet")
