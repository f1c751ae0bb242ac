"""`ethostream train pose`; its work stands apart, so that --help needs no torch."""

import argparse
from pathlib import Path

from training.arguments import frame_size


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; each one but DATA, --out and --resume is a field of `PoseChoices`."""
    add = parser.add_argument
    add(
        "data",
        nargs="*",
        type=Path,
        metavar="DATA",
        help="DeepLabCut project, SLEAP .slp, or Lightning Pose folder; several are joined",
    )
    add("--out", type=Path, required=True, help="folder of the run, runs/NAME")
    add("--resume", action="store_true", help="continue the run at --out from its last epoch")
    add(
        "--from",
        dest="parent",
        metavar="RUN",
        help="go on from a trained run: its weights, its held-out frames; keypoints by name",
    )
    add(
        "--config",
        type=Path,
        metavar="TOML",
        help="file with any of these settings by name, and those of the augmentation below "
        "[augment]; options win over it",
    )
    network = parser.add_argument_group("network")
    add = network.add_argument
    add("--preset", choices=("tiny", "fast", "accurate"), help="size to start from (fast)")
    add("--backbone", metavar="NAME", help="such as resnet_50, efficientnet_lite0 (the preset's)")
    add(
        "--backbone-weights",
        metavar="FILE",
        help="ImageNet weights of the backbone; `imagenet` fetches them, `random` needs none "
        "(imagenet)",
    )
    add("--head", choices=("pyramid", "deconvolution"), help="kind of head (the preset's)")
    add(
        "--intermediate",
        action="store_true",
        default=None,
        help="supervise an earlier bank of a deconvolution head too",
    )
    add(
        "--size",
        dest="size_px",
        type=frame_size,
        metavar="WxH",
        help="model input in px, multiples of 32 (by preset and frames)",
    )
    add("--keypoints", nargs="+", metavar="NAME", help="train only these (all)")
    add("--skeleton", type=_pair, nargs="*", metavar="A:B", help="connected (the project's)")
    add(
        "--left-right",
        type=_pair,
        nargs="*",
        metavar="L:R",
        help="keypoints that a mirror swaps; alone: none does (by left, right, l or r in their "
        "names; nothing is mirrored where these tell none)",
    )
    add("--target", choices=("disc", "gaussian"), help="kind of score map (disc)")
    add("--radius-px", type=float, help="radius of a label, px of the model input (10)")
    add(
        "--missing",
        choices=("absent", "ignored"),
        help="what an empty label means: not visible, or unknown (absent)",
    )
    data = parser.add_argument_group("frames")
    add = data.add_argument
    add("--validation-share", type=float, help="share that chooses the best epoch, 0: none (0.1)")
    add("--test-share", type=float, help="share kept for the report, 0: none (0.2)")
    add("--test-videos", nargs="+", metavar="FOLDER", help="keep these videos for the report")
    add("--split-seed", type=int, help="seed of the split (that of --seed)")
    add("--split-from", metavar="RUN", help="take the split of another run, to compare")
    add("--simulated-share", type=float, help="share of simulated views, 0 to 1 (0)")
    add("--simulated-frames", type=int, help="simulated frames to render (1500)")
    loop = parser.add_argument_group("loop")
    add = loop.add_argument
    add("--epochs", type=int, help="number of epochs (60)")
    add("--patience", type=int, help="epochs without a better held-out error until it ends")
    add("--views-per-epoch", type=int, help="training views an epoch (512)")
    add("--view-px", type=int, help="side of a view, px of the model input (the preset's)")
    add("--batch-size", type=int, help="views a step, of each process (16)")
    add("--learning-rate", type=float, help="peak learning rate (the preset's)")
    add("--precision", choices=("bf16-mixed", "32-true"), help="arithmetic (bf16-mixed)")
    add("--seed", type=int, help="seed of views and weights (1)")
    add("--threads", type=int, help="processor threads (torch's choice)")
    add("--workers", type=int, help="processes that make views; worth it beside a GPU (0)")
    add("--devices", type=_devices, help="GPUs or processes (auto: all GPUs, or one process)")


def run(arguments: argparse.Namespace) -> int:
    """Train, or continue a run."""
    from training.pose.run_command import run_command

    return run_command(arguments)


def _pair(text: str) -> tuple[str, str]:
    first, separator, second = text.partition(":")
    if not separator or not first or not second:
        raise argparse.ArgumentTypeError(f"{text!r} is not a pair; give NAME:NAME")
    return first, second


def _devices(text: str) -> int | str:
    if text == "auto" or text.isdecimal():
        return text if text == "auto" else int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of devices; give one, or auto")
