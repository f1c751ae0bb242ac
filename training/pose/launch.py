"""From labelled data and choices to a new pose run."""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.bundle import InputSpec, file_sha256
from service.errors import InvalidConfig
from service.targets import TargetSpec
from training.backbones import BACKBONES
from training.data.frames import keypoint_indices
from training.data.labels import InvalidLabels, left_right_pairs
from training.data.projects import LabelledData, choose_frames, read_projects
from training.data.splits import extend_split, split_frames
from training.loop import LoopSettings
from training.pose.presets import PRESETS, Preset, input_size
from training.pose.settings import NetworkSettings, PoseChoices, PoseTraining
from training.pose.trained import read_settings
from training.runs import Run, Split, create_run, open_run

log = logging.getLogger("ethostream.training")

_SIZED_FRAMES = 20
"""Pictures that are looked at to learn the frames' size."""


def start_pose_run(data: Sequence[Path], out: Path, choices: PoseChoices) -> Run:
    """Read the labels, settle settings and split, make the folder of the run; nothing is trained.

    Args:
        data: labelled projects and files.
        out: folder of the run.
        choices: what the caller wants; the rest is the preset's, the data's or the parent's.

    Raises:
        InvalidLabels: the data cannot be read, lacks frames of the split of another run, or has no
            point in the frames that train or in those that choose the epoch.
        InvalidConfig: the choices do not fit each other or the data, or the run exists.
        NotFound: there is no such parent run.
    """
    if not data:
        raise InvalidConfig("no data was named; give the folder of a labelled project")
    labels = read_projects(data)
    settings = settle(data, labels, choices)
    split = _draw_split(settings, labels)
    _check_points(settings, labels, split)
    run = create_run(out.parent, out.name, "pose", msgspec.to_builtins(settings))
    run.write_split(split)
    return run


def settle(paths: Sequence[Path], data: LabelledData, choices: PoseChoices) -> PoseTraining:
    """Return the settings that `choices` mean for `data`; see `start_pose_run`."""
    parent = None if choices.parent is None else read_settings(open_run(Path(choices.parent)))
    if parent is not None:
        _check_parent(choices, parent)
    preset = PRESETS[choices.preset]
    keypoints = choices.keypoints or data.keypoints
    keypoint_indices(data.keypoints, keypoints)
    skeleton = data.skeleton if choices.skeleton is None else choices.skeleton
    _check_names("skeleton", [name for pair in skeleton for name in pair], data.keypoints)
    width_px, height_px = choices.size_px or (
        (parent.input.width_px, parent.input.height_px)
        if parent
        else input_size(preset.area_px, _frame_sizes(data))
    )
    left_right, augment = choices.left_right, choices.augment
    if left_right is None:
        left_right = left_right_pairs(keypoints)
        if not left_right:
            log.info(
                "views are not mirrored: no names tell left keypoints from right ones; give pairs "
                "by --left-right L:R, or --left-right alone where there are none"
            )
            augment = msgspec.structs.replace(augment, mirror_probability=0.0)
    return PoseTraining(
        data=tuple(str(path.resolve()) for path in paths),
        data_sha256=data.sha256,
        keypoints=keypoints,
        animals=len(data.animals),
        unique_keypoints=tuple(name for name in data.unique_keypoints if name in keypoints),
        left_right=left_right,
        skeleton=tuple(pair for pair in skeleton if set(pair) <= set(keypoints)),
        input=InputSpec(width_px=width_px, height_px=height_px, color="rgb", fit="letterbox"),
        network=parent.network if parent else _network(choices, preset),
        target=parent.target
        if parent
        else TargetSpec(kind=choices.target, radius_px=choices.radius_px),
        missing=choices.missing,
        parent=_resolved(choices.parent),
        split=choices.split,
        split_from=_resolved(choices.split_from),
        simulated_share=choices.simulated_share,
        simulated_frames=choices.simulated_frames if choices.simulated_share else 0,
        view_px=choices.view_px or (parent.view_px if parent else preset.view_px),
        views_per_epoch=choices.views_per_epoch,
        learning_rate=choices.learning_rate
        or (parent.learning_rate / 2 if parent else preset.learning_rate),
        weight_decay=choices.weight_decay,
        offset_weight=choices.offset_weight,
        augment=augment,
        loop=LoopSettings(
            max_epochs=choices.epochs,
            patience_epochs=choices.patience,
            batch_size=choices.batch_size,
            seed=choices.seed,
            precision=choices.precision,
            threads=choices.threads,
            workers=choices.workers,
            devices=choices.devices,
        ),
    )


