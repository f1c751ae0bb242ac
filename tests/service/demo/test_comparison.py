"""Differences between live and archive are measured, and told when they are too large."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from service.demo.comparison import compare
from service.demo.truth import Truth
from service.results import VideoResults
from service.values import FrameStatus

Make = Callable[..., VideoResults]


def test_equal_results_have_no_difference(make_results: Make, truth: Truth) -> None:
    found = compare(make_results(truth), make_results(truth))
    assert found.frames == 20
    assert found.keypoint_px == found.probability == found.decisions == 0
    assert found.problems == ()


def test_small_differences_are_measured_and_allowed(make_results: Make, truth: Truth) -> None:
    found = compare(make_results(truth), make_results(truth, offset_px=0.3, offset=0.01))
    assert found.keypoint_px == pytest.approx(0.3, abs=1e-4)
    assert found.keypoint_p99_px == pytest.approx(0.3, abs=1e-4)
    assert found.probability == pytest.approx(0.01, abs=1e-6)
    assert found.problems == ()


def test_large_differences_are_problems(make_results: Make, truth: Truth) -> None:
    found = compare(make_results(truth), make_results(truth, offset_px=0.7, offset=0.03))
    assert len(found.problems) == 2
    assert "a keypoint differs by 0.700 px" in found.problems[0]
    assert "a probability differs by 0.0300" in found.problems[1]


def test_points_that_one_side_doubts_do_not_count(make_results: Make, truth: Truth) -> None:
    live, archive = make_results(truth), make_results(truth, offset_px=50)
    archive.poses[0].confidence[:] = 0.2
    assert compare(live, archive).problems == ()


def test_a_frame_that_only_one_side_answered_is_a_problem(make_results: Make, truth: Truth) -> None:
    live, archive = make_results(truth), make_results(truth)
    live.poses[0].confidence[5] = np.nan
    live.behaviors[0].probabilities[6] = np.nan
    problems = compare(live, archive).problems
    assert "1 frames have keypoints only in one" in problems[0]
    assert "1 frames have probabilities of activity@1 only in one" in problems[1]


def test_decisions_that_differ_are_counted(make_results: Make, truth: Truth) -> None:
    live, archive = make_results(truth), make_results(truth)
    live.behaviors[0].present[9, 0] ^= True
    assert compare(live, archive).decisions == 1


def test_frames_without_pixels_are_not_missed_in_the_live_stream(
    make_results: Make, truth: Truth
) -> None:
    archive = make_results(truth)
    archive.status[19] = FrameStatus.CORRUPT
    whole = make_results(truth)
    assert (
        "live has 20 frames and the archive 19 with pixels" in compare(whole, archive).problems[0]
    )
    short = dataclasses.replace(
        whole,
        frame_index=whole.frame_index[:19],
        pts_ns=whole.pts_ns[:19],
        status=whole.status[:19],
        poses=tuple(
            dataclasses.replace(
                one, keypoints_xy=one.keypoints_xy[:19], confidence=one.confidence[:19]
            )
            for one in whole.poses
        ),
        behaviors=tuple(
            dataclasses.replace(
                one,
                status=one.status[:19],
                probabilities=one.probabilities[:19],
                present=one.present[:19],
            )
            for one in whole.behaviors
        ),
    )
    assert compare(short, archive).problems == ()
