"""Results of a short made-up video, with frames that failed and frames without context."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.results import (
    AnsweredBehavior,
    AnsweredBundle,
    AnsweredPose,
    Provenance,
    RequestOptions,
    VideoResults,
    VideoSource,
)
from service.values import BehaviorColumns, BehaviorStatus, FrameStatus, PoseColumns, VideoInfo

MISSING_ROW = 7
CONTEXT_ROWS = 5
KEYPOINTS = ("snout", "leftear", "rightear", "tailbase")


def pose_bundle(animals: int = 1, name: str = "mouse", version: int = 2) -> AnsweredBundle:
    return AnsweredBundle(
        name=name,
        version=version,
        manifest_sha256="a" * 64,
        engine="fake:cpu",
        precision="fp32",
        pose=AnsweredPose(
            keypoints=KEYPOINTS, skeleton=(("snout", "tailbase"),), max_animals=animals
        ),
    )


def behavior_bundle(*, exclusive: bool = False, name: str = "activity") -> AnsweredBundle:
    behaviors = ("background", "walk", "rear") if exclusive else ("walk", "rear")
    return AnsweredBundle(
        name=name,
        version=1,
        manifest_sha256="b" * 64,
        engine="fake:cpu",
        precision="fp32",
        behavior=AnsweredBehavior(
            behaviors=behaviors,
            exclusive=exclusive,
            thresholds=(0.5,) * len(behaviors),
            min_bout_frames=(3,) * len(behaviors),
        ),
    )


@pytest.fixture
def make_results() -> Callable[..., VideoResults]:
    return build


@pytest.fixture
def make_pose_bundle() -> Callable[..., AnsweredBundle]:
    return pose_bundle


@pytest.fixture
def make_behavior_bundle() -> Callable[..., AnsweredBundle]:
    return behavior_bundle


def build(
    *bundles: AnsweredBundle, frames: int = 30, name: str = "cage 4.mp4", seed: int = 0
) -> VideoResults:
    """Random answers of `bundles`; multi-label behaviors are all present from row 10 to 15."""
    random = np.random.default_rng(seed)
    poses, behaviors = [], []
    for bundle in bundles:
        if bundle.pose is not None:
            shape = (frames, bundle.pose.max_animals, len(bundle.pose.keypoints))
            keypoints_xy = random.uniform(0, 640, (*shape, 2)).astype(np.float32)
            confidence = random.uniform(0, 1, shape).astype(np.float32)
            keypoints_xy[MISSING_ROW] = np.nan
            confidence[MISSING_ROW] = np.nan
            poses.append(PoseColumns(bundle.key, keypoints_xy, confidence))
        else:
            assert bundle.behavior is not None
            behaviors.append(_behavior_columns(bundle, frames, random))
    status = np.full(frames, FrameStatus.OK, np.uint8)
    status[MISSING_ROW] = FrameStatus.MISSING
    provenance = Provenance(
        ethostream="0.1.0",
        source=VideoSource(name=name, size_bytes=10, modified_ns=20, sha256="c" * 64),
        info=VideoInfo(640, 480, 30.0, frames, "h264", "pyav 1"),
        bundles=bundles,
        options=RequestOptions(),
    )
    index = np.arange(frames)
    return VideoResults(
        provenance, index, index * 33_333_333, status, tuple(poses), tuple(behaviors)
    )


def _behavior_columns(
    bundle: AnsweredBundle, frames: int, random: np.random.Generator
) -> BehaviorColumns:
    assert bundle.behavior is not None
    count = len(bundle.behavior.behaviors)
    probabilities = random.uniform(0, 0.4, (frames, count)).astype(np.float32)
    probabilities[10:16] += 0.6
    if bundle.behavior.exclusive:
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        present = np.arange(count) == probabilities.argmax(axis=1)[:, None]
    else:
        probabilities[20, 0] = 0.9  # one frame: shorter than the shortest bout
        present = probabilities >= 0.5
    status = np.full(frames, BehaviorStatus.OK, np.uint8)
    for rows, why in (
        (slice(CONTEXT_ROWS), BehaviorStatus.NO_CONTEXT),
        (MISSING_ROW, BehaviorStatus.NO_FRAME),
    ):
        status[rows] = why
        probabilities[rows] = np.nan
        present[rows] = False
    return BehaviorColumns(bundle.key, status, probabilities, present)


@pytest.fixture
def results() -> VideoResults:
    return build(pose_bundle(), behavior_bundle())


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "cage 4.mp4"
    path.write_bytes(b"0123456789")
    return path
