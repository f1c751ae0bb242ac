"""Finds and reads what a DeepEthogram project holds of a trained model.

A project has `models/<date>_<stage>_...` with config.yaml, checkpoints and a metrics file; the
paths in its files are often those of another machine and are not used.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch import Tensor

from service.behavior import BACKGROUND
from service.errors import InvalidConfig
from training.behavior.deepethogram_weights import network_tensors
from training.checkpoints import read_checkpoint
from training.data.behavior_frames import bout_lengths, video_rate_hz
from training.data.behavior_labels import read_behavior_project
from training.data.deepethogram import (
    CONFIG_NAME,
    ChannelStatistics,
    read_deepethogram,
    read_statistics,
    read_yaml,
)
from training.data.labels import InvalidLabels

_EPOCH = re.compile(r"epoch=(\d+)")
_OPTIMUM = "val/metrics_by_threshold/optimum"
_BOUT_PERCENTILE = 1.0
_NONE = "none"
"""What older projects call the background."""


@dataclass(frozen=True, slots=True)
class StageCheckpoint:
    """The weights of one stage."""

    path: Path
    tensors: Mapping[str, Tensor]
    epoch: int | None
    """Of the checkpoint, from its name or its content; None where neither tells."""

    @property
    def run(self) -> Path:
        """Folder of the training."""
        inside = self.path.parent.name == "lightning_checkpoints"
        return self.path.parent.parent if inside else self.path.parent


@dataclass(frozen=True, slots=True)
class ProjectFiles:
    """A project and the two stages that are imported; the flow generator is in the features."""

    folder: Path
    features: StageCheckpoint
    sequence: StageCheckpoint | None

    def configuration(self, section: str, key: str, otherwise: Any) -> Any:
        """Return a setting of the features' training, else of the project, else `otherwise`."""
        for path in self._configurations():
            values = read_yaml(path).get(section)
            if isinstance(values, dict) and values.get(key) is not None:
                return values[key]
        return otherwise

    def class_names(self) -> tuple[str, ...]:
        """Return the behaviors in the order of the networks, the background by our name.

        Raises:
            InvalidConfig: they are named nowhere, or one of them twice.
        """
        names = self.configuration("project", "class_names", None)
        if not isinstance(names, list) or not names or len(set(map(str, names))) != len(names):
            raise InvalidConfig(
                f"{self.folder} has no list project.class_names of different behaviors in its "
                f"{CONFIG_NAME} or the run's config.yaml; restore it"
            )
        return tuple(BACKGROUND if str(one) == _NONE else str(one) for one in names)

    def statistics(self) -> ChannelStatistics:
        """Return mean and deviation of the colors that the networks were trained with.

        Raises:
            InvalidConfig: they are nowhere.
        """
        for path in self._configurations():
            try:
                return read_statistics(path)
            except InvalidLabels:
                continue
        raise InvalidConfig(
            f"{self.folder} has no augs.normalization in its {CONFIG_NAME} or the run's "
            "config.yaml, so what the networks subtract is not known; restore it"
        )

    def _configurations(self) -> list[Path]:
        places = (self.features.run / "config.yaml", self.folder / CONFIG_NAME)
        return [path for path in places if path.is_file()]


def find_files(
    source: Path, *, features: Path | None, sequence: Path | None, with_sequence: bool
) -> ProjectFiles:
    """Find the newest trained stages of a project, or take those that are named.

    Args:
        source: the project's folder, or the checkpoint of a feature extractor inside of one.
        features: a checkpoint or run folder instead of the newest one.
        sequence: the same for the sequence model.
        with_sequence: whether a sequence model is wanted at all.

    Raises:
        InvalidConfig: there is no project, or a stage has no checkpoint that can be read.
    """
    folder = source if source.is_dir() else _project_of(source)
    if not (folder / CONFIG_NAME).is_file():
        raise InvalidConfig(
            f"{folder} has no {CONFIG_NAME}; name the folder of a DeepEthogram project"
        )
    chosen = features or (source if source.is_file() else _newest(folder, "feature_extractor"))
    after = None
    if with_sequence:
        after = _read(_checkpoint(sequence or _newest(folder, "sequence")))
    return ProjectFiles(folder, _read(_checkpoint(chosen)), after)


def read_thresholds(
    files: ProjectFiles, names: Sequence[str]
) -> tuple[tuple[float, ...] | None, str]:
    """Return the thresholds of the last stage, one a class, and where they were found.

    They are in the metrics file of the training, by epoch, or in the outputs that the model wrote
    for a video; None where they are in neither.
    """
    stage = files.sequence or files.features
    for path in sorted(stage.run.glob("*_metrics.h5")):
        found = _optimum(path, len(names), stage.epoch)
        if found is not None:
            return found, f"{path.name}, epoch {_shown(stage.epoch)}"
    group = "tgmj" if files.sequence is not None else "resnet"
    for path in sorted(files.folder.glob("*/*/*_outputs.h5")):
        found = _written(path, len(names), group)
        if found is not None:
            return found, path.name
    return None, "nowhere"


