"""`ethostream train pose`; its work stands apart, so that --help needs no torch."""

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument(
        "data", nargs="*", type=Path, metavar="DATA", help="folder of a DeepLabCut project"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, runs/NAME")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run at --out from its last epoch"
    )
    parser.add_argument(
        "--backbone-weights", type=Path, help="file of ImageNet mobilenet_v2 weights (torchvision)"
    )
    parser.add_argument(
        "--size", type=_size, default=(384, 288), help="model input in px, multiples of 32"
    )
    parser.add_argument(
        "--skeleton", type=_pair, nargs="*", default=[], metavar="A:B", help="keypoints to connect"
    )
    parser.add_argument(
        "--simulated-share", type=float, default=0.0, help="share of simulated views, 0 to 1"
    )
    parser.add_argument(
        "--simulated-frames", type=int, default=1500, help="simulated frames to render"
    )
    parser.add_argument(
        "--validation-share", type=float, default=0.1, help="share that chooses the best epoch"
    )
    parser.add_argument("--test-share", type=float, default=0.2, help="share kept for the report")
    parser.add_argument("--epochs", type=int, default=60, help="number of epochs")
    parser.add_argument(
        "--patience", type=int, help="epochs without a better held-out error before it ends"
    )
    parser.add_argument("--views-per-epoch", type=int, default=512, help="training views an epoch")
    parser.add_argument(
        "--view-px", type=int, default=224, help="side of a training view, px of the model input"
    )
    parser.add_argument("--batch-size", type=int, default=16, help="views a step")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument(
        "--precision", choices=("bf16-mixed", "32-true"), default="bf16-mixed", help="arithmetic"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of split, views and weights")
    parser.add_argument("--threads", type=int, help="processor threads; torch's choice if absent")


def run(arguments: argparse.Namespace) -> int:
    """Train, or continue a run."""
    from training.pose.launch import launch

    return launch(arguments)


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.partition("x")
    if not separator or not width.isdecimal() or not height.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give WIDTHxHEIGHT, as 384x288")
    return int(width), int(height)


def _pair(text: str) -> tuple[str, str]:
    first, separator, second = text.partition(":")
    if not separator or not first or not second:
        raise argparse.ArgumentTypeError(f"{text!r} is not a pair; give NAME:NAME")
    return first, second
