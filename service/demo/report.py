"""What the demo found: the figures of both ways, as values, a table and JSON."""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from service.demo.comparison import compare
from service.demo.live_run import LiveRun
from service.demo.truth import Truth, score_behavior, score_pose
from service.results import VideoResults
from service.values import BehaviorStatus, FrameStatus


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One way of analyzing the recording: live, or as a file."""

    frames: int
    """Frames with pixels."""
    answers: int
    """Answers with the keypoints of a frame."""
    behavior_answers: int
    frames_per_s: float
    keypoint_ms_p50: float | None = None
    """From sending a frame to its keypoints, on the rig's clock."""
    keypoint_ms_p99: float | None = None
    behavior_ms_p50: float | None = None
    """From sending a frame to its probabilities."""
    behavior_ms_p99: float | None = None
    keypoint_error_px: float | None = None
    """Mean distance to the truth, of all visible keypoints."""
    keypoint_median_px: float | None = None
    error_px_by_keypoint: dict[str, float] = {}
    macro_f1: float | None = None
    f1_by_behavior: dict[str, float | None] = {}
    chance_f1: float | None = None


class VideoSummary(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one recording."""

    video: str
    bundles: tuple[str, ...]
    """NAME@VERSION with engine and precision."""
    duration_s: float
    has_keypoints: bool
    """False where only behavior bundles ran."""
    live: Figures
    archive: Figures
    look_ahead_frames: int
    difference_px: float
    """Largest distance between a live and an archive keypoint, of confident ones."""
    difference_probability: float
    difference_decisions: int
    problems: tuple[str, ...]
    """Empty where every frame was answered once, in order, and both ways agree."""
    note: str
    """What was wrong with the file itself; empty where nothing was."""
    files: tuple[str, ...]


def summarize(
    video: Path,
    run: LiveRun,
    live: VideoResults,
    archive: VideoResults,
    *,
    archive_seconds: float,
    truth: Truth | None,
    files: Sequence[Path] = (),
) -> VideoSummary:
    """Compare both ways with each other, and with the truth where it is known.

    Args:
        video: the recording.
        run: what the live stream did.
        live: its answers.
        archive: the answers to the file.
        archive_seconds: that the analysis of the file took.
        truth: of the recording.
        files: that were written.
    """
    difference = compare(live, archive)
    with_pixels = np.isin(archive.status, [FrameStatus.OK, FrameStatus.REPEATED])
    without = [BehaviorStatus.NO_FRAME, BehaviorStatus.ERROR]
    return VideoSummary(
        video=str(video),
        bundles=tuple(
            f"{one.key} ({one.engine} {one.precision})" for one in archive.provenance.bundles
        ),
        duration_s=len(archive) / (archive.frame_rate_hz or 30.0),
        has_keypoints=bool(archive.poses),
        live=_figures(
            live,
            truth,
            frames=len(live),
            answers=run.answers,
            behavior_answers=run.behavior_answers,
            seconds=run.seconds,
            run=run,
        ),
        archive=_figures(
            archive,
            truth,
            frames=int(with_pixels.sum()),
            answers=_complete_rows(archive),
            behavior_answers=sum(
                int((~np.isin(one.status, without)).sum()) for one in archive.behaviors
            ),
            seconds=archive_seconds,
        ),
        look_ahead_frames=run.look_ahead_frames,
        difference_px=difference.keypoint_px,
        difference_probability=difference.probability,
        difference_decisions=difference.decisions,
        problems=(*run.problems, *difference.problems),
        note=archive.provenance.message,
        files=tuple(map(str, files)),
    )


def _complete_rows(results: VideoResults) -> int:
    """Frames with keypoints from every pose bundle."""
    complete = np.isin(results.status, [FrameStatus.OK, FrameStatus.REPEATED])
    for poses in results.poses:
        complete &= ~np.isnan(poses.confidence).any(axis=(1, 2))
    return int(complete.sum())


def _figures(
    results: VideoResults,
    truth: Truth | None,
    *,
    frames: int,
    answers: int,
    behavior_answers: int,
    seconds: float,
    run: LiveRun | None = None,
) -> Figures:
    """Figures of one way; of several bundles the first of each task is scored."""
    pose = behavior = None
    if truth is not None:
        for bundle, poses in results.pose_answers()[:1]:
            pose = score_pose(truth, results, bundle, poses)
        for bundle, found in results.behavior_answers()[:1]:
            behavior = score_behavior(truth, results, bundle, found)
    return Figures(
        frames=frames,
        answers=answers,
        behavior_answers=behavior_answers,
        frames_per_s=frames / seconds,
        keypoint_ms_p50=_quantile(run.latency_ms, 0.5) if run else None,
        keypoint_ms_p99=_quantile(run.latency_ms, 0.99) if run else None,
        behavior_ms_p50=_quantile(run.behavior_latency_ms, 0.5) if run else None,
        behavior_ms_p99=_quantile(run.behavior_latency_ms, 0.99) if run else None,
        keypoint_error_px=pose.mean_px if pose else None,
        keypoint_median_px=pose.median_px if pose else None,
        error_px_by_keypoint=pose.by_keypoint if pose else {},
        macro_f1=_defined(behavior.macro_f1) if behavior else None,
        f1_by_behavior={name: _defined(value) for name, value in behavior.by_behavior.items()}
        if behavior
        else {},
        chance_f1=_defined(behavior.chance_f1) if behavior else None,
    )


def summary_table(summary: VideoSummary) -> Table:
    """Lay the figures of one recording out, live beside archive."""
    live, archive = summary.live, summary.archive
    table = Table(
        title=f"{summary.video}: {summary.duration_s:.1f} s, {', '.join(summary.bundles)}",
        title_justify="left",
    )
    table.add_column("")
    table.add_column("live stream", justify="right")
    table.add_column("archive", justify="right")

    def add(name: str, *values: str) -> None:
        if any(values):
            table.add_row(name, *values)

    add("frames", str(live.frames), str(archive.frames))
    add(
        "keypoint answers" if summary.has_keypoints else "frame answers",
        str(live.answers),
        str(archive.answers),
    )
    if live.behavior_answers or archive.behavior_answers:
        add("behavior answers", str(live.behavior_answers), str(archive.behavior_answers))
    add("frames/s", f"{live.frames_per_s:.1f}", f"{archive.frames_per_s:.1f}")
    if summary.has_keypoints:
        add("keypoint latency p50 / p99, ms", _pair(live.keypoint_ms_p50, live.keypoint_ms_p99), "")
    add("behavior latency p50 / p99, ms", _pair(live.behavior_ms_p50, live.behavior_ms_p99), "")
    if live.behavior_answers:
        add("behavior look-ahead, frames", str(summary.look_ahead_frames), "")
    table.add_section()
    add("keypoint error, mean px", *(_show(one.keypoint_error_px, 2) for one in (live, archive)))
    for name in live.error_px_by_keypoint:
        add(f"  {name}", *(_show(one.error_px_by_keypoint.get(name), 2) for one in (live, archive)))
    add("behavior F1, macro", *(_show(one.macro_f1, 3) for one in (live, archive)))
    for name in live.f1_by_behavior:
        add(f"  {name}", *(_show(one.f1_by_behavior.get(name), 3) for one in (live, archive)))
    add("  chance", *(_show(one.chance_f1, 3) for one in (live, archive)))
    table.add_section()
    if summary.has_keypoints:
        add("largest difference, keypoint px", f"{summary.difference_px:.4f}", "")
    if live.behavior_answers:
        add("largest difference, probability", f"{summary.difference_probability:.5f}", "")
        add("decisions that differ", str(summary.difference_decisions), "")
    return table


def _quantile(values: NDArray[np.float64], share: float) -> float | None:
    return float(np.quantile(values, share)) if len(values) else None


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _show(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _pair(first: float | None, second: float | None) -> str:
    return "" if first is None or second is None else f"{first:.1f} / {second:.1f}"
