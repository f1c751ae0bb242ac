"""`ethostream train behavior`; its work stands apart, so that --help needs no torch."""

import argparse
from pathlib import Path

from training.arguments import frame_size


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "data",
        nargs="*",
        type=Path,
        metavar="DATA",
        help="DeepEthogram project; folder of videos with label files <video>_labels.csv, and "
        "clips.csv if they jump; BORIS export beside its videos",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, runs/NAME")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run at --out where it was interrupted"
    )
    parser.add_argument(
        "--from",
        dest="parent",
        type=Path,
        metavar="RUN",
        help="go on from a trained run: its flow and features, behaviors by name, and its held-out "
        "recordings where none are named; or from a checkpoint of a DeepEthogram feature extractor",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="TOML",
        help="settings by their names in a run's config.json, such as features.learning_rate = "
        "0.001 of a search's best.toml; they win over the options",
    )
    parser.add_argument(
        "--preset",
        choices=("realtime", "deg_f", "deg_m", "deg_s"),
        default="realtime",
        help="realtime: causal and light; deg_*: DeepEthogram's networks, fast, medium, slow, "
        "which look 5 frames ahead and, with their sequence model, 26",
    )
    parser.add_argument(
        "--backbone-weights",
        type=Path,
        help="file of ImageNet weights (torchvision): mobilenet_v2 for realtime; resnet18, "
        "resnet50 or resnet34 for deg_f, deg_m and deg_s",
    )
    parser.add_argument(
        "--validation",
        nargs="+",
        default=[],
        metavar="RECORDING",
        help="names or patterns of recordings that choose epochs and thresholds; with a --test but "
        "none of these, the last epoch is taken and thresholds are 0.5",
    )
    parser.add_argument(
        "--test",
        nargs="+",
        default=[],
        metavar="RECORDING",
        help="names or patterns of recordings that are kept for the report",
    )
    parser.add_argument(
        "--validation-share",
        type=float,
        default=0.2,
        help="of the recordings, where neither --validation nor --test names any; drawn until "
        "each part has every behavior; 0 lets all others train and takes the last epoch",
    )
    parser.add_argument("--test-share", type=float, default=0.2, help="the same of the test")
    parser.add_argument("--split-seed", type=int, default=1, help="seed of the random split")
    parser.add_argument(
        "--report",
        nargs="+",
        default=[],
        metavar="RECORDING",
        help="patterns of test recordings that the card also reports apart",
    )
    add_training_options(parser)


def add_training_options(parser: argparse._ActionsContainer) -> None:
    """Add what any training of behavior can be told, whatever its data, split and preset."""
    parser.add_argument(
        "--exclusive",
        action="store_true",
        help="one behavior a frame, background among them; else any number a frame",
    )
    parser.add_argument("--size", type=frame_size, default=(256, 144), help="model input in px")
    parser.add_argument("--color", choices=("gray", "rgb"), default="gray", help="of the input")
    parser.add_argument(
        "--frame-rate", type=float, help="frames/s; what the first video states if absent"
    )
    parser.add_argument(
        "--flow-frames", type=int, default=4, help="realtime: flows that an answer sees"
    )
    parser.add_argument(
        "--sequence",
        choices=("causal", "tgm", "linear", "conv", "none"),
        help="sequence model; none: the features answer alone (causal for realtime, else tgm)",
    )
    parser.add_argument(
        "--fusion",
        choices=("average", "concatenate", "weighted"),
        default="average",
        help="deg_*: how pixels and flows are joined",
    )
    parser.add_argument(
        "--curriculum",
        action="store_true",
        help="deg_*: train the pixels alone, then the flows alone, then both",
    )
    parser.add_argument(
        "--dilations",
        type=int,
        nargs="+",
        default=[1, 2, 4, 8],
        help="of the temporal layers; the sequence sees 1 + 2 x their sum frames",
    )
    parser.add_argument(
        "--oversampling", type=float, default=0.0, help="exponent, 0 none to 1 full balance"
    )
    parser.add_argument("--rotation", type=float, default=10.0, help="largest turn, degrees")
    parser.add_argument(
        "--zoom", type=float, default=1.18, help="largest factor on the size, and its inverse"
    )
    parser.add_argument(
        "--shift", type=float, default=0.08, help="largest shift, part of the width and height"
    )
    parser.add_argument(
        "--from-above", action="store_true", help="also flip upside down in augmentation"
    )
    parser.add_argument(
        "--min-bout-frames", type=int, help="shortest bout; 1st percentile of labels if absent"
    )
    parser.add_argument(
        "--feature-copies", type=int, default=2, help="features stored plain and augmented"
    )
    parser.add_argument(
        "--most-stretches", type=int, help="stretches that the sequence trains on; all if absent"
    )
    parser.add_argument(
        "--held-out-stride", type=int, default=1, help="every how many-th held-out window is used"
    )
    parser.add_argument(
        "--flow-crop",
        type=frame_size,
        metavar="WxH",
        help="train the flow on random parts of this size: more steps in the same time; all of "
        "each frame if absent",
    )
    for stage, epochs, samples in (
        ("flow", 12, 1024),
        ("features", 30, 512),
        ("sequence", 40, None),
    ):
        parser.add_argument(
            f"--{stage}-epochs", type=int, default=epochs, help=f"epochs of the {stage} stage"
        )
        if samples:
            parser.add_argument(
                f"--{stage}-samples", type=int, default=samples, help="samples of such an epoch"
            )
    parser.add_argument(
        "--precision", choices=("bf16-mixed", "32-true"), default="bf16-mixed", help="arithmetic"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of windows and weights")
    parser.add_argument("--threads", type=int, help="processor threads; torch's choice if absent")


def run(arguments: argparse.Namespace) -> int:
    """Train, or continue."""
    from training.behavior.launch import launch

    return launch(arguments)
