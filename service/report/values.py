"""What a job report is made of."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

State = Literal["done", "skipped", "failed", "cancelled", "busy"]
"""`skipped`: finished before, or left out where there is no record; `busy`: another process works
on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedVideo:
    """What became of one video of a job."""

    video: str
    """Its path."""
    state: State
    frames: int = 0
    seconds: float = 0.0
    """Time that its analysis took; 0 where nothing was analyzed now."""
    decoder: str = ""
    """What decoded it, with its version; empty where nothing was decoded now."""
    message: str = ""
    """Why it is not done, or what was wrong with the file."""
    files: tuple[str, ...] = ()
    """Paths of what was written; one named `*_report.html` is taken for its report."""
    statuses: dict[str, int] = field(default_factory=dict)
    """Frames by what decoding gave: ok, repeated, missing, corrupt."""
    resumed_frames: int = 0
    """Of `frames`, those that an earlier run had left; they are no part of `seconds`."""
    record: Path | None = None
    """Its Parquet record, which the statistics are read from."""
