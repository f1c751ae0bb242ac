"""Trains the three networks one after another: labelled recordings and settings to a run.

runs/<name>/ holds, beside what every run holds, a folder for each stage (flow, features,
sequence) with its checkpoints and figures, and decisions.json.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from service.behavior import probabilities
from service.behavior_statistics import best_thresholds
from service.errors import InvalidConfig, NotFound
from training.behavior.features import stored_features
from training.behavior.flow import FlowNetwork
from training.behavior.losses import BehaviorLoss, starting_bias
from training.behavior.model import (
    FEATURE_SIZE,
    FeatureNetwork,
    SequenceHead,
    create_feature_network,
)
from training.behavior.settings import BehaviorTraining, Decisions, StageName
from training.behavior.task import MONITOR, FeatureTask, FlowTask, SequenceTask
from training.data.behavior_augment import ClipAugmenter, ClipAugmentSettings
from training.data.behavior_frames import Footage, bout_lengths, load_footage
from training.data.behavior_labels import BehaviorProject, read_behavior_project
from training.data.behavior_windows import (
    FeatureStretches,
    FlowPairs,
    HeldOutWindows,
    TrainingWindows,
)
from training.data.frames import EpochSampler
from training.data.labels import InvalidLabels
from training.loop import fit
from training.runs import Run, Split

log = logging.getLogger("ethostream.training")

_HELD_OUT_PAIRS = 256
_WIDEST_GAP, _SHIFT_PX = 3, 4.0
"""Flow trains on larger motions than it will mostly see; see `FlowPairs`."""
_NO_CHANGE = ClipAugmentSettings(
    mirror_probability=0.0,
    rotation_degrees=0.0,
    scale=(1.0, 1.0),
    shift=0.0,
    brightness=0.0,
    contrast=(1.0, 1.0),
    gamma=(1.0, 1.0),
    gray_probability=0.0,
    blur_probability=0.0,
    noise_probability=0.0,
)
_BOUT_PERCENTILE = 1.0


@dataclass(frozen=True, slots=True)
class Networks:
    """The three networks of a run, for evaluation."""

    flow: FlowNetwork
    features: FeatureNetwork
    sequence: SequenceHead


def train_behavior(run: Run, *, weights: Path | None, resume: bool) -> Path:
    """Train as the settings of `run` say, stage after stage, and return the run's folder.

    Args:
        run: a new run, or the one that is continued.
        weights: ImageNet weights of the backbone; not needed where the features are trained.
        resume: leave out finished stages and continue the unfinished one.

    Raises:
        InvalidLabels: the labelled data cannot be read, or changed since the run began.
        InvalidConfig: the weights do not fit the backbone, or a part of the split is empty.
    """
    settings = read_settings(run)
    project = read_run_data(settings, [Path(one) for one in settings.data])
    split = split_recordings(project, settings)
    run.write_split(split)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    training = load_footage(project.choose(split.training), settings.input)
    validation = load_footage(project.choose(split.validation), settings.input)
    log.info("%d training and %d validation frames", _total(training), _total(validation))

    flow = FlowNetwork(settings.input.channels)
    _train_flow(run, settings, flow, training, validation, resume=resume)
    features = _feature_network(settings, weights)
    _train_features(run, settings, flow, features, training, validation, resume=resume)
    sequence = _sequence_head(settings)
    held_out = stored_features(flow, features, validation, settings)
    _train_sequence(run, settings, flow, features, sequence, training, held_out, resume=resume)
    _write_decisions(run, settings, sequence, training, held_out)
    return run.directory


def read_settings(run: Run) -> BehaviorTraining:
    """Return the settings of a behavior run.

    Raises:
        InvalidConfig: the run is of another task, or was made by another version.
    """
    if run.task != "behavior":
        raise InvalidConfig(f"run {run.directory} is of task {run.task}; name a behavior run")
    try:
        return msgspec.convert(run.config, BehaviorTraining)
    except msgspec.ValidationError as error:
        raise InvalidConfig(
            f"{run.directory / 'config.json'} does not hold behavior settings of this version: "
            f"{error}; train anew"
        ) from error


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
    flow = FlowNetwork(settings.input.channels)
    features = _feature_network(settings, None)
    sequence = _sequence_head(settings)
    stages: tuple[tuple[StageName, torch.nn.Module], ...] = (
        ("flow", flow),
        ("features", features),
        ("sequence", sequence),
    )
    for name, network in stages:
        _load_best(_stage_run(run, name), network)
        network.to(memory_format=torch.contiguous_format).eval()
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


def _train_flow(
    run: Run,
    settings: BehaviorTraining,
    network: FlowNetwork,
    training: Sequence[Footage],
    validation: Sequence[Footage],
    *,
    resume: bool,
) -> None:
    stage = settings.flow
    task = FlowTask(network, **_optimizer(settings, "flow", stage.samples_per_epoch))
    pairs = FlowPairs(
        training,
        ClipAugmenter(settings.augment),
        widest_gap=_WIDEST_GAP,
        shift_px=_SHIFT_PX,
        seed=settings.seed,
    )
    held_out = FlowPairs(
        validation,
        ClipAugmenter(_NO_CHANGE),
        widest_gap=_WIDEST_GAP,
        shift_px=_SHIFT_PX,
        seed=settings.seed,
    )
    _fit(
        run,
        settings,
        "flow",
        task,
        DataLoader(
            pairs, batch_size=stage.batch_size, sampler=EpochSampler(stage.samples_per_epoch)
        ),
        DataLoader(
            held_out,
            batch_size=stage.batch_size,
            sampler=[(0, index) for index in range(_HELD_OUT_PAIRS)],
        ),
        resume=resume,
    )
    _load_best(_stage_run(run, "flow"), network)


def _train_features(
    run: Run,
    settings: BehaviorTraining,
    flow: FlowNetwork,
    network: FeatureNetwork,
    training: Sequence[Footage],
    validation: Sequence[Footage],
    *,
    resume: bool,
) -> None:
    stage = settings.features
    counts, frames = _label_counts(training)
    if not settings.exclusive:
        network.classify.bias.data.copy_(starting_bias(counts, frames))
    task = FeatureTask(
        network,
        flow,
        loss=BehaviorLoss(counts, frames, exclusive=settings.exclusive),
        exclusive=settings.exclusive,
        **_optimizer(settings, "features", stage.samples_per_epoch),
    )
    windows = TrainingWindows(
        training,
        settings.flow_frames,
        ClipAugmenter(settings.augment),
        oversampling_exponent=settings.oversampling_exponent,
        seed=settings.seed,
    )
    held_out = HeldOutWindows(validation, settings.flow_frames, stride=settings.held_out_stride)
    _fit(
        run,
        settings,
        "features",
        task,
        DataLoader(
            windows, batch_size=stage.batch_size, sampler=EpochSampler(stage.samples_per_epoch)
        ),
        DataLoader(held_out, batch_size=stage.batch_size),
        resume=resume,
    )
    _load_best(_stage_run(run, "features"), network)


def _train_sequence(
    run: Run,
    settings: BehaviorTraining,
    flow: FlowNetwork,
    features: FeatureNetwork,
    network: SequenceHead,
    training: Sequence[Footage],
    held_out: list[tuple[NDArray[np.float32], NDArray[np.int8]]],
    *,
    resume: bool,
) -> None:
    stage = settings.sequence
    if resume and _is_finished(_stage_run(run, "sequence")):
        _load_best(_stage_run(run, "sequence"), network)
        return
    copies = tuple(range(1, settings.feature_copies))
    stretches = stored_features(
        flow, features, training, settings, copies=copies, most=settings.most_stretches
    )
    counts, frames = _label_counts(training)
    task = SequenceTask(
        network,
        loss=BehaviorLoss(counts, frames, exclusive=settings.exclusive),
        exclusive=settings.exclusive,
        **_optimizer(settings, "sequence", len(stretches)),
    )
    length = max(len(features) for features, _ in (*stretches, *held_out))
    _fit(
        run,
        settings,
        "sequence",
        task,
        DataLoader(FeatureStretches(stretches, length), stage.batch_size, shuffle=True),
        DataLoader(FeatureStretches(held_out, length), stage.batch_size),
        resume=resume,
    )
    _load_best(_stage_run(run, "sequence"), network)


def _fit(
    run: Run,
    settings: BehaviorTraining,
    name: StageName,
    task: LightningModule,
    training: "DataLoader[object]",
    validation: "DataLoader[object]",
    *,
    resume: bool,
) -> None:
    """Train one stage, unless it is finished and the run is continued."""
    stage = _stage_run(run, name)
    if resume and _is_finished(stage):
        return
    stage.checkpoints.mkdir(parents=True, exist_ok=True)
    log.info("stage %s", name)
    fit(
        task,
        training,
        validation,
        settings=settings.loop(name),
        run=stage,
        monitor=MONITOR,
        mode="min",
        resume=resume and stage.last_checkpoint.is_file(),
    )
    (stage.directory / "finished").touch()


def _write_decisions(
    run: Run,
    settings: BehaviorTraining,
    network: SequenceHead,
    training: Sequence[Footage],
    held_out: list[tuple[NDArray[np.float32], NDArray[np.int8]]],
) -> None:
    """Choose thresholds on the validation recordings and shortest bouts on the training ones."""
    count = len(settings.behaviors)
    thresholds = np.full(count, 0.5)
    if not settings.exclusive:
        network.eval()
        with torch.no_grad():
            logits = [network.whole(torch.from_numpy(one)[None])[0].numpy() for one, _ in held_out]
        values = probabilities(np.concatenate(logits), exclusive=False)
        labels = np.concatenate([one for _, one in held_out])
        known = (labels >= 0).all(axis=1)
        thresholds = best_thresholds(labels[known] == 1, values[known])
    decisions = Decisions(
        thresholds=tuple(round(float(one), 4) for one in thresholds),
        min_bout_frames=_shortest_bouts(settings, training),
    )
    text = msgspec.json.format(msgspec.json.encode(decisions), indent=2)
    (run.directory / "decisions.json").write_bytes(text + b"\n")


def _shortest_bouts(settings: BehaviorTraining, training: Sequence[Footage]) -> tuple[int, ...]:
    if settings.min_bout_frames is not None:
        return (settings.min_bout_frames,) * len(settings.behaviors)
    lengths: list[list[int]] = [[] for _ in settings.behaviors]
    for one in training:
        for column, found in enumerate(bout_lengths(one.labels, one.clips)):
            lengths[column] += found
    return tuple(
        max(1, int(np.percentile(found, _BOUT_PERCENTILE))) if found else 1 for found in lengths
    )


def _feature_network(settings: BehaviorTraining, weights: Path | None) -> FeatureNetwork:
    return create_feature_network(
        weights=weights,
        flow_frames=settings.flow_frames,
        behaviors=len(settings.behaviors),
        dropout=settings.dropout,
    )


def _sequence_head(settings: BehaviorTraining) -> SequenceHead:
    return SequenceHead(
        FEATURE_SIZE,
        len(settings.behaviors),
        width=settings.sequence_width,
        dilations=settings.sequence_dilations,
        dropout=settings.dropout,
    )


def _optimizer(settings: BehaviorTraining, name: StageName, samples: int) -> dict[str, float]:
    stage = settings.stage(name)
    return {
        "learning_rate": stage.learning_rate,
        "weight_decay": settings.weight_decay,
        "total_steps": -(-samples // stage.batch_size) * stage.epochs,
    }


def _stage_run(run: Run, name: StageName) -> Run:
    return Run(directory=run.directory / name, task=run.task, config={})


def _is_finished(stage: Run) -> bool:
    return (stage.directory / "finished").is_file()


def _load_best(stage: Run, network: torch.nn.Module) -> None:
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


def _label_counts(footage: Sequence[Footage]) -> tuple[NDArray[np.int64], int]:
    """(C,) positive frames and the number of labelled ones."""
    labels = np.concatenate([one.labels for one in footage])
    known = labels[(labels >= 0).all(axis=1)]
    return (known == 1).sum(axis=0), len(known)


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InvalidConfig(f"no recording matches {pattern!r}; there are {', '.join(names)}")
    return [name for name in names if any(fnmatchcase(name, one) for one in patterns)]


def _total(footage: Sequence[Footage]) -> int:
    return sum(len(one.frames) for one in footage)
