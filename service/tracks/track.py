"""The predicted keypoints of one video over time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest

Rows = Literal["animals", "poses", "detections"]
"""What one place of the animals axis means.

animals      the same animal in every frame
poses        one animal within a frame, but maybe another one in the next frame
detections   the n-th best place of each keypoint; those of one row may be of different animals
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Keypoints of T frames, N animals and K keypoints; NaN where there is no position."""

    source: Path
    """The file that they were read from."""
    model: str
    """What predicted them: the scorer of DeepLabCut, name@version of a bundle."""
    keypoints: tuple[str, ...]
    """Names in the order of axis K."""
    animals: int
    """N."""
    frame_rate_hz: float
    """Frames a second; 0 where nobody says."""
    frame_index: NDArray[np.int64]
    """(T,) numbers in the video from 0, rising."""
    keypoints_xy: NDArray[np.float32]
    """(T, N, K, 2) px of the video's frame."""
    confidence: NDArray[np.float32]
    """(T, N, K) in [0, 1]; NaN where the frame has no result."""
    skeleton: tuple[tuple[str, str], ...] = ()
    """Pairs of keypoint names."""
    animal_names: tuple[str, ...] = ()
    """One for each animal; empty stands for animal1, animal2 …"""
    unique_keypoints: tuple[str, ...] = ()
    """Keypoints that exist once in the scene; they stand in row 0 of the animals axis only."""
    rows: Rows = "animals"
    """What the animals axis means where N is more than 1."""
    recorded_s: NDArray[np.float64] | None = None
    """(T,) rising presentation times of frames that came at a variable rate, s from the stream's
    own zero; None: frames came evenly, at the frame rate."""

    def __post_init__(self) -> None:
        """Check shapes and names."""
        shape = (len(self.frame_index), self.animals, len(self.keypoints))
        if self.keypoints_xy.shape != (*shape, 2) or self.confidence.shape != shape:
            raise InvalidRequest(
                f"{self.source}: {shape[0]} frames, {shape[1]} animals and {shape[2]} keypoints "
                f"do not go with positions of the shape {self.keypoints_xy.shape} and a "
                f"confidence of the shape {self.confidence.shape}; write the file again"
            )
        if len(set(self.keypoints)) != len(self.keypoints):
            doubled = next(one for one in self.keypoints if self.keypoints.count(one) > 1)
            raise InvalidRequest(
                f"{self.source}: the keypoint {doubled!r} is there twice; give it one name each"
            )
        if self.animal_names and len(self.animal_names) != self.animals:
            raise InvalidRequest(
                f"{self.source}: {len(self.animal_names)} names for {self.animals} animals"
            )
        if (np.diff(self.frame_index) <= 0).any():
            raise InvalidRequest(f"{self.source}: the frame numbers do not rise; write it again")
        if self.recorded_s is not None and (
            self.recorded_s.shape != self.frame_index.shape
            or not (np.diff(self.recorded_s) > 0).all()
        ):
            raise InvalidRequest(
                f"{self.source}: the times are not one for each of {len(self)} frames, or do not "
                "rise; write it again"
            )

    def __len__(self) -> int:
        """Number of frames, T."""
        return len(self.frame_index)

    def __repr__(self) -> str:
        """Show sizes, not numbers."""
        return (
            f"Track({self.source.name}, {self.model}, {len(self)} frames, {self.animals} "
            f"{self.rows}, {len(self.keypoints)} keypoints)"
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each animal."""
        return self.animal_names or tuple(f"animal{one + 1}" for one in range(self.animals))

    @property
    def times_s(self) -> NDArray[np.float64]:
        """(T,) time of each frame, s: as recorded, or from frame 0 by the frame rate.

        Raises:
            InvalidRequest: the frame rate is not known.
        """
        if self.recorded_s is not None:
            return self.recorded_s
        if self.frame_rate_hz <= 0:
            raise InvalidRequest(
                f"{self.source} does not say how many frames there are a second; give --rate"
            )
        return self.frame_index / self.frame_rate_hz

    def place(self, keypoint: str) -> int:
        """Place of a keypoint in axis K.

        Raises:
            InvalidRequest: there is none of that name.
        """
        if keypoint not in self.keypoints:
            raise InvalidRequest(
                f"{self.source} has no keypoint {keypoint!r}; it has {', '.join(self.keypoints)}"
            )
        return self.keypoints.index(keypoint)

    def places(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
        """Places of the ends of pairs of keypoints, such as bones.

        Raises:
            InvalidRequest: a keypoint does not exist.
        """
        return [(self.place(one), self.place(two)) for one, two in pairs]

    def select(self, keypoints: Sequence[str]) -> "Track":
        """Return the track of some keypoints, in the order given, with the bones between them.

        Raises:
            InvalidRequest: there is none of such a name.
        """
        places = [self.place(name) for name in keypoints]
        return replace(
            self,
            keypoints=tuple(keypoints),
            keypoints_xy=self.keypoints_xy[:, :, places],
            confidence=self.confidence[:, :, places],
            skeleton=tuple(bone for bone in self.skeleton if set(bone) <= set(keypoints)),
            unique_keypoints=tuple(one for one in self.unique_keypoints if one in keypoints),
        )

    def seen(self, cutoff: float) -> NDArray[np.bool_]:
        """(T, N, K) True where there is a position with at least the confidence `cutoff`."""
        known = np.isfinite(self.keypoints_xy).all(axis=-1)
        return np.asarray(known & (np.nan_to_num(self.confidence, nan=-1.0) >= cutoff))

    def require_animals(self, purpose: str, *, across_frames: bool = True) -> None:
        """Refuse rows that are not animals, where `purpose` needs animals.

        Args:
            purpose: what is to be done, as the message names it.
            across_frames: it follows an animal over time; False: one frame at a time is enough.

        Raises:
            InvalidRequest: the rows are detections, or poses that nobody linked over time.
        """
        if self.animals == 1 or self.rows == "animals":
            return
        if self.rows == "detections":
            raise InvalidRequest(
                f"{self.source} holds the {self.animals} best detections of each keypoint, not "
                f"grouped into animals: {purpose} needs animals. Use a model of one animal; "
                "`tracks video` draws detections"
            )
        if across_frames:
            raise InvalidRequest(
                f"{self.source} holds up to {self.animals} poses a frame that are not linked over "
                f"time: {purpose} needs tracks. Run a tracker on it first"
            )