def shortest_bouts(files: ProjectFiles, behaviors: Sequence[str], *, exclusive: bool) -> list[int]:
    """Return the 1st percentile of the labelled bouts, in frames, or 1 without labels."""
    try:
        project = read_behavior_project(
            [files.folder], exclusive=exclusive, behaviors=list(behaviors)
        )
    except InvalidLabels:
        return [1] * len(behaviors)
    lengths: list[list[int]] = [[] for _ in behaviors]
    for recording in project.recordings:
        for column, found in enumerate(bout_lengths(recording.labels, recording.clips)):
            lengths[column] += found
    return [max(1, int(np.percentile(one, _BOUT_PERCENTILE))) if one else 1 for one in lengths]


def frame_rate_hz(files: ProjectFiles) -> float:
    """Return the rate of the project's first video.

    Raises:
        InvalidConfig: the project has no video that states one.
    """
    try:
        videos = read_deepethogram(files.folder).videos
    except InvalidLabels:
        videos = ()
    for one in videos:
        try:
            return video_rate_hz(one.video)
        except InvalidLabels:
            continue
    raise InvalidConfig(
        f"no video of {files.folder} states a frame rate; give the one that was trained on with "
        "--frame-rate"
    )


def _project_of(path: Path) -> Path:
    if not path.is_file():
        raise InvalidConfig(f"{path} does not exist; name the folder of a DeepEthogram project")
    for folder in path.resolve().parents:
        if (folder / CONFIG_NAME).is_file():
            return folder
    raise InvalidConfig(
        f"{path} does not lie in a DeepEthogram project (no {CONFIG_NAME} above it); name the "
        "project's folder, and the file with --features"
    )


def _newest(folder: Path, stage: str) -> Path:
    runs = sorted(path for path in (folder / "models").glob(f"*{stage}*") if path.is_dir())
    trained = [run for run in runs if _checkpoints(run)]
    if not trained:
        option = "--features" if stage == "feature_extractor" else "--sequence"
        extra = "" if stage == "feature_extractor" else ", or import without it by --no-sequence"
        raise InvalidConfig(
            f"{folder / 'models'} has no trained {stage}; name its checkpoint with {option}{extra}"
        )
    return trained[-1]


def _checkpoints(run: Path) -> list[Path]:
    best = sorted(
        (run / "lightning_checkpoints").glob("epoch=*.ckpt"),
        key=lambda path: int(found[1]) if (found := _EPOCH.search(path.name)) else -1,
    )
    others = (run / "checkpoint.pt", run / "lightning_checkpoints" / "last.ckpt")
    return [*best[-1:], *(path for path in others if path.is_file())]


def _checkpoint(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = _checkpoints(path)
    if not found:
        raise InvalidConfig(f"{path} holds no checkpoint; name a file or the folder of a training")
    return found[0]


def _read(path: Path) -> StageCheckpoint:
    checkpoint = read_checkpoint(path)
    named = _EPOCH.search(path.name)
    stored = checkpoint.get("epoch")
    epoch = int(named[1]) if named else stored if isinstance(stored, int) else None
    return StageCheckpoint(path, network_tensors(checkpoint, path), epoch)


def _optimum(path: Path, count: int, epoch: int | None) -> tuple[float, ...] | None:
    with h5py.File(path) as file:
        found = file.get(_OPTIMUM)
        if not isinstance(found, h5py.Dataset) or found.ndim != 2 or found.shape[1] != count:
            return None
        rows = np.asarray(found, np.float64)
    row = rows[epoch] if epoch is not None and epoch < len(rows) else rows[-1:].reshape(-1)
    return _checked(row)


def _written(path: Path, count: int, group: str) -> tuple[float, ...] | None:
    with h5py.File(path) as file:
        for name in file:
            found = file[name].get("thresholds") if name.startswith(group) else None
            if isinstance(found, h5py.Dataset) and found.shape == (count,):
                return _checked(np.asarray(found, np.float64))
    return None


def _checked(row: "np.ndarray[Any, np.dtype[np.float64]]") -> tuple[float, ...] | None:
    good = row.size > 0 and bool(np.isfinite(row).all() and (row > 0).all() and (row < 1).all())
    return tuple(round(float(one), 4) for one in row) if good else None


def _shown(epoch: int | None) -> str:
    return "last" if epoch is None else str(epoch)
