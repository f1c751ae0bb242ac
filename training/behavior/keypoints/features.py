"""Features of one animal's pose in each frame, for any set of keypoints: numpy only.

Lengths are in body lengths: the median distance of the two outermost keypoints over the
recording, unless it is given. The columns of K keypoints, in this order:

ego_x, ego_y            2 K     position in the animal's own frame: from the centroid (mean of the
                                keypoints), x along the heading, y to the left of it in the picture
distance                K(K-1)/2  between each two keypoints
angle_cos, angle_sin    2 K     at each keypoint, from the one before it to the one after it, in
                                the order of the names, the last one being before the first;
                                absent below 3 keypoints
speed                   K       of each keypoint, body lengths a second
forward, sideways       2       velocity of the centroid in the animal's own frame, a second
turning                 1       of the heading, rad a second
area                    1       of the convex hull of the keypoints
long_axis, short_axis   2       standard deviations of the keypoints along their principal axes
wall                    K + 1   distance of each keypoint and of the centroid to the nearest wall,
                                negative outside; only where the corners of the arena are given
seen                    K       1 where the keypoint was seen, 0 where it was interpolated

They play the part of the 44 features of Sturman et al. 2020 (Neuropsychopharmacology 45:1942),
which DeepEthogram is compared with, and which are defined for seven named points only.
"""

from collections.abc import Sequence
from itertools import combinations

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidConfig, InvalidRequest
from service.tracks.track import Track

Polygon = tuple[tuple[float, float], ...]
_Floats = NDArray[np.float64]


