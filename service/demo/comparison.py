"""Whether a live stream and an archive analysis of the same video gave the same answers."""

from dataclasses import dataclass

import numpy as np

from service.results import VideoResults
from service.values import FrameStatus

KEYPOINT_LIMIT_PX = 0.5
"""Largest difference of a confident keypoint: the limit of the parity gate for bf16, whose
results depend a little on how many frames share a batch."""
PROBABILITY_LIMIT = 0.02


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences between two results of one video."""

    frames: int
    """Frames that both answered."""
    keypoint_px: float
    """Largest distance of a keypoint that is confident in both; 0 without a pose bundle."""
    keypoint_p99_px: float
    """99 of 100 such points are at most this far apart."""
    probability: float
    """Largest difference of a probability; 0 without a behavior bundle."""
    decisions: int
    """Frames and behaviors that are present in one and absent in the other."""
    problems: tuple[str, ...]
    """What is not as it should be; empty where both are the same within the limits."""


def compare(live: VideoResults, archive: VideoResults) -> Comparison:
    """Compare row by row; frames of the archive that have no pixels were not sent live."""
    sent = np.isin(archive.status, [FrameStatus.OK, FrameStatus.REPEATED])
    _, live_rows, archive_rows = np.intersect1d(
        live.frame_index, archive.frame_index, return_indices=True
    )
    problems = []
    if len(live_rows) != sent.sum() or len(live_rows) != len(live):
        problems.append(
            f"live has {len(live)} frames and the archive {sent.sum()} with pixels; "
            f"{len(live_rows)} are in both"
        )
    distances = [np.zeros(0)]
    for (bundle, ours), theirs in zip(live.pose_answers(), archive.poses, strict=True):
        assert bundle.pose is not None
        cutoff = bundle.pose.confidence_cutoff
        confident = (ours.confidence[live_rows] >= cutoff) & (
            theirs.confidence[archive_rows] >= cutoff
        )
        apart = np.linalg.norm(
            ours.keypoints_xy[live_rows] - theirs.keypoints_xy[archive_rows], axis=-1
        )
        distances.append(apart[confident])
        lost = np.isnan(ours.confidence[live_rows]) != np.isnan(theirs.confidence[archive_rows])
        if lost.any():
            problems.append(f"{lost.any(axis=(1, 2)).sum()} frames have keypoints only in one")
    probability, decisions = 0.0, 0
    for mine, yours in zip(live.behaviors, archive.behaviors, strict=True):
        ours_p, theirs_p = mine.probabilities[live_rows], yours.probabilities[archive_rows]
        lost = np.isnan(ours_p) != np.isnan(theirs_p)
        if lost.any():
            problems.append(
                f"{lost.any(axis=1).sum()} frames have probabilities of {mine.bundle} only in one"
            )
        both = ~np.isnan(ours_p) & ~np.isnan(theirs_p)
        if both.any():
            probability = max(probability, float(np.abs(ours_p - theirs_p)[both].max()))
        decisions += int((mine.present[live_rows] != yours.present[archive_rows]).sum())
    points = np.concatenate(distances)
    keypoint_px = float(points.max()) if len(points) else 0.0
    if keypoint_px > KEYPOINT_LIMIT_PX:
        problems.append(
            f"a keypoint differs by {keypoint_px:.3f} px between live and archive; at most "
            f"{KEYPOINT_LIMIT_PX} is expected"
        )
    if probability > PROBABILITY_LIMIT:
        problems.append(
            f"a probability differs by {probability:.4f} between live and archive; at most "
            f"{PROBABILITY_LIMIT} is expected"
        )
    return Comparison(
        frames=len(live_rows),
        keypoint_px=keypoint_px,
        keypoint_p99_px=float(np.quantile(points, 0.99)) if len(points) else 0.0,
        probability=probability,
        decisions=decisions,
        problems=tuple(problems),
    )
