from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import InvalidConfig, InvalidRequest
from service.tracks.track import Track
from training.behavior.keypoints.features import (
    PoseFeatures,
    feature_names,
    fill_gaps,
    pose_features,
)

NAMES = ("nose", "left", "right", "tail")
POSE = np.array([[30.0, 0.0], [10.0, -10.0], [10.0, 10.0], [-10.0, 0.0]])
"""A pose that looks to the right of the picture; its left is up."""
SETTINGS = PoseFeatures(keypoints=NAMES, heading=("tail", "nose"), cutoff=0.5)


def track_of(
    points: NDArray[np.float64],
    confidence: NDArray[np.float64] | None = None,
    frame_index: NDArray[np.int64] | None = None,
) -> Track:
    frames, keypoints = points.shape[:2]
    sure = np.ones((frames, keypoints)) if confidence is None else confidence
    return Track(
        source=Path("mouse.csv"),
        model="truth",
        keypoints=NAMES[:keypoints],
        animals=1,
        frame_rate_hz=10.0,
        frame_index=np.arange(frames) if frame_index is None else frame_index,
        keypoints_xy=points[:, None].astype(np.float32),
        confidence=sure[:, None].astype(np.float32),
    )


def columns(
    points: NDArray[np.float64],
    settings: PoseFeatures = SETTINGS,
    confidence: NDArray[np.float64] | None = None,
    **options: object,
) -> dict[str, NDArray[np.float32]]:
    values = pose_features(
        track_of(points, confidence),
        settings,
        frames=len(points),
        frame_rate_hz=10.0,
        **options,  # type: ignore[arg-type]
    )
    names = feature_names(settings, corners=bool(options.get("corners")))
    assert values.shape == (len(points), len(names))
    return dict(zip(names, values.T, strict=True))


