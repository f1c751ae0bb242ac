"""`ethostream train keypoint-behavior`; its work stands apart, so that --help needs no torch."""

import argparse
from pathlib import Path

SUMMARY = "train behavior on the keypoints of an animal instead of its pixels"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "data",
        nargs="*",
        type=Path,
        metavar="DATA",
        help="folder of videos with label files <video>_labels.csv, and clips.csv if they jump",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, runs/NAME")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run at --out where it was interrupted"
    )
    parser.add_argument(
        "--tracks",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="folders of the poses, one file a video that begins with its name: .parquet of "
        "ethostream, .h5 or .csv of DeepLabCut, .slp or analysis .h5 of SLEAP (default: DATA)",
    )
    parser.add_argument(
        "--exclusive",
        action="store_true",
        help="one behavior a frame, background among them; else any number a frame",
    )
    for part, use in (
        ("validation", "choose epochs and thresholds"),
        ("test", "are kept for the report"),
    ):
        parser.add_argument(
            f"--{part}",
            nargs="+",
            default=[],
            metavar="RECORDING",
            help=f"names or patterns of recordings that {use}",
        )
    parser.add_argument(
        "--keypoints",
        nargs="+",
        default=[],
        metavar="NAME",
        help="those that are used (default: all of the first recording)",
    )
    parser.add_argument(
        "--heading",
        nargs=2,
        metavar=("FROM", "TO"),
        help="keypoints that the animal looks along (default: principal axis of all keypoints)",
    )
    parser.add_argument(
        "--cutoff", type=float, default=0.9, help="positions of less confidence are interpolated"
    )
    parser.add_argument(
        "--arena",
        type=Path,
        metavar="JSON",
        help='corners in px by recording or pattern, {"*": [[x, y], ...]}: adds wall distances',
    )
    parser.add_argument(
        "--causal", action="store_true", help="see no later frame, so that answers can be live"
    )
    parser.add_argument("--window", type=int, default=31, help="frames that an answer sees")
    parser.add_argument(
        "--frame-rate", type=float, help="frames/s; that of the first poses or video if absent"
    )
    parser.add_argument("--dropout", type=float, default=0.35, help="of hidden units")
    parser.add_argument("--epochs", type=int, default=20, help="of the training")
    parser.add_argument("--samples", type=int, default=16384, help="windows of an epoch")
    parser.add_argument("--batch-size", type=int, default=128, help="windows a step")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument(
        "--min-bout-frames", type=int, help="shortest bout; 1st percentile of labels if absent"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of windows and weights")
    parser.add_argument("--threads", type=int, help="processor threads; torch's choice if absent")


def run(arguments: argparse.Namespace) -> int:
    """Train, or continue."""
    from training.behavior.keypoints.launch import launch

    return launch(arguments)
