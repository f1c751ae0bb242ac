"""`ethostream study pose`; its work stands apart, so that --help needs no torch."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from training.arguments import frame_size
from training.study.command import Study, add_study_options, run_and_tell

if TYPE_CHECKING:
    from training.pose.settings import PoseChoices
    from training.pose.study.settings import StudySettings
    from training.pose.study.tables import PoseResult

_KINDS = ("splits", "size", "radius", "subsets", "networks", "steps")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what is varied, the data and what all trainings share."""
    parser.epilog = (
        "Each training is stored in DIR/rows when it is done; the same command again goes on "
        "where it stopped. Nothing is chosen on test frames: the last epoch is measured."
    )
    add = parser.add_argument
    add(
        "kind",
        choices=_KINDS,
        help="splits: presets on random splits; size: share of frames that train; radius: of the "
        "label; subsets: body parts together and apart; networks: presets and backbones on the "
        "same split; steps: error over the training",
    )
    add("data", nargs="+", type=Path, metavar="DATA", help="labelled projects and files")
    add_study_options(parser)
    add(
        "--threads",
        type=int,
        metavar="N",
        help="processor threads of each training (default: 1 with several --jobs, else all)",
    )
    add(
        "--human-px",
        type=float,
        metavar="PX",
        help="mean distance between two people's labels, drawn as a line",
    )
    varied = parser.add_argument_group("what is varied")
    add = varied.add_argument
    add(
        "--presets",
        nargs="+",
        choices=("tiny", "fast", "accurate"),
        default=[],
        help="sizes (default: tiny fast for splits and networks, else fast)",
    )
    add("--backbones", nargs="+", default=[], metavar="NAME", help="networks: these as well")
    add("--splits", type=int, metavar="N", help="random splits of each (default: 5, 3 or 1)")
    add("--test-share", type=float, default=0.2, metavar="S", help="of all frames (default: 0.2)")
    add("--shares", nargs="+", type=float, metavar="S", help="size: shares that train")
    add("--radii", nargs="+", type=float, metavar="PX", help="radius: px of the model input")
    add(
        "--groups",
        nargs="+",
        default=[],
        metavar="A,B",
        help="subsets: keypoints trained together (default: each alone)",
    )
    common = parser.add_argument_group("what all trainings share")
    add = common.add_argument
    add(
        "--config",
        type=Path,
        metavar="TOML",
        help="settings as for `train pose --config`; options win over it",
    )
    add(
        "--backbone-weights",
        nargs="+",
        default=[],
        metavar="NAME=FILE",
        help="ImageNet weights of a backbone, or `random` for all (default: fetched)",
    )
    add("--epochs", type=int, metavar="N", help="of each training (default: 60)")
    add("--views-per-epoch", type=int, metavar="N", help="training views an epoch (default: 512)")
    add("--batch-size", type=int, metavar="N", help="views a step (default: 16)")
    add(
        "--size",
        type=frame_size,
        dest="size_px",
        metavar="WxH",
        help="model input, multiples of 32",
    )
    add("--view-px", type=int, metavar="PX", help="side of a training view")
    add("--learning-rate", type=float, metavar="R", help="peak learning rate")
    add("--precision", choices=("bf16-mixed", "32-true"), help="arithmetic (default: bf16-mixed)")
    add("--seed", type=int, metavar="N", help="of the first split (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    """Train what is left, print the table; 1 where a training failed."""
    import msgspec

    from training.data.projects import read_projects
    from training.pose.study.plots import draw_study
    from training.pose.study.settings import plan_rows
    from training.pose.study.tables import (
        PoseResult,
        markdown_table,
        run_record,
        summarize_rows,
    )

    settings = _settings(arguments)
    labels = read_projects(arguments.data)
    study = Study(
        kind=settings.kind,
        rows=plan_rows(settings, labels.keypoints),
        data_sha256=labels.sha256,
        worker="training.pose.study.worker",
        result_type=PoseResult,
        short=_short_figures,
        record=run_record,
        points=summarize_rows,
        table=partial(markdown_table, settings.kind),
        draw=partial(draw_study, settings.kind, human_px=arguments.human_px),
        summary=lambda results: {"settings": msgspec.to_builtins(settings)},
    )
    return run_and_tell(study, arguments)


def _settings(arguments: argparse.Namespace) -> "StudySettings":
    from training.pose.study.settings import StudySettings

    backbone_weights = {}
    for text in arguments.backbone_weights:
        name, separator, path = text.partition("=")
        if separator:
            backbone_weights[name] = path
    chosen = {"shares": arguments.shares, "radii_px": arguments.radii}
    return StudySettings(
        kind=arguments.kind,
        presets=tuple(arguments.presets),
        backbones=tuple(arguments.backbones),
        splits=arguments.splits,
        test_share=arguments.test_share,
        groups=tuple(tuple(text.split(",")) for text in arguments.groups),
        backbone_weights=backbone_weights,
        base=_base(arguments),
        **{name: tuple(values) for name, values in chosen.items() if values},
    )


def _base(arguments: argparse.Namespace) -> "PoseChoices":
    """What all trainings share: of the file and of the options, as `train pose` takes them."""
    from service.errors import InvalidConfig
    from training.pose.run_command import read_choices

    options = argparse.Namespace(**vars(arguments))
    bare = [text for text in arguments.backbone_weights if "=" not in text]
    if bare not in ([], ["random"], ["imagenet"]):
        raise InvalidConfig(
            f"{bare[0]} does not say whose weights it holds; give NAME=FILE, such as "
            f"mobilenet_v2={bare[0]}"
        )
    options.backbone_weights = bare[0] if bare else None
    for name in ("threads", "test_share"):  # told apart from what a row is
        setattr(options, name, None)
    return read_choices(options)


def _short_figures(result: "PoseResult") -> str:
    """The mean errors of the parts as one line."""
    shown = []
    for part in ("training", "validation", "test"):
        error = result.figures.get(part, {}).get("mean_error_px")
        if isinstance(error, float):
            shown.append(f"{part} {error:.2f} px")
    return "  ".join(shown)
