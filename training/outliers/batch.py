"""Mines the outliers of many videos, one after the other; a bad one stops no other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.errors import EthostreamError
from training.data.deeplabcut_config import ProjectConfig
from training.frames.batch import bar_of, progress_bars
from training.outliers.mine import Mined, mine_outliers
from training.outliers.settings import OutlierSettings, PickSettings


@dataclass(frozen=True, slots=True)
class MiningReport:
    """What became of one file of predictions."""

    predictions: str
    state: Literal["done", "failed"]
    mined: Mined | None = None
    """None where it failed."""
    message: str = ""
    """Why it failed."""


def mine_all(
    project: ProjectConfig,
    predictions: Sequence[Path],
    settings: OutlierSettings,
    picking: PickSettings,
    *,
    video: Path | None = None,
    show_progress: bool,
) -> list[MiningReport]:
    """Mine all files of predictions; see `mine_outliers`.

    Returns:
        One report for each file, in their order.
    """
    reports: list[MiningReport] = []
    with progress_bars(show_progress=show_progress) as bars:
        for path in predictions:
            try:
                mined = mine_outliers(
                    project,
                    path,
                    settings,
                    picking,
                    video=video,
                    on_progress=bar_of(bars, path.name),
                )
            except EthostreamError as error:
                reports.append(MiningReport(str(path), "failed", message=str(error)))
            else:
                reports.append(MiningReport(str(path), "done", mined))
    return reports
