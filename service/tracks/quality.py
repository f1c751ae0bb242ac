"""What can be said of a track without labels: confidence, jumps, swapped sides, jitter."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidConfig, InvalidRequest
from service.tracks.sides import left_right_by_name
from service.tracks.track import Track

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_FRONT = ("snout", "nose", "beak", "head", "neck")
_REAR = ("tailbase", "tail_base", "tail-base", "tail base", "tailroot", "tail1", "rump", "hip")
_FIT_FRAMES, _FIT_DEGREE = 9, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityChoices:
    """What counts as bad."""

    cutoff: float = 0.6
    """Confidence from which a keypoint counts as found."""
    jump_body_lengths: float = 0.3
    """A keypoint that moves further than this from one frame to the next has jumped."""
    return_body_lengths: float = 0.15
    """A keypoint further than this from the middle between the frame before and the one after,
    which are nearer to each other than that, has jumped and returned."""
    axis: tuple[str, str] | None = None
    """Front and rear keypoint of the body; None looks for names such as snout and tailbase."""
    left_right: tuple[tuple[str, str], ...] | None = None
    """Pairs, the left one first; None looks for names such as leftear and rightear."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.cutoff <= 1:
            raise InvalidConfig(f"the cut-off is {self.cutoff:g}; give one in [0, 1]")
        if not (self.jump_body_lengths > 0 and self.return_body_lengths > 0):
            raise InvalidConfig("jumps are measured in body lengths; give numbers above 0")


class KeypointQuality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One keypoint over all animals."""

    keypoint: str
    confident_share: float
    """Share of the frames in which it has at least the confidence of the cut-off."""
    jumps_per_minute: float
    returns_per_minute: float
    jitter_px: float | None
    """Median change from frame to frame of what a Savitzky-Golay fit (9 frames, degree 3) leaves
    over; None where no 9 confident frames follow each other."""


class SideQuality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pair of a left and a right keypoint over all animals; see `judge_sides`."""

    left: str
    right: str
    judged_share: float
    """Share of the frames in which both, and the body axis, are confident and apart."""
    wrong_side_share: float
    """Share of the judged frames in which the pair lies the other way round."""
    exchanges_per_minute: float


class TrackQuality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The quality of one track."""

    source: str
    model: str
    frames: int
    minutes: float
    animals: int
    cutoff: float
    all_confident_share: float
    """Share of the frames in which every keypoint of every animal is confident."""
    body_length_px: float
    """Median length of the body axis, or of the longest pair of keypoints without one."""
    axis: tuple[str, str] | None
    jump_frames_per_minute: float
    """Frames in which any keypoint jumped."""
    return_frames_per_minute: float
    keypoints: tuple[KeypointQuality, ...]
    sides: tuple[SideQuality, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The quality of a track, and how bad each frame is."""

    quality: TrackQuality
    badness: Floats
    """(T,) number of faults in the frame (keypoints below the cut-off, jumps, returns, wrong
    sides), and below 1 how unsure it is and how unlike the usual its bones are."""
    reasons: tuple[str, ...]
    """(T,) the faults in words; empty where there is none."""


