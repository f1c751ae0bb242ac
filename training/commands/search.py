"""`ethostream search behavior`: many short trainings that look for good settings."""

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.behavior.search.results import TrialResult

SUMMARY = "search for good training settings"

_SHOWN = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the base run, what is varied, and how long."""
    parser.epilog = (
        "Each trial is stored in DIR/results when it ends; the same command again goes on where "
        "it stopped. DIR/best.toml holds the best settings, DIR/trials.csv all. Nothing is chosen "
        "on test recordings."
    )
    add = parser.add_argument
    add("task", choices=("behavior",), help="what is trained")
    add(
        "run",
        type=Path,
        metavar="RUN",
        help="run of `train behavior` whose data, split, settings and earlier stages are used",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the search")
    add("--stage", choices=("features", "sequence"), default="features", help="what is trained")
    add(
        "--space",
        type=Path,
        metavar="TOML",
        help='ranges by setting, such as "features.learning_rate" = { log_uniform = [1e-4, 1e-2] '
        "}; also uniform, integer, choice (default: learning rate, dropout, weight decay, "
        "oversampling, rotation and shift)",
    )
    add("--trials", type=int, default=128, metavar="N", help="random settings that are tried")
    add("--epochs", type=int, default=20, metavar="N", help="of the longest trials")
    add("--grace", type=int, default=4, metavar="N", help="epochs before a trial may be stopped")
    add("--reduction", type=int, default=4, metavar="N", help="one of N goes on at each halt")
    add("--at-once", type=int, metavar="N", help="trials side by side; all that fit if absent")
    add("--processors", type=float, default=1, metavar="N", help="of each trial")
    add("--gpus", type=float, default=0, metavar="N", help="of each trial; 0.5: two share one")
    add("--backbone-weights", type=Path, help="file that the base run began with")
    add("--seed", type=int, default=1, metavar="N", help="of the draws")
    add("--keep", action="store_true", help="keep the checkpoints of every trial")
    add("--json", action="store_true", help="print only the last line, JSON")


def run(arguments: argparse.Namespace) -> int:
    """Search, print the best trials; 1 where all failed."""
    from training.behavior.search.launch import launch

    level = logging.WARNING if arguments.json else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    results = launch(arguments)
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), "trials": [_row(one) for one in results]}))
    else:
        for one in results[:_SHOWN]:
            print(_line(one))
        print(f"{arguments.out}/trials.csv, best.toml")
    return 0 if results[0].ending != "failed" else 1


def _row(result: "TrialResult") -> dict[str, object]:
    return {
        "trial": result.trial,
        "score": result.best if result.scores else None,
        "epochs": len(result.scores),
        "ending": result.ending,
        "settings": result.settings,
        "error": result.error,
    }


def _line(result: "TrialResult") -> str:
    varied = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in result.settings.items()
    )
    score = f"{result.best:.4f}" if result.scores else "no score"
    return f"{score}  trial {result.trial}, {len(result.scores)} epochs: {result.error or varied}"
