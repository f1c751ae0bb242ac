"""The bouts of a video as a table, one row each, in the columns in which BORIS exports them.

`<video>_bouts.csv` has the columns of BORIS's aggregated events (times in s; `Image index stop` is
the first frame after the bout), then `Mean probability`, `Highest probability` and `Bundle`. Bouts
are those after the bout rule (`service.behavior.apply_bout_rule`), which may span few frames
without an answer; background is left out. Times are empty where the recording has none.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from service.behavior import BACKGROUND, runs
from service.results.atomic import replacing
from service.results.provenance import AnsweredBundle
from service.results.rows import row_edges_s
from service.results.video_results import VideoResults, spanned_bouts
from service.values import BehaviorColumns

COLUMNS = (
    "Observation id",
    "Media file name",
    "FPS (frame/s)",
    "Subject",
    "Behavior",
    "Behavior type",
    "Start (s)",
    "Stop (s)",
    "Duration (s)",
    "Image index start",
    "Image index stop",
    "Mean probability",
    "Highest probability",
    "Bundle",
)


@dataclass(frozen=True, slots=True)
class BoutRow:
    """One bout of one behavior."""

    behavior: str
    onset_frame: int
    """Number of its first frame."""
    offset_frame: int
    """Number of the first frame after it."""
    start_s: float
    """NaN where the recording has no times."""
    stop_s: float
    mean_probability: float
    highest_probability: float


def bout_rows(
    results: VideoResults, bundle: AnsweredBundle, found: BehaviorColumns
) -> list[BoutRow]:
    """List the bouts of one bundle after the bout rule, by onset, without background."""
    assert bundle.behavior is not None
    edges_s = row_edges_s(results)
    spanned = spanned_bouts(bundle.behavior, found)
    bouts = [
        BoutRow(
            name,
            int(results.frame_index[first]),
            int(results.frame_index[end - 1]) + 1,
            float(edges_s[first]),
            float(edges_s[end]),
            float(np.nanmean(found.probabilities[first:end, column], dtype=np.float64)),
            float(np.nanmax(found.probabilities[first:end, column])),
        )
        for column, name in enumerate(bundle.behavior.behaviors)
        if name != BACKGROUND
        for first, end in runs(spanned[:, column])
    ]
    return sorted(bouts, key=lambda bout: bout.onset_frame)


def write_bouts(results: VideoResults, path: Path, stem: str) -> None:
    """Write the bouts of all behavior bundles.

    Args:
        results: of one video.
        path: file to write, .csv.
        stem: name of the observation.
    """
    rows = [
        (
            stem,
            results.provenance.source.name,
            results.frame_rate_hz or None,
            "",
            bout.behavior,
            "STATE",
            bout.start_s,
            bout.stop_s,
            bout.stop_s - bout.start_s,
            bout.onset_frame,
            bout.offset_frame,
            bout.mean_probability,
            bout.highest_probability,
            str(bundle.key),
        )
        for bundle, found in results.behavior_answers()
        for bout in bout_rows(results, bundle, found)
    ]
    with replacing(path) as unfinished:
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        table.to_csv(unfinished, index=False, float_format="%.9g")
