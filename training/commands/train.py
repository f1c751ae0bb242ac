"""`ethostream train pose|behavior|keypoint-behavior|backbone`: data to a run."""

import argparse
import logging

from training.backbones import command as backbone
from training.behavior import command as behavior
from training.behavior.keypoints import command as keypoint_behavior
from training.pose import command as pose

SUMMARY = "train a pose or behavior network on labelled data, or a backbone on any frames"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add one subcommand per task."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    for name, module in (
        ("pose", pose),
        ("behavior", behavior),
        ("keypoint-behavior", keypoint_behavior),
        ("backbone", backbone),
    ):
        summary = f"train a {name} network"
        task = tasks.add_parser(
            name, help=summary, description=summary, formatter_class=parser.formatter_class
        )
        module.configure(task)
        task.set_defaults(train=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Train the chosen task."""
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("ethostream").setLevel(logging.INFO)  # not what libraries tell of themselves
    status: int = arguments.train(arguments)
    return status
