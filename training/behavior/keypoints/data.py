"""Labelled recordings with the poses of their animal: what trains, and windows of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from service.errors import InvalidConfig
from service.tracks.read import read_tracks
from service.tracks.track import Track
from training.behavior.keypoints.features import Polygon, pose_features
from training.behavior.keypoints.settings import KeypointTraining
from training.data.behavior_labels import NOT_LABELLED, BehaviorProject, BehaviorRecording
from training.data.labels import InvalidLabels

_SUFFIXES = (".parquet", ".slp", ".h5", ".hdf5", ".csv", ".npz")
"""Of files that may hold tracks; of several files of a recording the first suffix is taken."""
_RATE_TOLERANCE = 0.01
_SMALLEST_STD = 1e-3
"""A feature that does not vary in training must not explode in use."""


class WindowBatch(TypedDict):
    """Windows and the labels of their answered frames."""

    windows: Tensor
    """(B, T, D) float32."""
    labels: Tensor
    """(B, C) int8: 1, 0 or -1."""


@dataclass(frozen=True, slots=True)
class PoseRecording:
    """The features and labels of one recording."""

    name: str
    features: NDArray[np.float32]
    """(T, D); NaN where they are not known."""
    labels: NDArray[np.int8]
    """(T, C): 1 present, 0 absent, -1 not labelled."""
    clips: tuple[tuple[int, int], ...]
    """(first, first after) frame of each uninterrupted stretch."""

    def windows(
        self, past_frames: int, future_frames: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the frames (N,) of all clips and those of their windows (N, past + 1 + future).

        Beyond the ends of a clip its first or last frame is repeated.
        """
        offsets = np.arange(-past_frames, future_frames + 1)
        frames = [np.arange(first, end) for first, end in self.clips]
        around = [
            np.clip(one[:, None] + offsets, first, end - 1)
            for one, (first, end) in zip(frames, self.clips, strict=True)
        ]
        return np.concatenate(frames), np.concatenate(around)


def find_tracks(folders: Sequence[Path], recordings: Sequence[str]) -> dict[str, Path]:
    """Find the file of poses of each recording.

    It is the one whose name begins with that of the recording (as DeepLabCut and `analyze` name
    their files), and with that of no longer-named recording. Label files are left out.

    Raises:
        InvalidLabels: a recording has none, or several of one kind.
    """
    found: dict[str, list[Path]] = {name: [] for name in recordings}
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.suffix not in _SUFFIXES or file.name.endswith("_labels.csv"):
                continue
            begun = [name for name in recordings if file.name.startswith(name)]
            if begun:
                found[max(begun, key=len)].append(file)
    chosen = {}
    for name, files in found.items():
        kinds = [file.suffix for file in files]
        best = next((suffix for suffix in _SUFFIXES if suffix in kinds), None)
        files = [file for file in files if file.suffix == best]
        if len(files) != 1:
            listed = ", ".join(str(one) for one in files) or "none"
            raise InvalidLabels(
                f"recording {name} needs one file of poses that begins with its name, but there "
                f"is {listed} in {', '.join(map(str, folders))}; put one there, or name another "
                "folder"
            )
        chosen[name] = files[0]
    return chosen


def data_sha256(project: BehaviorProject, tracks: dict[str, Path]) -> str:
    """Hash of the names, behaviors, labels, clip limits and bytes of the pose files."""
    digest = hashlib.sha256("\n".join(project.behaviors).encode())
    for recording in project.recordings:
        digest.update(f"{recording.name}{recording.clips}".encode())
        digest.update(recording.labels.tobytes())
        digest.update(tracks[recording.name].read_bytes())
    return digest.hexdigest()


def read_recording(
    recording: BehaviorRecording, tracks: Path, settings: KeypointTraining
) -> PoseRecording:
    """Compute the features of a recording.

    Raises:
        InvalidRequest: the poses cannot be read or lack what the settings name.
        InvalidConfig: the poses have another frame rate, or no arena goes with the recording.
    """
    return PoseRecording(
        recording.name,
        track_features(
            read_tracks(tracks),
            settings,
            name=recording.name,
            frames=len(recording.labels),
            clips=recording.clips,
        ),
        recording.labels,
        recording.clips,
    )


