import logging
from pathlib import Path

import pytest
import torch

from service.errors import InvalidConfig, NotFound
from tests.training.behavior.deepethogram_reference import random_features
from tests.training.behavior.tiny import TINY, train
from tests.training.omegaconf_reference import save_with_omegaconf
from training.backbones import create_backbone
from training.behavior.networks.base import FeatureExtractor
from training.behavior.networks.realtime_features import RealtimeFeatures
from training.behavior.networks.two_stream import TwoStreamResNet
from training.behavior.stages import read_networks, read_settings
from training.behavior.transfer import take_over
from training.runs import Run, open_run

pytestmark = pytest.mark.needs_train


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory, behavior_project: Path) -> Run:
    out = tmp_path_factory.mktemp("runs") / "parent"
    parts = ("--validation", "mouse1", "--test", "mouse2")
    assert train(behavior_project, "--out", out, *parts, *TINY.split()) == 0
    return open_run(out)


def realtime(behaviors: int) -> FeatureExtractor:
    backbone = create_backbone("mobilenet_v2", weights="random")
    return RealtimeFeatures(backbone, flow_frames=2, behaviors=behaviors, dropout=0.0)


def two_stream(behaviors: int, fusion: str = "average") -> FeatureExtractor:
    return TwoStreamResNet(
        18,
        behaviors=behaviors,
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        fusion=fusion,  # type: ignore[arg-type]
    )


def test_a_run_goes_on_from_the_networks_and_the_parts_of_another(
    parent: Run, behavior_project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "still.toml"  # so small that nothing moves: the start is what is left
    config.write_text("weight_decay = 0.0\n[flow]\nlearning_rate = 1e-12\n")
    out = tmp_path / "child"
    with caplog.at_level(logging.INFO, logger="ethostream.training"):
        arguments = ("--from", parent.directory, "--config", config)
        assert train(behavior_project, "--out", out, *arguments, *TINY.split()) == 0
    child = open_run(out)
    assert child.split().validation == ("mouse1",)
    assert child.split().test == ("mouse2",)
    assert read_settings(child).parent == str(parent.directory)
    assert "locomotion, rearing, grooming, wall_contact" in caplog.text
    earlier, later = read_networks(parent).flow, read_networks(child).flow
    for name, value in earlier.named_parameters():
        assert torch.allclose(value, later.get_parameter(name), atol=1e-6), name


def test_a_run_goes_on_from_a_checkpoint_of_deepethogram(
    behavior_project: Path, tmp_path: Path
) -> None:
    stored = random_features(3, seed=1)
    path = tmp_path / "epoch=3-step=9.ckpt"
    save_with_omegaconf(
        path, {"state_dict": {f"model.{name}": one for name, one in stored.items()}, "epoch": 3}, {}
    )
    config = tmp_path / "still.toml"  # steps so small that the start is what is left
    config.write_text("[flow]\nlearning_rate = 1e-12\n[features]\nlearning_rate = 1e-12\n")
    out = tmp_path / "child"
    parts = ("--validation", "mouse1", "--test", "mouse2", "--config", config)
    options = f"{TINY} --preset deg_f --sequence none".split()
    assert train(behavior_project, "--out", out, "--from", path, *parts, *options) == 0
    networks = read_networks(open_run(out))
    trained = networks.features.get_parameter("flow_classifier.0.conv1.weight")
    assert torch.allclose(trained, stored["flow_classifier.0.conv1.weight"], atol=1e-6)
    colors = networks.features.get_parameter("spatial_classifier.0.conv1.weight")
    before = stored["spatial_classifier.0.conv1.weight"]  # green, blue, and red of the next frame
    assert torch.allclose(colors, before[:, [2, 0, 1]], atol=1e-6)
    flow = networks.flow.get_parameter("conv2.0.weight")
    assert torch.allclose(flow, stored["flow_generator.conv2.0.weight"], atol=1e-6)


def test_a_file_that_is_no_such_checkpoint_is_refused(
    behavior_project: Path, tmp_path: Path
) -> None:
    path = tmp_path / "flow.ckpt"
    torch.save({"state_dict": {"conv1.0.weight": torch.zeros(2)}}, path)
    options = f"{TINY} --preset deg_f --sequence none --validation mouse1 --test mouse2".split()
    with pytest.raises(InvalidConfig, match="name the checkpoint of a feature extractor"):
        train(behavior_project, "--out", tmp_path / "child", "--from", path, *options)


def test_tests_that_the_parent_was_trained_on_are_told(
    parent: Run, behavior_project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = ("--validation", "mouse1", "--test", "mouse0")
    arguments = ("--from", parent.directory, *parts, *TINY.split())
    with caplog.at_level(logging.WARNING, logger="ethostream.training"):
        assert train(behavior_project, "--out", tmp_path / "child", *arguments) == 0
    assert "was trained on the test recordings mouse0" in caplog.text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--flow-frames 3", "--flow-frames 2"),
        ("--preset deg_f --sequence none", "--preset is deg_f, but"),
        ("--color rgb", "give --color gray"),
    ],
)
def test_other_networks_than_the_parents_are_refused(
    parent: Run, behavior_project: Path, tmp_path: Path, options: str, told: str
) -> None:
    given = (*TINY.split(), "--validation", "mouse1", "--test", "mouse2", *options.split())
    with pytest.raises(InvalidConfig, match=told):
        train(behavior_project, "--out", tmp_path / "child", "--from", parent.directory, *given)
    assert not (tmp_path / "child").exists()


def test_a_parent_that_is_no_run_is_told(behavior_project: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        train(behavior_project, "--out", tmp_path / "child", "--from", tmp_path / "nowhere")


@pytest.mark.parametrize(
    "pair",
    [
        (realtime(3), realtime(2)),
        (two_stream(3), two_stream(2)),
        (two_stream(3, "concatenate"), two_stream(2, "concatenate")),
        (two_stream(3, "weighted"), two_stream(2, "weighted")),
    ],
    ids=["realtime", "average", "concatenate", "weighted"],
)
def test_behaviors_are_taken_over_by_name(pair: tuple[FeatureExtractor, FeatureExtractor]) -> None:
    network, earlier = pair
    new = [layer.weight.clone() for layer in network.last_layers()]
    shared = take_over(network, ("rear", "groom", "dig"), earlier, ("dig", "rear"))
    assert shared == ("rear", "dig")
    layers = zip(network.last_layers(), earlier.last_layers(), new, strict=True)
    for layer, known, before in layers:
        assert torch.equal(layer.weight[[0, 2]], known.weight[[1, 0]])
        assert torch.equal(layer.bias[[0, 2]], known.bias[[1, 0]])
        assert torch.equal(layer.weight[1], before[1])
    same = earlier.state_dict()
    differing = {
        name.rsplit(".", 1)[0]
        for name, value in network.state_dict().items()
        if value.shape != same[name].shape or not torch.equal(value, same[name])
    }
    assert len(differing) == len(new)


def test_what_was_taken_over_is_kept_near_its_start() -> None:
    network = two_stream(3)
    take_over(network, ("rear", "groom", "dig"), two_stream(2), ("dig", "rear"))
    near = {id(one) for one in network.pretrained()}
    fresh = {name for name, one in network.named_parameters() if id(one) not in near}
    assert fresh == {
        f"{stream}_classifier.1.{kind}"
        for stream in ("spatial", "flow")
        for kind in ("weight", "bias")
    }
