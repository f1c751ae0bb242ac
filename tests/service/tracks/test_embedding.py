from dataclasses import replace

import numpy as np
import pytest

from service.errors import InvalidConfig, InvalidRequest

embedding = pytest.importorskip(
    "service.tracks.embedding",
    exc_type=ImportError,
    reason="run `uv sync --inexact --extra analysis`",
)

CHOICES = embedding.EmbeddingChoices(axis=("snout", "tailbase"), clusters=2, max_poses=150)


def with_closed_ears(track, rows):
    """Both ears on the line of the body in some frames."""
    positions = track.keypoints_xy.copy()
    line = 0.2 * positions[rows, :, 3] + 0.8 * positions[rows, :, 0]
    positions[rows, :, 1] = positions[rows, :, 2] = line
    return replace(track, keypoints_xy=positions)


def test_poses_of_one_shape_lie_together_wherever_the_animal_is(make_track):
    rows = np.arange(120) % 3 == 0
    track = with_closed_ears(make_track(noise_px=0.3), rows)
    found = embedding.embed_poses([track], CHOICES)
    assert found.found == len(found.poses) == 120
    assert (found.cluster == rows[found.row]).all()  # the larger cluster is the first
    same = np.linalg.norm(found.places[rows] - found.places[rows].mean(axis=0), axis=1)
    apart = np.linalg.norm(found.places[rows].mean(axis=0) - found.places[~rows].mean(axis=0))
    assert apart > 2 * np.median(same)
    table = embedding.embedding_table(found)
    assert table["frame_index"].tolist() == list(range(120))
    assert {"file", "animal", "tsne_x", "tsne_y", "cluster", "pc1"} <= set(table)
    middle = embedding.central_pose(found, 1)
    assert rows[found.row[middle]]


def test_poses_are_turned_moved_and_scaled_into_the_animals_own_frame(make_track):
    small, turned = make_track(), make_track()
    turned = replace(turned, keypoints_xy=turned.keypoints_xy * 3 + 40)
    found = embedding.embed_poses([small, turned], replace(CHOICES, max_poses=240))
    expected = np.array([[1.0, 0.0], [0.8, -0.15], [0.8, 0.15], [0.0, 0.0]])
    np.testing.assert_allclose(found.poses, np.broadcast_to(expected, (240, 4, 2)), atol=1e-3)
    assert np.bincount(found.track).tolist() == [120, 120]


def test_a_keypoint_of_the_scene_is_no_part_of_a_pose(make_track):
    track = make_track(animals=2)
    positions = track.keypoints_xy.copy()
    positions[:, 0, 2], positions[:, 1, 2] = 5.0, np.nan
    scene = replace(
        track,
        keypoints=("snout", "leftear", "corner", "tailbase"),
        keypoints_xy=positions,
        unique_keypoints=("corner",),
        skeleton=(("snout", "corner"), ("snout", "tailbase")),
    )
    found = embedding.embed_poses([scene], replace(CHOICES, max_poses=240))
    assert np.bincount(found.animal).tolist() == [120, 120]
    np.testing.assert_allclose(
        found.poses[:, 1], np.broadcast_to([0.8, -0.15], (240, 2)), atol=1e-3
    )
    assert found.tracks[0].skeleton == (("snout", "tailbase"),)


def test_of_many_poses_as_many_as_asked_are_drawn_the_same_each_time(make_track, doubt):
    track = doubt(make_track(noise_px=1.0), slice(20), "snout")
    chosen = replace(CHOICES, max_poses=40)
    first, again = (embedding.embed_poses([track], chosen) for _ in range(2))
    assert first.found == 100
    assert len(first.row) == 40
    assert first.row.min() >= 20
    np.testing.assert_array_equal(first.row, again.row)
    np.testing.assert_array_equal(first.places, again.places)
    other = embedding.embed_poses([track], replace(chosen, seed=1))
    assert (first.row != other.row).any()


def test_what_cannot_be_embedded_is_refused(make_track):
    track = make_track()
    with pytest.raises(InvalidRequest, match="no keypoint 'nose'"):
        embedding.embed_poses([track], replace(CHOICES, axis=("nose", "tailbase")))
    with pytest.raises(InvalidRequest, match="an embedding needs 10"):
        embedding.embed_poses([make_track(frames=5)], CHOICES)
    other = replace(track, keypoints=("a", "b", "c", "d"), skeleton=())
    with pytest.raises(InvalidRequest, match="embed tracks of one model"):
        embedding.embed_poses([track, other], CHOICES)
    with pytest.raises(InvalidConfig, match="2 or more"):
        embedding.EmbeddingChoices(axis=("a", "b"), clusters=1)
