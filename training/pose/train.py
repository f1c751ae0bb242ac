"""Trains a pose network: labelled frames and settings to a run."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from torch.utils.data import DataLoader

from service.errors import InvalidConfig
from training.backbones import load_backbone
from training.data.augment import Augmenter, mirror_indices
from training.data.frames import (
    EpochSampler,
    Example,
    HeldOutFrames,
    TrainingViews,
    load_examples,
    split_frames,
)
from training.data.projects import choose_frames, read_projects
from training.data.simulated import simulated_examples
from training.loop import fit
from training.pose.model import PoseNetwork
from training.pose.settings import PoseTraining
from training.pose.task import PoseTask
from training.runs import Run

MONITOR = "heldout_error_px"
_SEEDS_PER_PART = 1_000_000

log = logging.getLogger("ethostream.training")


def train_pose(run: Run, *, weights: Path | None, resume: bool) -> Path:
    """Train as the settings of `run` say and return its best checkpoint.

    Args:
        run: a new run, or the one that is continued.
        weights: ImageNet weights of the backbone; not needed to continue.
        resume: continue from the last checkpoint instead of from the start.

    Raises:
        InvalidLabels: the labelled data cannot be read, or lost frames since the run began.
        InvalidConfig: the weights do not fit the backbone, or the settings each other.
    """
    settings = read_settings(run)
    frames = read_projects([Path(path) for path in settings.data]).frames
    if not resume:
        run.write_split(
            split_frames(
                list(frames),
                validation_share=settings.validation_share,
                test_share=settings.test_share,
                seed=settings.loop.seed,
            )
        )
    split = run.split()
    views = TrainingViews(
        load_examples(choose_frames(frames, split.training)),
        simulated_part(settings, "training"),
        _augmenter(settings),
        settings.target,
        simulated_share=settings.simulated_share,
        seed=settings.loop.seed,
    )
    training = DataLoader(
        views,
        batch_size=settings.loop.batch_size,
        sampler=EpochSampler(settings.views_per_epoch),
    )
    validation = [load_examples(choose_frames(frames, split.validation))]
    if settings.simulated_share:
        validation.append(simulated_part(settings, "validation"))
    return fit(
        create_task(settings, weights=None if resume else weights),
        training,
        [_held_out_loader(examples, settings) for examples in validation],
        settings=settings.loop,
        run=run,
        monitor=MONITOR,
        mode="min",
        resume=resume,
    )


def read_settings(run: Run) -> PoseTraining:
    """Return the settings of a pose run.

    Raises:
        InvalidConfig: the run is of another task, or was made by another version.
    """
    if run.task != "pose":
        raise InvalidConfig(f"run {run.directory} is of task {run.task}; name a pose run")
    try:
        return msgspec.convert(run.config, PoseTraining)
    except msgspec.ValidationError as error:
        raise InvalidConfig(
            f"{run.directory / 'config.json'} does not hold pose settings of this version: "
            f"{error}; train anew"
        ) from error


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


def create_task(settings: PoseTraining, *, weights: Path | None) -> PoseTask:
    """Build the untrained task; `weights` are those of the backbone, None for random ones."""
    network = PoseNetwork(
        load_backbone(weights), keypoints=len(settings.keypoints), width=settings.network_width
    )
    return PoseTask(
        network,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        total_steps=settings.steps_per_epoch * settings.loop.max_epochs,
        disc_cells=settings.target.disc_cells,
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
    held_out = HeldOutFrames(examples, settings.input, settings.target)
    return DataLoader(held_out, batch_size=settings.loop.batch_size)
