"""A trained run on the poses of a recording: probabilities of each behavior in each frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from service.behavior import probabilities
from service.errors import InvalidConfig, NotFound
from service.tracks.track import Track
from training.behavior.keypoints.data import PoseRecording, track_features
from training.behavior.keypoints.network import KeypointNetwork
from training.behavior.keypoints.settings import KeypointTraining
from training.behavior.settings import Decisions
from training.loop import load_best
from training.runs import Run

_BATCH_WINDOWS = 1024


@dataclass(frozen=True, slots=True)
class KeypointClassifier:
    """The best network of a run, with the settings that it was trained with."""

    settings: KeypointTraining
    network: KeypointNetwork
    """In evaluation mode, on the processor."""

    def predict(
        self,
        track: Track,
        *,
        name: str = "",
        frames: int | None = None,
        clips: Sequence[tuple[int, int]] = (),
    ) -> NDArray[np.float32]:
        """Return the probabilities (T, C) in [0, 1] of the behaviors of the settings.

        Beyond the ends of a clip its first or last frame is repeated, so that every frame is
        answered; a recording may be shorter than a window.

        Args:
            track: poses of one animal.
            name: of the recording; chooses the arena, where the training knew any.
            frames: T, of the recording; None: up to the last frame of the track.
            clips: (first, first after) frame of each uninterrupted stretch; empty: one of all
                frames. Frames outside are not answered: NaN.

        Raises:
            InvalidRequest: the track is of several animals, lacks a keypoint, or has no pose.
            InvalidConfig: it has another frame rate, or no arena goes with `name`.
        """
        if frames is None:
            frames = int(track.frame_index[-1]) + 1 if len(track) else 0
        features = track_features(track, self.settings, name=name, frames=frames, clips=clips)
        return self.probabilities(features, clips or ((0, frames),))

    @torch.no_grad()
    def probabilities(
        self, features: NDArray[np.float32], clips: Sequence[tuple[int, int]]
    ) -> NDArray[np.float32]:
        """Return the probabilities (T, C) of features (T, D); NaN in frames outside the clips."""
        count = len(self.settings.behaviors)
        recording = PoseRecording(
            "", features, np.zeros((len(features), count), np.int8), tuple(clips)
        )
        frames, around = recording.windows(self.settings.past_frames, self.settings.future_frames)
        logits = np.full((len(features), count), np.nan, np.float32)
        for first in range(0, len(frames), _BATCH_WINDOWS):
            chosen = slice(first, first + _BATCH_WINDOWS)
            windows = torch.from_numpy(features[around[chosen]])
            logits[frames[chosen]] = self.network(windows).numpy()
        return probabilities(logits, exclusive=self.settings.exclusive)


def read_classifier(run: Run) -> KeypointClassifier:
    """Return the best network of a run.

    Raises:
        NotFound: the training has not finished an epoch yet.
        InvalidConfig: it is no run on keypoints.
    """
    settings = read_keypoint_settings(run)
    network = new_network(settings)
    load_best(run, network)
    return KeypointClassifier(settings, network.eval())


def read_keypoint_settings(run: Run) -> KeypointTraining:
    """Return the settings of a run on keypoints.

    Raises:
        InvalidConfig: it is another run, or was made by another version.
    """
    if not is_keypoint_run(run):
        raise InvalidConfig(
            f"run {run.directory} was not trained on keypoints; name one of "
            "`ethostream train keypoint-behavior`"
        )
    return run.settings("behavior", KeypointTraining)


def is_keypoint_run(run: Run) -> bool:
    """Whether a behavior run was trained on keypoints and not on pixels."""
    return run.task == "behavior" and run.config.get("input") == "keypoints"


def read_decisions(path: Path) -> Decisions:
    """Return the thresholds and shortest bouts of a finished run's folder.

    Raises:
        NotFound: the training has not finished.
    """
    file = path / "decisions.json"
    if not file.is_file():
        raise NotFound(f"{file} does not exist; finish the training with --resume")
    return msgspec.json.decode(file.read_bytes(), type=Decisions)


def new_network(settings: KeypointTraining) -> KeypointNetwork:
    """Build the network of `settings` with random weights."""
    return KeypointNetwork(
        settings.feature_count,
        settings.window_frames,
        len(settings.behaviors),
        hidden=settings.hidden,
        dropout=settings.dropout,
    )
