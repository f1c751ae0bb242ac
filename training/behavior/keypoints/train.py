"""Trains behavior from keypoints: labelled recordings and their poses to a run."""

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from service.behavior_statistics import best_thresholds
from service.errors import InvalidConfig
from training.behavior.keypoints.data import (
    HeldOutBatches,
    PoseRecording,
    TrainingBatches,
    data_sha256,
    find_tracks,
    read_recording,
    statistics,
)
from training.behavior.keypoints.evaluate import evaluate_recordings
from training.behavior.keypoints.network import KeypointNetwork
from training.behavior.keypoints.predict import (
    new_network,
    read_classifier,
    read_keypoint_settings,
)
from training.behavior.keypoints.settings import KeypointTraining
from training.behavior.keypoints.task import MONITOR, KeypointTask
from training.behavior.losses import BehaviorLoss, starting_bias
from training.behavior.settings import Decisions
from training.data.behavior_frames import bout_lengths
from training.data.behavior_labels import BehaviorProject, read_behavior_project
from training.data.frames import EpochSampler
from training.data.labels import InvalidLabels
from training.loop import fit
from training.runs import Run, Split

log = logging.getLogger("ethostream.training")

_BOUT_PERCENTILE = 1.0


def train_keypoint_behavior(run: Run, *, resume: bool) -> Path:
    """Train as the settings of `run` say, measure the result, and return the run's folder.

    Args:
        run: a new run, or the one that is continued.
        resume: go on from the last whole epoch, if there is one.

    Raises:
        InvalidLabels: the labelled data or the poses cannot be read, or changed since the run
            began, or no validation frame is labelled.
        InvalidConfig: a part of the split is empty.
    """
    settings = read_keypoint_settings(run)
    project, tracks = read_run_data(settings)
    split = split_recordings([one.name for one in project.recordings], settings)
    run.write_split(split)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    parts = {
        name: [read_recording(one, tracks[one.name], settings) for one in project.choose(chosen)]
        for name, chosen in (
            ("training", split.training),
            ("validation", split.validation),
            ("test", split.test),
        )
    }
    for name in ("training", "validation"):
        if not _label_counts(parts[name])[1]:
            raise InvalidLabels(
                f"no frame of the {name} recordings has all behaviors labelled; label some there"
            )
    network = _new_network(settings, parts["training"])
    counts, frames = _label_counts(parts["training"])
    task = KeypointTask(
        network, BehaviorLoss(counts, frames, exclusive=settings.exclusive), settings
    )
    batches = -(-settings.samples_per_epoch // settings.batch_size)
    fit(
        task,
        DataLoader(
            TrainingBatches(parts["training"], settings),
            batch_size=None,
            sampler=EpochSampler(batches),
        ),
        DataLoader(HeldOutBatches(parts["validation"], settings), batch_size=None),
        settings=settings.loop(),
        run=run,
        monitor=MONITOR,
        mode="max",
        resume=resume and run.last_checkpoint.is_file(),
    )
    decisions = _write_decisions(run, parts["training"], parts["validation"])
    classifier = read_classifier(run)
    figures = {
        name: evaluate_recordings(classifier, chosen, decisions) for name, chosen in parts.items()
    }
    run.evaluation.write_bytes(_json(figures))
    return run.directory


def read_run_data(settings: KeypointTraining) -> tuple[BehaviorProject, dict[str, Path]]:
    """Read the labels of a run, and say where the poses of each recording are.

    Raises:
        InvalidLabels: they cannot be read, or differ from those that the run began with.
    """
    project = read_behavior_project(
        [Path(one) for one in settings.data],
        exclusive=settings.exclusive,
        behaviors=settings.behaviors,
    )
    tracks = find_tracks(
        [Path(one) for one in settings.tracks], [one.name for one in project.recordings]
    )
    found = data_sha256(project, tracks)
    if found != settings.data_sha256:
        raise InvalidLabels(
            f"the labels and poses have SHA-256 {found[:12]}…, but the run began with "
            f"{settings.data_sha256[:12]}…; restore them or train anew"
        )
    return project, tracks


def split_recordings(names: Sequence[str], settings: KeypointTraining) -> Split:
    """Split whole recordings by the names and patterns of the settings.

    Raises:
        InvalidConfig: a pattern names no recording, two parts share one, or a part is empty.
    """
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


def _new_network(settings: KeypointTraining, training: Sequence[PoseRecording]) -> KeypointNetwork:
    torch.manual_seed(settings.seed)
    network = new_network(settings)
    mean, std = statistics(training)
    network.standardize_by(torch.from_numpy(mean), torch.from_numpy(std))
    if not settings.exclusive:
        network.classify.bias.data.copy_(starting_bias(*_label_counts(training)))
    return network


def _write_decisions(
    run: Run, training: Sequence[PoseRecording], validation: Sequence[PoseRecording]
) -> Decisions:
    """Choose thresholds on the validation recordings and shortest bouts on the training ones."""
    classifier = read_classifier(run)
    settings = classifier.settings
    thresholds = np.full(len(settings.behaviors), 0.5)
    if not settings.exclusive:
        values = np.concatenate(
            [classifier.probabilities(one.features, one.clips) for one in validation]
        )
        labels = np.concatenate([one.labels for one in validation])
        known = (labels >= 0).all(axis=1) & ~np.isnan(values).any(axis=1)
        thresholds = best_thresholds(labels[known] == 1, values[known])
    decisions = Decisions(
        thresholds=tuple(round(float(one), 4) for one in thresholds),
        min_bout_frames=_shortest_bouts(settings, training),
    )
    (run.directory / "decisions.json").write_bytes(_json(decisions))
    return decisions


def _shortest_bouts(
    settings: KeypointTraining, training: Sequence[PoseRecording]
) -> tuple[int, ...]:
    if settings.min_bout_frames is not None:
        return (settings.min_bout_frames,) * len(settings.behaviors)
    lengths: list[list[int]] = [[] for _ in settings.behaviors]
    for one in training:
        for column, found in enumerate(bout_lengths(one.labels, one.clips)):
            lengths[column] += found
    return tuple(
        max(1, int(np.percentile(found, _BOUT_PERCENTILE))) if found else 1 for found in lengths
    )


def _label_counts(recordings: Sequence[PoseRecording]) -> tuple[NDArray[np.int64], int]:
    """(C,) positive frames and the number of frames whose behaviors are all labelled."""
    labels = np.concatenate([one.labels for one in recordings])
    known = labels[(labels >= 0).all(axis=1)]
    return (known == 1).sum(axis=0), len(known)


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InvalidConfig(f"no recording matches {pattern!r}; there are {', '.join(names)}")
    return [name for name in names if any(fnmatchcase(name, one) for one in patterns)]


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
