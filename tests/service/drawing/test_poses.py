"""Points and bones land where they belong."""

import numpy as np
import pytest

from service.drawing.colors import series_color
from service.drawing.poses import body_centers, draw_poses, draw_trail


def blank() -> np.ndarray:
    return np.full((60, 80, 3), 90, np.uint8)


def draw(image: np.ndarray, points: list[tuple[float, float]], confidence: list[float]) -> None:
    draw_poses(
        image,
        np.array([points], np.float32),
        np.array([confidence], np.float32),
        skeleton=[(0, 1)],
        confidence_cutoff=0.6,
        radius_px=4.0,
    )


def test_a_point_has_its_color_around_its_position() -> None:
    image = blank()
    draw(image, [(20, 30), (60, 30)], [0.9, 0.1])
    assert tuple(image[30, 23]) == series_color(0)
    changed = np.argwhere((image != 90).any(axis=-1))
    np.testing.assert_allclose(changed.mean(axis=0), [30, 20], atol=0.2)


def test_a_bone_is_drawn_between_two_confident_points() -> None:
    image = blank()
    draw(image, [(20, 30), (60, 30)], [0.9, 0.9])
    assert (image[30, 40] > 200).all()


@pytest.mark.parametrize("lost", [(np.nan, 30.0), (60.0, np.nan), (np.nan, np.nan)])
def test_a_point_without_a_position_is_left_out(lost: tuple[float, float]) -> None:
    image = blank()
    draw(image, [(20, 30), lost], [0.9, np.nan])
    assert (image[:, 40:] == 90).all()


def test_a_point_far_outside_harms_nothing() -> None:
    image = blank()
    draw(image, [(-1e9, 30), (1e9, 30)], [0.9, 0.9])
    assert image.shape == (60, 80, 3)


def test_a_trail_fades_towards_its_oldest_end_and_has_gaps() -> None:
    image = blank()
    path = np.array([[x, 30.0] for x in range(5, 75, 5)])
    path[7] = np.nan
    draw_trail(image, path, color=(255, 0, 0), width_px=4)
    redness = image[30, :, 0].astype(int) - image[30, :, 1]
    assert redness[68] > redness[12] > 0
    assert (image[30, 39:42] == 90).all()


def walk(frames: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """One animal of two keypoints, 40 px apart, that walks 1 px to the right a frame."""
    x = np.arange(frames, dtype=np.float32)
    keypoints_xy = np.zeros((frames, 1, 2, 2), np.float32)
    keypoints_xy[:, 0, 0, 0] = x
    keypoints_xy[:, 0, 1, 0] = x + 40
    return keypoints_xy, np.full((frames, 1, 2), 0.9, np.float32)


def test_a_center_does_not_jump_while_a_keypoint_is_lost_for_a_moment() -> None:
    keypoints_xy, confidence = walk()
    confidence[20:40, 0, 1] = 0.1
    keypoints_xy[20:40, 0, 1] = 500
    centers = body_centers(keypoints_xy, confidence, 0.6)
    np.testing.assert_allclose(centers[:, 0, 0], np.arange(100) + 20)


def test_a_center_is_unknown_while_a_keypoint_is_lost_for_long_or_has_not_come() -> None:
    keypoints_xy, confidence = walk()
    confidence[:5, 0, 0] = np.nan
    confidence[40:75, 0, 1] = 0.1
    unknown = np.isnan(body_centers(keypoints_xy, confidence, 0.6)[:, 0, 0])
    assert np.flatnonzero(unknown).tolist() == [*range(5), *range(40, 75)]


def test_a_keypoint_that_is_hardly_ever_seen_does_not_count() -> None:
    keypoints_xy, confidence = walk()
    confidence[30:, 0, 1] = 0.1
    centers = body_centers(keypoints_xy, confidence, 0.6)
    np.testing.assert_allclose(centers[:, 0, 0], np.arange(100))
