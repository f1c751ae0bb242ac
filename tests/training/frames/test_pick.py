import numpy as np
import pytest

from service.video.pyav import VideoFile
from training.frames.pick import pick_kmeans, pick_uniform
from training.frames.thumbnails import MAX_THUMBNAILS, Thumbnails, read_thumbnails, thin_out


def groups_of(sizes, dimensions=12, seed=0):
    """Thumbnails in well separated groups."""
    random = np.random.default_rng(seed)
    centers = random.uniform(0, 255, (len(sizes), dimensions))
    rows = [
        centers[group] + random.normal(0, 1, (size, dimensions)) for group, size in enumerate(sizes)
    ]
    pixels = np.concatenate(rows).astype(np.float32)
    return Thumbnails(np.arange(len(pixels)) * 10, pixels, 0)


def test_a_rare_look_is_picked_as_surely_as_a_common_one():
    thumbnails = groups_of([300, 20, 200, 20])
    for seed in range(10):
        picked = np.array(pick_kmeans(thumbnails, 4, seed=seed)) // 10
        assert list(np.digitize(picked, [300, 320, 520])) == [0, 1, 2, 3]


def test_kmeans_gives_as_many_as_asked_even_where_frames_do_not_differ():
    same = Thumbnails(np.arange(200), np.full((200, 8), 7, np.float32), 0)
    picked = pick_kmeans(same, 15, seed=3)
    assert len(set(picked)) == 15
    assert picked == sorted(picked)


def test_frames_that_are_taken_are_not_picked_again():
    thumbnails = groups_of([20, 20])
    taken = [int(index) for index in thumbnails.frame_index[::2]]
    picked = pick_kmeans(thumbnails, 19, seed=0, taken=taken)
    assert len(picked) == 19
    assert not set(picked) & set(taken)
    assert pick_kmeans(thumbnails, 50, seed=0, taken=taken) == [
        int(index) for index in thumbnails.frame_index[1::2]
    ]
    assert not set(pick_uniform(range(30), 20, seed=0, taken=range(10))) & set(range(10))


def test_uniform_picks_each_frame_with_the_same_probability():
    counts = np.zeros(20)
    for seed in range(2000):
        counts[pick_uniform(range(20), 5, seed=seed)] += 1
    assert counts.sum() == 10_000
    assert np.abs(counts - 500).max() < 100  # 5 standard deviations


def test_a_longer_choice_of_one_seed_only_adds_frames():
    assert set(pick_uniform(range(99), 10, seed=4)) < set(pick_uniform(range(99), 30, seed=4))


def test_long_lists_are_thinned_evenly():
    thinned = thin_out(range(1_000_000), MAX_THUMBNAILS)
    assert len(thinned) == MAX_THUMBNAILS
    assert (thinned[0], thinned[-1]) == (0, 999_999)
    assert np.ptp(np.diff(thinned)) <= 1
    assert thin_out(range(7), 10) == list(range(7))


@pytest.mark.parametrize(("color", "width"), [("gray", 30 * 22), ("rgb", 30 * 22 * 3)])
def test_thumbnails_are_thirty_px_wide_and_keep_the_gray_level(scenes, color, width):
    seen = read_thumbnails(VideoFile(scenes, color=color), range(0, 45, 15))
    assert seen.pixels.shape == (3, width)
    np.testing.assert_allclose(seen.pixels.mean(axis=1), [30, 125, 220], atol=3)
    assert list(seen.frame_index) == [0, 15, 30]
