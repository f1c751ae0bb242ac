import numpy as np
import pytest

from service.bundle import InputSpec
from service.errors import InvalidConfig
from training.data.augment import Augmenter, AugmentSettings, mirror_indices

INPUT = InputSpec(width_px=384, height_px=288, color="rgb", fit="letterbox")
GEOMETRY_ONLY = AugmentSettings(
    brightness=0.0,
    contrast=(1.0, 1.0),
    gamma=(1.0, 1.0),
    gray_probability=0.0,
    invert_probability=0.0,
    motion_blur_probability=0.0,
    noise_probability=0.0,
    compression_probability=0.0,
    cut_out_probability=0.0,
)
# Points that make no symmetric figure; each has a dot of its own color.
POINTS = np.array([[[300.0, 200.0], [340.0, 216.0], [318.0, 252.0]]], np.float32)


def frame_with_dots(points: np.ndarray) -> np.ndarray:
    """Black 640x480 frame with a soft red, green and blue dot at the three points."""
    y, x = np.mgrid[:480, :640].astype(np.float32)
    dots = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 4.0**2)) for px, py in points[0]]
    return np.rint(np.stack(dots, axis=2) * 250).astype(np.uint8)


def centres_of_dots(view: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: view.shape[0], : view.shape[1]]
    weights = np.where(view > 20, view, 0).astype(np.float64)
    total = weights.sum(axis=(0, 1))
    centres = [(weights * axis[..., None]).sum(axis=(0, 1)) / total for axis in (x, y)]
    return np.stack(centres, axis=1)


def augmenter(settings: AugmentSettings, mirrored: tuple[int, ...] = (0, 1, 2)) -> Augmenter:
    return Augmenter(settings=settings, input=INPUT, width_px=224, height_px=224, mirrored=mirrored)


def test_keypoints_stay_on_their_pixels() -> None:
    frame = frame_with_dots(POINTS)
    make_view = augmenter(GEOMETRY_ONLY)
    compared = 0
    for seed in range(60):
        view = make_view(frame, POINTS, np.random.default_rng(seed))
        has_bright_border = (view.pixels.min(axis=2) > 20).any()
        is_inside = ((view.keypoints_xy > 15) & (view.keypoints_xy < 208)).all()
        if is_inside and not has_bright_border:
            assert np.abs(centres_of_dots(view.pixels) - view.keypoints_xy[0]).max() < 0.5
            compared += 1
    assert compared >= 15


def test_a_mirrored_view_swaps_left_and_right() -> None:
    # A mirror turns the triangle nose, left, right round, and swapping the names turns it back.
    frame = frame_with_dots(POINTS)
    pairs = mirror_indices(("nose", "left", "right"), (("left", "right"),))
    assert pairs == (0, 2, 1)
    always, never = (
        augmenter(AugmentSettings(mirror_probability=probability, cut_out_probability=0.0), pairs)
        for probability in (1.0, 0.0)
    )

    def side(points: np.ndarray) -> float:
        (nose, left, right) = points[0]
        first, second = left - nose, right - nose
        return float(np.sign(first[0] * second[1] - first[1] * second[0]))

    for seed in range(20):
        for make_view in (always, never):
            view = make_view(frame, POINTS, np.random.default_rng(seed))
            assert side(view.keypoints_xy) == side(POINTS)


def test_a_covered_keypoint_is_no_longer_labelled() -> None:
    settings = AugmentSettings(cut_out_probability=1.0, cut_out_share=(0.6, 0.6))
    frame = frame_with_dots(POINTS)
    views = [augmenter(settings)(frame, POINTS, np.random.default_rng(seed)) for seed in range(20)]
    hidden = [bool(np.isnan(view.keypoints_xy).any()) for view in views]
    assert any(hidden)
    assert not all(hidden)
    assert [bool(view.covered.any()) for view in views] == hidden


def test_a_missing_keypoint_stays_missing() -> None:
    points = POINTS.copy()
    points[0, 1] = np.nan
    view = augmenter(AugmentSettings(cut_out_probability=0.0))(
        frame_with_dots(POINTS), points, np.random.default_rng(0)
    )
    assert np.isnan(view.keypoints_xy[0, 1]).all()
    assert np.isfinite(view.keypoints_xy[0, [0, 2]]).all()
    assert not view.covered.any()
    assert augmenter(AugmentSettings())(
        frame_with_dots(POINTS), np.full((1, 3, 2), np.nan, np.float32), np.random.default_rng(0)
    ).pixels.shape == (224, 224, 3)


def test_several_animals_are_moved_together_and_each_may_be_the_centre() -> None:
    both = np.concatenate([POINTS, POINTS - np.float32([280, 150])])
    make_view = augmenter(AugmentSettings(centred_share=1.0, cut_out_probability=0.0))
    seen = set()
    for seed in range(30):
        view = make_view(frame_with_dots(both), both, np.random.default_rng(seed))
        assert view.keypoints_xy.shape == (2, 3, 2)
        sides = np.linalg.norm(view.keypoints_xy[:, 0] - view.keypoints_xy[:, 1], axis=1)
        assert sides[0] == pytest.approx(sides[1], rel=1e-4)
        middles = np.linalg.norm(view.keypoints_xy.mean(axis=1) - 111.5, axis=1)
        seen.add(int(middles.argmin()))
    assert seen == {0, 1}


def test_the_same_seed_gives_the_same_view_and_gray_frames_fit_too() -> None:
    gray = frame_with_dots(POINTS)[..., 0]
    make_view = augmenter(AugmentSettings())
    first, again, other = (make_view(gray, POINTS, np.random.default_rng(n)) for n in (1, 1, 2))
    assert first.pixels.shape == (224, 224, 3)
    assert (first.pixels == again.pixels).all()
    assert (first.pixels != other.pixels).any()


@pytest.mark.parametrize(
    "settings", [{"scale": (0.0, 1.0)}, {"gamma": (2.0, 1.0)}, {"noise_probability": 1.2}]
)
def test_a_setting_outside_its_range_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidConfig, match=next(iter(settings))):
        AugmentSettings(**settings)
