"""`ethostream tracks`: what is done with predicted keypoints after a video was analyzed."""

import argparse
from pathlib import Path

from ethostream.help_format import HelpFormatter

SUMMARY = "filter, measure, plot, map, judge and draw the keypoints of analyzed videos"

_KINDS = ("median", "arima", "spline", "kalman")
_FORMATS = ("parquet", "dlc-h5", "dlc-csv")
_CODECS = ("h264", "hevc", "vp9", "mjpeg", "ffv1")
_FILE_HELP = (
    "predictions: .parquet of ethostream, .h5 or .csv of DeepLabCut, .slp or analysis .h5 of SLEAP"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _configure_convert(_action(actions, "convert", "write predictions in other formats"))
    _configure_filter(_action(actions, "filter", "smooth tracks, fill gaps, predict ahead in time"))
    _configure_kinematics(_action(actions, "kinematics", "bones, joints and speeds as tables"))
    _configure_plot(_action(actions, "plot", "ways, positions, confidence and displacements"))
    _configure_embed(_action(actions, "embed", "map poses so that like ones lie together"))
    _configure_video(_action(actions, "video", "draw videos with the keypoints on them"))
    _configure_quality(_action(actions, "quality", "judge tracks that nobody labelled"))


def run(arguments: argparse.Namespace) -> int:
    """Do one action for every file."""
    from service.commands import _tracks

    return _tracks.ACTIONS[arguments.action](arguments)


def _action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    action = actions.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        formatter_class=HelpFormatter,
    )
    add = action.add_argument
    if name != "video":
        add("files", nargs="+", type=Path, metavar="FILE", help=_FILE_HELP)
    add("--out", type=Path, metavar="DIR", help="folder of what is written (default: beside FILE)")
    add("--model", default="", metavar="NAME", help="pose bundle, where several answered")
    add(
        "--rate", type=float, default=0.0, metavar="HZ", help="frames a second; 0: as the file says"
    )
    add(
        "--skeleton",
        nargs="+",
        action="extend",
        default=[],
        metavar="A:B",
        help="bones, in place of those that the file names",
    )
    add("--json", action="store_true", help="print JSON")
    return action


def _configure_convert(action: argparse.ArgumentParser) -> None:
    add = action.add_argument
    add(
        "--format",
        nargs="+",
        choices=(*_FORMATS, "slp"),
        default=["dlc-h5"],
        help="what to write; slp needs the analysis extra",
    )
    add("--video", type=Path, metavar="VIDEO", help="video that a .slp refers to")


def _configure_filter(action: argparse.ArgumentParser) -> None:
    add = action.add_argument
    add("--kind", choices=_KINDS, default="median", help="filter")
    add("--window", type=int, default=5, metavar="N", help="median: frames; spline: longest gap")
    add(
        "--cutoff",
        type=float,
        metavar="P",
        help="confidence below which points count as missing "
        "(default: median 0, arima 0.001, spline 0.6, kalman 0.1)",
    )
    add("--ar", type=int, default=3, metavar="N", help="arima: degree of the autoregression")
    add("--ma", type=int, default=1, metavar="N", help="arima: degree of the moving average")
    add("--alpha", type=float, default=0.01, metavar="P", help="arima: 1 - confidence level")
    add(
        "--ahead-ms",
        nargs="+",
        type=float,
        default=[],
        metavar="MS",
        help="kalman: write the pose predicted this far ahead from the past alone, as a live run "
        "would, and report its error; nothing is smoothed",
    )
    add(
        "--truth",
        type=Path,
        metavar="NPZ",
        help="with --ahead-ms: NAME_truth.npz of `ethostream simulate` to compare with, in place "
        "of the poses measured later",
    )
    add("--format", nargs="+", choices=_FORMATS, default=["parquet", "dlc-h5"], help="files")


def _configure_kinematics(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--joint",
        nargs="+",
        action="extend",
        default=[],
        metavar="A:B:C",
        help="joints, B in the middle (default: where two bones meet)",
    )


def _configure_plot(action: argparse.ArgumentParser) -> None:
    action.add_argument("--cutoff", type=float, default=0.6, metavar="P", help="confidence")


def _configure_embed(action: argparse.ArgumentParser) -> None:
    add = action.add_argument
    add("--axis", metavar="FRONT:REAR", help="ends of the body (default: by name)")
    add("--cutoff", type=float, default=0.6, metavar="P", help="least confidence of all keypoints")
    add("--clusters", type=int, default=8, metavar="N", help="groups of k-means")
    add("--max-poses", type=int, default=2000, metavar="N", help="poses drawn by chance from more")
    add("--perplexity", type=float, default=30.0, metavar="X", help="of t-SNE")
    add("--seed", type=int, default=0, metavar="N", help="of the draw, t-SNE and k-means")


def _configure_video(action: argparse.ArgumentParser) -> None:
    add = action.add_argument
    add(
        "pairs",
        nargs="+",
        type=Path,
        metavar="VIDEO FILE",
        help=f"videos, each followed by its {_FILE_HELP}",
    )
    add("--cutoff", type=float, default=0.6, metavar="P", help="least confidence that is drawn")
    add("--color-by", choices=("keypoint", "animal"), default="keypoint", help="what has a color")
    add("--no-skeleton", action="store_true", help="draw no bones")
    add("--trail", type=int, default=0, metavar="N", help="frames of the way of each point")
    add("--keypoints-only", action="store_true", help="draw on black")
    add(
        "--dot-size", type=float, default=0.0, metavar="PX", help="radius; 0: by the picture's size"
    )
    add("--codec", choices=_CODECS, default="h264", help="of the written video")
    add("--fps", type=float, default=0.0, metavar="HZ", help="rate to play at; 0: as recorded")
    add("--scale", type=float, default=1.0, metavar="X", help="size of the written picture")
    add("--crop", metavar="X,Y,W,H", help="part that is shown, px")
    add("--pictures", action="store_true", help="also write every frame as a PNG")
    add("--parallel", type=int, default=1, metavar="N", help="videos drawn at once")


def _configure_quality(action: argparse.ArgumentParser) -> None:
    add = action.add_argument
    add(
        "--video",
        type=Path,
        metavar="VIDEO",
        help="recording whose worst frames are drawn; also tells the rate where FILE does not",
    )
    add("--frames", type=int, default=24, metavar="N", help="worst frames, 0.5 s apart")
    add("--cutoff", type=float, default=0.6, metavar="P", help="confidence of a found keypoint")
    add(
        "--jump",
        type=float,
        default=0.3,
        metavar="X",
        help="body lengths from frame to frame that count as a jump",
    )
    add(
        "--return",
        dest="back",
        type=float,
        default=0.15,
        metavar="X",
        help="body lengths that count as a jump where the point comes back in the next frame",
    )
    add("--axis", metavar="FRONT:REAR", help="ends of the body (default: by name)")
    add(
        "--left-right",
        nargs="+",
        action="extend",
        default=[],
        metavar="A:B",
        help="pairs, the left one first (default: by name)",
    )
