"""What a behavior run holds on disk: settings, data, split, and the networks of its stages.

runs/<name>/ holds, beside what every run holds, a folder for each stage (flow, features,
sequence) with its checkpoints and figures, and decisions.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import torch

from service.errors import InvalidConfig, NotFound
from training.behavior.networks.base import FeatureExtractor, FlowGenerator
from training.behavior.presets import SequenceModel, new_features, new_flow, new_sequence
from training.behavior.settings import BehaviorTraining, Decisions, StageName
from training.data.behavior_labels import BehaviorProject, read_behavior_project
from training.data.labels import InvalidLabels
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
    names = [recording.name for recording in project.recordings]
    validation = _matching(names, settings.validation)
    test = _matching(names, settings.test)
    training = [name for name in names if name not in {*validation, *test}]
    shared = set(validation) & set(test)
    if shared or not training or not validation or not test:
        raise InvalidConfig(
            f"{len(training)} recordings train, {len(validation)} validate and {len(test)} test, "
            f"{len(shared)} of them twice; give each part one at least, and none to two parts"
        )
    return Split(
        rule=(
            f"whole recordings; test: {', '.join(settings.test)}; "
            f"validation: {', '.join(settings.validation)}"
        ),
        seed=settings.seed,
        training=tuple(training),
        validation=tuple(validation),
        test=tuple(test),
    )


def stage_run(run: Run, name: StageName) -> Run:
    """Return the part of a run that one stage writes."""
    return Run(directory=run.directory / name, task=run.task, config={})


def is_finished(stage: Run) -> bool:
    """Whether a stage has been trained to its end."""
    return (stage.directory / "finished").is_file()


def load_best(stage: Run, network: torch.nn.Module) -> None:
    """Load the best weights of a stage; its checkpoint holds the whole task."""
    stored = torch.load(stage.best_checkpoint(), map_location="cpu", weights_only=True)
    prefix = "network."
    network.load_state_dict(
        {
            name.removeprefix(prefix): value
            for name, value in stored["state_dict"].items()
            if name.startswith(prefix)
        }
    )


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InvalidConfig(f"no recording matches {pattern!r}; there are {', '.join(names)}")
    return [name for name in names if any(fnmatchcase(name, one) for one in patterns)]
