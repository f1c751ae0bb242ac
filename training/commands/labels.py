"""`ethostream labels`: make, fill, check and export projects of labelled behavior."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.behavior_projects.label_import import Written

SUMMARY = "make, fill, check and export projects of labelled behavior"
_HELP = {
    "create": "make a DeepEthogram project",
    "add-videos": "add videos or folders of pictures to a project",
    "add-behavior": "add a behavior, not labelled yet, to a project and its label files",
    "remove-behavior": "remove a behavior from a project and its label files",
    "check": "check and count the labels of a project or of a folder of label files",
    "import": "import labels: CSV, .h5 or BORIS events",
    "finalize": "make frames that are not labelled background",
    "from-predictions": "take predictions as labels, to be corrected",
    "stats": "measure mean and standard deviation of the color channels",
    "split": "draw or extend split.yaml: which videos train, validate and test",
    "clips": "cut one video for each labelled bout",
    "predictions": "write the behavior answers of stored results as CSV files",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    parsers = {
        name: actions.add_parser(name, help=text, description=text) for name, text in _HELP.items()
    }
    _configure_create(parsers["create"])
    for name in ("add-videos", "add-behavior", "remove-behavior", "import", "finalize"):
        _add_project(parsers[name])
    for name in ("from-predictions", "stats", "split"):
        _add_project(parsers[name])
    _configure_videos(parsers["add-videos"])
    for name in ("add-behavior", "remove-behavior"):
        parsers[name].add_argument("behavior", metavar="NAME", help="of the behavior")
        parsers[name].add_argument(
            "--delete-outputs",
            action="store_true",
            help="delete the videos' outputs and predictions of models, which no longer fit "
            "(default: move them to label-backups)",
        )
    parsers["check"].add_argument(
        "folder", type=Path, metavar="FOLDER", help="project, or folder of label files"
    )
    _configure_import(parsers["import"])
    parsers["finalize"].add_argument(
        "videos", nargs="*", metavar="VIDEO", help="names (default: all with a labelled frame)"
    )
    _configure_from_predictions(parsers["from-predictions"])
    parsers["stats"].add_argument("--again", action="store_true", help="measured videos, too")
    _add_every(parsers["stats"])
    _configure_split(parsers["split"])
    _configure_clips(parsers["clips"])
    add = parsers["predictions"].add_argument
    add("results", nargs="+", type=Path, metavar="RESULT", help=".parquet files, or folders")
    add("--out", type=Path, metavar="DIR", help="of the CSV files (default: beside each result)")


def run(arguments: argparse.Namespace) -> int:
    """Do the action that was named."""
    actions = {
        "create": _create,
        "add-videos": _add_videos,
        "add-behavior": _add_behavior,
        "remove-behavior": _remove_behavior,
        "check": _check,
        "import": _import,
        "finalize": _finalize,
        "from-predictions": _from_predictions,
        "stats": _stats,
        "split": _split,
        "clips": _clips,
        "predictions": _predictions,
    }
    return actions[arguments.action](arguments)


def _add_project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "project", type=Path, metavar="PROJECT", help="folder of a DeepEthogram project"
    )


def _add_every(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--every",
        type=int,
        default=10,
        metavar="N",
        help="the channel statistics look at every N-th frame (default: 10)",
    )


def _configure_create(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", metavar="NAME", help="of the project")
    add("--labeler", default="", metavar="NAME", help="who labels")
    add(
        "--behaviors",
        required=True,
        metavar="A,B,…",
        help="separated by commas; background is put first",
    )
    add(
        "--out",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where the folder NAME_deepethogram is made (default: here)",
    )


def _configure_videos(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("videos", nargs="+", type=Path, metavar="VIDEO", help="files, or folders of pictures")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--copy-videos", action="store_true", help="copy the videos into the project")
    mode.add_argument("--link", action="store_true", help="link the videos (the default)")
    _add_every(parser)


def _configure_import(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", type=Path, metavar="LABELS", help="CSV, .h5, or BORIS events (CSV, TSV)")
    add("--video", metavar="NAME", help="of the project (default: by the name of the file)")
    add(
        "--rename",
        nargs="+",
        default=[],
        metavar="OLD=NEW",
        help="behaviors of the file; `none` is background anyway",
    )
    add(
        "--missing",
        choices=("error", "absent", "unlabelled"),
        default="error",
        help="what behaviors get that the file does not have (default: error); of BORIS events "
        "they are absent",
    )
    add("--subject", metavar="NAME", help="of BORIS events (default: all together)")
    add("--replace", action="store_true", help="replace labels, after a backup")


def _configure_from_predictions(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "results",
        nargs="+",
        type=Path,
        metavar="RESULT",
        help=".parquet results, or <video>_predictions.csv",
    )
    add("--bundle", metavar="NAME", help="whose answers, where several bundles answered")
    add(
        "--replace",
        action="store_true",
        help="replace labels, after a backup (default: only frames that are not labelled)",
    )


def _configure_split(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--shares",
        nargs=3,
        type=float,
        default=(0.6, 0.2, 0.2),
        metavar=("TRAIN", "VAL", "TEST"),
        help="of the recordings (default: 0.6 0.2 0.2)",
    )
    add("--seed", type=int, default=1, metavar="S", help="default: 1")
    add("--redraw", action="store_true", help="draw anew (default: an existing one is extended)")


def _configure_clips(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folders", nargs="+", type=Path, metavar="FOLDER", help="projects, or of label files")
    add("--out", type=Path, required=True, metavar="DIR", help="new folder")
    add("--behaviors", default="", metavar="A,B,…", help="which (default: all but background)")
    add("--margin", type=int, default=0, metavar="N", help="frames before and after (default: 0)")
    add("--longest", type=int, metavar="N", help="frames, at which a longer clip is cut")
    add("--codec", default="h264", help="h264, hevc, vp9, mjpeg or ffv1 (default: h264)")


def _create(arguments: argparse.Namespace) -> int:
    from training.behavior_projects.create import create_project

    folder = create_project(
        arguments.out,
        arguments.name,
        labeler=arguments.labeler,
        behaviors=_names(arguments.behaviors),
    )
    print(f"project {folder}")
    print(f"next: ethostream labels add-videos {folder} VIDEO …")
    return 0


def _add_videos(arguments: argparse.Namespace) -> int:
    from training.behavior_projects.create import add_videos

    placed = add_videos(
        arguments.project,
        arguments.videos,
        mode="copy" if arguments.copy_videos else "link",
        every=arguments.every,
    )
    for path in placed:
        print(f"added {path}")
    return 0


def _add_behavior(arguments: argparse.Namespace) -> int:
    from training.behavior_projects.create import add_behavior

    copies = add_behavior(
        arguments.project, arguments.behavior, delete_outputs=arguments.delete_outputs
    )
    _print_backups(copies)
    print(f"added {arguments.behavior}, -1 in every label file; models have to be trained again")
    return 0


def _remove_behavior(arguments: argparse.Namespace) -> int:
    from training.behavior_projects.create import remove_behavior

    copies = remove_behavior(
        arguments.project, arguments.behavior, delete_outputs=arguments.delete_outputs
    )
    _print_backups(copies)
    print(f"removed {arguments.behavior}; models have to be trained again")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from training.behavior_projects.check import check_project

    report = check_project(arguments.folder)
    table = Table("behavior", "frames", "share", "bouts", "recordings")
    for one in report.behaviors:
        share = f"{one.frames / report.frames:.1%}" if report.frames else "-"
        table.add_row(one.behavior, str(one.frames), share, str(one.bouts), str(one.recordings))
    Console().print(table)
    print(
        f"{report.recordings} recordings, {report.frames} labelled frames; {report.partly} more "
        "frames are not or partly labelled and left out"
    )
    for note in report.notes:
        print(f"note: {note}")
    for error in report.errors:
        print(f"ERROR: {error}")
    print(f"{len(report.errors)} errors" if report.errors else "all labels can be used")
    return 1 if report.errors else 0


def _import(arguments: argparse.Namespace) -> int:
    from service.errors import InvalidRequest
    from training.behavior_projects.label_import import import_labels

    rename = {}
    for text in arguments.rename:
        old, sign, new = text.partition("=")
        if not (old and sign and new):
            raise InvalidRequest(f"--rename {text!r} is not OLD=NEW; write two names and a =")
        rename[old] = new
    written = import_labels(
        arguments.project,
        arguments.source,
        video=arguments.video,
        rename=rename,
        missing=arguments.missing,
        subject=arguments.subject,
        replace=arguments.replace,
    )
    return _print_written(written)


def _finalize(arguments: argparse.Namespace) -> int:
    from training.behavior_projects.label_import import finalize_labels

    return _print_written(finalize_labels(arguments.project, arguments.videos))


def _from_predictions(arguments: argparse.Namespace) -> int:
    from training.behavior_projects.label_import import labels_from_predictions

    written = labels_from_predictions(
        arguments.project, arguments.results, bundle=arguments.bundle, replace=arguments.replace
    )
    return _print_written(written)


def _stats(arguments: argparse.Namespace) -> int:
    from training.behavior_projects.channels import update_statistics

    found, merged = update_statistics(
        arguments.project, every=arguments.every, again=arguments.again
    )
    for name, one in [*found.items(), ("all together", merged)]:
        mean, std = (" ".join(f"{value:.4f}" for value in values) for values in (one.mean, one.std))
        print(f"{name}: {one.frames} frames, mean {mean}, std {std}")
    return 0


def _split(arguments: argparse.Namespace) -> int:
    from training.behavior_projects.splits import update_split

    train, validation, test = arguments.shares
    path, split = update_split(
        arguments.project,
        shares=(train, validation, test),
        seed=arguments.seed,
        redraw=arguments.redraw,
    )
    for part in ("training", "validation", "test"):
        print(f"{part}: {', '.join(getattr(split, part)) or 'none'}")
    print(f"{path}: {split.rule}")
    return 0


def _clips(arguments: argparse.Namespace) -> int:
    from training.behavior_projects.clips import LIST_NAME, cut_bouts

    clips = cut_bouts(
        arguments.folders,
        arguments.out,
        behaviors=_names(arguments.behaviors),
        margin_frames=arguments.margin,
        longest_frames=arguments.longest,
        codec=arguments.codec,
    )
    print(f"{len(clips)} clips in {arguments.out}, listed in {arguments.out / LIST_NAME}")
    return 0


def _predictions(arguments: argparse.Namespace) -> int:
    from training.behavior_projects.predictions import export_predictions

    for path in export_predictions(arguments.results, arguments.out):
        print(f"wrote {path}")
    return 0


def _print_written(written: "Sequence[Written]") -> int:
    for one in written:
        print(f"{one.path}: {one.labelled} of {one.frames} frames labelled, {one.changed} changed")
    if not written:
        print("there was nothing to change")
    return 0


def _print_backups(copies: Sequence[Path]) -> None:
    if copies:
        print(f"backup {copies[0].parent}, {len(copies)} files")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
