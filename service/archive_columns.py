"""Rows of a video to the columns of a result chunk."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.bout_tracker import BoutTracker
from service.repository import LoadedBundle, Selection
from service.values import (
    BehaviorAnswer,
    BehaviorColumns,
    FrameFault,
    FrameStatus,
    PoseColumns,
    Poses,
    ResultChunk,
)


@dataclass(frozen=True, slots=True)
class DoneRow:
    """One frame of a video with all its answers."""

    frame_index: int
    pts_ns: int
    status: FrameStatus
    reason: str
    """Why the status has no pixels."""
    poses: list[Poses | None]
    """One for each pose bundle."""
    behaviors: list[BehaviorAnswer]
    """One for each behavior bundle."""


def to_chunk(
    rows: Sequence[DoneRow],
    pose: Sequence[LoadedBundle],
    behavior: Sequence[Selection],
    trackers: Sequence[BoutTracker | None],
) -> ResultChunk:
    """Put the answers to consecutive frames into columns.

    Args:
        rows: in the order of the file.
        pose: the pose bundles.
        behavior: the behavior bundles.
        trackers: one for each behavior bundle; those that are there tell the bouts.
    """
    return ResultChunk(
        frame_index=np.array([row.frame_index for row in rows], np.int64),
        pts_ns=np.array([row.pts_ns for row in rows], np.int64),
        status=np.array([row.status for row in rows], np.uint8),
        poses=tuple(
            _pose_columns(loaded, [row.poses[number] for row in rows])
            for number, loaded in enumerate(pose)
        ),
        behaviors=tuple(
            _behavior_columns(one.loaded, [row.behaviors[number] for row in rows], tracker)
            for number, (one, tracker) in enumerate(zip(behavior, trackers, strict=True))
        ),
        faults=tuple(
            FrameFault(row.frame_index, row.status, row.reason)
            for row in rows
            if not row.status.has_pixels
        ),
    )


def _pose_columns(loaded: LoadedBundle, poses: list[Poses | None]) -> PoseColumns:
    spec = loaded.bundle.manifest.pose
    assert spec is not None
    shape = (len(poses), spec.max_animals, len(spec.keypoints))
    keypoints_xy = np.full((*shape, 2), np.nan, np.float32)
    confidence = np.full(shape, np.nan, np.float32)
    for row, found in enumerate(poses):
        if found is not None:
            keypoints_xy[row] = found.keypoints_xy
            confidence[row] = found.confidence
    return PoseColumns(loaded.key, keypoints_xy, confidence)


def _behavior_columns(
    loaded: LoadedBundle, answers: list[BehaviorAnswer], tracker: BoutTracker | None
) -> BehaviorColumns:
    spec = loaded.bundle.manifest.behavior
    assert spec is not None
    shape = (len(answers), len(spec.behaviors))
    probabilities = np.full(shape, np.nan, np.float32)
    present = np.zeros(shape, np.bool_)
    status = np.array([answer.status for answer in answers], np.uint8)
    for row, answer in enumerate(answers):
        if answer.probabilities is not None and answer.present is not None:
            probabilities[row] = answer.probabilities
            present[row] = answer.present
    bouts = [] if tracker is None else [one for answer in answers for one in tracker.add(answer)]
    return BehaviorColumns(loaded.key, status, probabilities, present, tuple(bouts))
