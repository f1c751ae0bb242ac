"""Bouts of a bundle in one video, as reports tell them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.behavior import runs
from service.behavior_statistics import ratio
from service.bouts import BoutStatistics
from service.report.page import Table
from service.report.words import seconds_text, share_text
from service.results import AnsweredBundle, VideoResults
from service.results.rows import row_edges_s
from service.results.video_results import known_frames, spanned_bouts
from service.values import BehaviorColumns


@dataclass(frozen=True, slots=True)
class VideoBouts:
    """Bouts after the bout rule; arrays are (C,), and NaN where there is no bout."""

    behaviors: tuple[str, ...]
    statistics: BoutStatistics
    """Lengths by the times of the frames; NaN where these are not known."""
    share: NDArray[np.float64]
    """Part of the time with an answer, in [0, 1]; of the frames, where there are no times."""
    median_length_s: NDArray[np.float64]
    longest_s: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    """From the first frame that was analyzed to the first onset."""


def measure_bouts(
    results: VideoResults, answered: AnsweredBundle, found: BehaviorColumns
) -> VideoBouts:
    """Count and measure the bouts of one bundle in one video.

    Frames without an answer that a bout spans count to its length, and to no behavior's share.
    """
    assert answered.behavior is not None
    spanned, known = spanned_bouts(answered.behavior, found), known_frames(found)
    edges_s = row_edges_s(results)
    lengths_s = np.diff(edges_s)
    behaviors = answered.behavior.behaviors
    found_runs = [runs(spanned[:, place]) for place in range(len(behaviors))]
    bout_s = [np.array([edges_s[off] - edges_s[on] for on, off in one]) for one in found_runs]
    count = np.array([len(one) for one in bout_s], np.int64)
    spent_s = np.array([one.sum() for one in bout_s], np.float64)
    weights = np.ones(len(known)) if np.isnan(lengths_s).any() else lengths_s
    onsets_s = [edges_s[one[0][0]] - edges_s[0] if one else np.nan for one in found_runs]
    return VideoBouts(
        behaviors=behaviors,
        statistics=BoutStatistics(
            count=count,
            time_spent_s=spent_s,
            mean_length_s=ratio(spent_s, count),
            watched_s=float(lengths_s[known].sum()),
        ),
        share=weights[known] @ spanned[known] / (weights[known].sum() or np.nan),
        median_length_s=np.array([np.median(one) if len(one) else np.nan for one in bout_s]),
        longest_s=np.array([one.max() if len(one) else np.nan for one in bout_s]),
        latency_s=np.array(onsets_s, np.float64),
    )


def bout_table(bouts: VideoBouts) -> Table:
    """One row for each behavior."""
    rows = []
    for place, name in enumerate(bouts.behaviors):
        statistics = bouts.statistics
        rows.append(
            (
                name,
                str(statistics.count[place]),
                seconds_text(statistics.mean_length_s[place]),
                seconds_text(bouts.median_length_s[place]),
                seconds_text(bouts.longest_s[place]),
                seconds_text(statistics.time_spent_s[place]),
                share_text(bouts.share[place]),
                seconds_text(bouts.latency_s[place]),
            )
        )
    return Table(
        head=(
            "behavior",
            "bouts",
            "mean length (s)",
            "median (s)",
            "longest (s)",
            "time spent (s)",
            "share",
            "first after (s)",
        ),
        rows=tuple(rows),
        caption=f"Bouts after the bout rule, in {seconds_text(bouts.statistics.watched_s)} s with "
        "an answer",
    )
