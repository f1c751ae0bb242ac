"""The figures of the demo, and the table that people see."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from service.demo.live_run import LiveRun
from service.demo.report import VideoSummary, summarize, summary_table
from service.demo.truth import Truth
from service.results import VideoResults

Make = Callable[..., VideoResults]


def shown(summary: VideoSummary) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(summary_table(summary))
    return console.export_text()


def test_figures_of_both_ways_stand_side_by_side(
    make_results: Make, truth: Truth, live_run: LiveRun
) -> None:
    live, archive = make_results(truth, offset_px=2.0), make_results(truth, offset_px=2.25)
    summary = summarize(Path("a.mp4"), live_run, live, archive, archive_seconds=0.5, truth=truth)
    assert summary.problems == ()
    assert summary.live.frames_per_s == 10
    assert summary.archive.frames_per_s == 40
    assert summary.live.keypoint_error_px == pytest.approx(2.0, abs=1e-4)
    assert summary.archive.keypoint_error_px == pytest.approx(2.25, abs=1e-4)
    assert summary.live.keypoint_ms_p50 == 50.5
    assert summary.live.behavior_ms_p99 == pytest.approx(109.01)
    assert summary.archive.answers == summary.archive.behavior_answers == 20
    assert summary.difference_px == pytest.approx(0.25, abs=1e-4)
    assert summary.duration_s == 2.0
    text = shown(summary)
    for part in ("50.5 / 99.0", "2.00", "2.25", "0.2500", "tailbase", "rear", "1.000"):
        assert part in text


def test_without_truth_there_are_no_scores(
    make_results: Make, truth: Truth, live_run: LiveRun
) -> None:
    results = make_results(truth)
    summary = summarize(Path("a.mp4"), live_run, results, results, archive_seconds=1.0, truth=None)
    assert summary.live.keypoint_error_px is None
    assert summary.live.f1_by_behavior == {}
    assert "error" not in shown(summary)
    assert b"NaN" not in msgspec.json.encode(summary)


def test_problems_of_the_stream_and_of_the_comparison_are_both_kept(
    make_results: Make, truth: Truth, live_run: LiveRun
) -> None:
    broken = dataclasses.replace(live_run, problems=("frame 3 is lost",))
    summary = summarize(
        Path("a.mp4"),
        broken,
        make_results(truth),
        make_results(truth, offset_px=9.0),
        archive_seconds=1.0,
        truth=truth,
    )
    assert summary.problems[0] == "frame 3 is lost"
    assert "differs by 9.000 px" in summary.problems[1]
