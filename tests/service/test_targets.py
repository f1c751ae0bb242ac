import numpy as np
import pytest

from service.errors import InvalidConfig
from service.targets import TargetSpec, decode, encode, grid_size

SPEC = TargetSpec()


def random_points(count: int, *, width_px: int, height_px: int) -> np.ndarray:
    random = np.random.default_rng(5)
    return random.uniform((-0.5, -0.5), (width_px - 0.5, height_px - 0.5), (count, 2)).astype(
        np.float32
    )


@pytest.mark.parametrize(("width_px", "height_px"), [(384, 288), (100, 61)])
def test_decoding_the_targets_gives_the_keypoints_back(width_px: int, height_px: int) -> None:
    points = random_points(500, width_px=width_px, height_px=height_px)
    targets = encode(points, width_px, height_px, SPEC)
    found = decode(targets.scores, targets.offsets, SPEC.stride_px)
    assert np.abs(found[:, :2] - points).max() < 0.1
    assert (found[:, 2] == 1).all()


def test_every_cell_of_the_disc_points_at_the_keypoint() -> None:
    point = np.array([[101.3, 57.8]], np.float32)
    targets = encode(point, 384, 288, SPEC)
    rows, columns = np.nonzero(targets.scores[0])
    assert 3 <= len(rows) <= 2 * SPEC.disc_cells
    for row, column in zip(rows, columns, strict=True):
        only = np.zeros_like(targets.scores)
        only[0, row, column] = 1
        assert decode(only, targets.offsets, SPEC.stride_px)[0, :2] == pytest.approx(
            point[0], abs=1e-3
        )


def test_a_missing_keypoint_is_not_labelled_and_one_outside_is_labelled_and_nowhere() -> None:
    points = np.array([[np.nan, np.nan], [-1.0, 20.0], [20.0, 48.0], [20.0, 47.0]], np.float32)
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
