"""What streaming a recording live gave."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.values import ResultChunk


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What a live stream of T frames gave."""

    rows: ResultChunk
    """Answers by the frames as they were sent, to be gathered like those of a file."""
    answers: int
    """Frames that came back with a result."""
    behavior_answers: int
    """BehaviorResults that came, of all behavior bundles."""
    latency_ms: NDArray[np.float64]
    """(T,) from sending a frame to its keypoints, on the rig's clock."""
    behavior_latency_ms: NDArray[np.float64]
    """(T x behavior bundles,) from sending a frame to its probabilities."""
    seconds: float
    """From the first frame to the last answer."""
    look_ahead_frames: int
    """Largest look-ahead of the behavior bundles, frames of the video."""
    problems: tuple[str, ...]
    """Frames that were not answered exactly once, in order, with a result."""
