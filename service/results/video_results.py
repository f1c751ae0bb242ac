"""The results of one whole video."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.behavior import apply_bout_rule, frames_of_bouts
from service.errors import InvalidRequest
from service.results.provenance import AnsweredBehavior, AnsweredBundle, Provenance
from service.values import (
    BehaviorColumns,
    BundleVersion,
    FrameFault,
    FrameStatus,
    PoseColumns,
)

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class VideoResults:
    """Results of T frames, in presentation order of the file."""

    provenance: Provenance
    frame_index: NDArray[np.int64]
    """(T,) numbers in the file, from 0."""
    pts_ns: NDArray[np.int64]
    """(T,) presentation times, ns from the stream's own zero."""
    status: NDArray[np.uint8]
    """(T,) numbers of FrameStatus."""
    poses: tuple[PoseColumns, ...]
    """One for each of provenance.pose_bundles."""
    behaviors: tuple[BehaviorColumns, ...]
    """One for each of provenance.behavior_bundles."""
    faults: tuple[FrameFault, ...] = ()
    """Why the frames without pixels have none, one each."""

    def __post_init__(self) -> None:
        """Check that columns and bundles belong together and have one length."""
        for columns, bundles in (
            (self.poses, self.provenance.pose_bundles),
            (self.behaviors, self.provenance.behavior_bundles),
        ):
            found, named = [one.bundle for one in columns], [one.key for one in bundles]
            if found != named:
                raise InvalidRequest(
                    f"the results are of {', '.join(map(str, found)) or 'no bundle'}, but the "
                    f"provenance names {', '.join(map(str, named)) or 'none'}"
                )
        lengths = {
            len(self.frame_index),
            len(self.pts_ns),
            len(self.status),
            *(len(one.confidence) for one in self.poses),
            *(len(one.probabilities) for one in self.behaviors),
        }
        if len(lengths) != 1:
            raise InvalidRequest(f"columns of one video have the lengths {sorted(lengths)}")

    def __len__(self) -> int:
        """Number of frames, T."""
        return len(self.frame_index)

    def __repr__(self) -> str:
        """Show names and lengths, not numbers."""
        bundles = ", ".join(str(one.key) for one in self.provenance.bundles)
        return f"VideoResults({self.provenance.source.name}, {len(self)} frames, {bundles})"

    @property
    def times_s(self) -> NDArray[np.float64]:
        """(T,) presentation times, s."""
        return self.pts_ns / 1e9

    @property
    def frame_rate_hz(self) -> float:
        """Frames a second: what was asked for, or the container's; 0 where nobody says."""
        return self.provenance.options.frame_rate_hz or self.provenance.info.frame_rate_hz

    @property
    def files(self) -> tuple[str, ...]:
        """(T,) file names where the frames are pictures of a folder; empty for a video."""
        pictures = self.provenance.source.pictures
        return tuple(pictures[index] for index in self.frame_index) if pictures else ()

    def pose_answers(self) -> list[tuple[AnsweredBundle, PoseColumns]]:
        """Each pose bundle with its columns."""
        return list(zip(self.provenance.pose_bundles, self.poses, strict=True))

    def behavior_answers(self) -> list[tuple[AnsweredBundle, BehaviorColumns]]:
        """Each behavior bundle with its columns."""
        return list(zip(self.provenance.behavior_bundles, self.behaviors, strict=True))


class _PoseLike(Protocol):
    @property
    def bundle(self) -> "_KeyLike": ...
    @property
    def keypoints_xy(self) -> NDArray[np.float32]: ...
    @property
    def confidence(self) -> NDArray[np.float32]: ...


class _BehaviorLike(Protocol):
    @property
    def bundle(self) -> "_KeyLike": ...
    @property
    def status(self) -> NDArray[np.uint8]: ...
    @property
    def probabilities(self) -> NDArray[np.float32]: ...
    @property
    def present(self) -> NDArray[np.bool_]: ...


