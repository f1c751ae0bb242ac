"""Gathering chunks, and what is present after the bout rule."""

import itertools

import ethostream.values as client
import msgspec
import numpy as np
import pytest

from service.errors import InvalidRequest
from service.results import VideoResults, gather_results
from service.results.video_results import kept_bouts
from service.values import BehaviorColumns, BundleVersion, PoseColumns, ResultChunk


def cut(results: VideoResults, edges: list[int]) -> list[ResultChunk]:
    chunks = []
    for first, last in itertools.pairwise(edges):
        rows = slice(first, last)
        chunks.append(
            ResultChunk(
                results.frame_index[rows],
                results.pts_ns[rows],
                results.status[rows],
                tuple(
                    PoseColumns(one.bundle, one.keypoints_xy[rows], one.confidence[rows])
                    for one in results.poses
                ),
                tuple(
                    BehaviorColumns(
                        one.bundle, one.status[rows], one.probabilities[rows], one.present[rows]
                    )
                    for one in results.behaviors
                ),
            )
        )
    return chunks


def test_chunks_of_any_length_give_the_same_results(results: VideoResults) -> None:
    for edges in ([0, 30], [0, 1, 2, 17, 30], list(range(31))):
        gathered = gather_results(results.provenance, cut(results, edges))
        np.testing.assert_array_equal(gathered.frame_index, results.frame_index)
        np.testing.assert_array_equal(gathered.pts_ns, results.pts_ns)
        np.testing.assert_array_equal(gathered.status, results.status)
        np.testing.assert_array_equal(gathered.poses[0].keypoints_xy, results.poses[0].keypoints_xy)
        np.testing.assert_array_equal(gathered.behaviors[0].present, results.behaviors[0].present)
        np.testing.assert_array_equal(
            gathered.behaviors[0].probabilities, results.behaviors[0].probabilities
        )


def test_chunks_of_the_client_are_gathered_too(results: VideoResults) -> None:
    (chunk,) = cut(results, [0, 30])
    theirs = client.ResultChunk(
        chunk.frame_index,
        chunk.pts_ns,
        chunk.status,
        (
            client.PoseColumns(
                client.BundleVersion("mouse", 2),
                chunk.poses[0].keypoints_xy,
                chunk.poses[0].confidence,
            ),
        ),
        (
            client.BehaviorColumns(
                client.BundleVersion("activity", 1),
                chunk.behaviors[0].status,
                chunk.behaviors[0].probabilities,
                chunk.behaviors[0].present,
            ),
        ),
    )
    gathered = gather_results(results.provenance, [theirs])
    assert gathered.poses[0].bundle == BundleVersion("mouse", 2)
    np.testing.assert_array_equal(gathered.poses[0].confidence, results.poses[0].confidence)


def test_a_video_without_a_frame_has_columns_of_length_zero(results: VideoResults) -> None:
    empty = gather_results(results.provenance, [])
    assert len(empty) == 0
    assert empty.poses[0].keypoints_xy.shape == (0, 1, 4, 2)
    assert empty.behaviors[0].present.shape == (0, 2)


def test_a_chunk_of_another_version_is_refused(results: VideoResults) -> None:
    (chunk,) = cut(results, [0, 30])
    stranger = PoseColumns(
        BundleVersion("mouse", 3), chunk.poses[0].keypoints_xy, chunk.poses[0].confidence
    )
    other = ResultChunk(chunk.frame_index, chunk.pts_ns, chunk.status, (stranger,), chunk.behaviors)
    with pytest.raises(InvalidRequest, match="mouse@3 where mouse@2 was announced"):
        gather_results(results.provenance, [other])


def test_columns_of_two_lengths_are_refused(results: VideoResults) -> None:
    with pytest.raises(InvalidRequest, match=r"lengths \[29, 30\]"):
        VideoResults(
            results.provenance,
            results.frame_index[1:],
            results.pts_ns,
            results.status,
            results.poses,
            results.behaviors,
        )


def test_short_bouts_go_and_frames_without_an_answer_stay_empty(results: VideoResults) -> None:
    ((bundle, found),) = results.behavior_answers()
    assert bundle.behavior is not None
    kept = kept_bouts(bundle.behavior, found)
    assert found.present[20, 0]
    assert np.flatnonzero(kept[:, 0]).tolist() == [10, 11, 12, 13, 14, 15]


def test_the_shortest_bout_is_counted_in_evaluated_frames(results: VideoResults) -> None:
    ((bundle, found),) = results.behavior_answers()
    assert bundle.behavior is not None
    every_third = msgspec.structs.replace(bundle.behavior, stride=3)
    kept = kept_bouts(every_third, found)
    assert not kept[:, 1].any()  # six frames, but three evaluated ones show for seven at least
    assert np.flatnonzero(kept[:, 0]).tolist() == list(range(10, 21))  # the gap is short now
