import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from export.commands import import_
from export.importers.dlc import draft_bundle, find_snapshot, read_network
from export.importers.dlc_config import read_dlc_config
from export.importers.draft import ImportOptions
from service.bundle import read_bundle
from service.engine import create_engine
from service.errors import InvalidConfig
from tests.export.importers.deeplabcut_reference import answers, random_resnet50

pytestmark = pytest.mark.needs_train

BODYPARTS = ("snout", "leftear", "rightear")
WIDTH_PX, HEIGHT_PX = 96, 64


def config(**changes: Any) -> dict[str, Any]:
    """What DeepLabCut 3 writes for a project of three body parts, without what is not read."""

    def layers(count: int) -> dict[str, Any]:
        return {"channels": [2048, count], "kernel_size": [3], "strides": [2]}

    head = {
        "type": "HeatmapHead",
        "weight_init": "normal",
        "predictor": {
            "type": "HeatmapPredictor",
            "apply_sigmoid": False,
            "clip_scores": True,
            "location_refinement": True,
            "locref_std": 7.2801,
        },
        "heatmap_config": layers(len(BODYPARTS)),
        "locref_config": layers(2 * len(BODYPARTS)),
    }
    return {
        "data": {
            "colormode": "RGB",
            "inference": {"normalize_images": True},
            "train": {"affine": {"p": 0.5}, "hflip": {"p": 0.5, "symmetries": [[1, 2]]}},
        },
        "metadata": {
            "project_path": "/elsewhere",
            "bodyparts": list(BODYPARTS),
            "unique_bodyparts": [],
            "individuals": ["animal"],
            "with_identity": None,
        },
        "method": "bu",
        "model": {
            "backbone": {"type": "ResNet", "model_name": "resnet50_gn", "output_stride": 16},
            "backbone_output_channels": 2048,
            "heads": {"bodypart": head},
        },
        "net_type": "resnet_50",
    } | changes


