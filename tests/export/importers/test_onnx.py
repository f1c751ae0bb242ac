"""Graphs of other tools: SLEAP-NN and Lightning Pose exports, and described ONNX files."""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from torch import Tensor, nn

from export.commands import import_
from export.importers import described, lightning_pose, sleap
from export.importers.description import (
    Description,
    HeatmapAnswer,
    InputDescription,
    KeypointAnswer,
    SimccAnswer,
    read_description,
)
from export.importers.draft import ImportOptions
from export.importers.layers import create_answers
from service.bundle import read_bundle
from service.engine import create_engine
from service.errors import InvalidConfig

pytestmark = pytest.mark.needs_train

WIDTH_PX, HEIGHT_PX = 96, 64
ENGINES = ("onnxruntime", "openvino")


def import_model(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    import_.configure(parser)
    return import_.run(parser.parse_args([str(one) for one in arguments]))


def export_as_tool(
    network: nn.Module, example: Tensor, path: Path, inputs: str, outputs: list[str], **more: Any
) -> None:
    """As Lightning Pose and SLEAP-NN export: opset 17, dynamic batch."""
    axes = {name: {0: "batch"} for name in (inputs, *outputs)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (example,),
            str(path),
            input_names=[inputs],
            output_names=outputs,
            **({"dynamic_axes": axes, "opset_version": 17, "dynamo": False} | more),
        )


def compute(graph: Path, frames: np.ndarray, engine: str) -> np.ndarray:
    loaded = create_engine(graph, engine=engine, precision="fp32", threads=1)
    return loaded.run({"frames": frames})["keypoints"]


def random_frames(count: int, channels: int) -> np.ndarray:
    shape = (count, HEIGHT_PX, WIDTH_PX, channels)
    coarse = np.random.default_rng(8).integers(0, 256, (count, 8, 12, channels), np.uint8)
    large = [cv2.resize(one, (WIDTH_PX, HEIGHT_PX)).reshape(shape[1:]) for one in coarse]
    return np.stack(large)


class Maps(nn.Module):
    """Three maps of stride 4, in [0, 1]."""

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Conv2d(channels, 8, 3, 2, 1)
        self.second = nn.Conv2d(8, 3, 3, 2, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        return (self.second(torch.relu(self.first(pixels))) * 8).sigmoid()


class SleapSingle(nn.Module):
    """What SLEAP-NN's export of a single-instance model computes: peaks below 0.2 are no number."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = Maps(1, seed=0)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.maps(image.float() / 255.0)
        batch, nodes, height, width = maps.shape
        values, cells = maps.reshape(batch, nodes, height * width).max(dim=-1)
        peaks = torch.stack([(cells % width).float(), (cells // width).float()], dim=-1)
        low = values < 0.2
        peaks = peaks.masked_fill(low.unsqueeze(-1), float("nan")) * 4.0
        return peaks, values.masked_fill(low, 0.0)


class SleapBottomUp(nn.Module):
    """Two best cells of each node, as peaks, values and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = Maps(1, seed=1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = self.maps(image.float() / 255.0)
        width = maps.shape[3]
        values, cells = maps.flatten(2).topk(2, dim=2)
        peaks = torch.stack([(cells % width).float(), (cells // width).float()], dim=-1) * 4.0
        return peaks, values, values > 0.2


def sleap_folder(folder: Path, network: nn.Module, outputs: list[str], **metadata: Any) -> Path:
    folder.mkdir(exist_ok=True)
    image = torch.zeros((2, 1, HEIGHT_PX, WIDTH_PX), dtype=torch.uint8)
    export_as_tool(network, image, folder / "model.onnx", "image", outputs)
    known = {
        "sleap_nn_version": "0.3.5",
        "model_type": "single_instance",
        "node_names": ["nose", "left_ear", "right_ear"],
        "edge_inds": [[0, 1], [0, 2]],
        "input_scale": 1.0,
        "input_channels": 1,
        "output_stride": 4,
        "input_dtype": "uint8",
        "normalization": "0_to_1",
    }
    (folder / "model.onnx.metadata.json").write_text(json.dumps(known | metadata))
    return folder


def test_a_sleap_export_answers_as_its_own_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sleap_folder(tmp_path / "export", SleapSingle(), ["peaks", "peak_vals"])
    common = ("--out", tmp_path / "models", "--name", "fly", "--most-frames", 6)
    assert import_model("sleap", folder, *common) == 0
    assert "simulated frames" in capsys.readouterr().out
    bundle = read_bundle(tmp_path / "models" / "fly" / "1")
    assert bundle.manifest.pose is not None
    assert bundle.manifest.pose.keypoints == ("nose", "left_ear", "right_ear")
    assert bundle.manifest.pose.skeleton == (("nose", "left_ear"), ("nose", "right_ear"))
    assert bundle.manifest.input.color == "gray"
    assert "SLEAP-NN 0.3.5" in bundle.document("card")

    frames = random_frames(4, 1)
    frames[3] = 0  # nothing is found in some map of it
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    peaks, values = session.run(None, {"image": frames.transpose(0, 3, 1, 2)})
    for engine in ENGINES:
        found = compute(bundle.graph_path("pose"), frames, engine)[:, 0]
        sure = values > 0
        np.testing.assert_allclose(found[..., :2][sure], peaks[sure], atol=1e-3)
        np.testing.assert_allclose(found[..., 2], values, atol=1e-4)
        assert np.isfinite(found).all()
    # The uint8 cast of the original is none any more: TensorRT takes uint8 at the input only.
    graph = onnx.load(str(bundle.graph_path("pose"))).graph
    casts = [
        next(one.i for one in node.attribute if one.name == "to")
        for node in graph.node
        if node.op_type == "Cast"
    ]
    assert onnx.TensorProto.UINT8 not in casts


def test_int8_is_calibrated_on_other_frames_than_it_is_measured_on(tmp_path: Path) -> None:
    folder = sleap_folder(tmp_path / "export", SleapSingle(), ["peaks", "peak_vals"])
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index, frame in enumerate(random_frames(12, 1)):
        cv2.imwrite(str(pictures / f"{index}.png"), frame)
    options = ImportOptions(most_frames=5, frames=pictures, int8=True)
    draft = sleap.draft_bundle(folder, tmp_path, options)
    int8 = [row for row in draft.parity.rows if row.precision == "int8"]
    assert {row.engine for row in int8} == {"onnxruntime", "openvino"}
    assert all(row.figures["confident_points"] > 0 for row in int8)
    assert "on 5 frames that no figure here is of" in draft.parity.quantization
    assert draft.parity.samples == 5
    assert set(draft.quantized) == ({"pose"} if any(row.passed for row in int8) else set())
    with pytest.raises(InvalidConfig, match="int8 is calibrated on real frames"):
        ImportOptions(int8=True)


def test_rows_of_a_bottom_up_export_are_its_detections(tmp_path: Path) -> None:
    outputs = ["peaks", "peak_vals", "peak_mask"]
    folder = sleap_folder(tmp_path / "export", SleapBottomUp(), outputs, model_type="bottomup")
    draft = sleap.draft_bundle(folder, tmp_path, ImportOptions(most_frames=4))
    assert draft.pose is not None
    assert draft.pose.max_animals == 2
    frames = random_frames(3, 1)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    peaks, values, _ = session.run(None, {"image": frames.transpose(0, 3, 1, 2)})
    found = compute(draft.graphs["pose"], frames, "onnxruntime")
    np.testing.assert_allclose(found[..., :2], peaks.swapaxes(1, 2), atol=1e-3)
    np.testing.assert_allclose(found[..., 2], values.swapaxes(1, 2), atol=1e-4)


def test_sleap_exports_that_cannot_be_imported_say_why(tmp_path: Path) -> None:
    def failure(folder: Path) -> str:
        with pytest.raises(InvalidConfig) as caught:
            sleap.draft_bundle(folder, tmp_path, ImportOptions())
        return str(caught.value)

    folder = sleap_folder(tmp_path / "export", SleapSingle(), ["peaks", "peak_vals"])
    path = folder / "model.onnx.metadata.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps(metadata | {"model_type": "multi_class_topdown"}))
    assert "multi_class_topdown, which is not supported" in failure(folder)
    path.write_text(json.dumps(metadata | {"normalization": "imagenet"}))
    assert "normalization imagenet" in failure(folder)
    path.write_text(json.dumps({"model_type": "single_instance"}))
    assert "node_names" in failure(folder)
    path.unlink()
    assert "no model.onnx.metadata.json" in failure(folder)
    assert "does not exist" in failure(tmp_path / "none")


class LightningPose(nn.Module):
    """Maps of stride 4 under a softmax, as Lightning Pose's heat-map models answer."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = Maps(3, seed=2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maps(images) * 60
        return maps.flatten(2).softmax(dim=2).view(maps.shape)


def lightning_folder(folder: Path, model_type: str = "heatmap") -> Path:
    (folder / "exports_onnx").mkdir(parents=True)
    config = {
        "data": {
            "image_resize_dims": {"width": WIDTH_PX, "height": HEIGHT_PX},
            "keypoint_names": ["paw1LH", "leftHip", "rightHip"],
            "view_names": None,
        },
        "model": {"model_type": model_type, "backbone": "resnet50"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    path = folder / "exports_onnx" / "epoch=1-step=2-best_fp32.onnx"
    images = torch.zeros(2, 3, HEIGHT_PX, WIDTH_PX)
    export_as_tool(LightningPose(), images, path, "images", ["heatmaps"])
    (folder / "exports_onnx" / "epoch=1-step=2-best_fp16.onnx").write_bytes(b"not looked at")
    return folder


def decode_lightning_pose(maps: np.ndarray) -> np.ndarray:
    """(K, 3) of (K, h, w), by OpenCV and NumPy."""
    row = np.array([1, 4, 6, 4, 1], np.float64)
    kernel = np.outer(row, row) / 256
    found = []
    for one in maps.astype(np.float64):
        large = one
        for _ in range(2):
            large = cv2.resize(large, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
            large = cv2.filter2D(large, -1, kernel, borderType=cv2.BORDER_CONSTANT)
        shares = np.exp(1000 * (large - large.max()))
        shares /= shares.sum()
        rows, columns = np.indices(shares.shape)
        x, y = (shares * columns).sum(), (shares * rows).sum()
        near = (abs(columns - int(x)) <= 2) & (abs(rows - int(y)) <= 2)
        found.append((x - 1.5, y - 1.5, shares[near].sum()))
    return np.array(found)


def test_a_lightning_pose_export_is_decoded_as_that_tool_does(tmp_path: Path) -> None:
    folder = lightning_folder(tmp_path / "model")
    draft = lightning_pose.draft_bundle(folder, tmp_path, ImportOptions(most_frames=4))
    assert draft.pose is not None
    assert draft.pose.keypoints == ("paw1LH", "leftHip", "rightHip")
    assert draft.pose.left_right == (("leftHip", "rightHip"),)
    frames = random_frames(3, 3)
    pixels = (frames / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    path = folder / "exports_onnx" / "epoch=1-step=2-best_fp32.onnx"
    images = pixels.transpose(0, 3, 1, 2).astype(np.float32)
    (maps,) = onnxruntime.InferenceSession(path).run(None, {"images": images})
    wanted = np.stack([decode_lightning_pose(one) for one in maps])
    for engine in ENGINES:
        found = compute(draft.graphs["pose"], frames, engine)[:, 0]
        np.testing.assert_allclose(found, wanted, atol=0.02)


def test_lightning_pose_models_of_several_frames_or_cameras_are_refused(tmp_path: Path) -> None:
    folder = lightning_folder(tmp_path / "model", "heatmap_mhcrnn")
    with pytest.raises(InvalidConfig, match="only heatmap models of one view"):
        lightning_pose.draft_bundle(folder, tmp_path, ImportOptions())
    (folder / "exports_onnx" / "epoch=1-step=2-best_fp32.onnx").unlink()
    (folder / "exports_onnx" / "epoch=1-step=2-best_fp16.onnx").unlink()
    with pytest.raises(InvalidConfig, match="litpose export"):
        lightning_pose.draft_bundle(folder, tmp_path, ImportOptions())


class Located(nn.Module):
    """Maps as logits, in channels last, and offsets; pixels are BGR in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = Maps(3, seed=3)
        self.offsets = nn.Conv2d(3, 6, 3, 4, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        pixels = pixels.permute(0, 3, 1, 2)
        scores = self.maps.second(torch.relu(self.maps.first(pixels)))
        return (scores * 9 + 3).permute(0, 2, 3, 1), self.offsets(pixels)


LOCATED = """
keypoints = ["snout", "leftear", "rightear"]
skeleton = [["snout", "leftear"]]

[input]
width_px = 96
height_px = 64
layout = "NHWC"
color = "bgr"
scale = 0.00784313725
mean = [1.0, 1.0, 1.0]

[answer]
kind = "heatmaps"
maps = "scores"
layout = "NHWC"
sigmoid = true
offsets = "offsets"
offset_unit_px = 2.5
origin_px = 2.0
"""


@pytest.mark.parametrize(("opset", "fixed_batch"), [(17, False), (20, True)])
def test_a_described_graph_of_any_opset_answers_as_it_is_described(
    tmp_path: Path, opset: int, fixed_batch: bool
) -> None:
    network, path = Located(), tmp_path / "mouse.onnx"
    example = torch.zeros(1 if fixed_batch else 2, HEIGHT_PX, WIDTH_PX, 3)
    more = {"opset_version": opset} | ({"dynamic_axes": None} if fixed_batch else {})
    export_as_tool(network, example, path, "pixels", ["scores", "offsets"], **more)
    (tmp_path / "mouse.toml").write_text(LOCATED)
    draft = described.draft_bundle(path, tmp_path, ImportOptions(most_frames=4))
    assert draft.pose is not None
    assert draft.pose.skeleton == (("snout", "leftear"),)

    frames = random_frames(3, 3)
    pixels = torch.from_numpy(frames[..., ::-1].astype(np.float32) * 0.00784313725 - 1)
    with torch.no_grad():
        scores, offsets = (one.numpy() for one in network(pixels))
    for engine in ENGINES:
        found = compute(draft.graphs["pose"], frames, engine)[:, 0]
        for frame in range(3):
            for part in range(3):
                one = scores[frame, :, :, part]
                row, column = np.unravel_index(one.argmax(), one.shape)
                dx, dy = offsets[frame, 2 * part : 2 * part + 2, row, column] * 2.5
                wanted = (column * 4 + 2 + dx, row * 4 + 2 + dy, 1 / (1 + np.exp(-one.max())))
                np.testing.assert_allclose(found[frame, part], wanted, atol=2e-3)


def test_the_largest_bins_of_both_axes_are_the_place() -> None:
    description = Description(
        keypoints=("a", "b", "c"),
        input=InputDescription(width_px=WIDTH_PX, height_px=HEIGHT_PX),
        answer=SimccAnswer(x="simcc_x", y="simcc_y"),
    )
    answers, outputs = create_answers(description, animals=1)
    assert outputs == ("simcc_x", "simcc_y")
    random = np.random.default_rng(10)
    x = random.random((4, 3, 2 * WIDTH_PX)).astype(np.float32)
    y = random.random((4, 3, 2 * HEIGHT_PX)).astype(np.float32)
    found = answers(torch.from_numpy(x), torch.from_numpy(y)).numpy()[:, 0]
    np.testing.assert_allclose(found[..., 0], x.argmax(axis=2) / 2)
    np.testing.assert_allclose(found[..., 1], y.argmax(axis=2) / 2)
    np.testing.assert_allclose(found[..., 2], np.minimum(x.max(axis=2), y.max(axis=2)))


def test_quarter_refinement_steps_towards_the_larger_neighbor() -> None:
    description = Description(
        keypoints=("a", "b", "c"),
        input=InputDescription(width_px=WIDTH_PX, height_px=HEIGHT_PX),
        answer=HeatmapAnswer(maps="heat", refine="quarter"),
    )
    answers, outputs = create_answers(description, animals=1)
    assert outputs == ("heat",)
    maps = np.random.default_rng(9).random((4, 3, 16, 24)).astype(np.float32)
    maps[0, 0, 0, 5] = maps[0, 1, 7, 0] = maps[0, 2, 15, 23] = 1  # at edges
    found = answers(torch.from_numpy(maps)).numpy()[:, 0]
    for frame in range(4):
        for part in range(3):
            one = maps[frame, part]
            row, column = np.unravel_index(one.argmax(), one.shape)
            x, y = float(column), float(row)
            if 0 < column < one.shape[1] - 1:
                x += 0.25 * np.sign(one[row, column + 1] - one[row, column - 1])
            if 0 < row < one.shape[0] - 1:
                y += 0.25 * np.sign(one[row + 1, column] - one[row - 1, column])
            np.testing.assert_allclose(
                found[frame, part], (x * 4 + 1.5, y * 4 + 1.5, one.max()), atol=1e-4
            )


@pytest.fixture(scope="module")
def located(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("located") / "mouse.onnx"
    example = torch.zeros(2, HEIGHT_PX, WIDTH_PX, 3)
    export_as_tool(Located(), example, path, "pixels", ["scores", "offsets"])
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("width_px = 96", "width_px = 128"), r"has the shape .*96, 3\], but .*128, 3\]"),
        (('layout = "NHWC"\ncolor', 'layout = "NCHW"\ncolor'), "NCHW"),
        (('maps = "scores"', 'maps = "maps"'), "no output maps; it has scores, offsets"),
        (('"rightear"]\nskeleton', '"rightear", "tail"]\nskeleton'), "for 4 keypoints"),
        (("mean = [1.0, 1.0, 1.0]", "mean = [1.0]"), "input.mean has 1 values"),
        (("origin_px = 2.0", "origin = 2.0"), "unknown field `origin`"),
        (('kind = "heatmaps"', 'kind = "peaks"'), "Invalid value 'peaks'"),
        (('[["snout", "leftear"]]', '[["snout", "wing"]]'), "wing is none of the keypoints"),
    ],
)
def test_a_description_that_does_not_fit_is_told(
    located: Path, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    assert change[0] in LOCATED
    path = tmp_path / "other.toml"
    path.write_text(LOCATED.replace(*change))
    with pytest.raises(InvalidConfig, match=message):
        described.draft_bundle(located, tmp_path, ImportOptions(config=path))


def test_files_that_are_no_graphs_or_have_operators_of_others_are_refused(
    located: Path, tmp_path: Path
) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no graph")
    path.with_suffix(".toml").write_text(LOCATED)
    with pytest.raises(InvalidConfig, match="not a valid ONNX file"):
        described.draft_bundle(path, tmp_path, ImportOptions())
    model = onnx.load(str(located))
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save(model, str(path))
    with pytest.raises(InvalidConfig, match=r"of com\.example, which not every engine has"):
        described.draft_bundle(path, tmp_path, ImportOptions())
    with pytest.raises(InvalidConfig, match="--config"):
        described.draft_bundle(located, tmp_path, ImportOptions())


def test_the_example_of_the_help_is_a_description(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    import_.configure(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["onnx", "--help"])
    text = import_.ONNX_HELP
    first = text[text.index("  keypoints =") : text.index("or, in place of")]
    path = tmp_path / "example.toml"
    path.write_text("\n".join(line[2:] for line in first.splitlines()))
    description = read_description(path)
    assert description.keypoints == ("snout", "leftear", "rightear", "tailbase")
    second = text[text.index('  [answer]\n  kind = "keypoints"') : text.index("or kind =")]
    path.write_text(
        "\n".join(line[2:] for line in (first.split("  [answer]")[0] + second).splitlines())
    )
    assert isinstance(read_description(path).answer, KeypointAnswer)
