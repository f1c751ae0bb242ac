import numpy as np
import pytest

from service.errors import InvalidConfig
from service.targets import TargetSpec, decode, encode, grid_size

SPEC = TargetSpec()


def random_points(count: int, *, width_px: int, height_px: int) -> np.ndarray:
    """(1, K, 2) of one animal."""
    random = np.random.default_rng(5)
    points = random.uniform((-0.5, -0.5), (width_px - 0.5, height_px - 0.5), (1, count, 2))
    return points.astype(np.float32)


@pytest.mark.parametrize("kind", ["disc", "gaussian"])
@pytest.mark.parametrize(("width_px", "height_px"), [(384, 288), (100, 61)])
def test_decoding_the_targets_gives_the_keypoints_back(
    width_px: int, height_px: int, kind: str
) -> None:
    spec = TargetSpec(kind=kind)
    points = random_points(500, width_px=width_px, height_px=height_px)
    targets = encode(points, width_px, height_px, spec)
    found = decode(targets.scores, targets.offsets, spec)
    assert np.abs(found[..., :2] - points).max() < 0.1
    assert (found[..., 2] > 0.6).all()


def test_every_cell_of_the_disc_points_at_the_keypoint() -> None:
    point = np.array([[[101.3, 57.8]]], np.float32)
    targets = encode(point, 384, 288, SPEC)
    rows, columns = np.nonzero(targets.scores[0])
    assert 3 <= len(rows) <= 2 * SPEC.disc_cells
    for row, column in zip(rows, columns, strict=True):
        only = np.zeros_like(targets.scores)
        only[0, row, column] = 1
        found = decode(only, targets.offsets, SPEC)
        assert found[0, 0, :2] == pytest.approx(point[0, 0], abs=1e-3)


def test_a_gaussian_is_highest_at_the_keypoint_and_its_offsets_end_at_the_radius() -> None:
    spec = TargetSpec(kind="gaussian", radius_px=12)
    targets = encode(np.array([[[83.5, 43.5]]], np.float32), 384, 288, spec)
    assert targets.scores[0, 5, 10] == pytest.approx(1)
    assert targets.scores[0, 5, 11] == pytest.approx(np.exp(-(8**2) / (2 * 8.0**2)), abs=1e-5)
    assert targets.near.sum() == 9
    assert ((targets.offsets[0] != 0).any(axis=0) <= (targets.near[0] > 0)).all()


def test_several_animals_are_found_as_local_maxima_highest_first() -> None:
    points = np.array(
        [[[40.0, 40.0], [50.0, 90.0]], [[200.0, 60.0], [np.nan, np.nan]], [[70.0, 180.0]] * 2],
        np.float32,
    )
    targets = encode(points, 256, 256, SPEC)
    assert targets.labelled.tolist() == [1, 1]
    scores = targets.scores.copy()
    scores[0, :, :16] *= 0.8  # the second animal is the surest
    found = decode(scores, targets.offsets, SPEC, animals=4)
    assert found.shape == (4, 2, 3)
    assert found[0, 0, :2] == pytest.approx([200, 60], abs=0.01)
    for keypoint, expected in enumerate(({(40, 40), (200, 60), (70, 180)}, {(50, 90), (70, 180)})):
        sure = found[:, keypoint][found[:, keypoint, 2] > 0]
        assert len(sure) == len(expected)
        assert {tuple(np.round(point[:2]).tolist()) for point in sure} == expected


def test_two_animals_that_touch_share_a_map_and_each_cell_points_at_the_nearer() -> None:
    points = np.array([[[60.0, 60.0]], [[90.0, 60.0]]], np.float32)
    targets = encode(points, 128, 128, TargetSpec(radius_px=20))
    for row, column in zip(*np.nonzero(targets.near[0]), strict=True):
        centre = np.array([column, row]) * 8 + 3.5
        pointed = centre + targets.offsets[0, :, row, column] * SPEC.offset_unit_px
        distances = np.linalg.norm(points[:, 0] - centre, axis=1)
        assert pointed == pytest.approx(points[distances.argmin(), 0], abs=1e-3)


def test_a_missing_keypoint_is_not_labelled_and_one_outside_is_labelled_and_nowhere() -> None:
    points = np.array([[[np.nan, np.nan], [-1.0, 20.0], [20.0, 48.0], [20.0, 47.0]]], np.float32)
    targets = encode(points, 64, 48, SPEC)
    assert targets.labelled.tolist() == [0, 1, 1, 1]
    assert targets.scores.sum(axis=(1, 2)).astype(bool).tolist() == [False, False, False, True]
    assert np.isfinite(targets.offsets).all()


def test_the_grid_covers_a_picture_that_is_no_multiple_of_the_stride() -> None:
    assert grid_size(64, 48, 8) == (8, 6)
    assert grid_size(65, 41, 8) == (9, 6)


def test_a_disc_that_misses_every_cell_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="radius_px 5"):
        TargetSpec(stride_px=8, radius_px=5.0)
