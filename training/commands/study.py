"""`ethostream study pose|behavior`: a table of many trainings that answers one question."""

import argparse
import signal
from typing import NoReturn

from training.behavior.study import command as behavior
from training.pose.study import command as pose

SUMMARY = "train many networks and tell how their figures depend on what is varied"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add one subcommand per task."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    for name, module in (("pose", pose), ("behavior", behavior)):
        summary = f"study {name} networks"
        task = tasks.add_parser(
            name, help=summary, description=summary, formatter_class=parser.formatter_class
        )
        module.configure(task)
        task.set_defaults(study=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Train what is left, print the table; 1 where a training failed."""
    signal.signal(signal.SIGTERM, _told_to_stop)  # as Ctrl-C: the trainings are ended, too
    status: int = arguments.study(arguments)
    return status


def _told_to_stop(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)
