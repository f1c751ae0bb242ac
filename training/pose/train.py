"""Trains a pose network: the settings of a run to its best checkpoint."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch.utils.data import DataLoader

from service.errors import InvalidConfig
from training.backbones import weights_source
from training.data.augment import Augmenter, mirror_indices
from training.data.frames import (
    EpochSampler,
    Example,
    HeldOutFrames,
    TrainingViews,
    keypoint_indices,
    load_examples,
)
from training.data.projects import LabelledData, choose_frames, read_projects
from training.data.simulated import simulated_examples
from training.loop import fit
from training.pose.model import PoseNetwork
from training.pose.settings import PoseTraining
from training.pose.task import PoseTask
from training.pose.trained import create_network, read_network, read_settings
from training.pose.transfer import take_over
from training.runs import Run, open_run

MONITOR = "heldout_error_px"
_SEEDS_PER_PART = 1_000_000

log = logging.getLogger("ethostream.training")


def train_pose(run: Run, *, resume: bool = False) -> Path:
    """Train as the settings of `run` say and return its best checkpoint.

    Args:
        run: a new run, or the one that is continued.
        resume: continue from the last checkpoint instead of from the start.

    Raises:
        InvalidLabels: the labelled data cannot be read, or lost frames since the run began.
        InvalidConfig: the weights do not fit the backbone, or the settings each other.
        NotFound: there is nothing to resume, or no such parent run.
        SystemExit: it was told to stop.
    """
    settings = read_settings(run)
    labels = read_projects([Path(path) for path in settings.data])
    split = run.split()
    views = TrainingViews(
        read_part(settings, labels, split.training),
        simulated_part(settings, "training"),
        _augmenter(settings),
        settings.target,
        missing=settings.missing,
        simulated_share=settings.simulated_share,
        seed=settings.loop.seed,
    )
    training = DataLoader(
        views,
        batch_size=settings.loop.batch_size,
        sampler=EpochSampler(settings.views_per_epoch),
        num_workers=settings.loop.workers,
        persistent_workers=settings.loop.workers > 0,
    )
    validation = []
    if split.validation:
        validation.append(read_part(settings, labels, split.validation))
        if settings.simulated_share:
            validation.append(simulated_part(settings, "validation"))
    torch.manual_seed(settings.loop.seed)  # of what begins random: the head
    return fit(
        _create_task(settings, _untrained(settings) if resume else _start(settings)),
        training,
        [_held_out_loader(examples, settings) for examples in validation] or None,
        settings=settings.loop,
        run=run,
        monitor=MONITOR,
        mode="min",
        resume=resume,
    )


def read_part(settings: PoseTraining, labels: LabelledData, names: Sequence[str]) -> list[Example]:
    """Read frames of one part of the split, with the keypoints that the run is for.

    Raises:
        InvalidLabels: the data no longer holds one of them, or its picture cannot be read.
    """
    keypoints = keypoint_indices(labels.keypoints, settings.keypoints)
    return load_examples(choose_frames(labels.frames, names), keypoints=keypoints)


def simulated_part(
    settings: PoseTraining, part: Literal["training", "validation", "test"]
) -> list[Example]:
    """Render the simulated frames of one part; the parts share no recording.

    To `simulated_frames` of training come a twenty-fifth for validation and an eighth for the
    test.
    """
    if not settings.simulated_share:
        return []
    order, share = {"training": (0, 1), "validation": (1, 25), "test": (2, 8)}[part]
    count = -(-settings.simulated_frames // share)
    first_seed = (3 * settings.loop.seed + order) * _SEEDS_PER_PART
    log.info("rendering %d simulated frames for %s", count, part)
    return simulated_examples(count, first_seed=first_seed, keypoints=settings.keypoints)


def _start(settings: PoseTraining) -> PoseNetwork:
    """The network before its first step: with the weights of the backbone, or of the parent."""
    if settings.parent is None:
        return create_network(settings, weights=weights_source(settings.network.backbone_weights))
    parent = open_run(Path(settings.parent))
    earlier = read_settings(parent)
    if earlier.network != settings.network or earlier.target != settings.target:
        raise InvalidConfig(
            f"the parent {parent.directory} has another network or target; train anew, or leave "
            "those of the parent"
        )
    network = _untrained(settings)
    shared = take_over(network, settings.keypoints, read_network(parent), earlier.keypoints)
    log.info("from %s: %s", parent.directory, ", ".join(shared) or "no keypoint in common")
    return network


def _untrained(settings: PoseTraining) -> PoseNetwork:
    return create_network(settings, weights="random")


def _create_task(settings: PoseTraining, network: PoseNetwork) -> PoseTask:
    return PoseTask(
        network,
        target=settings.target,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        offset_weight=settings.offset_weight,
    )


def _augmenter(settings: PoseTraining) -> Augmenter:
    return Augmenter(
        settings=settings.augment,
        input=settings.input,
        width_px=settings.view_px,
        height_px=settings.view_px,
        mirrored=mirror_indices(settings.keypoints, settings.left_right),
    )


def _held_out_loader(examples: Sequence[Example], settings: PoseTraining) -> "DataLoader[object]":
    held_out = HeldOutFrames(examples, settings.input, settings.target, missing=settings.missing)
    return DataLoader(held_out, batch_size=settings.loop.batch_size)