class PoseFeatures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How features are computed; what is trained with them must be fed with the same."""

    keypoints: tuple[str, ...]
    """Those that are used, in the order of the features; the tracks may have more."""
    heading: tuple[str, str] | None = None
    """The animal looks from the first to the second, such as (tailbase, snout). None: along the
    principal axis of the keypoints, towards the first of them."""
    cutoff: float = 0.9
    """Positions of a lower confidence are interpolated."""
    causal: bool = False
    """True: nothing of a later frame is used. A keypoint that is not seen stays where it was last
    seen, and speeds are those since the frame before. False: interpolated between the frames
    where it was seen, and speeds between the frames before and after."""

    def __post_init__(self) -> None:
        """Check the names and ranges."""
        names = set(self.keypoints)
        if len(self.keypoints) < 2 or len(names) < len(self.keypoints):
            raise InvalidConfig(
                f"the keypoints are {', '.join(self.keypoints) or 'none'}; give at least two, "
                "each once"
            )
        if self.heading and (self.heading[0] == self.heading[1] or not names >= set(self.heading)):
            raise InvalidConfig(
                f"the heading is from {self.heading[0]!r} to {self.heading[1]!r}; give two of "
                f"{', '.join(self.keypoints)}"
            )
        if not 0.0 <= self.cutoff <= 1.0:
            raise InvalidConfig(f"cutoff is {self.cutoff:g}; give a confidence from 0 to 1")


def feature_names(settings: PoseFeatures, *, corners: bool) -> tuple[str, ...]:
    """Return the (D,) names of the columns; see the module."""
    names = settings.keypoints
    angles = names if len(names) >= 3 else ()
    return (
        *(f"{kind} {name}" for kind in ("ego_x", "ego_y") for name in names),
        *(f"distance {one} {two}" for one, two in combinations(names, 2)),
        *(f"{kind} {name}" for kind in ("angle_cos", "angle_sin") for name in angles),
        *(f"speed {name}" for name in names),
        *("forward", "sideways", "turning", "area", "long_axis", "short_axis"),
        *(f"wall {name}" for name in (*names, "centroid") if corners),
        *(f"seen {name}" for name in names),
    )


def pose_features(
    track: Track,
    settings: PoseFeatures,
    *,
    frames: int,
    frame_rate_hz: float,
    clips: Sequence[tuple[int, int]] = (),
    corners: Polygon = (),
    body_length_px: float | None = None,
) -> NDArray[np.float32]:
    """Compute the features of every frame of a recording.

    Args:
        track: poses of one animal; frames that it leaves out are interpolated.
        settings: which keypoints, and how.
        frames: T, of the recording.
        frame_rate_hz: of the recording.
        clips: (first, first after) frame of each uninterrupted stretch, which nothing is
            interpolated across; frames outside are not answered. Empty: one of all frames.
        corners: of the arena, px of the video's frame, in the order of its outline.
        body_length_px: the unit of lengths; None measures it over the whole recording, which a
            live stream cannot.

    Returns:
        (T, D) float32; NaN where a feature needs a keypoint that has not been seen in the clip at
        all (causal: not yet), and in frames outside the clips.

    Raises:
        InvalidRequest: the track is of several animals, has later frames than the recording,
            lacks a keypoint, or sees no two keypoints at once.
    """
    places = [track.place(name) for name in settings.keypoints]
    if track.animals != 1:
        raise InvalidRequest(
            f"{track.source} holds {track.animals} animals, but behavior is told from the pose of "
            "one; write the track of one animal to a file of its own"
        )
    if len(track) and not 0 <= track.frame_index[0] <= track.frame_index[-1] < frames:
        raise InvalidRequest(
            f"{track.source} goes to frame {track.frame_index[-1]}, but the recording has "
            f"{frames} frames; give the track of this recording"
        )
    if len(corners) in (1, 2):
        raise InvalidRequest(f"the arena has {len(corners)} corners; give three or more")
    seen = np.zeros((frames, len(places)), np.bool_)
    seen[track.frame_index] = track.seen(settings.cutoff)[:, 0, places]
    points = np.full((frames, len(places), 2), np.nan)
    points[track.frame_index] = track.keypoints_xy[:, 0, places]
    points[~seen] = np.nan
    unit = _body_length_px(points, track) if body_length_px is None else body_length_px
    columns = len(feature_names(settings, corners=bool(corners)))
    result = np.full((frames, columns), np.nan, np.float32)
    for first, end in clips or ((0, frames),):
        result[first:end] = _clip_features(
            points[first:end] / unit,
            settings,
            frame_rate_hz=frame_rate_hz,
            corners=np.asarray(corners, np.float64) / unit,
        )
    return result


def fill_gaps(points: _Floats, *, causal: bool) -> _Floats:
    """Replace NaN positions (T, K, 2) by those of the frames where a keypoint was seen.

    Args:
        points: positions; NaN where a keypoint was not seen.
        causal: True holds the last position; False interpolates linearly between the last and
            the next one, and holds the first and last of all at the ends.

    Returns:
        A new array; NaN where there is nothing to take.
    """
    result = points.copy()
    times = np.arange(len(points))
    for keypoint in range(points.shape[1]):
        known = np.flatnonzero(np.isfinite(points[:, keypoint, 0]))
        if not len(known):
            continue
        if causal:
            before = np.searchsorted(known, times, side="right") - 1
            result[known[0] :, keypoint] = points[known[before[known[0] :]], keypoint]
        else:
            for axis in range(2):
                result[:, keypoint, axis] = np.interp(times, known, points[known, keypoint, axis])
    return result


def _clip_features(
    points: _Floats, settings: PoseFeatures, *, frame_rate_hz: float, corners: _Floats
) -> NDArray[np.float32]:
    """Features (T, D) of an uninterrupted stretch of positions (T, K, 2), body lengths."""
    seen = np.isfinite(points[..., 0])
    points = fill_gaps(points, causal=settings.causal)
    centroid = _mean_of_known(points)
    relative = points - centroid[:, None]
    axes, directions = _principal_axes(relative)
    if settings.heading is None:
        heading = directions
        towards = (heading * relative[:, 0]).sum(axis=1)
        heading = np.where(towards[:, None] < 0, -heading, heading)
    else:
        start, stop = (settings.keypoints.index(name) for name in settings.heading)
        heading = _unit(points[:, stop] - points[:, start])
    left = np.stack([heading[:, 1], -heading[:, 0]], axis=1)  # y of a picture points down

    def own(vectors: _Floats) -> tuple[_Floats, _Floats]:
        """Components along the heading and to the left of it of (T, ..., 2)."""
        return (
            np.einsum("t...i,ti->t...", vectors, heading),
            np.einsum("t...i,ti->t...", vectors, left),
        )

    pairs = np.array(list(combinations(range(points.shape[1]), 2)))
    distances = np.linalg.norm(points[:, pairs[:, 0]] - points[:, pairs[:, 1]], axis=-1)
    moved = _rate_of_change(points, frame_rate_hz, causal=settings.causal)
    travel = _rate_of_change(centroid, frame_rate_hz, causal=settings.causal)
    columns = [
        *own(relative),
        distances,
        *_angles(points),
        np.linalg.norm(moved, axis=-1),
        *(one[:, None] for one in own(travel)),
        _turning(heading, frame_rate_hz, causal=settings.causal)[:, None],
        _hull_areas(points)[:, None],
        axes,
    ]
    if len(corners):
        columns.append(_wall_distances(np.concatenate([points, centroid[:, None]], 1), corners))
    return np.concatenate([*columns, seen], axis=1).astype(np.float32)


def _body_length_px(points: _Floats, track: Track) -> float:
    """Median of the largest distance of two keypoints, of frames in which most are seen."""
    counts = np.isfinite(points[..., 0]).sum(axis=1)
    full = points[(counts >= 2) & (counts >= np.quantile(counts, 0.75))]
    spans = np.linalg.norm(full[:, :, None] - full[:, None], axis=-1)
    length = float(np.median(np.nanmax(spans, axis=(1, 2)))) if len(full) else 0.0
    if length <= 0:
        raise InvalidRequest(
            f"{track.source} has no frame in which two of {', '.join(track.keypoints)} reach the "
            "confidence that is asked for; lower the cutoff"
        )
    return length


def _principal_axes(relative: _Floats) -> tuple[_Floats, _Floats]:
    """Standard deviations (T, 2), larger first, and the direction (T, 2) of the larger one."""
    squares = np.stack([*np.moveaxis(relative**2, -1, 0), relative.prod(axis=-1)], axis=-1)
    xx, yy, xy = _mean_of_known(squares).T
    half_gap = np.hypot((xx - yy) / 2, xy)
    middle = (xx + yy) / 2
    variances = np.stack([middle + half_gap, np.maximum(middle - half_gap, 0)], axis=1)
    angle = np.arctan2(2 * xy, xx - yy) / 2
    return np.sqrt(variances), np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _angles(points: _Floats) -> list[_Floats]:
    """Cosine and sine (T, K) of the angles at each point between its neighbors in the order."""
    if points.shape[1] < 3:
        return []
    one, two = _unit(np.roll(points, 1, 1) - points), _unit(np.roll(points, -1, 1) - points)
    crossed = one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0]
    return [(one * two).sum(axis=-1), crossed]


def _rate_of_change(values: _Floats, frame_rate_hz: float, *, causal: bool) -> _Floats:
    """Change a second of (T, ...): against the frame before, or between both neighbors."""
    if len(values) < 2:
        return np.zeros_like(values)
    if not causal:
        return np.asarray(np.gradient(values, axis=0) * frame_rate_hz)
    return np.diff(values, axis=0, prepend=values[:1]) * frame_rate_hz


def _turning(heading: _Floats, frame_rate_hz: float, *, causal: bool) -> _Floats:
    """Turns of the heading (T, 2) to the left, rad a second."""
    if len(heading) < 2:
        return np.zeros(len(heading))
    one, two = heading[:-1], heading[1:]
    crossed = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    steps = np.arctan2(-crossed, (one * two).sum(axis=1)) * frame_rate_hz
    if causal:
        return np.concatenate([[0.0], steps])
    return np.concatenate([steps[:1], (steps[:-1] + steps[1:]) / 2, steps[-1:]])


def _hull_areas(points: _Floats) -> _Floats:
    areas = np.full(len(points), np.nan)
    for frame in np.flatnonzero(np.isfinite(points).all(axis=(1, 2))):
        hull = cv2.convexHull(points[frame].astype(np.float32))
        areas[frame] = cv2.contourArea(hull)
    return areas


def _wall_distances(points: _Floats, corners: _Floats) -> _Floats:
    """Distance (T, P) of points to the nearest edge of the polygon, negative outside it."""
    starts, edges = corners, np.roll(corners, -1, axis=0) - corners
    from_start = points[:, :, None] - starts
    squares = np.maximum((edges**2).sum(axis=1), 1e-12)
    share = np.clip((from_start * edges).sum(axis=-1) / squares, 0, 1)
    gaps = np.linalg.norm(from_start - share[..., None] * edges, axis=-1)
    # A ray to the right crosses the outline an odd number of times from inside.
    ends = starts + edges
    y = points[:, :, None, 1]
    spans = (starts[:, 1] > y) != (ends[:, 1] > y)
    slope = edges[:, 0] / np.where(edges[:, 1] == 0, 1.0, edges[:, 1])
    crossing = starts[:, 0] + (y - starts[:, 1]) * slope
    inside = (spans & (points[:, :, None, 0] < crossing)).sum(axis=2) % 2 == 1
    distances = np.where(inside, gaps.min(axis=2), -gaps.min(axis=2))
    return np.asarray(np.where(np.isnan(points[..., 0]), np.nan, distances))


def _mean_of_known(values: _Floats) -> _Floats:
    """Mean (T, ...) over axis 1 of the entries that are no NaN; NaN where there is none."""
    known = np.isfinite(values)
    counts = known.sum(axis=1)
    return np.where(
        counts > 0, np.where(known, values, 0).sum(axis=1) / np.maximum(counts, 1), np.nan
    )


def _unit(vectors: _Floats) -> _Floats:
    """Vectors of length 1; of length 0 where they have none."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9))
