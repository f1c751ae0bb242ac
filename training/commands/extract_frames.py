"""`ethostream extract-frames`: pictures of frames to label, picked from videos."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.frames.batch import VideoReport, VideoTask

SUMMARY = "pick frames of videos to label"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare which videos, which frames, and where the pictures go."""
    add = parser.add_argument
    add(
        "paths",
        nargs="+",
        type=Path,
        metavar="PROJECT|VIDEO",
        help="folder of a DeepLabCut project (with config.yaml), alone for all of its videos or "
        "followed by some of them; or bare videos, with --out",
    )
    add("--out", type=Path, metavar="DIR", help="where the pictures of bare videos go: DIR/<video>")
    add(
        "--method",
        choices=("kmeans", "uniform", "list"),
        help="kmeans: one frame of each group that look alike (30 px wide, gray); uniform: at "
        "random; list: those of --frames (default: kmeans, or list with --frames)",
    )
    add(
        "--frames",
        metavar="N,N,…",
        help="frame indices to take, from 0 in the order of presentation",
    )
    add(
        "--number",
        type=int,
        metavar="N",
        help="pictures of each video, those that are there already included (default: "
        "numframes2pick of config.yaml, else 20)",
    )
    add(
        "--start",
        metavar="MOMENT",
        help="pick from here on: a share of the video such as 0.25, or seconds such as 30s "
        "(default: config.yaml's, else 0)",
    )
    add(
        "--stop",
        metavar="MOMENT",
        help="pick up to here: a share of the video, or seconds such as 90s (default: "
        "config.yaml's, else 1)",
    )
    add("--step", type=int, default=1, metavar="N", help="look at every N-th frame (default: 1)")
    add(
        "--crop",
        metavar="X,Y,W,H",
        help="cut the pictures to this part of the frame, px; `config` takes the crop that "
        "config.yaml gives for each video (default: whole frames)",
    )
    add("--color", action="store_true", help="kmeans compares colors, not gray levels")
    add("--seed", type=int, default=0, metavar="N", help="picks the random choice (default: 0)")
    add("--json", action="store_true", help="print JSON, show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Pick and write; 1 where a video failed."""
    from training.frames.batch import extract_all

    reports = extract_all(_tasks(arguments), show_progress=not arguments.json)
    failed = sum(one.state == "failed" for one in reports)
    if arguments.json:
        import msgspec

        print(json.dumps({"videos": msgspec.to_builtins(reports), "failed": failed}))
    else:
        _print(reports)
    return 1 if failed else 0


def _tasks(arguments: argparse.Namespace) -> "list[VideoTask]":
    from service.errors import InvalidRequest
    from training.data.deeplabcut_config import is_project
    from training.frames.batch import Choices, bare_tasks, project_tasks
    from training.frames.options import parse_crop, parse_frames
    from training.frames.span import parse_moment

    frames = parse_frames(arguments.frames) if arguments.frames else ()
    from_config = arguments.crop == "config"
    choices = Choices(
        method=arguments.method or ("list" if frames else "kmeans"),
        number=arguments.number,
        start=parse_moment(arguments.start) if arguments.start else None,
        stop=parse_moment(arguments.stop) if arguments.stop else None,
        step=arguments.step,
        crop_xywh=parse_crop(arguments.crop) if arguments.crop and not from_config else None,
        crop_from_config=from_config,
        color=arguments.color,
        seed=arguments.seed,
        frames=frames,
    )
    projects = [path for path in arguments.paths if is_project(path)]
    if not projects:
        return bare_tasks(arguments.paths, arguments.out, choices)
    if len(projects) > 1 or projects[0] != arguments.paths[0]:
        raise InvalidRequest(
            f"{', '.join(map(str, projects))}: name one project, before its videos; call the "
            "command once for each project"
        )
    if arguments.out:
        raise InvalidRequest(
            f"--out {arguments.out} is for bare videos; the pictures of {projects[0]} go to its "
            "labeled-data: leave --out away"
        )
    return project_tasks(projects[0], arguments.paths[1:], choices)


def _print(reports: "list[VideoReport]") -> None:
    for one in reports:
        if one.extracted is None:
            print(f"{one.video}: FAILED: {one.message}")
            continue
        found = one.extracted
        there = f", {found.present} were there" if found.present else ""
        damaged = f", {found.damaged} damaged ones passed over" if found.damaged else ""
        print(
            f"{one.video}: {len(found.picked)} of {found.video_frames} frames picked{there}"
            f"{damaged}; pictures in {one.folder}"
        )
        if found.message:
            print(f"  {found.message}")
        if found.contact_sheet:
            print(f"  contact sheet {found.contact_sheet}")
    failed = sum(one.state == "failed" for one in reports)
    picked = sum(len(one.extracted.picked) for one in reports if one.extracted)
    print(f"{picked} frames picked, {failed} of {len(reports)} videos failed")
