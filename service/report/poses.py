"""How sure the keypoints of one video are, and how the animal moved."""

import numpy as np
from numpy.typing import NDArray

from service.drawing.poses import body_centers
from service.report.page import Table
from service.report.words import number_text, share_text
from service.results import AnsweredBundle, VideoResults
from service.results.rows import owned_points, row_times_s
from service.tracks.kinematics import speeds
from service.values import PoseColumns

Floats = NDArray[np.float64]

_FAST = 95  # percentile: jumps of a lost point are rarer, and would be all that a maximum tells


def confident_share(answered: AnsweredBundle, poses: PoseColumns) -> float:
    """Share of the keypoints of the best animal at or above the cut-off, over all frames."""
    assert answered.pose is not None
    if not len(poses.confidence):
        return float("nan")
    return float(_is_sure(poses.confidence[:, 0], answered.pose.confidence_cutoff).mean())


def keypoint_table(results: VideoResults, answered: AnsweredBundle, poses: PoseColumns) -> Table:
    """One row for each keypoint; of each animal, where the bundle answers for several."""
    assert answered.pose is not None
    cutoff = answered.pose.confidence_cutoff
    several = answered.pose.max_animals > 1
    positions, confidences = owned_points(answered, poses)
    rows = []
    for animal in range(answered.pose.max_animals):
        for place, name in enumerate(answered.pose.keypoints):
            if animal and name in answered.pose.unique_keypoints:
                continue
            confidence = confidences[:, animal, place]
            sure = _is_sure(confidence, cutoff)
            known = confidence[~np.isnan(confidence)]
            speed = _speeds(results, np.where(sure[:, None], positions[:, animal, place], np.nan))
            cells = (
                f"{animal + 1}: {name}" if several else name,
                share_text(float(sure.mean())),
                number_text(float(known.mean()) if len(known) else np.nan, 3),
                number_text(float(known.min()) if len(known) else np.nan, 3),
            )
            rows.append(cells if several else (*cells, *_speed_cells(speed)))
    head = ("keypoint", "at or above cut-off", "mean confidence", "lowest")
    motion = ("median speed (px/s)", f"{_FAST} % are below (px/s)")
    return Table(
        head=head if several else head + motion,
        rows=tuple(rows),
        caption=f"Confidence cut-off {cutoff:g}; speeds of points at or above it"
        if not several
        else f"Confidence cut-off {cutoff:g}; rows are the best places of each keypoint and not "
        "grouped into animals, so that there are no speeds",
    )


def motion_table(
    results: VideoResults, answered: AnsweredBundle, poses: PoseColumns
) -> Table | None:
    """Distance and speed of the body's center; None where the bundle answers for several."""
    assert answered.pose is not None
    if answered.pose.max_animals > 1:
        return None
    cutoff = answered.pose.confidence_cutoff
    path = body_centers(poses.keypoints_xy, poses.confidence, cutoff)[:, 0]
    speed = _speeds(results, path)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    together = np.diff(results.frame_index) == 1
    known = speed[~np.isnan(speed)]
    return Table(
        head=(
            "body",
            "known in",
            "distance (px)",
            "mean speed (px/s)",
            "median",
            f"{_FAST} % below",
        ),
        rows=(
            (
                "center",
                share_text(float(np.isfinite(path).all(axis=1).mean())),
                number_text(float(np.nansum(steps[together]))),
                number_text(float(known.mean()) if len(known) else np.nan),
                *_speed_cells(speed),
            ),
        ),
        caption="The center is the mean of the keypoints that are confident in half of the frames; "
        "jitter from frame to frame is part of the distance",
    )


def _is_sure(confidence: NDArray[np.float32], cutoff: float) -> NDArray[np.bool_]:
    return np.asarray(np.nan_to_num(confidence, nan=-1.0) >= cutoff)


def _speeds(results: VideoResults, path_xy: Floats) -> Floats:
    times_s = row_times_s(results)
    with np.errstate(divide="ignore", invalid="ignore"):  # frames of one time have no speed
        speed = speeds(times_s, path_xy.astype(np.float64), results.frame_index)
    return np.where(np.isfinite(speed), speed, np.nan)


def _speed_cells(speed: Floats) -> tuple[str, str]:
    known = speed[~np.isnan(speed)]
    if not len(known):
        return "-", "-"
    return number_text(float(np.median(known))), number_text(float(np.percentile(known, _FAST)))
