"""Runs trials as Ray processes, with the ASHA scheduler that stops those that lag behind."""

import functools
import logging
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler

from service.cluster.start import start_ray
from training.behavior.search.results import TrialResult, write_result
from training.behavior.search.search import SearchSettings, find_trainable
from training.behavior.search.space import Settings

log = logging.getLogger("ethostream.training")

_SCORE = "score"
_ERROR_FILE = "error.txt"


def run_trials(
    trainable: str,
    trials: Sequence[Settings],
    left: Sequence[int],
    settings: SearchSettings,
    out: Path,
    fixed: dict[str, object],
) -> list[TrialResult]:
    """Run the trials `left` of `trials`, store each when it ends, and return them.

    Args:
        trainable: `module:function`.
        trials: settings of all trials.
        left: those that are to be run.
        settings: of the search.
        out: folder of the search.
        fixed: what every trial gets.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by the keeper
    keeper = _Keeper(trials, settings, out.resolve())
    begun_here = not ray.is_initialized()
    if begun_here:
        start_ray(runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}})
    try:
        with tempfile.TemporaryDirectory(prefix="ethostream_tune_") as scratch:
            run_one = functools.partial(
                _run_one,
                trainable=trainable,
                trials=list(trials),
                fixed=fixed,
                out=str(out.resolve()),
            )
            resources = {"cpu": settings.processors, "gpu": settings.gpus}
            tune.Tuner(
                tune.with_resources(run_one, resources),
                param_space={"trial": tune.grid_search(list(left))},
                tune_config=tune.TuneConfig(
                    metric=_SCORE,
                    mode="max",
                    max_concurrent_trials=settings.at_once,
                    scheduler=ASHAScheduler(
                        max_t=settings.epochs,
                        grace_period=settings.grace_epochs,
                        reduction_factor=settings.reduction,
                    ),
                ),
                run_config=tune.RunConfig(storage_path=scratch, verbose=0, callbacks=[keeper]),
            ).fit()
    finally:
        if begun_here:
            ray.shutdown()
    return keeper.results


def _run_one(
    config: dict[str, Any],
    *,
    trainable: str,
    trials: list[Settings],
    fixed: dict[str, Any],
    out: str,
) -> None:
    """One trial, in its own process."""
    number = int(config["trial"])
    directory = _folder(Path(out), number)
    shutil.rmtree(directory, ignore_errors=True)  # of a trial that was cut off
    directory.mkdir(parents=True)

    def report(score: float) -> None:
        if not math.isfinite(score):
            raise ValueError(f"the score is {score} after an epoch; the training has diverged")
        tune.report({_SCORE: float(score)})

    try:
        find_trainable(trainable)(trials[number], fixed, directory, report)
    except Exception as error:
        (directory / _ERROR_FILE).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        raise


class _Keeper(Callback):  # type: ignore[misc]  # Ray is untyped here
    """Gathers the scores, in the process that searches, and stores a trial when it ends."""

    def __init__(self, trials: Sequence[Settings], settings: SearchSettings, out: Path) -> None:
        self.results: list[TrialResult] = []
        self._trials = trials
        self._settings = settings
        self._out = out
        self._scores: dict[int, list[float]] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._scores.setdefault(trial.config["trial"], []).append(float(result[_SCORE]))

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._end(trial, "")

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        file = _folder(self._out, int(trial.config["trial"])) / _ERROR_FILE
        told = file.read_text(encoding="utf-8") if file.is_file() else "its process was ended"
        self._end(trial, " ".join(told.split()))

    def _end(self, trial: Trial, error: str) -> None:
        number = int(trial.config["trial"])
        scores = tuple(self._scores.get(number, ()))
        is_whole = len(scores) >= self._settings.epochs
        result = TrialResult(
            trial=number,
            settings=self._trials[number],
            ending="failed" if error else "whole" if is_whole else "early",
            scores=scores,
            error=error,
        )
        write_result(self._out / "results", result)
        self.results.append(result)
        log.info(
            "trial %d: %s %s, %d epochs, %s",
            number,
            self._settings.score,
            f"{result.best:.4f}" if scores else "-",
            len(scores),
            error or result.ending,
        )
        if not self._settings.keep_checkpoints:
            _remove_checkpoints(_folder(self._out, number))


def _remove_checkpoints(folder: Path) -> None:
    for path, _, names in os.walk(folder, followlinks=False):  # links lead to the base run
        for name in names:
            if name.endswith(".ckpt"):
                (Path(path) / name).unlink()


def _folder(out: Path, number: int) -> Path:
    return out / "trials" / f"trial_{number:04d}"
