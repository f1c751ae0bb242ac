"""The gate of imports, on networks so small that nothing need be exported."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.importers.frames import first_frame_size, read_gate_footage, read_gate_frames
from export.importers.gate import TorchReference, measure_behavior, measure_pose
from export.to_onnx import export_graph
from service.bundle import BehaviorSpec, InputSpec
from service.engine import Tensors
from service.errors import BundleInvalid, InvalidConfig

pytestmark = pytest.mark.needs_train

SIZE = InputSpec(width_px=64, height_px=48, color="rgb", fit="letterbox")


class Brightness(nn.Module):
    """One keypoint whose place is the mean color of the frame, with a fixed confidence."""

    def __init__(self, confidence: float, shift_px: float = 0.0) -> None:
        super().__init__()
        self._confidence = confidence
        self._shift_px = shift_px

    def forward(self, frames: Tensor) -> Tensor:
        mean = frames.float().mean(dim=(1, 2, 3))
        sure = torch.full_like(mean, self._confidence)
        point = torch.stack([mean / 10, mean / 20 + self._shift_px, sure], dim=1)
        return point[:, None, None]


def exported(network: nn.Module, path: Path) -> Path:
    return export_graph(
        network,
        [torch.zeros((2, 48, 64, 3), dtype=torch.uint8)],
        input_names=["frames"],
        output_names=["keypoints"],
        dynamic_shapes=[{0: "batch"}],
        path=path,
    )


def test_frames_in_which_the_network_is_sure_of_nothing_are_told(tmp_path: Path) -> None:
    frames = read_gate_frames(None, ["snout"], most=3)
    assert len(frames.examples) == 3
    with pytest.raises(InvalidConfig, match=r"nowhere sure .* is 0\.30, .*--frames"):
        measure_pose(tmp_path / "none", TorchReference(Brightness(0.3)), frames, SIZE, name="it")


def test_a_graph_that_answers_otherwise_is_refused_also_without_labels(tmp_path: Path) -> None:
    frames = read_gate_frames(None, ["snout"], most=3)
    path = exported(Brightness(0.9, shift_px=0.3), tmp_path / "pose.onnx")
    same = measure_pose(
        path, TorchReference(Brightness(0.9, shift_px=0.3)), frames, SIZE, name="it"
    )
    assert same.parity.rows[0].passed
    assert same.parity.reference == "it, on simulated frames of `ethostream simulate`, seed 0"
    assert "nobody labelled" in same.parity.gate
    assert same.found.keypoints_xy.shape == (3, 1, 1, 2)
    with pytest.raises(BundleInvalid, match="disagrees"):
        measure_pose(path, TorchReference(Brightness(0.9)), frames, SIZE, name="it")


def test_frames_of_a_labelled_project_bring_its_labels(simulated_project: Path) -> None:
    frames = read_gate_frames(simulated_project, ["tailbase", "snout"], most=5)
    assert len(frames.examples) == 5
    assert frames.are_labelled
    assert frames.examples[0].keypoints_xy.shape == (1, 2, 2)
    other = read_gate_frames(simulated_project, ["wing"], most=2)
    assert not other.are_labelled
    assert first_frame_size(simulated_project) == (96, 72)


def test_frames_of_a_folder_are_spread_over_all_of_them(tmp_path: Path) -> None:
    for index in range(20):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((48, 64, 3), index, np.uint8))
    frames = read_gate_frames(tmp_path, ["snout"], most=4)
    shown = [int(one.pixels.flat[0]) for one in frames.examples]
    assert shown == sorted(shown)
    assert len(shown) == 4
    assert shown[0] == 0
    assert shown[-1] >= 15
    assert not frames.are_labelled
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidConfig, match="neither pictures nor videos"):
        read_gate_frames(tmp_path / "empty", ["snout"], most=4)
    with pytest.raises(InvalidConfig, match="does not exist"):
        read_gate_frames(tmp_path / "lost", ["snout"], most=4)


class Shown:
    """Graphs of a model without a sequence: one logit, high in bright frames."""

    def __init__(self, gain: float) -> None:
        self._gain = gain

    def run(self, inputs: Tensors) -> Tensors:
        if "flows" not in inputs:
            batch, frames, height, width, _ = inputs["frames"].shape
            shape = (batch, frames - 1, 2, height // 2, width // 2)
            return {"flows": np.zeros(shape, np.float32)}
        mean = inputs["frames"].astype(np.float32).mean(axis=(1, 2, 3))[:, None]
        return {"features": mean, "logits": self._gain * (mean - 120)}


def test_behavior_needs_graphs_that_answer_alike(tmp_path: Path) -> None:
    spec = BehaviorSpec(
        behaviors=("bright",),
        exclusive=False,
        thresholds=(0.5,),
        min_bout_frames=(1,),
        frame_rate_hz=10.0,
        flow_frames=1,
        past_frames=1,
        future_frames=0,
        sequence="none",
        feature_size=1,
        state_size=0,
    )
    footage = read_gate_footage(None, SIZE, spec, most=12)
    assert footage.recordings[0].frames.shape == (12, 48, 64, 3)
    paths = {"flow": exported_flow(tmp_path), "features": exported_features(tmp_path)}
    graphs = {"flow": Shown(1.0), "features": Shown(1.0)}
    measured = measure_behavior(paths, graphs, footage, spec, name="it")
    assert measured.parity.rows[0].figures["equal_share"] == 1.0
    assert np.isnan(measured.found[0].logits[0]).all()
    graphs = {"flow": Shown(-1.0), "features": Shown(-1.0)}
    with pytest.raises(BundleInvalid, match="disagrees"):
        measure_behavior(paths, graphs, footage, spec, name="it")


class Still(nn.Module):
    def forward(self, frames: Tensor) -> Tensor:
        quarter = frames[:, 1:, ::2, ::2, :2].float().permute(0, 1, 4, 2, 3)
        return quarter * 0


class Bright(nn.Module):
    def forward(self, frames: Tensor, flows: Tensor) -> tuple[Tensor, Tensor]:
        mean = frames.float().mean(dim=(1, 2, 3))[:, None] + flows.mean() * 0
        return mean, mean - 120


def exported_flow(folder: Path) -> Path:
    return export_graph(
        Still(),
        [torch.zeros((2, 2, 48, 64, 3), dtype=torch.uint8)],
        input_names=["frames"],
        output_names=["flows"],
        dynamic_shapes=[{0: "batch"}],
        path=folder / "flow.onnx",
    )


def exported_features(folder: Path) -> Path:
    return export_graph(
        Bright(),
        [torch.zeros((2, 48, 64, 3), dtype=torch.uint8), torch.zeros((2, 1, 2, 24, 32))],
        input_names=["frames", "flows"],
        output_names=["features", "logits"],
        dynamic_shapes=[{0: "batch"}, {0: "batch"}],
        path=folder / "features.onnx",
    )
