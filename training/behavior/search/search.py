"""The search itself: trials as Ray processes; those that lag behind are stopped early.

Settings are drawn at random beforehand, so that the same seed gives the same trials with any
version of Ray; Ray runs them side by side and its ASHA scheduler (Li et al. 2020, arXiv
1810.05934) stops, at 1, 4, 16 ... times the grace, all but the best quarter.
"""

import importlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from service.errors import EngineUnavailable, InvalidConfig
from training.behavior.search.results import (
    TrialResult,
    ranked,
    read_results,
    write_best,
    write_table,
)
from training.behavior.search.space import Settings, Space, draw_trials

log = logging.getLogger("ethostream.training")

_RAY_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on any system: listen on loopback only
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to its makers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints tables in spite of verbose=0
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
"""Ray reads them when it is imported."""

Report = Callable[[float], None]
"""Called by a trial with its score after each epoch; it does not return where it is stopped."""


class Trainable(Protocol):
    """A trial: a function at the top of a module, which every process imports by its name."""

    def __call__(
        self, settings: Settings, fixed: dict[str, Any], directory: Path, report: Report
    ) -> None:
        """Train.

        Args:
            settings: what is varied, by dotted name.
            fixed: what all trials share, plain values.
            directory: folder of this trial.
            report: to be called after each epoch.
        """
        ...


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long and how wide a search is; the defaults are DeepEthogram's."""

    trials: int = 128
    epochs: int = 20
    """Longest trial; the trainable ends after as many, too."""
    grace_epochs: int = 4
    """No trial is stopped before."""
    reduction: int = 4
    """One of so many goes on at each halt."""
    score: str = "macro_f1_without_background"
    """What is reported; higher is better."""
    seed: int = 1
    at_once: int | None = None
    """Trials side by side; None: as many as processors or GPUs allow."""
    processors: float = 1
    """Of each trial."""
    gpus: float = 0
    """Of each trial; 0.5 lets two share one."""
    keep_checkpoints: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.trials < 1 or self.reduction < 2 or not 1 <= self.grace_epochs <= self.epochs:
            raise InvalidConfig(
                f"{self.trials} trials of {self.epochs} epochs, grace {self.grace_epochs}, with "
                f"one of {self.reduction} going on, are no search; give a trial, a reduction from "
                "2 and a grace of 1 to all epochs"
            )


def run_search(
    trainable: str,
    space: Space,
    settings: SearchSettings,
    out: Path,
    *,
    fixed: Mapping[str, object] | None = None,
) -> list[TrialResult]:
    """Try settings, and write what was found.

    `out` gets results/ (a file for each trial, so that the same call goes on where it stopped),
    trials/ (what they wrote), `trials.csv` and `best.toml`.

    Args:
        trainable: `module:function` of a `Trainable`.
        space: what is varied.
        settings: of the search.
        out: its folder.
        fixed: plain values that every trial gets.

    Returns:
        All trials, the best first.

    Raises:
        InvalidConfig: there is no such function, or `out` holds a search of other settings.
        EngineUnavailable: Ray is not installed.
    """
    find_trainable(trainable)
    trials = draw_trials(space, settings.trials, settings.seed)
    stored = out / "results"
    done = read_results(stored, trials)
    left = [trial for trial in range(len(trials)) if trial not in {one.trial for one in done}]
    log.info("%d trials, %d of them done", len(trials), len(done))
    if left:
        done += _ray_trials()(trainable, trials, left, settings, out, dict(fixed or {}))
    results = ranked(done)
    write_table(out / "trials.csv", results, settings.score)
    if results[0].scores:
        write_best(out / "best.toml", results[0], settings.score)
    return results


def find_trainable(name: str) -> Trainable:
    """Import `module:function`.

    Raises:
        InvalidConfig: there is none of that name.
    """
    module, _, function = name.partition(":")
    try:
        return cast("Trainable", getattr(importlib.import_module(module), function))
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidConfig(f"{name!r} is no module:function ({error})") from error


def _ray_trials() -> Callable[..., list[TrialResult]]:
    os.environ.update(_RAY_ENVIRONMENT)
    try:
        from training.behavior.search.ray_trials import run_trials
    except ImportError as error:
        raise EngineUnavailable(
            f"Ray Tune is not installed ({error}); run `uv sync --extra train --extra search`"
        ) from error
    return run_trials
