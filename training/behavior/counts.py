"""Parameters and multiply-accumulates of the behavior presets, beside the published ones.

`python -m training.behavior.counts --size 256x256` prints them; nothing is computed for it, since
the networks are built without memory behind their tensors.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from training.arguments import frame_size
from training.backbones import create_backbone
from training.behavior.networks.causal_head import CausalHead
from training.behavior.networks.motionnet import MotionNet
from training.behavior.networks.realtime_features import RealtimeFeatures
from training.behavior.networks.realtime_flow import RealtimeFlow
from training.behavior.networks.resnet3d import TwoStreamResNet3D
from training.behavior.networks.tgm import Tgm
from training.behavior.networks.tiny_motionnet import TinyMotionNet
from training.behavior.networks.tiny_motionnet_3d import TinyMotionNet3D
from training.behavior.networks.two_stream import TwoStreamResNet

PAPER_SIZE_PX = (256, 256)
"""Width and height that `Stage.reference_gmac` holds for."""
SUMMARY = "print parameters and multiply-accumulates per frame of the behavior presets"
_BEHAVIORS = 7
_COLORS = (0.5, 0.5, 0.5)
_RECORDING_FRAMES = 1800
_REALTIME_FLOWS = 4


@dataclass(frozen=True, slots=True)
class Stage:
    """One network of a preset, and a call of it."""

    stage: str
    """flow, features or sequence."""
    network: nn.Module
    inputs: tuple[Tensor, ...]
    """Of one call."""
    frames: int = 1
    """Video frames that the call answers."""
    paper_parameters: float | None = None
    """Millions, as Table 2 of Bohnslav et al. 2021 (eLife 10:e63377) gives them."""
    reference_gmac: float | None = None
    """Multiply-accumulates per frame, 10^9, counted by hand from the layers at PAPER_SIZE_PX."""


@dataclass(frozen=True, slots=True)
class Preset:
    """The networks that a frame goes through."""

    name: str
    stages: tuple[Stage, ...]
    paper_parameters: float | None = None
    """Millions, of all stages, from the same table."""


@dataclass(frozen=True, slots=True)
class Count:
    """What one stage, or a whole preset, costs."""

    preset: str
    stage: str
    """As in Stage, or `total`."""
    network: str
    parameters: int
    gmac: float
    """Multiply-accumulates per frame, 10^9: of convolutions, linear layers, matrix products."""
    paper_parameters: float | None
    reference_gmac: float | None


def counts(presets: Sequence[Preset]) -> list[Count]:
    """Count each stage of each preset, and after them the whole preset."""
    rows: list[Count] = []
    for preset in presets:
        stages = [_count(preset.name, stage) for stage in preset.stages]
        rows += stages
        rows.append(
            Count(
                preset=preset.name,
                stage="total",
                network="",
                parameters=sum(row.parameters for row in stages),
                gmac=sum(row.gmac for row in stages),
                paper_parameters=preset.paper_parameters,
                reference_gmac=_sum([row.reference_gmac for row in stages]),
            )
        )
    return rows


def multiply_accumulates(network: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Count those of one call, in evaluation mode; `meta` tensors do."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(*inputs)
    return int(counter.get_total_flops()) // 2


def all_presets(size_px: tuple[int, int]) -> list[Preset]:
    """Return deg_f, deg_m, deg_s and realtime of 7 behaviors for frames of (width, height) px.

    The networks are on the device `meta`: they have shapes, but no values.
    """
    width, height = size_px
    with torch.device("meta"):
        window = torch.zeros(1, 11, height, width, 3, dtype=torch.uint8)
        flows = torch.zeros(1, 10, 2, height // 2, width // 2)
        still = (window[:, 5], flows)
        moving = (window, flows)
        features = torch.zeros(1, _RECORDING_FRAMES, 1024)
        recording = (features, torch.ones(1, _RECORDING_FRAMES))
        resnet_18 = TwoStreamResNet(18, behaviors=_BEHAVIORS, mean=_COLORS, std=_COLORS)
        resnet_50 = TwoStreamResNet(50, behaviors=_BEHAVIORS, mean=_COLORS, std=_COLORS)
        resnet_3d = TwoStreamResNet3D(behaviors=_BEHAVIORS, mean=_COLORS, std=_COLORS)
        sequence = Stage("sequence", Tgm(_BEHAVIORS), recording, _RECORDING_FRAMES, 0.25)
        fast = (
            Stage("flow", TinyMotionNet(_COLORS, _COLORS), (window,), 1, 1.9, 16.7),
            Stage("features", resnet_18, still, 1, 22.4, 2.37 + 0.81),
            sequence,
        )
        medium = (
            Stage("flow", MotionNet(_COLORS, _COLORS), (window,), 1, 45.8, 29.0),
            Stage("features", resnet_50, still, 1, 49.2, 5.34 + 1.55),
            sequence,
        )
        slow = (
            Stage("flow", TinyMotionNet3D(_COLORS, _COLORS), (window,), 1, 0.4),
            Stage("features", resnet_3d, moving, 1, 127.0),
            sequence,
        )
        live = _realtime(width, height)
    return [
        Preset("deg_f", fast, 24.5),
        Preset("deg_m", medium, 95.2),
        Preset("deg_s", slow, 127.6),
        Preset("realtime", live),
    ]


def _realtime(width: int, height: int) -> tuple[Stage, ...]:
    """Our own preset with its default settings; each flow is computed once."""
    pair = torch.zeros(1, 2, height, width, 3, dtype=torch.uint8)
    flows = torch.zeros(1, _REALTIME_FLOWS, 2, height // 2, width // 2)
    features = RealtimeFeatures(
        create_backbone("mobilenet_v2", weights="random"),
        flow_frames=_REALTIME_FLOWS,
        behaviors=_BEHAVIORS,
        dropout=0.0,
    )
    head = CausalHead(
        features.feature_size, _BEHAVIORS, width=64, dilations=(1, 2, 4, 8), dropout=0.0
    )
    stretch = torch.zeros(1, _RECORDING_FRAMES, features.feature_size)
    state = torch.zeros(1, head.state_size)
    return (
        Stage("flow", RealtimeFlow(), (pair,)),
        Stage("features", features, (pair[:, 1], flows)),
        Stage("sequence", head, (stretch, state), _RECORDING_FRAMES),
    )


def table(rows: Sequence[Count], size_px: tuple[int, int]) -> str:
    """Return the counts as lines of text; hand counts only where they hold."""
    hand = size_px == PAPER_SIZE_PX
    lines = [
        f"Frames of {size_px[0]}x{size_px[1]} px, {_BEHAVIORS} behaviors. Paper: Table 2 of "
        "eLife 10:e63377, rounded there.",
        f"{'preset':9} {'stage':9} {'network':18} {'parameters':>12} {'paper':>8} "
        f"{'GMAC/frame':>11} {'by hand':>8}",
    ]
    for row in rows:
        paper = "" if row.paper_parameters is None else f"{row.paper_parameters:g} M"
        shown = hand and row.reference_gmac is not None
        reference = f"{row.reference_gmac:.2f}" if shown else ""
        lines.append(
            f"{row.preset:9} {row.stage:9} {row.network:18} {row.parameters:12,} {paper:>8} "
            f"{row.gmac:11.3f} {reference:>8}"
        )
    lines.append("The paper's sequence model has a second hidden layer that it never uses.")
    return "\n".join(lines) + "\n"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--size",
        type=_size,
        default=PAPER_SIZE_PX,
        metavar="WxH",
        help="model input in px, multiples of 8 (default: 256x256)",
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    rows = counts(all_presets(arguments.size))
    if arguments.json:
        values = {"size_px": arguments.size, "stages": [asdict(row) for row in rows]}
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
    else:
        sys.stdout.write(table(rows, arguments.size))
    return 0


def _count(preset: str, stage: Stage) -> Count:
    return Count(
        preset=preset,
        stage=stage.stage,
        network=type(stage.network).__name__,
        parameters=sum(parameter.numel() for parameter in stage.network.parameters()),
        gmac=multiply_accumulates(stage.network, stage.inputs) / stage.frames / 1e9,
        paper_parameters=stage.paper_parameters,
        reference_gmac=stage.reference_gmac,
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _size(text: str) -> tuple[int, int]:
    width, height = frame_size(text)
    if width <= 0 or height <= 0 or width % 8 or height % 8:
        raise argparse.ArgumentTypeError(f"{text} px: width and height must be multiples of 8")
    return width, height


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=SUMMARY)
    configure(parser)
    sys.exit(run(parser.parse_args()))
