"""What became of a video, as it is told and stored."""

from dataclasses import dataclass, field
from typing import Literal

ReportState = Literal["done", "skipped", "failed", "cancelled", "busy"]


@dataclass(frozen=True, slots=True)
class VideoReport:
    """What became of one video."""

    video: str
    state: ReportState
    """skipped: finished before; busy: another process works on it now, which is no end."""
    frames: int = 0
    seconds: float = 0.0
    """Time of the analysis, without writing."""
    files: tuple[str, ...] = ()
    """The record first."""
    message: str = ""
    """Why it failed, or what was wrong with the file."""
    decoder: str = ""
    """What decoded it, with its version; empty where nothing was decoded now."""
    statuses: dict[str, int] = field(default_factory=dict)
    """Frames by what decoding gave: ok, repeated, missing, corrupt."""
    resumed_frames: int = 0
    """Of `frames`, those that were there from an earlier run."""
