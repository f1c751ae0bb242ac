"""One trial of behavior training: the stages of a base run, one of them trained anew."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from lightning import Callback, LightningModule, Trainer

from service.errors import InvalidConfig, NotFound
from training.behavior.search.search import Report
from training.behavior.search.space import Range, Settings, Space, merged, nested
from training.behavior.settings import BehaviorTraining, StageName
from training.behavior.stages import is_finished, stage_run
from training.behavior.train import train_behavior
from training.runs import Run, create_run, open_run

TRAINABLE = f"{__name__}:train_trial"
SCORE = "heldout_macro_f1_without_background"
"""The figure of an epoch that trials are compared by, as the tasks log it."""
TunedStage = Literal["features", "sequence"]
_BEFORE: dict[TunedStage, tuple[StageName, ...]] = {
    "features": ("flow",),
    "sequence": ("flow", "features"),
}
"""Stages that a trial takes over from the base run."""


class TrialPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all trials of a search share."""

    base: str
    """Folder of the base run: its data, split and settings, and its finished stages."""
    stage: TunedStage
    """What is trained anew."""
    epochs: int
    threads: int | None
    backbone_weights: str | None
    """File of ImageNet weights, where the base run began with one."""


def train_trial(settings: Settings, fixed: dict[str, Any], directory: Path, report: Report) -> None:
    """Train the stage of a `TrialPlan` with the settings of a trial; see `Trainable`."""
    plan = msgspec.convert(fixed, TrialPlan)
    base = open_run(Path(plan.base))
    run = create_run(directory, "run", "behavior", trial_config(base, plan, settings))
    for name in _BEFORE[plan.stage]:
        (run.directory / name).symlink_to(stage_run(base, name).directory.resolve())
    train_behavior(
        run,
        weights=Path(plan.backbone_weights) if plan.backbone_weights else None,
        resume=True,  # takes the finished stages as they are
        callbacks=(_EpochReport(report),),
    )


def trial_config(base: Run, plan: TrialPlan, settings: Settings) -> dict[str, object]:
    """Return the settings of the base run with those of a trial, as a run stores them.

    Raises:
        InvalidConfig: a varied setting does not exist, or cannot have this value.
    """
    changes = merged(
        nested(settings),
        {
            "threads": plan.threads,
            plan.stage: {"epochs": plan.epochs, "patience_epochs": None},
            # Nothing comes after the tuned features.
            **({"sequence_model": "none"} if plan.stage == "features" else {}),
        },
    )
    config = merged(base.config, changes)
    try:
        msgspec.convert(config, BehaviorTraining)
    except msgspec.ValidationError as error:
        raise InvalidConfig(
            f"{', '.join(f'{name} = {value}' for name, value in settings.items())} cannot be "
            f"trained with: {error}; correct the ranges"
        ) from error
    return config


def check_base(base: Run, plan: TrialPlan) -> BehaviorTraining:
    """Return the settings of the base run, if its stages before the tuned one are finished.

    Raises:
        NotFound: they are not, or have no checkpoint any more.
        InvalidConfig: it is no behavior run, or has no sequence model to tune.
    """
    settings = base.settings("behavior", BehaviorTraining)
    for name in _BEFORE[plan.stage]:
        if not is_finished(stage_run(base, name)):
            raise NotFound(
                f"run {base.directory} has not finished the stage {name}, which every trial takes "
                "over; train it with `ethostream train behavior`"
            )
        stage_run(base, name).best_checkpoint()
    if plan.stage == "sequence" and settings.sequence_model == "none":
        raise InvalidConfig(
            f"run {base.directory} has no sequence model; tune the features, or train one"
        )
    return settings


def default_space(stage: TunedStage, base: Mapping[str, Any]) -> Space:
    """Return what is varied where no ranges are named.

    Args:
        stage: what is tuned.
        base: settings of the base run, plain; L2-SP takes the place of the weight decay.
    """
    space: Space = {
        f"{stage}.learning_rate": Range(log_uniform=(1e-4, 1e-2)),
        "dropout": Range(uniform=(0.0, 0.7)),
    }
    if base.get("l2_sp") is None:
        space["weight_decay"] = Range(log_uniform=(1e-4, 1e-1))
    if stage == "features":
        space |= {
            "oversampling_exponent": Range(uniform=(0.0, 1.0)),
            "augment.rotation_degrees": Range(uniform=(0.0, 30.0)),
            "augment.shift": Range(uniform=(0.0, 0.15)),
        }
    elif base.get("sequence_model") == "causal":
        space["sequence_width"] = Range(choice=(32, 64, 128))
    else:
        space["sequence_l2"] = Range(log_uniform=(1e-4, 1e-1))
    return space


class _EpochReport(Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Tells the search the score of each epoch."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report; validation of the epoch has run before."""
        self._report(float(trainer.callback_metrics[SCORE]))
