"""One training of a study (a row), what its worker is told, and what is stored of it."""

from typing import Generic, TypeVar

import msgspec

Choices = TypeVar("Choices")
"""What a task's training is told."""


class StudyRow(
    msgspec.Struct, Generic[Choices], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """One training of a study."""

    key: str
    """Name of its files."""
    series: str
    """Such as the preset; rows of one series are one line of the plot."""
    x: float | None = None
    """Its place in the series, such as the share of the data that trains."""
    choices: Choices


class Job(msgspec.Struct, Generic[Choices], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker is told."""

    row: StudyRow[Choices]
    data: tuple[str, ...]
    data_sha256: str
    threads: int | None = None
    """Processor threads; no part of what the row is."""
    keep: bool = False
    """Keep the checkpoints."""


class RowResult(
    msgspec.Struct, Generic[Choices], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A row that is done; stored as rows/<key>.json."""

    row: StudyRow[Choices]
    data_sha256: str
    frames: dict[str, int]
    """Number of frames by part of the split."""
    parameters: int
    """Of the network."""
    seconds: float | None
    """That it took; None where it was interrupted."""
    commit: str
    figures: dict[str, dict[str, object]]
    """By what was measured, such as the part of the split."""
    curve: list[dict[str, float]] = []
    """metrics.csv, with `step`, the number of optimizer steps at the end of each epoch."""
