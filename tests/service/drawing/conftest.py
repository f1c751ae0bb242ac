"""A short simulated recording with made-up answers."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.results import (
    AnsweredBehavior,
    AnsweredBundle,
    AnsweredPose,
    Provenance,
    RequestOptions,
    VideoResults,
)
from service.results.provenance import describe_source
from service.simulation import Recording, SimulationSettings, simulate, write_recording
from service.values import BehaviorColumns, BehaviorStatus, FrameStatus, PoseColumns
from service.video.pyav import VideoFile

CONTEXT_FRAMES = 6


@pytest.fixture(scope="session")
def recording() -> Recording:
    return simulate(SimulationSettings(width_px=160, height_px=120, duration_s=1.0, seed=4))


@pytest.fixture(scope="session")
def video(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(recording, tmp_path_factory.mktemp("recording")).video


@pytest.fixture(scope="session")
def truth(recording: Recording) -> NDArray[np.bool_]:
    """(30, 4): the first behavior for 12 frames, the second for 6, the others never."""
    shown = np.zeros((recording.frame_count, len(recording.behavior_names)), np.bool_)
    shown[8:20, 0] = True
    shown[22:28, 1] = True
    return shown


@pytest.fixture(scope="session")
def results(recording: Recording, video: Path, truth: NDArray[np.bool_]) -> VideoResults:
    pose = AnsweredBundle(
        name="mouse",
        version=1,
        manifest_sha256="",
        engine="fake:cpu",
        precision="fp32",
        pose=AnsweredPose(keypoints=recording.keypoint_names, skeleton=(("snout", "tailbase"),)),
    )
    names = recording.behavior_names
    activity = AnsweredBundle(
        name="activity",
        version=1,
        manifest_sha256="",
        engine="fake:cpu",
        precision="fp32",
        behavior=AnsweredBehavior(
            behaviors=names,
            exclusive=False,
            thresholds=(0.5,) * len(names),
            min_bout_frames=(1,) * len(names),
        ),
    )
    frames = recording.frame_count
    probabilities = truth.astype(np.float32) * 0.8 + 0.1
    status = np.full(frames, BehaviorStatus.OK, np.uint8)
    status[:CONTEXT_FRAMES] = BehaviorStatus.NO_CONTEXT
    probabilities[:CONTEXT_FRAMES] = np.nan
    present = np.nan_to_num(probabilities) >= 0.5
    index = np.arange(frames)
    return VideoResults(
        Provenance(
            ethostream="0.1.0",
            source=describe_source(video),
            info=VideoFile(video).info,
            bundles=(pose, activity),
            options=RequestOptions(),
        ),
        index,
        index * 1_000_000_000 // 30,
        np.full(frames, FrameStatus.OK, np.uint8),
        (
            PoseColumns(
                pose.key,
                recording.keypoints_xy,
                recording.visible.astype(np.float32) * 0.9,
            ),
        ),
        (BehaviorColumns(activity.key, status, probabilities, present),),
    )
