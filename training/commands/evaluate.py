"""`ethostream evaluate`: a bundle's or a run's error on labelled data, by what serves."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from service.engine_names import ENGINE_CHOICES, PRECISION_CHOICES

if TYPE_CHECKING:
    from service.bundle import Bundle
    from training.behavior.evaluate import EvaluationOptions as BehaviorEvaluationOptions
    from training.pose.evaluate import EvaluationOptions, PoseMeasurement

SUMMARY = "measure a bundle or a run on labelled data"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add(
        "model",
        type=Path,
        metavar="BUNDLE|RUN",
        help="folder with a bundle.json; or folder of a run, whose torch networks are measured (a "
        "pose run's evaluation.json is written)",
    )
    add(
        "data",
        nargs="*",
        type=Path,
        metavar="DATA",
        help="labelled projects and files (a run without DATA: those that it was trained with)",
    )
    add(
        "--part",
        choices=("test", "training", "all"),
        help="frames that split.json kept from training or trained on, or every labelled one "
        "(default: test; pose tells the training frames beside it)",
    )
    add(
        "--engine",
        choices=ENGINE_CHOICES,
        default="auto",
        help="what computes the graphs of a bundle (default: auto)",
    )
    add(
        "--precision",
        choices=PRECISION_CHOICES,
        default="auto",
        help="arithmetic of a bundle (default: auto)",
    )
    add("--threads", type=int, metavar="N", help="processor threads (default: all)")
    add("--json", action="store_true", help="print one line of JSON")
    add("--report", type=Path, metavar="DIR", help="write report.html and pictures there")
    add(
        "--second-labels",
        type=Path,
        metavar="PATH",
        help="another person's labels of the same frames: how far people are apart",
    )
    pose = parser.add_argument_group("pose")
    add = pose.add_argument
    add(
        "--cutoff",
        type=float,
        nargs="+",
        default=[],
        metavar="C",
        help="also tell errors of points of at least this confidence, 0 to 1 (the model's own "
        "cut-off is always told)",
    )
    add(
        "--body",
        type=_pair,
        metavar="A:B",
        help="keypoints whose distance is the body length (default: the longer side of the box "
        "around an animal's labels)",
    )
    add(
        "--match-radius",
        type=float,
        metavar="PX",
        help="several animals: within which a found point is an animal's (default: a fifth of "
        "the body length)",
    )
    add(
        "--animals",
        type=int,
        metavar="N",
        help="animals that a run's network looks for (default: as many as it was trained with)",
    )
    behavior = parser.add_argument_group("behavior")
    behavior.add_argument(
        "--invariance",
        action="store_true",
        help="also measure the recordings shifted, turned and mirrored",
    )
    behavior.add_argument(
        "--features-alone",
        action="store_true",
        help="also measure a run without its sequence, with thresholds that suit it",
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print the figures."""
    figures = _run_figures(arguments) if _is_run(arguments.model) else _bundle_figures(arguments)
    if arguments.json:
        print(json.dumps(figures))
        return 0
    if "per_keypoint" in figures:
        _print_pose(figures)
    else:
        _print_table(figures)
    if arguments.report is not None:
        print(f"\nreport: {arguments.report / 'report.html'}")
    return 0


def _is_run(path: Path) -> bool:
    return (path / "config.json").is_file() and not (path / "bundle.json").is_file()


def _bundle_figures(arguments: argparse.Namespace) -> dict[str, object]:
    from service.bundle import read_bundle
    from service.engine import default_threads
    from service.errors import InvalidConfig

    bundle = read_bundle(arguments.model)
    if not arguments.data:
        raise InvalidConfig("no data was named; give the folder of a labelled project")
    if arguments.animals is not None:
        raise InvalidConfig(
            f"bundle {bundle.name} holds how many animals it looks for; export it again with "
            "--animals, or measure the run"
        )
    threads = arguments.threads or default_threads()
    if bundle.manifest.task == "behavior":
        return _behavior_figures(bundle, arguments, threads)
    from training.pose.evaluate import measure_bundle

    measured = measure_bundle(
        bundle,
        arguments.data,
        part=arguments.part,
        engine=arguments.engine,
        precision=arguments.precision,
        threads=threads,
        options=_options(arguments),
    )
    return _reported(measured, arguments)


