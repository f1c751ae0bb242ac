"""From the arguments of `ethostream search behavior` to a finished search."""

import argparse
from pathlib import Path

import msgspec

from service.errors import InvalidConfig
from training.behavior.search.results import TrialResult
from training.behavior.search.search import SearchSettings, run_search
from training.behavior.search.space import draw_trials, read_space
from training.behavior.search.trial import (
    TRAINABLE,
    TrialPlan,
    check_base,
    default_space,
    trial_config,
)
from training.runs import open_run


def launch(arguments: argparse.Namespace) -> list[TrialResult]:
    """Search as the arguments say and return the trials, the best first.

    Raises:
        NotFound: the base run lacks a stage, or there is no file of ranges.
        InvalidConfig: a varied setting does not exist.
        EngineUnavailable: Ray is not installed.
    """
    weights: Path | None = arguments.backbone_weights
    if weights is not None and not weights.is_file():
        raise InvalidConfig(f"{weights} does not exist; name a file of backbone weights")
    base = open_run(arguments.run)
    plan = TrialPlan(
        base=str(base.directory.resolve()),
        stage=arguments.stage,
        epochs=arguments.epochs,
        threads=max(1, int(arguments.processors)),
        backbone_weights=str(weights.resolve()) if weights else None,
    )
    settings = SearchSettings(
        trials=arguments.trials,
        epochs=arguments.epochs,
        grace_epochs=min(arguments.grace, arguments.epochs),
        reduction=arguments.reduction,
        seed=arguments.seed,
        at_once=arguments.at_once,
        processors=arguments.processors,
        gpus=arguments.gpus,
        keep_checkpoints=arguments.keep,
    )
    check_base(base, plan)
    space = (
        read_space(arguments.space) if arguments.space else default_space(plan.stage, base.config)
    )
    for trial in draw_trials(space, settings.trials, settings.seed):
        trial_config(base, plan, trial)
    return run_search(TRAINABLE, space, settings, arguments.out, fixed=msgspec.to_builtins(plan))
