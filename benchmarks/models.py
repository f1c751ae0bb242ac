"""Networks with random weights as bundles, for measuring speed where no training is needed."""

from pathlib import Path

import torch
import torchvision
from torch import nn

from service.bundle import (
    InputSpec,
    Manifest,
    PoseSpec,
    Provenance,
    describe_file,
    write_manifest,
)


class ArgMaxPose(nn.Module):
    """A torchvision ResNet trunk, one score map a keypoint, arg-max in the graph."""

    def __init__(self, network: str, keypoints: int) -> None:
        super().__init__()
        trunk = torchvision.models.get_model(network, weights=None)
        self.trunk = nn.Sequential(*list(trunk.children())[:-2])
        width = 2048 if network != "resnet18" and network != "resnet34" else 512
        self.head = nn.Conv2d(width, keypoints, 1)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return (B, 1, K, 3) from (B, H, W, 3) uint8."""
        images = frames.float().permute(0, 3, 1, 2) / 255.0
        maps = torch.sigmoid(self.head(self.trunk(images)))
        columns = maps.shape[3]
        confidence, cell = maps.flatten(2).max(dim=2)
        x = (cell % columns).float() * 32.0 + 15.5
        y = torch.div(cell, columns, rounding_mode="floor").float() * 32.0 + 15.5
        return torch.stack([x, y, confidence], dim=2).unsqueeze(1)


def write_random_pose_bundle(
    models: Path, name: str, *, network: str, width_px: int, height_px: int, keypoints: int = 4
) -> Path:
    """Write `models`/`name`/1 with random weights and return its folder."""
    directory = models / name / "1"
    directory.mkdir(parents=True)
    module = ArgMaxPose(network, keypoints).eval()
    example = torch.zeros((2, height_px, width_px, 3), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.onnx.export(
        module, (example,), dynamo=True, dynamic_shapes=({0: batch},),
        input_names=["frames"], output_names=["keypoints"], verbose=False,
    )  # fmt: skip
    assert program is not None
    program.save(directory / "pose.onnx", external_data=False)
    manifest = Manifest(
        name=name,
        version=1,
        task="pose",
        description=f"{network} with random weights, for speed only",
        input=InputSpec(width_px=width_px, height_px=height_px, color="rgb", fit="stretch"),
        pose=PoseSpec(keypoints=tuple(f"point{i}" for i in range(keypoints))),
        graphs={"pose": describe_file(directory, "pose.onnx")},
        precisions={"openvino": ("bf16", "fp32"), "onnxruntime": ("fp32",)},
        provenance=Provenance(
            run="none", code_commit="none", data="none", data_sha256="", license="Apache-2.0"
        ),
    )
    write_manifest(directory, manifest)
    return directory