def write_snapshot(folder: Path, state: dict[str, torch.Tensor], settings: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pytorch_config.yaml").write_text(yaml.safe_dump(settings))
    path = folder / "snapshot-best-010.pt"
    # Losses are numbers of NumPy, as DeepLabCut stores them.
    metadata = {"epoch": 10, "losses": {"total": np.float64(0.1)}}
    torch.save({"model": state, "metadata": metadata, "scheduler": {"last_epoch": 9}}, path)
    return path


def import_model(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    import_.configure(parser)
    return import_.run(parser.parse_args([str(one) for one in arguments]))


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return random_resnet50(len(BODYPARTS), seed=3)


@pytest.fixture(scope="module")
def train_folder(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("dlc") / "openfield"
    folder = project / "dlc-models-pytorch" / "iteration-0" / "openfieldshuffle1" / "train"
    write_snapshot(folder, state, config())
    bones = {"skeleton": [["snout", "leftear"]], "bodyparts": list(BODYPARTS)}
    (project / "config.yaml").write_text(yaml.safe_dump({"Task": "openfield", **bones}))
    return folder


def test_a_snapshot_answers_in_every_engine_as_the_reference_implementation(
    state: dict[str, torch.Tensor],
    train_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    size = f"{WIDTH_PX}x{HEIGHT_PX}"
    common = ("--out", tmp_path, "--name", "mouse", "--most-frames", 4, "--license", "CC0")
    assert import_model("dlc", train_folder, *common, "--size", size) == 0
    bundle = read_bundle(tmp_path / "mouse" / "1")
    pose = bundle.manifest.pose
    assert pose is not None
    assert pose.keypoints == BODYPARTS
    assert pose.left_right == (("leftear", "rightear"),)
    assert pose.skeleton == (("snout", "leftear"),)
    assert bundle.manifest.provenance.license == "CC0"
    assert "snapshot-best-010.pt" in bundle.document("card")
    parity = json.loads(bundle.document("parity"))
    assert "simulated frames" in parity["reference"]
    assert "simulated frames" in capsys.readouterr().out

    frames = np.random.default_rng(1).integers(0, 256, (3, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    wanted = answers(state, frames)
    for engine in ("onnxruntime", "openvino"):
        graph = create_engine(bundle.graph_path("pose"), engine=engine, precision="fp32", threads=1)
        found = graph.run({"frames": frames})["keypoints"]
        assert found.shape == (3, 1, 3, 3)
        np.testing.assert_allclose(found[:, 0], wanted, atol=2e-3)


def test_an_exported_model_carries_its_configuration(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "DLC_openfield_snapshot-010.pt"
    torch.save({"config": config(method="BU"), "pose": state, "detector": None}, path)
    frames = np.random.default_rng(2).integers(0, 256, (2, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    with torch.no_grad():
        found = read_network(path, animals=2)(torch.from_numpy(frames)).numpy()
    assert found.shape == (2, 2, 3, 3)
    # The best local maximum is the largest cell.
    np.testing.assert_allclose(found[:, 0], answers(state, frames), atol=2e-3)
    assert (found[:, 1, :, 2] <= found[:, 0, :, 2]).all()


def test_the_snapshot_of_a_folder_is_the_best_one_then_the_last_one(tmp_path: Path) -> None:
    for name in ("snapshot-005", "snapshot-100", "snapshot-050", "snapshot-detector-best-200"):
        (tmp_path / f"{name}.pt").touch()
    assert find_snapshot(tmp_path).stem == "snapshot-100"
    (tmp_path / "snapshot-best-050.pt").touch()
    assert find_snapshot(tmp_path).stem == "snapshot-best-050"


def failure(folder: Path, state: dict[str, torch.Tensor], settings: dict[str, Any]) -> str:
    path = write_snapshot(folder, state, settings)
    with pytest.raises(InvalidConfig) as caught:
        draft_bundle(path, folder, ImportOptions(size_px=(WIDTH_PX, HEIGHT_PX)))
    return str(caught.value)


def test_a_missing_and_a_wrong_tensor_are_named_with_their_shapes(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    name = "heads.bodypart.locref_head.deconv_layers.0.weight"
    without = {key: value for key, value in state.items() if key != name}
    assert f"no tensor {name}, of shape (2048, 6, 3, 3)" in failure(tmp_path, without, config())
    wrong = state | {name: torch.zeros(2048, 8, 3, 3)}
    message = failure(tmp_path, wrong, config())
    assert f"{name} of" in message
    assert "(2048, 8, 3, 3), but (2048, 6, 3, 3) is expected" in message
    more = state | {"backbone.model.layer9.weight": torch.zeros(3)}
    assert "holds a tensor backbone.model.layer9.weight" in failure(tmp_path, more, config())


def changed(path: str, value: object) -> dict[str, Any]:
    settings = config()
    *sections, key = path.split("/")
    place = settings
    for section in sections:
        place = place[section]
    place[key] = value
    return settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (changed("net_type", None), "not a pytorch_config"),
        (changed("model/backbone/model_name", "cspnext_s"), "the backbone cspnext_s"),
        (changed("model/heads/bodypart/type", "DLCRNetHead"), "a head DLCRNetHead"),
        (changed("model/heads/identity", {"type": "HeatmapHead"}), "a head identity"),
        (changed("method", "ctd"), "method conditional top-down"),
        (changed("data/colormode", "BGR"), "colormode BGR"),
        (changed("metadata/bodyparts", ["snout"]), "3 channels, but 1 for its 1 body parts"),
        (changed("model/heads/bodypart/locref_config", None), "without a locref_config"),
    ],
)
def test_configurations_that_are_not_supported_say_what_is(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "pytorch_config.yaml"
    path.write_text(yaml.safe_dump(settings))
    with pytest.raises(InvalidConfig, match=message):
        read_dlc_config(path)


def test_a_top_down_network_takes_its_crop_and_unique_body_parts_have_a_head_of_their_own() -> None:
    settings = config(method="td", net_type="top_down_hrnet_w32")
    settings["model"]["backbone"] = {"type": "HRNet", "model_name": "hrnet_w32"}
    final = {"kernel_size": [], "strides": [], "channels": [32]}
    head = settings["model"]["heads"]["bodypart"]
    head["heatmap_config"] = final | {"final_conv": {"out_channels": 3, "kernel_size": 1}}
    head["locref_config"] = final | {"final_conv": {"out_channels": 6, "kernel_size": 1}}
    corner = {
        **head,
        "heatmap_config": final | {"final_conv": {"out_channels": 1, "kernel_size": 1}},
        "predictor": {**head["predictor"], "location_refinement": False},
    }
    settings["model"]["heads"]["unique_bodypart"] = corner
    settings["metadata"]["unique_bodyparts"] = ["corner"]
    model = read_dlc_config(settings, name="exported.pt")
    assert model.crop_px == (256, 256)
    assert model.backbone_stride_px == 4
    assert model.heads[0].upscaling == 1
    assert model.heads[1].locref is None
    assert model.keypoints == (*BODYPARTS, "corner")
    assert model.unique_keypoints == ("corner",)


def test_a_size_is_asked_for_where_nothing_tells_it(train_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="give --size WIDTHxHEIGHT"):
        draft_bundle(train_folder, tmp_path, ImportOptions())
