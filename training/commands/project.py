"""`ethostream project`: make, check, convert and merge projects of labelled pictures."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.projects.merge import MergePlan

SUMMARY = "make, check, convert and merge projects of labelled pictures"
_HELP = {
    "create": "make a DeepLabCut project",
    "add-videos": "add videos to a DeepLabCut project",
    "check": "check all labels, count them and draw them on their pictures",
    "convert": "convert labels: CSV, .h5, SLEAP .slp, DeepLabCut project",
    "merge": "merge corrected machine labels into the labels; next iteration",
    "simulate": "make a DeepLabCut project with pictures of simulated recordings",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create, add, check, convert, merge, simulate = (
        actions.add_parser(name, help=text, description=text) for name, text in _HELP.items()
    )
    _configure_create(create)
    _add_project(add)
    _add_videos(add)
    add.add_argument(
        "--crop", metavar="X,Y,W,H", help="part of the frames that is used, px (default: all)"
    )
    check.add_argument(
        "project",
        type=Path,
        metavar="PROJECT",
        help="folder of a DeepLabCut project, SLEAP .slp file, or Lightning Pose CSV or its folder",
    )
    check.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the drawn pictures and the contact sheet labels.png go (default: "
        "PROJECT/label-check; for a file, <name>-label-check beside it)",
    )
    check.add_argument("--no-pictures", action="store_true", help="check and count alone")
    _configure_convert(convert)
    _configure_merge(merge)
    _configure_simulate(simulate)


def run(arguments: argparse.Namespace) -> int:
    """Do the action that was named."""
    actions = {
        "create": _create,
        "add-videos": _add,
        "check": _check,
        "convert": _convert,
        "merge": _merge,
        "simulate": _simulate,
    }
    return actions[arguments.action](arguments)


def _add_project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "project", type=Path, metavar="PROJECT", help="folder of a DeepLabCut project"
    )


def _add_videos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="video files")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--copy-videos", action="store_true", help="copy the videos into the project")
    mode.add_argument("--link", action="store_true", help="link the videos (the default)")


def _configure_create(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("task", metavar="TASK", help="what is studied, such as openfield")
    _add_videos(parser)
    add("--scorer", required=True, metavar="NAME", help="who labels")
    add("--keypoints", required=True, metavar="A,B,…", help="body parts, separated by commas")
    add("--animals", default="", metavar="A,B,…", help="names of the animals, if several")
    add("--unique", default="", metavar="A,B,…", help="body parts that exist once in the scene")
    add("--skeleton", nargs="+", default=[], metavar="A:B", help="pairs of body parts")
    add(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="where the project's folder <Task>-<scorer>-<date> is made",
    )


def _configure_convert(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "source",
        type=Path,
        metavar="LABELS",
        help="folder of a DeepLabCut project, SLEAP .slp file, or Lightning Pose CSV or its folder",
    )
    add(
        "--to",
        required=True,
        choices=("h5", "csv", "slp", "deeplabcut"),
        help="h5 is made from a project's CSV files, csv from its .h5 files; slp of a DeepLabCut "
        "project; deeplabcut of SLEAP or Lightning Pose labels",
    )
    add("--out", type=Path, metavar="PATH", help="new folder (h5, csv, deeplabcut) or .slp file")
    add(
        "--in-place",
        action="store_true",
        help="h5, csv: write beside the labels, after a backup of what is there",
    )
    add("--scorer", default="converted", metavar="NAME", help="scorer of a new project")
    add("--task", metavar="NAME", help="task of a new project (default: name of the source)")


def _configure_merge(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _add_project(parser)
    add(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE.slp",
        help="labels refined in SLEAP (default: machinelabels-iter<i> of the project)",
    )
    add(
        "--replace",
        action="store_true",
        help="corrected labels take the place of labels that a picture has already",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--dry-run", action="store_true", help="say what would be done")
    mode.add_argument("--yes", action="store_true", help="do it")


def _configure_simulate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="the project's folder")
    add("--animals", type=int, default=1, metavar="N", help="in each picture (default: 1)")
    add("--frames", type=int, default=100, metavar="M", help="pictures in all (default: 100)")
    add("--recordings", type=int, metavar="R", help="default: one for each 20 pictures")
    add("--seed", type=int, default=0, metavar="S", help="of the first recording (default: 0)")
    add("--scene", choices=("openfield", "homecage"), default="openfield", help="of all recordings")
    add("--width", type=int, default=640, metavar="PX", help="of the pictures (default: 640)")
    add("--height", type=int, default=480, metavar="PX", help="of the pictures (default: 480)")


def _create(arguments: argparse.Namespace) -> int:
    from service.errors import InvalidRequest
    from training.projects.create import Labelling, create_project

    bones = []
    for text in arguments.skeleton:
        names = text.split(":")
        if len(names) != 2:
            raise InvalidRequest(f"the bone {text!r} is not A:B; write two body parts and a colon")
        bones.append((names[0].strip(), names[1].strip()))
    unique = _names(arguments.unique)
    keypoints = _names(arguments.keypoints)
    folder = create_project(
        Labelling(
            task=arguments.task,
            scorer=arguments.scorer,
            keypoints=(*keypoints, *(name for name in unique if name not in keypoints)),
            animals=_names(arguments.animals),
            unique_keypoints=unique,
            skeleton=tuple(bones),
        ),
        arguments.videos,
        arguments.out,
        mode="copy" if arguments.copy_videos else "link",
    )
    print(f"project {folder}")
    print(f"next: ethostream extract-frames {folder}")
    return 0


def _add(arguments: argparse.Namespace) -> int:
    from training.frames.options import parse_crop
    from training.projects.create import add_videos

    placed = add_videos(
        arguments.project,
        arguments.videos,
        mode="copy" if arguments.copy_videos else "link",
        crop_xywh=parse_crop(arguments.crop) if arguments.crop else None,
    )
    for path in placed:
        print(f"added {path}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from training.projects.check import SHEET_NAME, check_labels

    project: Path = arguments.project
    out = arguments.out
    if out is None:
        out = (
            project / "label-check"
            if project.is_dir()
            else project.with_name(f"{project.stem}-label-check")
        )
    report = check_labels(project, None if arguments.no_pictures else out)
    table = Table("body part", "placed", "missing")
    for one in report.keypoints:
        table.add_row(one.keypoint, str(one.placed), str(one.missing))
    Console().print(table)
    for video, frames in report.frames.items():
        print(f"{video}: {frames} labelled frames")
    total = sum(report.frames.values())
    print(
        f"{report.name}: {total} frames, {len(report.animals)} animal(s), {report.empty} frames "
        "without a point; all labels can be used"
    )
    if report.drawn is not None:
        print(f"pictures in {report.drawn}, contact sheet {report.drawn / SHEET_NAME}")
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    from service.errors import InvalidRequest
    from training.projects.convert import convert_tables, deeplabcut_to_slp, to_deeplabcut

    kind, out, source = arguments.to, arguments.out, arguments.source
    if (out is None) != arguments.in_place or (arguments.in_place and kind not in ("csv", "h5")):
        raise InvalidRequest(
            f"--to {kind} needs a place: --out PATH"
            f"{', or --in-place (one of them)' if kind in ('csv', 'h5') else ' alone'}"
        )
    if kind in ("csv", "h5"):
        for path in convert_tables(source, kind, out):
            print(f"wrote {path}")
    elif kind == "slp":
        print(f"wrote {out}, {deeplabcut_to_slp(source, out)} frames")
    else:
        task = arguments.task or source.resolve().stem
        frames = to_deeplabcut(source, out, scorer=arguments.scorer, task=task)
        print(f"project {out}, {frames} frames")
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    from training.projects.merge import merge, plan_merge

    plan = plan_merge(arguments.project, source=arguments.source, replaces=arguments.replace)
    _print_plan(plan)
    if not arguments.yes:
        print("nothing was changed; call it again with --yes to do this")
        return 0 if arguments.dry_run else 1
    for copy in merge(plan):
        print(f"backup {copy}")
    print(f"merged; {plan.config.path} is at iteration {plan.iteration}")
    return 0


def _print_plan(plan: "MergePlan") -> None:
    for video in plan.videos:
        print(
            f"{video.folder.name}: {video.added} pictures added, {video.replaced} replaced, "
            f"{video.kept} keep the labels that they have ({video.source})"
        )
    print(f"iteration {plan.config.iteration} -> {plan.iteration}")


def _simulate(arguments: argparse.Namespace) -> int:
    from training.projects.simulated import simulate_project

    folder = simulate_project(
        arguments.out,
        frames=arguments.frames,
        animals=arguments.animals,
        seed=arguments.seed,
        scene=arguments.scene,
        recordings=arguments.recordings,
        width_px=arguments.width,
        height_px=arguments.height,
    )
    print(f"project {folder}, {arguments.frames} labelled frames")
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
