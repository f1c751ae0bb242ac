"""From the arguments of `ethostream train behavior` to a trained run."""

import argparse
import logging
from glob import escape
from pathlib import Path
from typing import Any

import msgspec

from service.bundle import InputSpec, file_sha256
from service.errors import InvalidConfig
from service.toml_files import read_toml
from training.behavior.presets import PRESETS
from training.behavior.search.space import merged
from training.behavior.settings import BehaviorTraining, StageSettings
from training.behavior.train import train_behavior
from training.behavior.transfer import go_on_from, inherited_parts
from training.behavior_projects.channels import measure_channels, merge_channels
from training.data.behavior_augment import ClipAugmentSettings
from training.data.behavior_frames import video_rate_hz
from training.data.behavior_labels import BehaviorProject, read_behavior_project
from training.data.behavior_splits import draw_split
from training.runs import create_run, open_to_resume

_EVERY = 25
"""Which frames the mean color is measured on."""
_L2_SP = (1e-5, 1e-3)
_SEQUENCE_L2 = 0.01
_DROPOUT = 0.25
"""Of DeepEthogram's presets (Bohnslav et al. 2021)."""

log = logging.getLogger("ethostream.training")


def launch(arguments: argparse.Namespace) -> int:
    """Train, or continue, log where the run is and return the exit status."""
    out: Path = arguments.out
    if arguments.resume:
        current = open_to_resume(out, arguments.data)
    else:
        project = read_project(arguments)
        validation, test = _held_out(arguments, project)
        settings = read_settings(arguments, project, validation=validation, test=test)
        settings = msgspec.structs.replace(settings, report=tuple(arguments.report))
        if arguments.parent is not None:
            settings = go_on_from(settings, arguments.parent)
        if arguments.config is not None:
            settings = with_config(settings, arguments.config)
        current = create_run(out.parent, out.name, "behavior", msgspec.to_builtins(settings))
    weights: Path | None = arguments.backbone_weights
    finished = train_behavior(current, weights=weights, resume=arguments.resume)
    log.info("finished run: %s", finished)
    return 0


def with_config(settings: BehaviorTraining, path: Path) -> BehaviorTraining:
    """Return the settings with those of a TOML file in their places.

    Raises:
        InvalidConfig: the file cannot be read, or names a setting or value that does not exist.
    """
    changes = read_toml(path, dict[str, object], "the settings file")
    try:
        return msgspec.convert(merged(msgspec.to_builtins(settings), changes), BehaviorTraining)
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"{path} holds no settings of a behavior training: {error}") from error


def read_project(arguments: argparse.Namespace) -> BehaviorProject:
    """Read the labelled recordings that are named.

    Raises:
        InvalidConfig: none are.
        InvalidLabels: they cannot be read.
    """
    if not arguments.data:
        raise InvalidConfig("no data was named; give a folder of videos with label files")
    return read_behavior_project(arguments.data, exclusive=arguments.exclusive)


def read_settings(
    arguments: argparse.Namespace,
    project: BehaviorProject,
    *,
    validation: tuple[str, ...],
    test: tuple[str, ...],
) -> BehaviorTraining:
    """Return the settings that the options say.

    Args:
        arguments: `preset`, `backbone_weights`, `data` and those of
            `training.behavior.command.add_training_options`.
        project: the recordings of `data`.
        validation: names or patterns of recordings.
        test: the same.

    Raises:
        InvalidConfig: an option cannot be.
    """
    weights: Path | None = arguments.backbone_weights
    if weights is not None and not weights.is_file():
        raise InvalidConfig(f"{weights} does not exist; name a file of backbone weights")
    width_px, height_px = arguments.size
    preset = PRESETS[arguments.preset]
    multiple = preset.size_multiple
    if width_px % multiple or height_px % multiple:
        raise InvalidConfig(
            f"the model input is {width_px}x{height_px} px, but preset {arguments.preset} takes "
            f"multiples of {multiple}; give such a --size"
        )
    return BehaviorTraining(
        data=tuple(str(path.resolve()) for path in arguments.data),
        data_sha256=project.sha256(),
        behaviors=project.behaviors,
        exclusive=arguments.exclusive,
        frame_rate_hz=arguments.frame_rate or video_rate_hz(project.recordings[0].video),
        input=InputSpec(
            width_px=width_px, height_px=height_px, color=arguments.color, fit="letterbox"
        ),
        preset=arguments.preset,
        fusion=arguments.fusion,
        curriculum=arguments.curriculum,
        **(_centered(arguments.color, project) if preset.is_centered else {}),
        sequence_model=arguments.sequence or preset.sequence,
        backbone_weights=f"{weights.name} {file_sha256(weights)}" if weights else None,
        validation=validation,
        test=test,
        flow_frames=preset.flow_frames or arguments.flow_frames,
        oversampling_exponent=arguments.oversampling,
        flow_crop=arguments.flow_crop,
        flow=StageSettings(epochs=arguments.flow_epochs, samples_per_epoch=arguments.flow_samples),
        features=StageSettings(
            epochs=arguments.features_epochs, samples_per_epoch=arguments.features_samples
        ),
        sequence=StageSettings(epochs=arguments.sequence_epochs),
        sequence_dilations=tuple(arguments.dilations),
        feature_copies=arguments.feature_copies,
        most_stretches=arguments.most_stretches,
        held_out_stride=arguments.held_out_stride,
        min_bout_frames=arguments.min_bout_frames,
        augment=ClipAugmentSettings(
            rotation_degrees=arguments.rotation,
            scale=(1 / arguments.zoom, arguments.zoom),
            shift=arguments.shift,
            flip_probability=0.5 if arguments.from_above else 0.0,
        ),
        seed=arguments.seed,
        precision=arguments.precision,
        threads=arguments.threads,
    )


def _centered(color: str, project: BehaviorProject) -> dict[str, Any]:
    """Settings of the presets that look ahead: as DeepEthogram trains, ends in the mean color."""
    colors = merge_channels([measure_channels(one.video, _EVERY) for one in project.recordings])
    levels = [round(255 * one) for one in colors.mean]
    return {
        "color_mean": colors.mean,
        "color_std": colors.std,
        "window_fill": tuple(levels) if color == "rgb" else (round(sum(levels) / 3),),
        "l2_sp": _L2_SP,
        "sequence_l2": _SEQUENCE_L2,
        "dropout": _DROPOUT,
    }


def _held_out(
    arguments: argparse.Namespace, project: BehaviorProject
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Patterns of the recordings that validate and that are the test; drawn where none is named."""
    if arguments.validation or arguments.test:
        return tuple(arguments.validation), tuple(arguments.test)
    if arguments.parent is not None:
        inherited = inherited_parts(arguments.parent, [one.name for one in project.recordings])
        if inherited is not None:
            return inherited
    validation, test = arguments.validation_share, arguments.test_share
    split = draw_split(
        project, shares=(1 - validation - test, validation, test), seed=arguments.split_seed
    )
    return tuple(map(escape, split.validation)), tuple(map(escape, split.test))