def judge_track(track: Track, choices: QualityChoices | None = None) -> Judged:
    """Judge a track of animals that nobody labelled.

    Raises:
        InvalidRequest: the track is empty, has no frame rate or holds no animals; a keypoint that
            was named does not exist; or too little is confident to tell the size of the animal.
    """
    choices = choices or QualityChoices()
    track.require_animals("judging quality")
    if not len(track):
        raise InvalidRequest(f"{track.source} holds no frame; analyze the video again")
    minutes = float(track.times_s[-1] - track.times_s[0] + 1 / track.frame_rate_hz) / 60
    seen = track.seen(choices.cutoff)
    owned = np.ones(seen.shape[1:], np.bool_)
    for name in track.unique_keypoints:
        owned[1:, track.place(name)] = False  # they stand in the first row only
    xy = np.where(seen[..., None], track.keypoints_xy, np.nan).astype(np.float64)
    axis = choices.axis or body_axis(track.keypoints)
    length_px = _body_length_px(track, xy, axis)
    jumped, returned = _jumps(track, xy, length_px, choices)
    residual = _fit_residual(track, xy)
    pairs = choices.left_right
    pairs = left_right_by_name(track.keypoints) if pairs is None else pairs
    track.places(pairs)
    wrong = np.zeros(seen.shape[:2], np.int64)
    sides = []
    for pair in pairs if axis is not None else ():
        assert axis is not None
        judged, wrong_side, exchanged = judge_sides(track, xy, axis, pair, length_px)
        wrong += wrong_side
        sides.append(
            SideQuality(
                left=pair[0],
                right=pair[1],
                judged_share=_share(judged),
                wrong_side_share=float(wrong_side.sum() / max(judged.sum(), 1)),
                exchanges_per_minute=float(exchanged.sum() / minutes),
            )
        )
    unseen = (~seen & owned).sum(axis=2)
    doubt = 1.0 - np.nan_to_num(track.confidence, nan=0.0)[:, owned].min(axis=1)
    badness, reasons = _badness(track, xy, length_px, doubt, unseen, jumped, returned, wrong)
    quality = TrackQuality(
        source=track.source.name,
        model=track.model,
        frames=len(track),
        minutes=minutes,
        animals=track.animals,
        cutoff=choices.cutoff,
        all_confident_share=_share(np.asarray((seen | ~owned).all(axis=(1, 2)))),
        body_length_px=length_px,
        axis=axis,
        jump_frames_per_minute=float(jumped.any(axis=(1, 2)).sum() / minutes),
        return_frames_per_minute=float(returned.any(axis=(1, 2)).sum() / minutes),
        keypoints=tuple(
            KeypointQuality(
                keypoint=name,
                confident_share=_share(seen[:, owned[:, place], place]),
                jumps_per_minute=float(jumped[..., place].sum() / minutes),
                returns_per_minute=float(returned[..., place].sum() / minutes),
                jitter_px=_jitter_px(residual[:, :, place]),
            )
            for place, name in enumerate(track.keypoints)
        ),
        sides=tuple(sides),
    )
    return Judged(quality=quality, badness=badness, reasons=reasons)


def judge_sides(
    track: Track, xy: Floats, axis: tuple[str, str], pair: tuple[str, str], length_px: float
) -> tuple[Flags, Flags, Flags]:
    """Judge on which side of the body a left and a right keypoint lie.

    The side of a pair in a frame is the sign of the cross product of the body axis (rear to
    front) with the way from the left to the right keypoint. It is judged where all four are
    confident and the pair is at least 3 % of a body length apart across the axis. The side that
    most frames have is taken for the right one (it depends on whether the camera is above or
    below the animal), so a model that swaps in most frames is not found by this.

    Two keypoints exchange where, seen from the body (turned with the axis and moved with its
    middle), each lies nearer to where the other was in the frame before than to where it was
    itself, both together.

    Args:
        track: of T frames and N animals.
        xy: (T, N, K, 2) px; NaN where not confident.
        axis: front and rear keypoint.
        pair: left and right keypoint.
        length_px: of the body.

    Returns:
        (T, N) judged, (T, N) on the wrong side, and (T, N) exchanged since the frame before.
    """
    front, rear = xy[:, :, track.place(axis[0])], xy[:, :, track.place(axis[1])]
    ahead = front - rear
    with np.errstate(invalid="ignore", divide="ignore"):
        ahead = ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)
    middle = (front + rear) / 2
    inside = []
    for name in pair:
        offset = xy[:, :, track.place(name)] - middle
        along = (offset * ahead).sum(axis=-1)
        across = ahead[..., 0] * offset[..., 1] - ahead[..., 1] * offset[..., 0]
        inside.append(np.stack([along, across], axis=-1))
    left, right = inside
    apart = right[..., 1] - left[..., 1]
    judged = np.abs(np.nan_to_num(apart)) >= 0.03 * length_px
    usual = np.sign(np.median(apart[judged])) if judged.any() else 1.0
    wrong = judged & (np.nan_to_num(apart) * usual < 0)
    stayed = _distance(left[1:], left[:-1]) + _distance(right[1:], right[:-1])
    crossed = _distance(left[1:], right[:-1]) + _distance(right[1:], left[:-1])
    exchanged = np.zeros_like(judged)
    exchanged[1:] = (crossed < stayed) & (np.diff(track.frame_index) == 1)[:, None]
    return judged, wrong, exchanged


def worst_frames(judged: Judged, count: int, apart: int) -> list[int]:
    """At most `count` rows of the worst frames, worst first, at least `apart` rows apart."""
    chosen: list[int] = []
    for row in np.argsort(-judged.badness, kind="stable"):
        if len(chosen) >= count:
            break
        if all(abs(int(row) - other) >= apart for other in chosen):
            chosen.append(int(row))
    return chosen