def _behavior_figures(
    bundle: "Bundle", arguments: argparse.Namespace, threads: int
) -> dict[str, object]:
    from training.behavior.evaluate import evaluate_bundle

    return evaluate_bundle(bundle, arguments.data, _behavior_options(arguments, threads))


def _behavior_options(arguments: argparse.Namespace, threads: int) -> "BehaviorEvaluationOptions":
    from service.errors import InvalidConfig
    from training.behavior.evaluate import EvaluationOptions

    if arguments.part == "training":
        raise InvalidConfig("--part training is for pose; give test or all")
    return EvaluationOptions(
        part=arguments.part or "test",
        engine=arguments.engine,
        precision=arguments.precision,
        threads=threads,
        second_labels=(arguments.second_labels,) if arguments.second_labels else (),
        report=arguments.report,
        invariance=arguments.invariance,
        features_alone=arguments.features_alone,
    )


def _run_figures(arguments: argparse.Namespace) -> dict[str, object]:
    import torch

    from training.pose.evaluate import measure_run, write_evaluation
    from training.runs import open_run

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    run = open_run(arguments.model)
    if run.task == "behavior":
        from training.behavior.trained import evaluate_run

        return evaluate_run(run, arguments.data, _behavior_options(arguments, 1))
    measured = measure_run(run, arguments.data, part=arguments.part, options=_options(arguments))
    if not arguments.data and arguments.part is None:
        write_evaluation(run, measured)
    return _reported(measured, arguments)


def _options(arguments: argparse.Namespace) -> "EvaluationOptions":
    from training.pose.evaluate import EvaluationOptions
    from training.pose.predictions import FigureOptions

    return EvaluationOptions(
        figures=FigureOptions(
            cutoffs=tuple(arguments.cutoff),
            body=arguments.body,
            match_radius_px=arguments.match_radius,
        ),
        second_labels=arguments.second_labels,
        animals=arguments.animals,
    )


def _reported(measured: "PoseMeasurement", arguments: argparse.Namespace) -> dict[str, object]:
    if arguments.report is not None:
        from training.pose.report import write_report

        write_report(measured, arguments.report)
    return measured.figures()


def _print_pose(figures: dict[str, object]) -> None:
    """The reported part in full, then errors by part and keypoint beside each other."""
    parts = figures.get("parts") or {figures["part"]: figures}
    assert isinstance(parts, dict), "figures of parts are told by their names"
    _print_table(
        {key: value for key, value in figures.items() if key not in ("parts", "per_keypoint")}
    )
    print(f"\n{'frames':12s} {'keypoint':16s}" + "".join(f"{title:>13s}" for _, title in _COLUMNS))
    for part, found in parts.items():
        for keypoint, row in {"all": found, **found["per_keypoint"]}.items():
            cells = "".join(f"{_shown(row[name]):>13s}" for name, _ in _COLUMNS)
            print(f"{part:12s} {keypoint:16s}{cells}")


_COLUMNS = (
    ("points", "points"),
    ("mean_error_px", "mean px"),
    ("sem_px", "s.e.m. px"),
    ("median_error_px", "median px"),
    ("rmse_px", "RMSE px"),
    ("confident_share", "confident"),
    ("confident_mean_error_px", "mean of them"),
)


def _print_table(figures: dict[str, object], indent: str = "") -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            _print_table(value, indent + "  ")
        else:
            print(f"{indent}{name:24s} {_shown(value)}")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pair(text: str) -> tuple[str, str]:
    first, separator, second = text.partition(":")
    if not separator or not first or not second:
        raise argparse.ArgumentTypeError(f"{text!r} is not a pair; give NAME:NAME")
    return first, second
