import numpy as np
import pytest

from training.outliers.fitting import FIT_FRAMES, misfits
from training.outliers.methods import jumps, least_confident, uncertain


def still(frames=10, animals=1, keypoints=2):
    return np.full((frames, animals, keypoints, 2), 50.0, np.float32)


def places(flags):
    return [tuple(map(int, place)) for place in np.argwhere(flags)]


def test_a_jump_is_the_frame_that_a_point_lands_in_and_the_one_it_comes_back_in():
    points = still()
    points[4, 0, 1] += (12, 16.1)
    assert places(jumps(points, np.arange(10), 20.0)) == [(4, 0, 1), (5, 0, 1)]
    points[4, 0, 1] = (62, 66)  # exactly 20 px is no jump
    assert places(jumps(points, np.arange(10), 20.0)) == []


def test_missing_points_and_missing_frames_make_no_jump():
    points = still()
    points[3, 0, 0] = np.nan
    points[6:] += 100
    assert places(jumps(points, np.array([0, 1, 2, 3, 4, 5, 7, 8, 9, 10]), 20.0)) == []
    assert len(places(jumps(points, np.arange(10), 20.0))) == 2


def test_points_below_the_bound_are_uncertain_and_missing_answers_are_not():
    confidence = np.full((6, 1, 2), 0.5, np.float32)
    confidence[1, 0, 1] = 0.009
    confidence[2, 0, 0] = 0.01
    confidence[4] = np.nan
    assert places(uncertain(confidence, 0.01)) == [(1, 0, 1)]


def test_slots_that_are_never_taken_are_not_uncertain():
    confidence = np.full((6, 2, 2), 0.5, np.float32)
    confidence[:, 1, 1] = 0  # a keypoint that exists once
    confidence[3, 1, 0] = 0
    assert places(uncertain(confidence, 0.01)) == [(3, 1, 0)]
    lost = np.zeros((6, 1, 1), np.float32)
    assert len(places(uncertain(lost, 0.01))) == 6, "an animal that is never found is"


def test_a_share_takes_the_least_confident_frames():
    confidence = np.full((100, 1, 2), 0.8, np.float32)
    confidence[[10, 20, 30], 0, [0, 1, 0]] = (0.3, 0.1, 0.2)
    confidence[40] = np.nan
    assert places(least_confident(confidence, 0.03)) == [(10, 0, 0), (20, 0, 1), (30, 0, 0)]
    assert places(least_confident(confidence, 0.001)) == [(20, 0, 1)]
    assert places(least_confident(np.full((5, 1, 1), np.nan, np.float32), 0.5)) == []


def wave(frames, seed=0):
    """(T, 1, 1, 2) a point that walks in circles, with noise of half a px."""
    time = np.arange(frames) / 25
    path = np.stack([300 + 150 * np.cos(time), 200 + 100 * np.sin(time)], axis=-1)
    noise = np.random.default_rng(seed).normal(0, 0.5, path.shape)
    return (path + noise)[:, None, None].astype(np.float32)


def fit(points, confidence=None, **changes):
    settings = {"epsilon_px": 20.0, "p_bound": 0.01, "alpha": 0.01} | changes
    if confidence is None:
        confidence = np.ones(points.shape[:3], np.float32)
    return misfits(points, confidence, **settings)[:, 0, 0]


def test_the_model_flags_points_off_their_way_and_no_others():
    points = wave(400)
    points[[90, 250], 0, 0] += (0, 45)
    flagged = set(np.flatnonzero(fit(points)))
    assert {90, 250} <= flagged
    # The frames after a wrong point are predicted from it.
    assert flagged <= {90, 91, 92, 93, 250, 251, 252, 253}


def test_a_clean_way_has_no_outliers_not_even_at_its_beginning():
    assert not fit(wave(300)).any()


def test_uncertain_points_count_as_missing_to_the_model():
    points = wave(300)
    confidence = np.ones((300, 1, 1), np.float32)
    points[100:110, 0, 0] = (0, 0)
    confidence[100:110] = 0.001
    flagged = np.flatnonzero(fit(points, confidence))
    assert set(flagged) <= set(range(100, 110))
    assert len(flagged) >= 8


def test_series_without_a_model_flag_nothing():
    assert not fit(np.full((50, 1, 1, 2), np.nan, np.float32)).any()
    assert not fit(wave(8)).any()
    assert not fit(np.full((50, 1, 1, 2), 7.0, np.float32)).any()


def test_long_videos_are_fitted_on_a_stretch_and_judged_whole():
    points = wave(2 * FIT_FRAMES)
    points[:500] = np.nan
    wrong = 2 * FIT_FRAMES - 100
    points[wrong, 0, 0] += (50, 0)
    seen = []
    flags = misfits(
        points, np.ones(points.shape[:3], np.float32), epsilon_px=20.0, p_bound=0.01, alpha=0.01,
        on_series=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert flags[wrong, 0, 0]
    assert not flags[600:wrong].any()
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize("frames", [0, 1])
def test_short_tracks_are_taken(frames):
    assert not jumps(still(frames), np.arange(frames), 20.0).any()
    assert not uncertain(np.ones((frames, 1, 2), np.float32), 0.01).any()
    assert least_confident(np.ones((frames, 1, 2), np.float32), 0.5).sum() == 2 * frames
    assert not misfits(
        still(frames), np.ones((frames, 1, 2), np.float32), epsilon_px=1, p_bound=0.1, alpha=0.1
    ).any()