def body_axis(keypoints: Sequence[str]) -> tuple[str, str] | None:
    """Front and rear keypoint by their names; None where no names say it."""
    found = []
    for words in (_FRONT, _REAR):
        names = [name for word in words for name in keypoints if word in name.lower()]
        found += names[:1]
    return (found[0], found[1]) if len(set(found)) == 2 else None


def _body_length_px(track: Track, xy: Floats, axis: tuple[str, str] | None) -> float:
    places = [name for name in range(len(track.keypoints))]
    pairs = (
        track.places([axis])
        if axis is not None
        else [(one, two) for one in places for two in places[one + 1 :]]
    )
    lengths = []
    for one, two in pairs:
        distance = _distance(xy[:, :, one], xy[:, :, two])
        if np.isfinite(distance).any():
            lengths.append(float(np.nanmedian(distance)))
    if not lengths or max(lengths) <= 0:
        raise InvalidRequest(
            f"{track.source}: no frame has both ends of the body with enough confidence to measure "
            "it; lower --cutoff or name other ends with --axis"
        )
    return max(lengths)


def _jumps(
    track: Track, xy: Floats, length_px: float, choices: QualityChoices
) -> tuple[Flags, Flags]:
    """(T, N, K) jumped since the frame before; jumped and came back in the frame after."""
    next_to = (np.diff(track.frame_index) == 1)[:, None, None]
    step = np.where(next_to, _distance(xy[1:], xy[:-1]), np.nan)
    jumped = np.zeros(xy.shape[:-1], np.bool_)
    jumped[1:] = np.nan_to_num(step) > choices.jump_body_lengths * length_px
    far_px = choices.return_body_lengths * length_px
    returned = np.zeros_like(jumped)
    if len(xy) > 2:
        around = _distance(xy[2:], xy[:-2])
        away = _distance(xy[1:-1], (xy[2:] + xy[:-2]) / 2)
        adjacent = (track.frame_index[2:] - track.frame_index[:-2] == 2)[:, None, None]
        returned[1:-1] = adjacent & (away > far_px) & (around < away)
    return jumped, returned


def _fit_residual(track: Track, xy: Floats) -> Floats:
    """(T, N, K, 2) position less its Savitzky-Golay fit; NaN near gaps and ends."""
    residual = np.full(xy.shape, np.nan)
    if len(xy) < _FIT_FRAMES:
        return residual
    reach = _FIT_FRAMES // 2
    powers = np.arange(-reach, reach + 1)[:, None] ** np.arange(_FIT_DEGREE + 1)
    weights = np.linalg.pinv(powers)[0]  # the fitted value in the middle
    views = np.lib.stride_tricks.sliding_window_view(xy, _FIT_FRAMES, axis=0)
    whole = np.diff(track.frame_index[np.arange(len(views))[:, None] + [0, _FIT_FRAMES - 1]])
    fitted = np.where((whole == _FIT_FRAMES - 1)[:, :, None, None], views @ weights, np.nan)
    residual[reach:-reach] = xy[reach:-reach] - fitted
    return residual


def _jitter_px(residual: Floats) -> float | None:
    change = _distance(residual[1:], residual[:-1])
    change = change[np.isfinite(change)]
    return float(np.median(change)) if len(change) else None


def _badness(
    track: Track,
    xy: Floats,
    length_px: float,
    doubt: Floats,
    unseen: NDArray[np.int64],
    jumped: Flags,
    returned: Flags,
    wrong: NDArray[np.int64],
) -> tuple[Floats, tuple[str, ...]]:
    faults = {
        "unsure": unseen.sum(axis=1),
        "jumped": jumped.sum(axis=(1, 2)),
        "and back": returned.sum(axis=(1, 2)),
        "wrong side": wrong.sum(axis=1),
    }
    odd = np.zeros(len(track))
    for one, two in track.places(track.skeleton):
        length = _distance(xy[:, :, one], xy[:, :, two])
        if np.isfinite(length).any():
            away = np.abs(length - np.nanmedian(length)) / length_px
            odd = np.maximum(odd, np.nan_to_num(away).max(axis=1))
    badness = sum(faults.values(), np.zeros(len(track))) + 0.5 * doubt + 0.49 * np.tanh(odd)
    reasons = tuple(
        ", ".join(f"{name} {values[row]}" for name, values in faults.items() if values[row])
        for row in range(len(track))
    )
    return badness, reasons


def _distance(one: Floats, two: Floats) -> Floats:
    return np.asarray(np.linalg.norm(one - two, axis=-1))


def _share(flags: Flags) -> float:
    return float(flags.mean()) if flags.size else 0.0
