"""What `ethostream train pose` does: arguments to choices, training, figures of the result."""

import argparse
import logging
from pathlib import Path

import msgspec

from service.errors import InvalidConfig, NotFound
from service.toml_files import read_toml
from training.pose.evaluate import evaluate_run
from training.pose.launch import start_pose_run
from training.pose.settings import PoseChoices
from training.pose.train import train_pose
from training.pose.trained import read_settings
from training.runs import Run, open_run, open_to_resume

_SPLIT_OPTIONS = ("validation_share", "test_share", "test_videos")

log = logging.getLogger("ethostream.training")


def run_command(arguments: argparse.Namespace) -> int:
    """Train, or continue, measure the result and return the exit status."""
    out: Path = arguments.out
    if arguments.resume:
        run = open_to_resume(out, arguments.data)
    else:
        run = start_pose_run(arguments.data, out, read_choices(arguments))
    best = train_pose(run, resume=arguments.resume)
    log.info("best checkpoint: %s", best)
    _report(run, evaluate_run(run))
    return 0


def read_choices(arguments: argparse.Namespace) -> PoseChoices:
    """Return the choices of --config and of the options, which win.

    Raises:
        NotFound: there is no such file.
        InvalidConfig: a setting is unknown, or its value impossible.
    """
    values = _read_toml(arguments.config) if arguments.config else {}
    options = {name: value for name, value in vars(arguments).items() if value is not None}
    values |= {name: options[name] for name in PoseChoices.__struct_fields__ if name in options}
    split = values.get("split", {})
    if not isinstance(split, dict):
        raise InvalidConfig(f"[split] of {arguments.config} is {split!r}; give a table")
    split |= {name: options[name] for name in _SPLIT_OPTIONS if name in options}
    split.setdefault("seed", options.get("split_seed", values.get("seed", 1)))
    try:
        return msgspec.convert({**values, "split": split}, PoseChoices)
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"these settings cannot be: {error}; see --help") from error


def _read_toml(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise NotFound(f"{path} does not exist; name a TOML file of settings")
    return read_toml(path, dict[str, object], "the settings file")


def _report(run: Run, figures: dict[str, dict[str, object]]) -> None:
    for part, found in figures.items():
        error = found["mean_error_px"]
        if isinstance(error, float):
            log.info("%s: mean error %.2f px, %s points", part, error, found["points"])
    parent = read_settings(run).parent
    if parent is None or "test" not in figures:
        return
    earlier = open_run(Path(parent)).evaluation
    if earlier.is_file():
        before = msgspec.json.decode(earlier.read_bytes())["test"]["mean_error_px"]
        log.info("test error of the run before: %.2f px", before)