def turned(points: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Turn to the left, as one sees it in the picture."""
    angle = np.deg2rad(-degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ matrix.T


def test_a_known_pose_has_the_features_that_geometry_gives() -> None:
    still = columns(np.repeat(POSE[None], 3, axis=0), body_length_px=10.0)
    assert still["ego_x nose"] == pytest.approx(2.0)  # the centroid is at x = 10
    assert still["ego_y left"] == pytest.approx(1.0)
    assert still["ego_y right"] == pytest.approx(-1.0)
    assert still["distance nose tail"] == pytest.approx(4.0)
    assert still["distance left right"] == pytest.approx(2.0)
    assert still["area"] == pytest.approx(4.0)
    assert still["long_axis"] == pytest.approx(np.sqrt(2.0))
    assert still["short_axis"] == pytest.approx(np.sqrt(0.5))
    assert still["angle_cos nose"] == pytest.approx(2 / np.sqrt(5.0))  # from tail over nose to left
    assert still["speed nose"] == pytest.approx(0.0)
    assert still["turning"] == pytest.approx(0.0)


def test_lengths_are_measured_in_the_median_span_of_the_animal() -> None:
    still = columns(np.repeat(POSE[None], 3, axis=0))
    assert still["distance nose tail"] == pytest.approx(1.0)


def test_features_do_not_depend_on_place_and_heading() -> None:
    random = np.random.default_rng(1)
    points = POSE + np.cumsum(random.normal(size=(20, 1, 2)), 0) + random.normal(size=(20, 4, 2))
    expected = columns(points)
    for name, values in columns(turned(points, 70.0) + np.array([300.0, -80.0])).items():
        assert values == pytest.approx(expected[name], abs=1e-4), name


def test_speeds_have_the_direction_of_the_body() -> None:
    steps = np.arange(6.0)[:, None, None]
    walk = columns(POSE + steps * [4.0, 0.0], body_length_px=40.0)
    assert walk["forward"] == pytest.approx(1.0)  # 4 px of 40 at 10 frames a second
    assert walk["sideways"] == pytest.approx(0.0, abs=1e-6)
    assert walk["speed tail"] == pytest.approx(1.0)
    slide = columns(POSE + steps * [0.0, -4.0], body_length_px=40.0)
    assert slide["sideways"] == pytest.approx(1.0)  # up in the picture is to its left
    spin = columns(np.stack([turned(POSE, 20.0 * frame) for frame in range(30)]))
    assert spin["turning"] == pytest.approx(np.deg2rad(200.0), abs=1e-4)


def test_without_a_heading_the_body_axis_points_to_the_first_keypoint() -> None:
    free = PoseFeatures(keypoints=NAMES, cutoff=0.5)
    points = np.stack([turned(POSE, angle) for angle in (0.0, 95.0, 180.0, 271.0)])
    found, expected = columns(points, free), columns(points)
    for name in ("ego_x nose", "ego_y left", "ego_x tail"):
        assert found[name] == pytest.approx(expected[name], abs=1e-5)


def test_a_position_below_the_cutoff_is_interpolated_by_its_confidence() -> None:
    points = POSE + np.arange(5.0)[:, None, None] * [4.0, 0.0]
    expected = columns(points)
    confidence = np.ones((5, 4))
    confidence[2, 0] = 0.3
    points[2, 0] = (900.0, 900.0)  # a wild guess of the pose network
    found = columns(points, confidence=confidence)
    assert found["ego_x nose"] == pytest.approx(expected["ego_x nose"], abs=1e-5)
    assert found["seen nose"].tolist() == [1, 1, 0, 1, 1]


def test_a_small_coordinate_is_not_taken_for_a_low_confidence() -> None:
    points = np.repeat(POSE[None], 4, axis=0)
    points[2, 3] = (0.1, 0.1)
    assert columns(points)["seen tail"].tolist() == [1, 1, 1, 1]
    assert columns(points)["distance nose tail"][2] < columns(points)["distance nose tail"][1]


def test_gaps_are_filled_linearly_or_held_where_causal() -> None:
    points = np.full((6, 1, 2), np.nan)
    points[1], points[4] = 10.0, 40.0
    assert fill_gaps(points, causal=False)[:, 0, 0].tolist() == [10, 10, 20, 30, 40, 40]
    held = fill_gaps(points, causal=True)[:, 0, 0]
    np.testing.assert_array_equal(held, [np.nan, 10, 10, 10, 40, 40])
    assert np.isnan(points[2]).all()  # the given array is as it was


def test_causal_features_do_not_change_with_later_frames() -> None:
    random = np.random.default_rng(2)
    points = POSE + np.cumsum(random.normal(size=(30, 1, 2)), axis=0)
    confidence = random.random((30, 4))
    settings = PoseFeatures(keypoints=NAMES, heading=("tail", "nose"), causal=True, cutoff=0.3)
    whole = columns(points, settings, confidence, body_length_px=40.0)
    part = columns(points[:17], settings, confidence[:17], body_length_px=40.0)
    for name, values in part.items():
        np.testing.assert_allclose(values, whole[name][:17], atol=1e-6, err_msg=name)


def test_walls_are_as_far_as_the_polygon_says() -> None:
    corners = ((-20.0, -50.0), (50.0, -50.0), (50.0, 50.0), (-20.0, 50.0))
    found = columns(POSE[None], corners=corners, body_length_px=10.0)
    assert found["wall nose"] == pytest.approx(2.0)
    assert found["wall tail"] == pytest.approx(1.0)
    assert found["wall left"] == pytest.approx(3.0)
    outside = columns(POSE[None] + [25.0, 0.0], corners=corners, body_length_px=10.0)
    assert outside["wall nose"] == pytest.approx(-0.5)


def test_nothing_is_computed_across_a_clip_limit() -> None:
    points = np.concatenate([np.repeat(POSE[None], 3, 0), np.repeat(POSE[None] + 500.0, 3, 0)])
    jump = columns(points)
    assert jump["speed nose"].max() > 10
    cut = columns(points, clips=((0, 3), (3, 6)))
    assert cut["speed nose"] == pytest.approx(0.0)


def test_frames_that_the_track_leaves_out_are_interpolated() -> None:
    whole = POSE + np.arange(6.0)[:, None, None] * [4.0, 0.0]
    kept = np.array([0, 1, 4, 5])
    found = pose_features(
        track_of(whole[kept], frame_index=kept), SETTINGS, frames=6, frame_rate_hz=10.0
    )
    expected = pose_features(track_of(whole), SETTINGS, frames=6, frame_rate_hz=10.0)
    names = feature_names(SETTINGS, corners=False)
    moved = [one for one, name in enumerate(names) if not name.startswith("seen")]
    np.testing.assert_allclose(found[:, moved], expected[:, moved], atol=1e-5)
    assert found[2, names.index("seen nose")] == 0


def test_a_keypoint_that_is_never_seen_leaves_the_others_their_features() -> None:
    confidence = np.ones((4, 4))
    confidence[:, 1] = 0.0
    found = columns(np.repeat(POSE[None], 4, axis=0), confidence=confidence)
    assert np.isnan(found["speed left"]).all()
    assert found["distance nose tail"] == pytest.approx(1.0)
    assert np.isfinite(found["long_axis"]).all()


def test_a_single_frame_has_features() -> None:
    assert columns(POSE[None])["turning"].tolist() == [0.0]


def test_two_keypoints_are_enough() -> None:
    settings = PoseFeatures(keypoints=("nose", "left"))
    found = pose_features(track_of(POSE[None]), settings, frames=1, frame_rate_hz=10.0)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": ("nose",)}, "at least two"),
        ({"keypoints": ("nose", "nose")}, "each once"),
        ({"heading": ("tail", "ear")}, "'ear'"),
        ({"cutoff": 1.5}, "1.5"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"keypoints": NAMES}
    with pytest.raises(InvalidConfig, match=message):
        PoseFeatures(**(values | changes))  # type: ignore[arg-type]


def test_a_track_of_another_recording_is_refused() -> None:
    points = np.repeat(POSE[None], 4, axis=0)
    with pytest.raises(InvalidRequest, match="goes to frame 3, but the recording has 2 frames"):
        pose_features(track_of(points), SETTINGS, frames=2, frame_rate_hz=10.0)


def test_a_track_without_a_sure_position_is_refused() -> None:
    points = np.repeat(POSE[None], 4, axis=0)
    with pytest.raises(InvalidRequest, match="lower the cutoff"):
        columns(points, confidence=np.full((4, 4), 0.1))
