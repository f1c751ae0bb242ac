import numpy as np
import pytest

from service.errors import InvalidConfig
from service.simulation import SimulationSettings, render_random_frame, simulate
from service.simulation.behaviors import MIN_BOUT_S
from service.simulation.settings import BEHAVIOR_NAMES

SCENES = ("openfield", "homecage")


def bouts(flags):
    """Start and stop of each run of ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@pytest.mark.parametrize("scene", SCENES)
def test_equal_settings_give_equal_truth_and_frames_in_any_order(scene):
    settings = SimulationSettings(scene=scene, duration_s=1.0, width_px=320, height_px=240, seed=5)
    first, second = simulate(settings), simulate(settings)
    np.testing.assert_array_equal(first.keypoints_xy, second.keypoints_xy)
    np.testing.assert_array_equal(first.behaviors, second.behaviors)
    in_order = list(first.frames())
    assert len(in_order) == first.frame_count == 30
    for frame_index in (29, 3, 17):
        np.testing.assert_array_equal(second.render(frame_index), in_order[frame_index])


def test_another_seed_gives_another_recording():
    one, other = (simulate(SimulationSettings(duration_s=1.0, seed=seed)) for seed in (1, 2))
    assert np.abs(one.keypoints_xy - other.keypoints_xy).max() > 20
    assert np.abs(one.render(0).astype(int) - other.render(0)).mean() > 5


@pytest.mark.parametrize("scene", SCENES)
def test_shapes_types_and_names_are_as_documented(scene):
    recording = simulate(
        SimulationSettings(
            scene=scene,
            duration_s=0.5,
            animals=3,
            extra_keypoints=True,
            width_px=200,
            height_px=150,
        )
    )
    assert recording.keypoint_names == (
        "snout", "leftear", "rightear", "tailbase", "tailtip", "bodycenter",
    )  # fmt: skip
    assert recording.behavior_names == BEHAVIOR_NAMES[scene]
    assert recording.keypoints_xy.shape == (15, 3, 6, 2)
    assert recording.keypoints_xy.dtype == np.float32
    assert recording.visible.shape == (15, 3, 6)
    assert recording.visible.dtype == np.bool_
    assert recording.behaviors.shape == (15, 4)
    assert recording.behaviors.dtype == np.uint8
    np.testing.assert_array_equal(recording.behaviors, recording.behaviors_by_animal.max(1))
    frame = recording.render(14)
    assert frame.shape == (150, 200, 3)
    assert frame.dtype == np.uint8
    with pytest.raises(IndexError, match="0 to 14"):
        recording.render(15)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("animals", [1, 3])
def test_keypoints_never_jump(scene, animals):
    for seed in range(4):
        recording = simulate(
            SimulationSettings(scene=scene, frame_rate_hz=100.0, seed=seed, animals=animals)
        )
        steps = np.diff(recording.keypoints_xy.astype(np.float64), axis=0)
        speed = np.linalg.norm(steps, axis=-1) * 100.0 / recording.body_length_px
        assert speed.max() < 9.0  # body lengths a second: 0.3 of a body between frames at 30 Hz
        assert np.median(speed) > 0.05


@pytest.mark.parametrize("scene", SCENES)
def test_every_behavior_occurs_and_lasts_at_least_the_shortest_bout(scene):
    shares = []
    for seed in range(6):
        recording = simulate(SimulationSettings(scene=scene, frame_rate_hz=100.0, seed=seed))
        shares.append(recording.behaviors.mean(axis=0))
        for behavior in range(4):
            inner = [
                stop - start
                for start, stop in bouts(recording.behaviors[:, behavior])
                if start > 0 and stop < recording.frame_count
            ]
            shortest = min(inner, default=1000) / 100.0
            # Locomotion ends where rearing begins, which may cut a bout by one instant.
            assert shortest >= MIN_BOUT_S - 0.05
    assert (np.mean(shares, axis=0) > 0.05).all()
    assert (np.array(shares) > 0).mean() > 0.9


def test_rearing_shortens_the_animal_and_locomotion_moves_it():
    longer, shorter, moving, still = [], [], [], []
    for seed in range(4):
        recording = simulate(SimulationSettings(seed=seed))
        xy, length_px = recording.keypoints_xy[:, 0], recording.body_length_px
        names = recording.behavior_names
        rearing = recording.behaviors[:, names.index("rearing")].astype(bool)
        walking = recording.behaviors[:, names.index("locomotion")].astype(bool)
        length = np.linalg.norm(xy[:, 0] - xy[:, 3], axis=-1) / length_px
        shorter += length[rearing].tolist()
        longer += length[walking].tolist()
        speed = np.linalg.norm(np.diff(xy[:, 3], axis=0), axis=-1) * 30 / length_px
        moving += speed[walking[1:]].tolist()
        still += speed[~walking[1:] & ~rearing[1:]].tolist()
    assert np.median(shorter) < 0.85 * np.median(longer)
    assert np.median(moving) > 4 * np.median(still)


@pytest.mark.parametrize("scene", SCENES)
def test_another_frame_rate_shows_the_same_motion_and_bouts(scene):
    slow, fast = (
        simulate(SimulationSettings(scene=scene, duration_s=12.0, frame_rate_hz=rate))
        for rate in (25.0, 50.0)
    )
    assert (slow.frame_count, fast.frame_count) == (300, 600)
    np.testing.assert_allclose(fast.keypoints_xy[::2], slow.keypoints_xy, atol=1e-3)
    np.testing.assert_array_equal(fast.behaviors[::2], slow.behaviors)


def test_another_size_shows_the_same_motion_larger():
    small, large = (
        simulate(SimulationSettings(duration_s=2.0, width_px=width, height_px=width * 3 // 4))
        for width in (320, 960)
    )
    np.testing.assert_allclose(
        (large.keypoints_xy + 0.5) / 3.0, small.keypoints_xy + 0.5, atol=0.01
    )


@pytest.mark.parametrize("animals", [1, 3])
def test_the_animal_is_drawn_where_the_truth_says(animals):
    body, before_snout = [], []
    for seed in range(4):
        recording = simulate(SimulationSettings(seed=seed, animals=animals))
        chosen = range(0, 600, 20)
        frames = np.stack([recording.render(index).mean(axis=-1) for index in chosen])
        empty = np.median(frames, axis=0)
        for frame, index in zip(frames, chosen, strict=True):
            changed = np.pad(np.abs(frame - empty), 40)
            for snout, left, right, base in recording.keypoints_xy[index]:
                ahead = snout - base
                ahead /= np.linalg.norm(ahead)
                middle = (left + right + base) / 3
                ahead_of_snout = snout + 0.07 * recording.body_length_px * ahead
                for place, found in ((middle, body), (ahead_of_snout, before_snout)):
                    x, y = np.clip(np.round(place).astype(int), -30, 660) + 40
                    found.append(changed[y - 1 : y + 2, x - 1 : x + 2].mean() > 20)
    assert np.mean(body) > 0.9  # the rest sits where it sat for most of the recording
    assert np.mean(before_snout) < 0.2  # shadows, forepaws and other animals


def test_left_and_right_ear_are_the_animals_own():
    recording = simulate(SimulationSettings(seed=1))
    snout, left, right, base = (recording.keypoints_xy[:, 0, index] for index in range(4))
    ahead, across = snout - base, right - left
    # With y down, what is to the right of a direction is clockwise of it.
    turn = ahead[:, 0] * across[:, 1] - ahead[:, 1] * across[:, 0]
    walking = recording.behaviors[:, 0] == 1
    assert (turn[walking] > 0).all()


def test_keypoints_outside_the_frame_or_behind_a_body_are_flagged():
    seen_hidden = False
    for seed in range(3):
        recording = simulate(SimulationSettings(scene="homecage", seed=seed))
        xy, visible = recording.keypoints_xy, recording.visible
        outside = (xy < -0.5).any(-1) | (xy[..., 0] > 639.5) | (xy[..., 1] > 479.5)
        assert not (visible & outside).any()
        assert visible.mean() > 0.5
        seen_hidden |= bool((~visible & ~outside).any())
    assert seen_hidden


def test_random_frames_differ_and_follow_their_generator():
    one, two, again = (
        render_random_frame(np.random.default_rng(seed), width_px=320, height_px=240)
        for seed in (1, 2, 1)
    )
    np.testing.assert_array_equal(one.pixels, again.pixels)
    np.testing.assert_array_equal(one.keypoints_xy, again.keypoints_xy)
    assert one.pixels.shape == (240, 320, 3)
    assert one.keypoints_xy.shape == (1, 4, 2)
    assert np.abs(one.pixels.astype(int) - two.pixels).mean() > 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scene": "maze"}, "openfield, homecage"),
        ({"width_px": 10}, "width_px is 10"),
        ({"frame_rate_hz": 0.0}, "frame_rate_hz is 0"),
        ({"duration_s": -1.0}, "duration_s -1"),
        ({"duration_s": float("nan")}, "duration_s nan"),
        ({"duration_s": 0.001}, "another duration"),
        ({"animals": 9}, "from 1 to 8"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_outside_their_range_are_refused(change, message):
    with pytest.raises(InvalidConfig, match=message):
        SimulationSettings(**change)
