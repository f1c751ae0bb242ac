from pathlib import Path

import pytest
import torch

from service.errors import InvalidConfig
from training.backbones import MobileNetV2Backbone, load_backbone

pytestmark = pytest.mark.needs_train


def test_the_pyramid_has_the_stated_strides_and_channels() -> None:
    maps = load_backbone(None)(torch.zeros(1, 3, 64, 96))
    shapes = [tuple(one.shape[1:]) for one in maps]
    assert shapes == [(32, 8, 12), (96, 4, 6), (160, 2, 3)]


def test_weights_of_a_file_are_taken_and_layers_beyond_the_cut_ignored(tmp_path: Path) -> None:
    stored = MobileNetV2Backbone().state_dict()
    stored["features.18.0.weight"] = torch.ones(1)
    torch.save(stored, tmp_path / "weights.pth")
    loaded = load_backbone(tmp_path / "weights.pth").state_dict()
    assert all((stored[name] == value).all() for name, value in loaded.items())


def test_training_keeps_the_statistics_of_the_normalization() -> None:
    backbone = load_backbone(None).train()
    before = backbone.features[0][1].running_mean.clone()
    backbone(torch.rand(2, 3, 64, 64) * 255)
    assert (backbone.features[0][1].running_mean == before).all()


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="does not exist"):
        load_backbone(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InvalidConfig, match="not a file of torch weights"):
        load_backbone(tmp_path / "text.pth")
    stored = MobileNetV2Backbone().state_dict()
    del stored["features.3.conv.0.0.weight"]
    torch.save(stored, tmp_path / "short.pth")
    with pytest.raises(InvalidConfig, match=r"lacks 1 of \d+ layers, such as features\.3\.conv"):
        load_backbone(tmp_path / "short.pth")
