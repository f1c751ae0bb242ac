"""What a behavior run holds on disk: settings, data, split, and the networks of its stages.

runs/<name>/ holds, beside what every run holds, a folder for each stage (flow, features,
sequence) with its checkpoints and figures, and decisions.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from service.errors import NotFound
from training.behavior.networks.base import FeatureExtractor, FlowGenerator
from training.behavior.presets import SequenceModel, new_features, new_flow, new_sequence
from training.behavior.settings import BehaviorTraining, Decisions, StageName
from training.data.behavior_labels import BehaviorProject, read_behavior_project
from training.data.behavior_splits import named_split
from training.data.labels import InvalidLabels
from training.loop import load_best
from training.runs import Run, Split


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a run, for evaluation."""

    flow: FlowGenerator
    features: FeatureExtractor
    sequence: SequenceModel | None


def read_settings(run: Run) -> BehaviorTraining:
    """Return the settings of a behavior run.

    Raises:
        InvalidConfig: the run is of another task, or was made by another version.
    """
    return run.settings("behavior", BehaviorTraining)


def read_run_data(settings: BehaviorTraining, folders: Sequence[Path]) -> BehaviorProject:
    """Read the recordings that a run was made from.

    Raises:
        InvalidLabels: they cannot be read, or differ from those that the run began with.
    """
    project = read_behavior_project(
        folders, exclusive=settings.exclusive, behaviors=settings.behaviors
    )
    found = project.sha256()
    if found != settings.data_sha256:
        raise InvalidLabels(
            f"the labelled data has SHA-256 {found[:12]}…, but the run began with "
            f"{settings.data_sha256[:12]}…; restore the data or train anew"
        )
    return project


def read_networks(run: Run) -> Networks:
    """Return the best networks of a finished run, in evaluation mode.

    Raises:
        NotFound: a stage has not been trained yet.
    """
    settings = read_settings(run)
    flow, features = new_flow(settings), new_features(settings, None)
    sequence = new_sequence(settings, features.feature_size)
    stages: tuple[tuple[StageName, torch.nn.Module | None], ...] = (
        ("flow", flow),
        ("features", features),
        ("sequence", sequence),
    )
    for name, network in stages:
        if network is not None:
            load_best(stage_run(run, name), network)
            network.eval()
    return Networks(flow, features, sequence)


def read_decisions(run: Run) -> Decisions:
    """Return the thresholds and shortest bouts of a finished run.

    Raises:
        NotFound: the training has not finished.
    """
    path = run.directory / "decisions.json"
    if not path.is_file():
        raise NotFound(f"{path} does not exist; finish the training with --resume")
    return msgspec.json.decode(path.read_bytes(), type=Decisions)


def split_recordings(project: BehaviorProject, settings: BehaviorTraining) -> Split:
    """Split whole recordings by the names and patterns of the settings.

    Raises:
        InvalidConfig: a pattern names no recording, two parts share one, or a part is empty.
    """
    return named_split(
        [one.name for one in project.recordings if one.name not in settings.left_out],
        validation=settings.validation,
        test=settings.test,
        seed=settings.seed,
    )


def stage_run(run: Run, name: StageName) -> Run:
    """Return the part of a run that one stage writes."""
    return Run(directory=run.directory / name, task=run.task, config={})


def is_finished(stage: Run) -> bool:
    """Whether a stage has been trained to its end."""
    return (stage.directory / "finished").is_file()
