"""`ethostream study behavior`; its work stands apart, so that --help needs no torch."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from training.behavior.command import add_training_options
from training.study.command import Study, add_study_options, run_and_tell

if TYPE_CHECKING:
    from training.behavior.settings import BehaviorTraining, PresetName
    from training.behavior.study.tables import BehaviorResult
    from training.data.behavior_labels import BehaviorProject

_KINDS = ("splits", "size")
_PRESETS = ("realtime", "deg_f", "deg_m", "deg_s")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what is varied, the data and what all trainings share."""
    parser.epilog = (
        "Recordings are shared out to folds with about as much of every behavior in each; split k "
        "tests on fold k, the next fold chooses epochs and thresholds. Each training is stored in "
        "DIR/rows when it is done; the same command again goes on where it stopped."
    )
    add = parser.add_argument
    add(
        "kind",
        choices=_KINDS,
        help="splits: presets on the same splits, with a paired bootstrap over clips; size: share "
        "of the training recordings that train",
    )
    add("data", nargs="+", type=Path, metavar="DATA", help="as of `train behavior`")
    add_study_options(parser)
    varied = parser.add_argument_group("what is varied")
    add = varied.add_argument
    add("--presets", nargs="+", choices=_PRESETS, default=["realtime"], help="each is a series")
    add("--folds", type=int, default=5, metavar="N", help="parts of the recordings")
    add("--splits", type=int, default=3, metavar="N", help="folds that are tested on in turn")
    add(
        "--last-epoch",
        action="store_true",
        help="no fold validates: all others train, the last epoch is taken, thresholds are 0.5",
    )
    add(
        "--shares",
        nargs="+",
        type=float,
        default=[0.1, 0.2, 0.4, 0.7, 1.0],
        metavar="S",
        help="size: parts of the training recordings",
    )
    add(
        "--config",
        nargs="+",
        default=[],
        metavar="TOML",
        help="settings as for `train behavior --config`, of all presets or, as PRESET=TOML, of one",
    )
    add(
        "--backbone-weights",
        nargs="+",
        default=[],
        metavar="PRESET=FILE",
        help="weights that the backbones of a preset start with; random ones without",
    )
    common = parser.add_argument_group("what all trainings share")
    add_training_options(common)


def run(arguments: argparse.Namespace) -> int:
    """Train what is left, print the table; 1 where a training failed."""
    import msgspec

    from training.behavior.launch import read_project
    from training.behavior.study.plots import draw_study
    from training.behavior.study.settings import StudySettings, plan_rows
    from training.behavior.study.tables import (
        BehaviorResult,
        differences,
        markdown_table,
        run_record,
        summarize_rows,
    )

    settings = StudySettings(
        kind=arguments.kind,
        folds=arguments.folds,
        splits=arguments.splits,
        last_epoch=arguments.last_epoch,
        shares=tuple(arguments.shares),
        seed=arguments.seed,
    )
    project = read_project(arguments)
    study = Study(
        kind=settings.kind,
        rows=plan_rows(settings, _bases(arguments, project), project),
        data_sha256=project.sha256(),
        worker="training.behavior.study.worker",
        result_type=BehaviorResult,
        short=_short_figures,
        record=run_record,
        points=summarize_rows,
        table=partial(markdown_table, settings.kind),
        draw=partial(draw_study, settings.kind),
        summary=lambda results: {
            "settings": msgspec.to_builtins(settings),
            "differences": [
                {"preset": pair[0], "other": pair[1]} | asdict(found)
                for pair, found in differences(results).items()
            ],
        },
    )
    return run_and_tell(study, arguments)


def _bases(
    arguments: argparse.Namespace, project: "BehaviorProject"
) -> "dict[PresetName, tuple[BehaviorTraining, str | None]]":
    """Settings of each preset, of no split yet, and its file of backbone weights."""
    import msgspec

    from training.behavior.launch import read_settings, with_config

    weights = _by_preset(arguments.backbone_weights, "--backbone-weights")
    configs = _by_preset([one for one in arguments.config if "=" in one], "--config")
    shared = [Path(one) for one in arguments.config if "=" not in one]
    bases = {}
    for preset in arguments.presets:
        file = weights.get(preset)
        options = argparse.Namespace(**vars(arguments))
        options.preset, options.backbone_weights = preset, Path(file) if file else None
        settings = read_settings(options, project, validation=(), test=())
        for path in (*shared, *([Path(configs[preset])] if preset in configs else [])):
            settings = with_config(settings, path)
        bases[preset] = msgspec.structs.replace(settings, threads=None), file
    return bases


def _by_preset(texts: Sequence[str], option: str) -> Mapping[str, str]:
    from service.errors import InvalidConfig

    found = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not separator or name not in _PRESETS:
            raise InvalidConfig(
                f"{option} {text} does not say for which preset; give PRESET=FILE, such as "
                f"realtime={path or text}"
            )
        found[name] = path
    return found


def _short_figures(result: "BehaviorResult") -> str:
    """The macro F1 of a row as one line."""
    test = result.figures["test"]
    return f"macro F1 {test['macro_f1']:.3f} (chance {test['chance_f1']:.3f})"