def track_features(
    track: Track,
    settings: KeypointTraining,
    *,
    name: str,
    frames: int,
    clips: Sequence[tuple[int, int]] = (),
) -> NDArray[np.float32]:
    """Compute the features (T, D) of a track; see `pose_features` and `read_recording`.

    Args:
        track: poses of one animal.
        settings: of the training.
        name: of the recording, which chooses the arena.
        frames: T.
        clips: (first, first after) of uninterrupted stretches; empty: one of all frames.
    """
    rate_hz = track.frame_rate_hz or settings.frame_rate_hz
    if abs(rate_hz / settings.frame_rate_hz - 1) > _RATE_TOLERANCE:
        raise InvalidConfig(
            f"{track.source} has {rate_hz:g} frames/s, but {settings.frame_rate_hz:g} are trained "
            "on; resample it, or train at its rate"
        )
    return pose_features(
        track,
        settings.features,
        frames=frames,
        frame_rate_hz=rate_hz,
        clips=clips,
        corners=_arena(name, settings.arenas),
    )


def statistics(
    recordings: Sequence[PoseRecording],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation (D,) of the features of labelled frames, NaN left out."""
    values = np.concatenate([one.features[_known(one.labels)] for one in recordings])
    values = values.astype(np.float64)
    known = np.isfinite(values)
    counts = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / counts
    variance = np.where(known, values - mean, 0) ** 2
    std = np.sqrt(variance.sum(axis=0) / counts)
    return mean.astype(np.float32), np.maximum(std, _SMALLEST_STD).astype(np.float32)


class TrainingBatches(Dataset[WindowBatch]):
    """Batches of random windows around labelled frames; a key is (epoch, index).

    Args:
        recordings: what trains.
        settings: window, batch size and seed.
    """

    def __init__(self, recordings: Sequence[PoseRecording], settings: KeypointTraining) -> None:
        self._batch_size = settings.batch_size
        self._seed = settings.seed
        self._all = _gather(recordings, settings)

    def __getitem__(self, key: tuple[int, int]) -> WindowBatch:
        """Return batch `index` of the epoch; a resumed training sees what comes next."""
        random = np.random.default_rng((self._seed, *key))
        return self._all.batch(random.integers(len(self._all.answered), size=self._batch_size))


class HeldOutBatches(Dataset[WindowBatch]):
    """All windows around labelled frames, in order."""

    def __init__(self, recordings: Sequence[PoseRecording], settings: KeypointTraining) -> None:
        self._batch_size = 8 * settings.batch_size
        self._all = _gather(recordings, settings)

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self._all.answered) // self._batch_size)

    def __getitem__(self, index: int) -> WindowBatch:
        """Return one batch; the last one is shorter."""
        first = index * self._batch_size
        end = min(first + self._batch_size, len(self._all.answered))
        return self._all.batch(np.arange(first, end))


@dataclass(frozen=True, slots=True)
class _Windows:
    """Features of all recordings one after another, and which rows each window takes."""

    features: NDArray[np.float32]
    labels: NDArray[np.int8]
    answered: NDArray[np.int64]
    rows: NDArray[np.int64]

    def batch(self, chosen: NDArray[np.int64]) -> WindowBatch:
        return {
            "windows": torch.from_numpy(self.features[self.rows[chosen]]),
            "labels": torch.from_numpy(self.labels[self.answered[chosen]]),
        }


def _gather(recordings: Sequence[PoseRecording], settings: KeypointTraining) -> _Windows:
    answered, rows, start = [], [], 0
    for one in recordings:
        frames, around = one.windows(settings.past_frames, settings.future_frames)
        labelled = _known(one.labels)[frames]
        answered.append(frames[labelled] + start)
        rows.append(around[labelled] + start)
        start += len(one.features)
    return _Windows(
        np.concatenate([one.features for one in recordings]),
        np.concatenate([one.labels for one in recordings]),
        np.concatenate(answered),
        np.concatenate(rows),
    )


def _known(labels: NDArray[np.int8]) -> NDArray[np.bool_]:
    return np.asarray((labels != NOT_LABELLED).any(axis=1))


def _arena(name: str, arenas: dict[str, Polygon]) -> Polygon:
    if not arenas:
        return ()
    for pattern, corners in arenas.items():
        if fnmatchcase(name, pattern):
            return corners
    raise InvalidConfig(
        f"no arena goes with recording {name}: there are those of {', '.join(arenas)}; give its "
        "corners, or those of '*' for all others"
    )
