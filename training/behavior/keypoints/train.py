"""Trains behavior from keypoints: labelled recordings and their poses to a run."""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch.utils.data import DataLoader

from service.errors import InvalidConfig
from training.behavior.decisions import label_counts, write_decisions
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
from training.data.behavior_labels import BehaviorProject, read_behavior_project
from training.data.behavior_splits import named_split
from training.data.frames import EpochSampler
from training.data.labels import InvalidLabels
from training.loop import fit
from training.runs import Run

log = logging.getLogger("ethostream.training")


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
    split = named_split(
        [one.name for one in project.recordings],
        validation=settings.validation,
        test=settings.test,
        seed=settings.seed,
    )
    if not split.validation:
        raise InvalidConfig(
            "no recording validates, but the epoch and thresholds are chosen on some; name them "
            "with --validation"
        )
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
        if not label_counts(parts[name])[1]:
            raise InvalidLabels(
                f"no frame of the {name} recordings has all behaviors labelled; label some there"
            )
    network = _new_network(settings, parts["training"])
    counts, frames = label_counts(parts["training"])
    batches = -(-settings.samples_per_epoch // settings.batch_size)
    task = KeypointTask(
        network,
        BehaviorLoss(counts, frames, exclusive=settings.exclusive),
        settings,
    )
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
    text = msgspec.json.format(msgspec.json.encode(figures), indent=2)
    run.evaluation.write_bytes(text + b"\n")
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


def _new_network(settings: KeypointTraining, training: Sequence[PoseRecording]) -> KeypointNetwork:
    torch.manual_seed(settings.seed)
    network = new_network(settings)
    mean, std = statistics(training)
    network.standardize_by(torch.from_numpy(mean), torch.from_numpy(std))
    if not settings.exclusive:
        network.classify.bias.data.copy_(starting_bias(*label_counts(training)))
    return network


def _write_decisions(
    run: Run, training: Sequence[PoseRecording], validation: Sequence[PoseRecording]
) -> Decisions:
    """Choose thresholds on the validation recordings and shortest bouts on the training ones."""
    classifier = read_classifier(run)
    settings = classifier.settings
    values = np.concatenate(
        [classifier.probabilities(one.features, one.clips) for one in validation]
    )
    return write_decisions(
        run,
        training,
        (values, np.concatenate([one.labels for one in validation])),
        exclusive=settings.exclusive,
        min_bout_frames=settings.min_bout_frames,
    )