class _KeyLike(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...


class _FaultLike(Protocol):
    @property
    def frame_index(self) -> int: ...
    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> str: ...


class ChunkLike(Protocol):
    """A result chunk, of the service or of its client."""

    @property
    def frame_index(self) -> NDArray[np.int64]:
        """(T,)."""

    @property
    def pts_ns(self) -> NDArray[np.int64]:
        """(T,)."""

    @property
    def status(self) -> NDArray[np.uint8]:
        """(T,)."""

    @property
    def poses(self) -> Sequence[_PoseLike]:
        """One for each pose bundle."""

    @property
    def behaviors(self) -> Sequence[_BehaviorLike]:
        """One for each behavior bundle."""

    @property
    def faults(self) -> Sequence[_FaultLike]:
        """Why the rows without pixels have none."""


def gather_results(provenance: Provenance, chunks: Iterable[ChunkLike]) -> VideoResults:
    """Put the chunks of one video together, in their order.

    Raises:
        InvalidRequest: a chunk is of other bundles than the provenance names.
    """
    parts = list(chunks)
    return VideoResults(
        provenance=provenance,
        frame_index=_joined([one.frame_index for one in parts], np.int64),
        pts_ns=_joined([one.pts_ns for one in parts], np.int64),
        status=_joined([one.status for one in parts], np.uint8),
        poses=tuple(
            _join_poses(bundle, [one.poses[place] for one in parts])
            for place, bundle in enumerate(provenance.pose_bundles)
        ),
        behaviors=tuple(
            _join_behaviors(bundle, [one.behaviors[place] for one in parts])
            for place, bundle in enumerate(provenance.behavior_bundles)
        ),
        faults=tuple(
            FrameFault(fault.frame_index, FrameStatus(fault.status), fault.reason)
            for one in parts
            for fault in one.faults
        ),
    )


def known_frames(columns: BehaviorColumns) -> NDArray[np.bool_]:
    """(T,) True where the bundle has an answer for the frame."""
    return np.asarray(~np.isnan(columns.probabilities).any(axis=1))


def spanned_bouts(answered: AnsweredBehavior, columns: BehaviorColumns) -> NDArray[np.bool_]:
    """Return (T, C) the frames of bouts after the bout rule, with those that it bridges.

    A frame without an answer is as one in which no behavior is present, as in live streams (see
    `BoutTracker`): fewer of them than the shortest bout do not end one, but of exclusive behaviors,
    which background alone may interrupt.
    """
    limits = frames_of_bouts(answered.min_bout_frames, answered.stride)
    return apply_bout_rule(columns.present, limits, exclusive=answered.exclusive)


def kept_bouts(answered: AnsweredBehavior, columns: BehaviorColumns) -> NDArray[np.bool_]:
    """Return (T, C) what is present after the bout rule; False in frames without an answer."""
    return np.asarray(spanned_bouts(answered, columns) & known_frames(columns)[:, None])


def _join_poses(bundle: AnsweredBundle, parts: Sequence[_PoseLike]) -> PoseColumns:
    assert bundle.pose is not None
    shape = (0, bundle.pose.max_animals, len(bundle.pose.keypoints))
    return PoseColumns(
        _one_key(bundle, parts),
        _joined([one.keypoints_xy for one in parts], np.float32, (*shape, 2)),
        _joined([one.confidence for one in parts], np.float32, shape),
    )


def _join_behaviors(bundle: AnsweredBundle, parts: Sequence[_BehaviorLike]) -> BehaviorColumns:
    assert bundle.behavior is not None
    shape = (0, len(bundle.behavior.behaviors))
    return BehaviorColumns(
        _one_key(bundle, parts),
        _joined([one.status for one in parts], np.uint8),
        _joined([one.probabilities for one in parts], np.float32, shape),
        _joined([one.present for one in parts], np.bool_, shape),
    )


def _one_key(
    bundle: AnsweredBundle, parts: Sequence[_PoseLike] | Sequence[_BehaviorLike]
) -> BundleVersion:
    for part in parts:
        if (part.bundle.name, part.bundle.version) != (bundle.name, bundle.version):
            raise InvalidRequest(
                f"a chunk holds results of {part.bundle.name}@{part.bundle.version} where "
                f"{bundle.key} was announced"
            )
    return bundle.key


def _joined(
    parts: Sequence[NDArray[Number]], dtype: type[Number], empty: tuple[int, ...] = (0,)
) -> NDArray[Number]:
    return np.concatenate(parts) if parts else np.empty(empty, dtype)
