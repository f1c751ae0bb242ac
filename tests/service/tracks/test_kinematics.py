from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from service.errors import InvalidRequest
from service.tracks import Track
from service.tracks.kinematics import (
    joints_of,
    kinematics_table,
    measure_kinematics,
    write_skeleton_h5,
)


def shape(*points) -> Track:
    """One frame, then the same 3 px to the right, at 10 Hz."""
    first = np.array(points, np.float32)
    positions = np.stack([first, first + np.array([3, 0], np.float32)])[:, None]
    return Track(
        source=Path("shape.h5"),
        model="drawn",
        keypoints=tuple("abcdef"[: len(points)]),
        animals=1,
        frame_rate_hz=10.0,
        frame_index=np.arange(2),
        keypoints_xy=positions,
        confidence=np.linspace(0.5, 1, positions[..., 0].size, dtype=np.float32).reshape(
            positions.shape[:-1]
        ),
    )


@pytest.mark.parametrize(
    ("end", "degrees"),
    [((5, 0), 0), ((5, -5), 45), ((0, -5), 90), ((-5, 0), 180), ((0, 5), 270), ((5, 5), 315)],
)
def test_directions_run_anticlockwise_as_the_picture_is_seen(end, degrees):
    found = measure_kinematics(shape((0, 0), end), bones=[("a", "b")])
    assert found.orientation_deg[0, 0, 0] == pytest.approx(degrees)
    assert found.length_px[0, 0, 0] == pytest.approx(np.hypot(*end))


@pytest.mark.parametrize(
    ("end", "degrees"), [((5, 0), 0), ((5, 5), 45), ((0, -5), 90), ((-5, 0), 180)]
)
def test_a_joint_has_the_angle_between_its_neighbors(end, degrees):
    found = measure_kinematics(shape((5, 0), (0, 0), end), joints=[("a", "b", "c")])
    assert found.angle_deg[0, 0, 0] == pytest.approx(degrees)


def test_confidence_is_that_of_the_worst_end():
    track = shape((5, 0), (0, 0), (0, 5))
    found = measure_kinematics(track, bones=[("b", "c"), ("b", "a")])
    np.testing.assert_array_equal(found.bone_confidence[0, 0], track.confidence[0, 0, [1, 0]])
    assert found.joints == (("c", "b", "a"),)
    assert found.joint_confidence[1, 0, 0] == track.confidence[1, 0, 0]


def test_joints_are_where_two_bones_meet():
    assert joints_of([("a", "b"), ("b", "c"), ("d", "e")]) == (("a", "b", "c"),)
    assert joints_of([("a", "b"), ("b", "a")]) == ()


def test_speeds_are_by_time_and_not_across_missing_frames(make_track):
    still = measure_kinematics(shape((0, 0), (5, 0)), bones=[("a", "b")])
    np.testing.assert_allclose(still.speed_px_s, 30.0, rtol=1e-6)
    track = make_track(frames=30)
    keep = np.delete(np.arange(30), [10, 11])
    gap = replace(
        track,
        frame_index=keep,
        keypoints_xy=track.keypoints_xy[keep],
        confidence=track.confidence[keep],
    )
    speed = measure_kinematics(gap).speed_px_s[:, 0, 3]
    assert np.flatnonzero(np.isnan(speed)).tolist() == [9, 10]
    circle_px_s = 2 * np.pi * 150 / 8
    np.testing.assert_allclose(speed[np.isfinite(speed)], circle_px_s, rtol=0.01)


def test_tables_name_bones_joints_and_animals(make_track, tmp_path):
    found = measure_kinematics(make_track(frames=12, animals=2))
    table = kinematics_table(found)
    assert len(table) == 12
    assert "animal2/snout_tailbase/length_px" in table
    assert "animal1/leftear_snout_rightear/angle_deg" in table
    np.testing.assert_allclose(table["animal2/snout_tailbase/length_px"], 100.0, rtol=1e-4)
    np.testing.assert_array_equal(table["animal1/snout/speed_px_s"], found.speed_px_s[:, 0, 0])
    path = tmp_path / "walk_skeleton.h5"
    write_skeleton_h5(found, path)
    read = pd.read_hdf(path, key="df_with_missing")
    assert isinstance(read, pd.DataFrame)
    assert read["animal2_snout_tailbase"].columns.tolist() == [
        "length",
        "orientation",
        "likelihood",
    ]
    np.testing.assert_array_equal(
        read["animal1_snout_leftear"]["orientation"], found.orientation_deg[:, 0, 0]
    )


def test_without_bones_or_with_wrong_ones_the_message_says_what_to_give(track):
    with pytest.raises(InvalidRequest, match="--skeleton snout:leftear"):
        measure_kinematics(replace(track, skeleton=()))
    with pytest.raises(InvalidRequest, match="no keypoint 'tail'; it has snout"):
        measure_kinematics(track, bones=[("snout", "tail")])
    with pytest.raises(InvalidRequest, match="--rate"):
        measure_kinematics(replace(track, frame_rate_hz=0.0))
