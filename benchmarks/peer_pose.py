"""This server beside DLC-Live: one pose network with the same weights, on the processor.

The network is DeepLabCut 3's resnet_50 with output stride 16 and random weights, written as
DeepLabCut exports it: its default, with GroupNorm, which is computed in floating point after each
convolution whatever the precision, and with BatchNorm, which becomes part of the convolutions.
DLC-Live opens that file in a program of its own; here it is read by the importer and written as a
bundle in fp32, with int8 beside it. DLC-Live is called in its own process, this server is asked
over gRPC, both for one frame after the other.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.peer_rows import Comparison, Load, Turn, to_load
from benchmarks.peer_servers import noise, our_server
from benchmarks.random_bundles import pose_manifest, with_all_precisions
from export.importers.dlc import read_network
from export.importers.dlc_config import read_dlc_config
from export.importers.dlc_network import DlcNetwork
from export.to_onnx import export_graph
from service.engine import create_engine, default_threads

DLC_LIVE = "DLC-Live"
_MODEL, _KEYPOINTS = "dlc", 4
_BACKBONES = {
    "resnet50_gn": "DeepLabCut resnet_50",
    "resnet50": "DeepLabCut resnet_50 with BatchNorm",
}
_GOALS = {"fp32": None, "bf16": 1.7, "int8": 3.0}


def compare_pose(
    python: Path, *, size_px: int, seconds: float, turns: int
) -> tuple[list[Comparison], dict[str, float]]:
    """Measure both; return with it the median distance in px between their poses in fp32.

    Args:
        python: has DLC-Live.
        size_px: side of the frames.
        seconds: of each measurement.
        turns: of all.
    """
    done: list[Comparison] = []
    apart_px: dict[str, float] = {}
    for backbone, name in _BACKBONES.items():
        network = f"{name} {size_px}x{size_px}"
        taken, apart_px[network] = _measure(python, backbone, size_px, seconds, turns)
        done += [
            Comparison(DLC_LIVE, network, f"openvino {precision}", 1, found, _GOALS[precision])
            for precision, found in taken.items()
        ]
    return done, apart_px


def _measure(
    python: Path, backbone: str, size_px: int, seconds: float, turns: int
) -> tuple[dict[str, list[Turn]], float]:
    """Return the turns by precision of this server, and the distance of poses."""
    frames = noise(size_px)
    pictures = [one.tobytes() for one in frames]
    taken: dict[str, list[Turn]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        exported = write_exported_model(folder / "exported.pt", backbone)
        graph = _write_bundle(exported, folder / "models", size_px)
        np.save(folder / "frames.npy", np.stack(frames))
        ours = {
            precision: stack.enter_context(
                our_server(folder / "models", _MODEL, size_px, "openvino", precision)
            )
            for precision in _precisions()
        }
        live = stack.enter_context(_driver(python, exported, folder / "frames.npy"))
        apart_px = _distance_px(live.poses, graph, frames)
        for _ in range(turns):
            peer = live.measure(seconds)
            for precision, server in ours.items():
                found = server.measure(pictures, concurrency=1, seconds=seconds)
                taken.setdefault(precision, []).append(Turn(peer, found))
    return taken, apart_px


def write_exported_model(path: Path, backbone: str) -> Path:
    """Write a resnet_50 of four keypoints with random weights as DeepLabCut 3 exports it.

    Args:
        path: where.
        backbone: timm's name, `resnet50_gn` or `resnet50`.
    """
    names = [f"point{i}" for i in range(_KEYPOINTS)]

    def layers(channels: int) -> dict[str, list[int]]:
        return {"channels": [2048, channels], "kernel_size": [3], "strides": [2]}

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
        "heatmap_config": layers(_KEYPOINTS),
        "locref_config": layers(2 * _KEYPOINTS),
    }
    config = {
        "data": {"colormode": "RGB", "inference": {"normalize_images": True}},
        "metadata": {
            "bodyparts": names,
            "unique_bodyparts": [],
            "individuals": ["animal"],
            "with_identity": None,
        },
        "method": "bu",
        "model": {
            "backbone": {"type": "ResNet", "model_name": backbone, "output_stride": 16},
            "backbone_output_channels": 2048,
            "heads": {"bodypart": head},
        },
        "net_type": "resnet_50",
    }
    torch.manual_seed(1)
    network = DlcNetwork(read_dlc_config(config, name=str(path)))
    for module in network.modules():
        if isinstance(module, torch.nn.GroupNorm | torch.nn.BatchNorm2d):
            # Some begin at 0 and most at 1: nothing would come through, or nothing be computed.
            torch.nn.init.normal_(module.weight, mean=1.0, std=0.1)
            torch.nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, torch.nn.ConvTranspose2d):
            torch.nn.init.normal_(module.weight, std=0.001)
    torch.save({"config": config, "pose": network.state_dict(), "detector": None}, path)
    return path


def _write_bundle(exported: Path, models: Path, size_px: int) -> Path:
    """Import the model, let every precision through, and return the graph in fp32."""
    folder = models / _MODEL / "1"
    folder.mkdir(parents=True)
    path = export_graph(
        read_network(exported),
        [torch.zeros((2, size_px, size_px, 3), dtype=torch.uint8)],
        input_names=["frames"],
        output_names=["keypoints"],
        dynamic_shapes=[{0: "batch"}],
        path=folder / "pose.onnx",
    )
    manifest = pose_manifest(_MODEL, folder, path, size_px, size_px, keypoints=_KEYPOINTS)
    with_all_precisions(manifest, folder)
    return path


def _precisions() -> list[str]:
    """Those of `_GOALS` that this processor computes rather than emulates."""
    from service.engine.openvino import cpu_computes_bf16

    return [one for one in _GOALS if one != "bf16" or cpu_computes_bf16()]


class _Live:
    """DLC-Live in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.poses = np.array(self._read("poses"))
        """(T, K, 3) of the frames."""

    def measure(self, seconds: float) -> Load:
        """Let it run for `seconds`."""
        assert self._process.stdin is not None
        print(seconds, file=self._process.stdin, flush=True)
        times_ms = self._read("times_ms")
        return to_load(times_ms, sum(times_ms) / 1e3)

    def _read(self, key: str) -> list[float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"DLC-Live ended with {self._process.wait()}; see above")
        found: list[float] = json.loads(line)[key]
        return found


@contextmanager
def _driver(python: Path, model: Path, frames: Path) -> Iterator[_Live]:
    with subprocess.Popen(
        [
            str(python), "-m", "benchmarks.dlclive_driver", "--model", str(model),
            "--frames", str(frames), "--threads", str(default_threads()),
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield _Live(process)
        finally:
            process.terminate()


def _distance_px(poses: np.ndarray, graph: Path, frames: list[np.ndarray]) -> float:
    """Return the median distance of keypoints between DLC-Live and the graph that we serve."""
    engine = create_engine(graph, engine="onnxruntime", precision="fp32", threads=default_threads())
    found = engine.run({"frames": np.stack(frames)})["keypoints"][:, 0]
    return float(np.median(np.linalg.norm(found[..., :2] - poses[..., :2], axis=2)))
