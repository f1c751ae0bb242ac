"""A made-up recording of 20 frames: its truth, and results that are off by a known amount."""

from collections.abc import Callable

import numpy as np
import pytest

from service.demo.live_run import LiveRun
from service.demo.truth import Truth
from service.results import (
    AnsweredBehavior,
    AnsweredBundle,
    AnsweredPose,
    Provenance,
    RequestOptions,
    VideoResults,
    VideoSource,
)
from service.values import (
    BehaviorColumns,
    BehaviorStatus,
    FrameStatus,
    PoseColumns,
    ResultChunk,
    VideoInfo,
)

FRAMES = 20


@pytest.fixture
def truth() -> Truth:
    random = np.random.default_rng(3)
    visible = np.ones((FRAMES, 1, 3), np.bool_)
    visible[4, 0, 0] = False
    behaviors = np.zeros((FRAMES, 2), np.bool_)
    behaviors[5:12, 0] = True
    behaviors[10:18, 1] = True
    return Truth(
        keypoint_names=("tailbase", "snout", "leftear"),
        keypoints_xy=random.uniform(0, 100, (FRAMES, 1, 3, 2)).astype(np.float32),
        visible=visible,
        behavior_names=("walk", "rear"),
        behaviors=behaviors,
    )


def build(truth: Truth, *, offset_px: float = 0.0, offset: float = 0.0) -> VideoResults:
    """Results that are the truth, moved to the right, with probabilities 0.9 and 0.1."""
    pose = AnsweredBundle(
        name="mouse",
        version=1,
        manifest_sha256="",
        engine="fake:cpu",
        precision="fp32",
        pose=AnsweredPose(keypoints=("snout", "tailbase")),
    )
    activity = AnsweredBundle(
        name="activity",
        version=1,
        manifest_sha256="",
        engine="fake:cpu",
        precision="fp32",
        behavior=AnsweredBehavior(
            behaviors=("rear", "walk"),
            exclusive=False,
            thresholds=(0.5, 0.5),
            min_bout_frames=(1, 1),
        ),
    )
    keypoints_xy = truth.keypoints_xy[:, :, [1, 0]].copy()
    keypoints_xy[..., 0] += offset_px
    probabilities = np.where(truth.behaviors[:, [1, 0]], 0.9, 0.1).astype(np.float32) + offset
    probabilities[:3] = np.nan
    status = np.full(FRAMES, BehaviorStatus.OK, np.uint8)
    status[:3] = BehaviorStatus.NO_CONTEXT
    index = np.arange(FRAMES)
    return VideoResults(
        Provenance(
            ethostream="0.1.0",
            source=VideoSource(name="a.mp4", size_bytes=1, modified_ns=1, sha256=""),
            info=VideoInfo(100, 100, 10.0, FRAMES, "h264", "pyav"),
            bundles=(pose, activity),
            options=RequestOptions(),
        ),
        index,
        index * 100_000_000,
        np.full(FRAMES, FrameStatus.OK, np.uint8),
        (PoseColumns(pose.key, keypoints_xy, np.full((FRAMES, 1, 2), 0.9, np.float32)),),
        (
            BehaviorColumns(
                activity.key, status, probabilities, np.nan_to_num(probabilities) >= 0.5
            ),
        ),
    )


@pytest.fixture
def make_results() -> Callable[..., VideoResults]:
    return build


@pytest.fixture
def live_run() -> LiveRun:
    empty = np.zeros(0, np.int64)
    return LiveRun(
        rows=ResultChunk(empty, empty, np.zeros(0, np.uint8)),
        answers=FRAMES,
        behavior_answers=FRAMES,
        latency_ms=np.arange(1.0, 101.0),
        behavior_latency_ms=np.arange(11.0, 111.0),
        seconds=2.0,
        look_ahead_frames=0,
        problems=(),
    )
