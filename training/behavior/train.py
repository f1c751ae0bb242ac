"""Trains the three networks one after another: labelled recordings and settings to a run."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning import Callback
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from service.behavior import probabilities
from service.bundle import file_sha256
from service.errors import InvalidConfig
from training.behavior.decisions import label_counts, write_decisions
from training.behavior.features import stored_features, stored_logits
from training.behavior.losses import BehaviorLoss, starting_bias
from training.behavior.networks.base import FeatureExtractor, FlowGenerator, WindowSequence
from training.behavior.presets import (
    PRESETS,
    SequenceModel,
    flow_augment,
    new_features,
    new_flow,
    new_sequence,
    whole_logits,
    window_shape,
)
from training.behavior.settings import BehaviorTraining, StageName
from training.behavior.stages import (
    is_finished,
    read_run_data,
    read_settings,
    split_recordings,
    stage_run,
)
from training.behavior.task import FeatureTask, FlowTask, SequenceTask
from training.behavior.transfer import read_parent, take_over, warn_of_known_tests
from training.data.behavior_augment import ClipAugmenter, ClipAugmentSettings
from training.data.behavior_frames import Footage, load_footage
from training.data.behavior_windows import (
    FeatureStretches,
    FlowClips,
    HeldOutWindows,
    TrainingWindows,
)
from training.data.frames import EpochSampler
from training.loop import fit, load_best
from training.runs import Run

log = logging.getLogger("ethostream.training")

_HELD_OUT_CLIPS = 256
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


def train_behavior(
    run: Run, *, weights: Path | None, resume: bool, callbacks: Sequence[Callback] = ()
) -> Path:
    """Train as the settings of `run` say, stage after stage, and return the run's folder.

    Args:
        run: a new run, or the one that is continued.
        weights: ImageNet weights of the backbone; not needed where the features are trained.
        resume: leave out finished stages and continue the unfinished one.
        callbacks: of the trainings of all stages.

    Raises:
        InvalidLabels: the labelled data cannot be read, or changed since the run began.
        InvalidConfig: the weights do not fit the backbone, or a part of the split is empty.
        NotFound: the run that this one starts from is gone or not finished.
    """
    settings = read_settings(run)
    _check_weights(run, settings, weights, resume=resume)
    project = read_run_data(settings, [Path(one) for one in settings.data])
    split = split_recordings(project, settings)
    run.write_split(split)
    if settings.parent is not None:
        warn_of_known_tests(Path(settings.parent), split)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    training = load_footage(project.choose(split.training), settings.input)
    validation = load_footage(project.choose(split.validation), settings.input)
    log.info("%d training and %d validation frames", _total(training), _total(validation))

    torch.manual_seed(settings.seed)  # of what begins random
    flow, features = _start(settings, weights, training)
    _train_flow(run, settings, flow, training, validation, resume=resume, callbacks=callbacks)
    _train_features(
        run, settings, flow, features, training, validation, resume=resume, callbacks=callbacks
    )
    torch.manual_seed(settings.seed)  # also where the features were trained before
    sequence = new_sequence(settings, features.feature_size)
    if sequence is not None:
        _train_sequence(
            run,
            settings,
            flow,
            features,
            sequence,
            training,
            validation,
            resume=resume,
            callbacks=callbacks,
        )
    held_out = _held_out_answers(settings, flow, features, sequence, validation)
    write_decisions(
        run,
        training,
        held_out,
        exclusive=settings.exclusive,
        min_bout_frames=settings.min_bout_frames,
    )
    return run.directory


def _start(
    settings: BehaviorTraining, weights: Path | None, training: Sequence[Footage]
) -> tuple[FlowGenerator, FeatureExtractor]:
    """The networks before their first step: new ones, or those of the parent."""
    flow, features = new_flow(settings), new_features(settings, weights)
    if not settings.exclusive:
        features.start_at(starting_bias(*label_counts(training)))
    if settings.parent is not None:
        parent = read_parent(settings)
        flow.load_state_dict(parent.flow.state_dict())
        shared = take_over(features, settings.behaviors, parent.features, parent.behaviors)
        log.info("from %s: %s", settings.parent, ", ".join(shared) or "no behavior in common")
    return flow, features


def _held_out_answers(
    settings: BehaviorTraining,
    flow: FlowGenerator,
    features: FeatureExtractor,
    sequence: SequenceModel | None,
    validation: Sequence[Footage],
) -> tuple[NDArray[np.float32], NDArray[np.int8]] | None:
    """Return probabilities and labels (N, C) of all validation frames; None without any."""
    if not validation:
        return None
    if sequence is None:
        logits, labels = stored_logits(flow, features, validation, settings)
        return probabilities(logits, exclusive=settings.exclusive), labels
    sequence.eval()
    stretches = stored_features(flow, features, validation, settings)
    with torch.no_grad():
        found = [
            whole_logits(sequence, torch.from_numpy(one)[None], torch.ones(1, len(one)))[0].numpy()
            for one, _ in stretches
        ]
    values = probabilities(np.concatenate(found), exclusive=settings.exclusive)
    return values, np.concatenate([labels for _, labels in stretches])


def _check_weights(
    run: Run, settings: BehaviorTraining, weights: Path | None, *, resume: bool
) -> None:
    """Refuse other backbone weights than the run began with, and none where they are needed."""
    stage = stage_run(run, "features")
    is_begun = is_finished(stage) or stage.last_checkpoint.is_file()
    given = f"{weights.name} {file_sha256(weights)}" if weights else None
    if given != settings.backbone_weights and not (given is None and resume and is_begun):
        raise InvalidConfig(
            f"the run began with the backbone weights {settings.backbone_weights or 'random'}, "
            f"but {given or 'none'} were named; name the same file with --backbone-weights"
        )


def _train_flow(
    run: Run,
    settings: BehaviorTraining,
    network: FlowGenerator,
    training: Sequence[Footage],
    validation: Sequence[Footage],
    *,
    resume: bool,
    callbacks: Sequence[Callback],
) -> None:
    stage = settings.flow
    preset = PRESETS[settings.preset]
    task = FlowTask(
        network,
        smoothness_factor=preset.smoothness_factor,
        sparsity_weight=preset.sparsity_weight,
        **_optimizer(settings, "flow"),
    )
    clips = FlowClips(
        training,
        network.input_frames,
        ClipAugmenter(flow_augment(settings)),
        widest_gap=preset.flow_gap_frames,
        shift_px=preset.flow_drift_px,
        crop=settings.flow_crop,
        crop_tries=preset.flow_crop_tries,
        seed=settings.seed,
    )
    held_out = None
    if validation:
        held_out = DataLoader(
            FlowClips(
                validation,
                network.input_frames,
                ClipAugmenter(_NO_CHANGE),
                widest_gap=preset.flow_gap_frames,
                shift_px=preset.flow_drift_px,
                seed=settings.seed,
            ),
            batch_size=stage.batch_size,
            sampler=[(0, index) for index in range(_HELD_OUT_CLIPS)],
        )
    _fit(
        run,
        settings,
        "flow",
        task,
        DataLoader(
            clips, batch_size=stage.batch_size, sampler=EpochSampler(stage.samples_per_epoch)
        ),
        held_out,
        resume=resume,
        callbacks=callbacks,
    )
    load_best(stage_run(run, "flow"), network)


def _train_features(
    run: Run,
    settings: BehaviorTraining,
    flow: FlowGenerator,
    network: FeatureExtractor,
    training: Sequence[Footage],
    validation: Sequence[Footage],
    *,
    resume: bool,
    callbacks: Sequence[Callback],
) -> None:
    stage = settings.features
    counts, frames = label_counts(training)
    shape = window_shape(settings)
    task = FeatureTask(
        network,
        flow,
        answered=shape.past_frames,
        l2_sp=settings.l2_sp,
        curriculum_epochs=stage.epochs // 3 if settings.curriculum else 0,
        loss=BehaviorLoss(counts, frames, exclusive=settings.exclusive),
        exclusive=settings.exclusive,
        **_optimizer(settings, "features"),
    )
    windows = TrainingWindows(
        training,
        shape,
        ClipAugmenter(settings.augment),
        oversampling_exponent=settings.oversampling_exponent,
        seed=settings.seed,
    )
    held_out = None
    if validation:
        held_out = DataLoader(
            HeldOutWindows(validation, shape, stride=settings.held_out_stride),
            batch_size=stage.batch_size,
        )
    _fit(
        run,
        settings,
        "features",
        task,
        DataLoader(
            windows, batch_size=stage.batch_size, sampler=EpochSampler(stage.samples_per_epoch)
        ),
        held_out,
        resume=resume,
        callbacks=callbacks,
    )
    load_best(stage_run(run, "features"), network)


def _train_sequence(
    run: Run,
    settings: BehaviorTraining,
    flow: FlowGenerator,
    features: FeatureExtractor,
    network: SequenceModel,
    training: Sequence[Footage],
    validation: Sequence[Footage],
    *,
    resume: bool,
    callbacks: Sequence[Callback],
) -> None:
    stage = settings.sequence
    if resume and is_finished(stage_run(run, "sequence")):
        load_best(stage_run(run, "sequence"), network)
        return
    copies = tuple(range(1, settings.feature_copies))
    stretches = stored_features(
        flow, features, training, settings, copies=copies, most=settings.most_stretches
    )
    held_out = stored_features(flow, features, validation, settings)
    counts, frames = label_counts(training)
    if not settings.exclusive and isinstance(network, WindowSequence):
        network.start_at(starting_bias(counts, frames))
    task = SequenceTask(
        network,
        l2=settings.sequence_l2,
        loss=BehaviorLoss(counts, frames, exclusive=settings.exclusive),
        exclusive=settings.exclusive,
        **_optimizer(settings, "sequence"),
    )
    length = max(len(features) for features, _ in (*stretches, *held_out))
    _fit(
        run,
        settings,
        "sequence",
        task,
        DataLoader(FeatureStretches(stretches, length), stage.batch_size, shuffle=True),
        DataLoader(FeatureStretches(held_out, length), stage.batch_size) if held_out else None,
        resume=resume,
        callbacks=callbacks,
    )
    load_best(stage_run(run, "sequence"), network)


def _fit(
    run: Run,
    settings: BehaviorTraining,
    name: StageName,
    task: FlowTask | FeatureTask | SequenceTask,
    training: "DataLoader[object]",
    validation: "DataLoader[object] | None",
    *,
    resume: bool,
    callbacks: Sequence[Callback],
) -> None:
    """Train one stage, unless it is finished and the run is continued."""
    stage = stage_run(run, name)
    if resume and is_finished(stage):
        return
    stage.checkpoints.mkdir(parents=True, exist_ok=True)
    log.info("stage %s", name)
    fit(
        task,
        training,
        validation,
        settings=settings.loop(name),
        run=stage,
        monitor=task.monitor,
        mode=task.mode,
        resume=resume and stage.last_checkpoint.is_file(),
        callbacks=callbacks,
    )
    (stage.directory / "finished").touch()


def _optimizer(settings: BehaviorTraining, name: StageName) -> dict[str, float]:
    stage = settings.stage(name)
    return {
        "learning_rate": stage.learning_rate,
        "weight_decay": settings.weight_decay if settings.l2_sp is None else 0.0,
    }


def _total(footage: Sequence[Footage]) -> int:
    return sum(len(one.frames) for one in footage)
