"""Long traces in few columns: nothing that matters is lost."""

import dataclasses
from io import BytesIO

import msgspec
import numpy as np
import pytest
from PIL import Image

from service.drawing import draw_confidence, draw_ethogram
from service.drawing.colors import behavior_color
from service.drawing.figures import column_starts, frame_edges, to_columns
from service.drawing.traces import _strip
from service.drawing.trajectory import _colored_way
from service.results import VideoResults
from service.results.provenance import AnsweredBundle

HOUR = 108_000


def hour_long(results: VideoResults) -> VideoResults:
    """The same bundles over an hour at 30 Hz: all sure, nothing happens."""
    poses, found = results.poses[0], results.behaviors[0]
    keypoints, behaviors = poses.confidence.shape[2], found.present.shape[1]
    index = np.arange(HOUR)
    return dataclasses.replace(
        results,
        frame_index=index,
        pts_ns=index * 1_000_000_000 // 30,
        status=np.full(HOUR, results.status[0]),
        poses=(
            dataclasses.replace(
                poses,
                keypoints_xy=np.full((HOUR, 1, keypoints, 2), 60, np.float32),
                confidence=np.full((HOUR, 1, keypoints), 0.95, np.float32),
            ),
        ),
        behaviors=(
            dataclasses.replace(
                found,
                status=np.ones(HOUR, np.uint8),
                probabilities=np.full((HOUR, behaviors), 0.05, np.float32),
                present=np.zeros((HOUR, behaviors), np.bool_),
            ),
        ),
    )


def pixels(held: BytesIO) -> np.ndarray:
    return np.asarray(Image.open(held).convert("RGB")).astype(int)


def test_no_lowest_or_highest_value_is_lost() -> None:
    random = np.random.default_rng(2)
    values = random.normal(0, 1, (10_007, 2)).astype(np.float32)
    values[5000, 0], values[7000, 1] = 50, -50
    values[:300] = np.nan
    values[9000, 1] = np.nan
    edges = np.arange(10_008) / 30
    found = to_columns(values, edges, 100)
    starts = column_starts(10_007, 100)
    assert len(starts) == len(found.middles) == 100
    assert (found.edges[0], found.edges[-1]) == (0, 10_007 / 30)
    np.testing.assert_array_equal(found.edges[:-1], edges[starts])
    parts = np.split(values.astype(np.float64), starts[1:])
    assert np.isnan(found.low[0]).all()
    assert np.isnan(found.mean[0]).all()
    for place, part in enumerate(parts[3:], start=3):
        np.testing.assert_allclose(found.low[place], np.nanmin(part, axis=0))
        np.testing.assert_allclose(found.high[place], np.nanmax(part, axis=0))
        np.testing.assert_allclose(found.mean[place], np.nanmean(part, axis=0), atol=1e-9)
    assert np.nanmax(found.high[:, 0]) == 50
    assert np.nanmin(found.low[:, 1]) == -50


def test_short_traces_stay_as_they_are() -> None:
    values = np.array([[0.1], [np.nan], [0.3]], np.float32)
    found = to_columns(values, frame_edges(np.array([0.0, 0.1, 0.2])))
    for one in (found.low, found.mean, found.high):
        np.testing.assert_array_equal(one, values.astype(np.float64))
    np.testing.assert_allclose(found.edges, [0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(frame_edges(np.array([2.0]), 50), [2, 2.02])


def test_one_unsure_frame_of_an_hour_is_seen_in_the_confidence(results: VideoResults) -> None:
    def drawn(values: VideoResults) -> np.ndarray:
        held = BytesIO()
        draw_confidence(values, held)
        return pixels(held)

    sure = hour_long(results)
    confidence = sure.poses[0].confidence.copy()
    confidence[54_000, 0, 0] = 0.1
    unsure = dataclasses.replace(
        sure, poses=(dataclasses.replace(sure.poses[0], confidence=confidence),)
    )
    column = _strip(confidence[:, 0, 0], 0.6)[len(column_starts(HOUR)) // 2]
    marked = drawn(unsure)
    is_mark = np.abs(marked - 255 * column).max(axis=-1) < 4
    is_new = (marked != drawn(sure)).any(axis=-1)
    seen = np.nonzero(is_mark & is_new)[1]
    assert len(seen) > 3
    assert abs(seen.mean() / 1540 - 0.5) < 0.06  # in the middle of the time axis


def test_one_frame_of_a_behavior_in_an_hour_is_seen_in_the_ethogram(
    results: VideoResults,
) -> None:
    color = np.array(behavior_color(results.provenance.bundles[1].behavior.behaviors, 1))

    def count(values: VideoResults) -> int:
        held = BytesIO()
        draw_ethogram(values, held)
        return int((np.abs(pixels(held) - color).max(axis=-1) < 90).sum())

    quiet = hour_long(results)
    found = quiet.behaviors[0]
    probabilities, present = found.probabilities.copy(), found.present.copy()
    probabilities[80_000, 1], present[80_000, 1] = 0.95, True
    once = dataclasses.replace(
        quiet,
        behaviors=(dataclasses.replace(found, probabilities=probabilities, present=present),),
    )
    assert count(once) > count(quiet) + 20


def test_the_way_of_an_animal_that_sits_for_an_hour_is_few_lines() -> None:
    path = np.random.default_rng(1).normal(60.3, 0.01, (HOUR, 2))
    path[HOUR // 2 :, 0] += 40  # jumps once
    path[1000:1010] = np.nan
    way = _colored_way(path, np.arange(HOUR) / 30, (0, 3600), 0.64)
    pieces = np.array(way.get_segments())
    assert len(pieces) < 20
    lengths = np.linalg.norm(pieces[:, 1] - pieces[:, 0], axis=1)
    assert lengths.max() == pytest.approx(40, abs=0.1)
    np.testing.assert_array_equal(pieces[-1, 1], path[-1])


def test_several_animals_have_lanes_of_their_own(results: VideoResults) -> None:
    bundle: AnsweredBundle = results.provenance.bundles[0]
    pose = msgspec.structs.replace(
        bundle.pose, max_animals=2, unique_keypoints=(bundle.pose.keypoints[0],)
    )
    poses = results.poses[0]
    pair = dataclasses.replace(
        results,
        provenance=msgspec.structs.replace(
            results.provenance,
            bundles=(msgspec.structs.replace(bundle, pose=pose), results.provenance.bundles[1]),
        ),
        poses=(
            dataclasses.replace(
                poses,
                keypoints_xy=np.repeat(poses.keypoints_xy, 2, axis=1),
                confidence=np.repeat(poses.confidence, 2, axis=1),
            ),
        ),
    )
    one, two = BytesIO(), BytesIO()
    draw_confidence(results, one)
    draw_confidence(pair, two)
    lanes = len(pose.keypoints) - 1  # the keypoint that is there once has one
    added_px = pixels(two).shape[0] - pixels(one).shape[0]
    assert added_px == pytest.approx(lanes * 0.62 * 140, abs=3)
