"""Lengths and directions of bones, angles of joints and speeds of keypoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.results.deeplabcut import write_table
from service.tracks.track import Track

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinematics:
    """Motion of T frames and N animals; NaN where an end has no position."""

    track: Track
    bones: tuple[tuple[str, str], ...]
    joints: tuple[tuple[str, str, str], ...]
    length_px: Floats
    """(T, N, B)."""
    orientation_deg: Floats
    """(T, N, B) direction from the first end to the second, in [0, 360), anticlockwise as seen
    in the picture: 0 points right, 90 up. (The y axis of pictures points down, and is turned.)"""
    bone_confidence: Floats
    """(T, N, B) the lower confidence of both ends."""
    angle_deg: Floats
    """(T, N, J) angle at the middle keypoint between those beside it, in [0, 180]."""
    joint_confidence: Floats
    """(T, N, J) the lowest confidence of the three."""
    speed_px_s: Floats
    """(T, N, K) distance between the frames before and after by their time; at the ends of the
    recording from the frame itself. NaN where a frame in between is missing."""


def measure_kinematics(
    track: Track,
    bones: Sequence[tuple[str, str]] = (),
    joints: Sequence[tuple[str, str, str]] = (),
) -> Kinematics:
    """Measure bones, joints and speeds.

    Args:
        track: of animals, with a frame rate.
        bones: pairs of keypoints; empty takes the track's skeleton.
        joints: triples, the joint in the middle; empty takes each two bones that share an end.

    Raises:
        InvalidRequest: a keypoint does not exist, the rows are no animals, there is no frame
            rate, or no bone is named and the track has no skeleton.
    """
    track.require_animals("kinematics")
    bones = tuple(bones) or track.skeleton
    if not bones and not joints:
        raise InvalidRequest(
            f"{track.source} has no skeleton; give its bones, such as --skeleton "
            f"{':'.join(track.keypoints[:2])}"
        )
    joints = tuple(joints) or joints_of(bones)
    places = track.places(bones)
    xy = track.keypoints_xy.astype(np.float64)
    confidence = track.confidence.astype(np.float64)
    firsts, seconds = [one for one, _ in places], [two for _, two in places]
    along = xy[:, :, seconds] - xy[:, :, firsts]
    threes = [tuple(track.place(name) for name in joint) for joint in joints]
    ends, middles, others = ([three[one] for three in threes] for one in range(3))
    one, two = xy[:, :, ends] - xy[:, :, middles], xy[:, :, others] - xy[:, :, middles]
    cross = one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0]
    return Kinematics(
        track=track,
        bones=bones,
        joints=joints,
        length_px=np.hypot(along[..., 0], along[..., 1]),
        orientation_deg=np.degrees(np.arctan2(-along[..., 1], along[..., 0])) % 360.0,
        bone_confidence=np.minimum(confidence[:, :, firsts], confidence[:, :, seconds]),
        angle_deg=np.degrees(np.arctan2(np.abs(cross), (one * two).sum(axis=-1))),
        joint_confidence=confidence[:, :, [ends, middles, others]].min(axis=-2),
        speed_px_s=speeds(track.times_s, xy, track.frame_index),
    )


def joints_of(bones: Sequence[tuple[str, str]]) -> tuple[tuple[str, str, str], ...]:
    """List the joints of a skeleton: each two bones that share one end."""
    found = []
    for place, first in enumerate(bones):
        for second in bones[place + 1 :]:
            shared = set(first) & set(second)
            if len(shared) == 1:
                middle = shared.pop()
                (start,) = set(first) - {middle}
                (end,) = set(second) - {middle}
                found.append((start, middle, end))
    return tuple(found)


def speeds(times_s: Floats, positions: Floats, frame_index: NDArray[np.int64]) -> Floats:
    """(T, ...) speed, px/s, of (T, ..., 2) positions; see `Kinematics.speed_px_s`."""
    if len(times_s) < 2:
        return np.full(positions.shape[:-1], np.nan)
    after = np.minimum(np.arange(len(times_s)) + 1, len(times_s) - 1)
    before = np.maximum(np.arange(len(times_s)) - 1, 0)
    span_s = times_s[after] - times_s[before]
    adjacent = frame_index[after] - frame_index[before] == after - before
    distance = np.linalg.norm(positions[after] - positions[before], axis=-1)
    spans = np.where(adjacent, span_s, np.nan).reshape(-1, *[1] * (distance.ndim - 1))
    speed = distance / spans
    speed[~np.isfinite(positions).all(axis=-1)] = np.nan
    return np.asarray(speed)


def kinematics_table(measured: Kinematics) -> pd.DataFrame:
    """One row a frame: frame_index, time_s, and columns such as `[animal1/]snout_tail/length_px`.

    Bones have length_px, orientation_deg and confidence, joints angle_deg and confidence,
    keypoints speed_px_s. The animal stands first only where there are several.
    """
    track = measured.track
    columns: dict[str, NDArray[np.generic]] = {
        "frame_index": track.frame_index,
        "time_s": track.times_s,
    }
    for animal, owner in enumerate(track.names):
        start = f"{owner}/" if track.animals > 1 else ""
        for place, bone in enumerate(measured.bones):
            name = start + "_".join(bone)
            columns[f"{name}/length_px"] = measured.length_px[:, animal, place]
            columns[f"{name}/orientation_deg"] = measured.orientation_deg[:, animal, place]
            columns[f"{name}/confidence"] = measured.bone_confidence[:, animal, place]
        for place, joint in enumerate(measured.joints):
            name = start + "_".join(joint)
            columns[f"{name}/angle_deg"] = measured.angle_deg[:, animal, place]
            columns[f"{name}/confidence"] = measured.joint_confidence[:, animal, place]
        for place, keypoint in enumerate(track.keypoints):
            columns[f"{start}{keypoint}/speed_px_s"] = measured.speed_px_s[:, animal, place]
    return pd.DataFrame(columns)


def write_skeleton_h5(measured: Kinematics, path: Path) -> None:
    """Write the bones as DeepLabCut's `_skeleton.h5`: per bone length, orientation, likelihood.

    Bones of several animals are named `animal_first_second`.
    """
    blocks, names = [], []
    for animal, owner in enumerate(measured.track.names):
        for place, bone in enumerate(measured.bones):
            name = "_".join((owner, *bone) if measured.track.animals > 1 else bone)
            for values, column in (
                (measured.length_px, "length"),
                (measured.orientation_deg, "orientation"),
                (measured.bone_confidence, "likelihood"),
            ):
                blocks.append(values[:, animal, place])
                names.append((name, column))
    write_table(
        pd.DataFrame(
            np.stack(blocks, axis=1),
            index=pd.Index(measured.track.frame_index),
            columns=pd.MultiIndex.from_tuples(names),
        ),
        path,
    )
