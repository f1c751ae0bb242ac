"""Networks with random weights as bundles in fp32 and int8, for measuring speed alone."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import torch

from benchmarks.behavior import preset_settings
from export.behavior import export_behavior_graphs
from export.quantize import quantize_graph
from export.to_onnx import export_graph
from service.bundle import (
    Bundle,
    InputSpec,
    Manifest,
    PoseSpec,
    Provenance,
    describe_file,
    read_bundle,
    write_manifest,
)
from service.engine import Tensors
from service.graph_inputs import example_inputs
from service.targets import TargetSpec
from training.backbones import create_backbone
from training.behavior.presets import new_features, new_flow, new_sequence
from training.behavior.settings import Decisions, PresetName
from training.behavior.stages import Networks
from training.behavior.trained import behavior_spec
from training.pose.heads import DeconvolutionHead
from training.pose.model import PoseNetwork
from training.pose.trained import PoseGraph

_KEYPOINTS = 4
_CALIBRATION_FRAMES = 2
_GATED = {"onnxruntime": ("int8", "fp32"), "openvino": ("int8", "bf16", "fp32")}
"""There is nothing to lose in random weights; every precision is measured."""


def random_bundle(name: str, folder: Path) -> Bundle:
    """Write a bundle into `folder` and return it.

    `resnet50-WxH` is DeepLabCut's pose network (output stride 16, transposed convolutions);
    `deg_f-WxH` is the fast preset of DeepEthogram, `realtime-WxH` ours.
    """
    torch.manual_seed(1)
    network, _, size = name.partition("-")
    width_px, height_px = (int(part) for part in size.split("x"))
    write = _write_pose if network == "resnet50" else partial(_write_behavior, network)
    return with_all_precisions(write(name, folder, width_px, height_px), folder)


def with_all_precisions(manifest: Manifest, folder: Path) -> Bundle:
    """Quantize the graphs in `folder` on noise, let all precisions through, write the manifest."""
    quantized = {}
    for graph in ("pose", "flow", "features"):
        if graph in manifest.graphs:
            inputs = random_inputs(manifest, graph, _CALIBRATION_FRAMES)
            file = f"{graph}.int8.onnx"
            if quantize_graph(folder / f"{graph}.onnx", folder / file, [inputs]):
                quantized[graph] = describe_file(folder, file)
    whole = msgspec.structs.replace(manifest, quantized=quantized, precisions=_GATED)
    write_manifest(folder, whole)
    return read_bundle(folder)


def random_inputs(manifest: Manifest, graph: str, batch_size: int) -> Tensors:
    """Return inputs of a graph: noise in the shapes that the service sends."""
    random = np.random.default_rng(1)
    return {
        name: random.integers(0, 256, array.shape, np.uint8)
        if array.dtype == np.uint8
        else random.normal(size=array.shape).astype(np.float32)
        for name, array in example_inputs(manifest, graph, batch_size).items()
    }


def _write_pose(name: str, folder: Path, width_px: int, height_px: int) -> Manifest:
    backbone = create_backbone("resnet_50", weights="random", output_stride=16)
    head = DeconvolutionHead(
        backbone.channels, _KEYPOINTS, skip=False, intermediate=False, starts_unsure=True
    )
    graph = PoseGraph(PoseNetwork(backbone, head), TargetSpec()).eval()
    path = export_graph(
        graph,
        [torch.zeros((2, height_px, width_px, 3), dtype=torch.uint8)],
        input_names=["frames"],
        output_names=["keypoints"],
        dynamic_shapes=[{0: "batch"}],
        path=folder / "pose.onnx",
    )
    return pose_manifest(name, folder, path, width_px, height_px, keypoints=_KEYPOINTS)


def _write_behavior(
    preset: PresetName, name: str, folder: Path, width_px: int, height_px: int
) -> Manifest:
    settings = preset_settings(preset, width_px, height_px)
    flow, features = new_flow(settings).eval(), new_features(settings, None).eval()
    sequence = new_sequence(settings, features.feature_size)
    networks = Networks(flow, features, sequence.eval() if sequence else None)
    paths = export_behavior_graphs(networks, settings, folder)
    count = len(settings.behaviors)
    decisions = Decisions(thresholds=(0.5,) * count, min_bout_frames=(1,) * count)
    spec = behavior_spec(settings, decisions, networks)
    return _manifest(name, folder, paths, input=settings.input, behavior=spec)


def pose_manifest(
    name: str, folder: Path, path: Path, width_px: int, height_px: int, *, keypoints: int
) -> Manifest:
    """Describe the exported graph of a pose network, which lies in `folder`."""
    size = InputSpec(width_px=width_px, height_px=height_px, color="rgb", fit="stretch")
    names = tuple(f"point{i}" for i in range(keypoints))
    return _manifest(name, folder, {"pose": path}, input=size, pose=PoseSpec(keypoints=names))


def _manifest(name: str, folder: Path, paths: Mapping[str, Path], **parts: object) -> Manifest:
    nothing = Provenance(
        run="none", code_commit="none", data="none", data_sha256="", license="Apache-2.0"
    )
    return Manifest(
        name=name,
        version=1,
        task="pose" if "pose" in paths else "behavior",
        description="random weights, for speed only",
        graphs={graph: describe_file(folder, path.name) for graph, path in paths.items()},
        provenance=nothing,
        **parts,  # type: ignore[arg-type]
    )
