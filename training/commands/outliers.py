"""`ethostream outliers`: frames where a network is likely wrong, written for correction."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.outliers.batch import MiningReport
    from training.outliers.settings import OutlierSettings, PickSettings

SUMMARY = "find frames where a network is likely wrong, and write them for correction"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare predictions, methods, what is picked, and the report of rounds."""
    add = parser.add_argument
    add(
        "paths",
        nargs="*",
        type=Path,
        metavar="PROJECT PREDICTIONS",
        help="folder of a DeepLabCut project (with config.yaml), then predictions: records of "
        "`ethostream analyze` (.parquet), or .h5 or .csv as DeepLabCut writes them",
    )
    add(
        "--report",
        type=Path,
        metavar="RUN",
        help="instead of mining: what each round of correcting and training gained, from the "
        "newest run back through the runs that it was fine-tuned from",
    )
    add(
        "--method",
        action="append",
        choices=("jump", "uncertain", "fitting", "list"),
        help="jump: a point moved more than --epsilon px from one frame to the next; uncertain: "
        "confidence below --p-bound; fitting: more than --epsilon px from what a time series "
        "model (AR 3, MA 1) of each coordinate expects; list: --frames; repeat for several "
        "(default: jump, or list with --frames)",
    )
    add("--epsilon", type=float, default=20.0, metavar="PX", help="for jump, fitting (default: 20)")
    add(
        "--p-bound",
        type=float,
        default=0.01,
        metavar="P",
        help="confidence below which a point is uncertain, and missing to fitting (default: 0.01)",
    )
    add(
        "--share",
        type=float,
        metavar="S",
        help="uncertain takes this share of the frames, the least confident, such as 0.02",
    )
    add(
        "--alpha",
        type=float,
        default=0.01,
        metavar="A",
        help="fitting: outside the interval that holds 1 - A of the points (default: 0.01)",
    )
    add("--frames", metavar="N,N,…", help="frame indices of method list")
    add("--keypoints", metavar="NAME,NAME,…", help="look at these only (default: all)")
    add("--tracked", action="store_true", help="slots of several animals are tracked animals")
    add("--start", metavar="MOMENT", help="look from here on: a share such as 0.25, or 30s")
    add("--stop", metavar="MOMENT", help="look up to here (defaults: config.yaml's)")
    add("--video", type=Path, metavar="FILE", help="the video, where it is not found by its name")
    add(
        "--pick",
        choices=("kmeans", "uniform"),
        default="kmeans",
        help="which outliers to take: one of each group that look alike, or at random "
        "(default: kmeans)",
    )
    add(
        "--number",
        type=int,
        metavar="N",
        help="outliers to take of each video (default: numframes2pick of config.yaml; all of "
        "--frames where list is the only method)",
    )
    add("--color", action="store_true", help="kmeans compares colors, not gray levels")
    add("--seed", type=int, default=0, metavar="N", help="picks the random choice (default: 0)")
    add(
        "--format",
        choices=("deeplabcut", "sleap"),
        default="deeplabcut",
        help="of the machine labels: machinelabels-iter<i>.csv and .h5 for napari-deeplabcut, or "
        ".slp for SLEAP (default: deeplabcut)",
    )
    add("--dry-run", action="store_true", help="only count the outliers, write nothing")
    add("--json", action="store_true", help="print JSON, show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Mine and write, or report the rounds; 1 where a file failed."""
    from service.errors import InvalidRequest

    if arguments.report is not None:
        if arguments.paths:
            raise InvalidRequest(
                f"--report reads runs only; leave {arguments.paths[0]} away, or --report"
            )
        return _report_rounds(arguments.report, as_json=arguments.json)
    if len(arguments.paths) < 2:
        raise InvalidRequest(
            "name a project and the predictions to look through, such as `ethostream outliers "
            "PROJECT PREDICTIONS.parquet`; or a run with --report RUN"
        )
    from training.data.deeplabcut_config import read_config
    from training.outliers.batch import mine_all

    project, predictions = read_config(arguments.paths[0]), arguments.paths[1:]
    if arguments.video is not None and len(predictions) > 1:
        raise InvalidRequest(
            f"--video {arguments.video} is of one file of predictions, and {len(predictions)} are "
            "named; call the command once for each"
        )
    reports = mine_all(
        project,
        predictions,
        _settings(arguments),
        _picking(arguments),
        video=arguments.video,
        show_progress=not arguments.json,
    )
    failed = sum(one.state == "failed" for one in reports)
    if arguments.json:
        import msgspec

        print(json.dumps({"predictions": msgspec.to_builtins(reports), "failed": failed}))
    else:
        _print(reports)
    return 1 if failed else 0


def _settings(arguments: argparse.Namespace) -> "OutlierSettings":
    from training.frames.options import parse_frames
    from training.frames.span import parse_moment
    from training.outliers.settings import OutlierSettings

    names = arguments.keypoints.split(",") if arguments.keypoints else ()
    methods = arguments.method or (["list"] if arguments.frames else ["jump"])
    return OutlierSettings(
        methods=tuple(dict.fromkeys(methods)),
        epsilon_px=arguments.epsilon,
        p_bound=arguments.p_bound,
        share=arguments.share,
        alpha=arguments.alpha,
        keypoints=tuple(name.strip() for name in names),
        frames=parse_frames(arguments.frames) if arguments.frames else (),
        tracked=arguments.tracked,
        start=parse_moment(arguments.start) if arguments.start else None,
        stop=parse_moment(arguments.stop) if arguments.stop else None,
    )


def _picking(arguments: argparse.Namespace) -> "PickSettings":
    from training.outliers.settings import PickSettings

    return PickSettings(
        pick=arguments.pick,
        number=arguments.number,
        color=arguments.color,
        seed=arguments.seed,
        label_format=arguments.format,
        dry_run=arguments.dry_run,
    )


def _report_rounds(run: Path, *, as_json: bool) -> int:
    from training.outliers.rounds import read_rounds, rounds_table

    rounds = read_rounds(run)
    if as_json:
        import msgspec

        print(json.dumps({"rounds": msgspec.to_builtins(rounds)}))
    else:
        print(rounds_table(rounds))
    return 0


def _print(reports: "list[MiningReport]") -> None:
    for one in reports:
        found = one.mined
        if found is None:
            print(f"{one.predictions}: FAILED: {one.message}")
            continue
        print(f"{one.predictions}: {found.outliers} outliers among {found.frames} frames")
        for method in found.found:
            parts = ", ".join(f"{name} {count}" for name, count in method.by_keypoint.items())
            print(f"  {method.method}: {method.frames} frames" + (f" ({parts})" if parts else ""))
        there = f", {found.present} were there" if found.present else ""
        damaged = f", {found.damaged} damaged ones passed over" if found.damaged else ""
        print(f"  {len(found.picked)} picked{there}{damaged}")
        for name, files in (("labels", found.labels), ("contact sheet", [found.contact_sheet])):
            for file in files:
                if file:
                    print(f"  {name} {file}")
        if found.message:
            print(f"  {found.message}")