def _draw_split(settings: PoseTraining, labels: LabelledData) -> Split:
    """Return the split of a new run: drawn, that of another run, or the parent's with more."""
    names = list(labels.frames)
    if settings.split_from is not None:
        return open_run(Path(settings.split_from)).split()
    if settings.parent is not None:
        return extend_split(open_run(Path(settings.parent)).split(), names)
    return split_frames(names, settings.split)


def _check_points(settings: PoseTraining, labels: LabelledData, split: Split) -> None:
    """Refuse parts without a point to learn or to choose by; name keypoints that nobody placed."""
    parts = {"train": split.training, "choose the epoch": split.validation}
    for use, names in parts.items():
        placed = _count_points(settings, labels, names)
        if names and not placed.any():
            raise InvalidLabels(
                f"none of the {len(names)} frames that {use} has a point of "
                f"{', '.join(settings.keypoints)}; label more frames, or draw others with "
                "--split-seed or the shares"
            )
        if use == "train" and not placed.all():
            never = (settings.keypoints[index] for index in np.flatnonzero(placed == 0))
            log.warning(
                "no frame that trains has %s: the network will not find it; label it, or leave it "
                "out with --keypoints",
                ", ".join(never),
            )


def _count_points(
    settings: PoseTraining, labels: LabelledData, names: Sequence[str]
) -> NDArray[np.intp]:
    """(K,) how often each keypoint of a run was placed in some frames."""
    placed = np.zeros(len(settings.keypoints), np.intp)
    keypoints = keypoint_indices(labels.keypoints, settings.keypoints)
    for frame in choose_frames(labels.frames, names):
        placed += np.isfinite(frame.keypoints_xy[:, keypoints]).all(axis=2).sum(axis=0)
    return placed


def _network(choices: PoseChoices, preset: Preset) -> NetworkSettings:
    backbone = choices.backbone or preset.backbone
    if backbone not in BACKBONES:
        raise InvalidConfig(f"unknown backbone {backbone!r}; choose one of {', '.join(BACKBONES)}")
    is_resnet = backbone.startswith("resnet")
    head = choices.head or ("deconvolution" if is_resnet else "pyramid")
    weights, digest = choices.backbone_weights, None
    if weights not in ("imagenet", "random"):
        path = Path(weights)
        if not path.is_file():
            raise InvalidConfig(
                f"{path} does not exist; name a file of ImageNet weights of {backbone}, or give "
                "`imagenet` or `random`"
            )
        weights, digest = str(path.resolve()), file_sha256(path)
    return NetworkSettings(
        backbone=backbone,
        output_stride=choices.output_stride or (16 if head == "deconvolution" else 32),
        backbone_weights=weights,
        backbone_weights_sha256=digest,
        head=head,
        width=choices.width,
        skip=choices.skip,
        intermediate=choices.intermediate,
    )


def _check_parent(choices: PoseChoices, parent: PoseTraining) -> None:
    """Refuse what a run cannot change of the one that it goes on from."""
    start = PoseChoices()
    kept = {
        "backbone": parent.network.backbone,
        "output_stride": parent.network.output_stride,
        "head": parent.network.head,
        "target": parent.target.kind,
        "radius_px": parent.target.radius_px,
    }
    for name, value in kept.items():
        wanted = getattr(choices, name)
        if wanted not in (getattr(start, name), value):
            raise InvalidConfig(
                f"{name} is to be {wanted}, but the parent {choices.parent} has {value}; leave it "
                "out, or train anew without a parent"
            )


def _frame_sizes(data: LabelledData) -> list[tuple[int, int]]:
    frames = list(data.frames.values())
    chosen = frames[:: max(1, len(frames) // _SIZED_FRAMES)]
    shapes = [frame.picture.read().shape for frame in chosen]
    return [(shape[1], shape[0]) for shape in shapes]


def _check_names(option: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidConfig(
            f"the {option} names {unknown[0]}; the keypoints are {', '.join(known)}"
        )


def _resolved(path: str | None) -> str | None:
    return None if path is None else str(Path(path).resolve())
