from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from service.errors import InvalidConfig
from training.data.behavior_augment import ClipAugmenter, ClipAugmentSettings
from training.data.behavior_frames import Footage, WindowShape, bout_lengths
from training.data.behavior_windows import (
    FeatureStretches,
    FlowClips,
    HeldOutWindows,
    TrainingWindows,
    flow_places,
    sampling_weights,
)

pytestmark = pytest.mark.needs_train

CLIPS = ((0, 7), (7, 10), (12, 20))
STILL = ClipAugmentSettings(
    mirror_probability=0,
    rotation_degrees=0,
    scale=(1, 1),
    shift=0,
    brightness=0,
    contrast=(1, 1),
    gamma=(1, 1),
    blur_probability=0,
    noise_probability=0,
)


def make_footage() -> Footage:
    """20 frames whose gray level is 10 times their index, in three clips with a hole."""
    frames = np.broadcast_to(np.arange(20)[:, None, None, None] * 10, (20, 8, 8, 1))
    labels = np.eye(2, dtype=np.int8)[np.arange(20) % 2]
    labels[5] = -1
    return Footage("one", frames.astype(np.uint8), labels, CLIPS)


def clip_of(index: int) -> int:
    return next(number for number, (first, end) in enumerate(CLIPS) if first <= index < end)


def levels(frames: object) -> list[int]:
    return [int(frame[0, 0, 0]) // 10 for frame in frames]


PAST_3 = WindowShape(3)


def test_frames_to_flow_are_neighbors_of_one_clip() -> None:
    (pairs,) = flow_places([make_footage()], 2, 1)
    assert len(pairs) == 6 + 2 + 7
    assert all(clip_of(frame) == clip_of(frame + 1) for _, frame in pairs)
    drawn = FlowClips([make_footage()], 2, ClipAugmenter(STILL), seed=1)
    seen = {tuple(levels(drawn[0, index].numpy())) for index in range(300)}
    assert all(abs(first - second) == 1 for first, second in seen)
    assert {tuple(sorted(pair)) for pair in seen} == {(frame, frame + 1) for _, frame in pairs}


@pytest.mark.parametrize("length", [2, 4])
def test_wider_steps_stay_within_their_clip_too(length: int) -> None:
    drawn = FlowClips([make_footage()], length, ClipAugmenter(STILL), widest_gap=3, seed=1)
    seen = [levels(drawn[0, index].numpy()) for index in range(300)]
    steps = [{after - before for before, after in pairwise(one)} for one in seen]
    assert all(len(one) == 1 for one in steps)
    possible = {1, 2, 3} if length == 2 else {1, 2}  # no clip has 3 * 3 + 1 frames
    assert {abs(step) for one in steps for step in one} == possible
    assert all(len({clip_of(frame) for frame in one}) == 1 for one in seen)


def test_displaced_frames_begin_with_the_first_as_it_was() -> None:
    drawn = FlowClips([make_footage()], 3, ClipAugmenter(STILL), shift_px=3.0, seed=1)
    assert drawn[0, 0].shape == (3, 8, 8, 1)
    with pytest.raises(InvalidConfig, match="no clip of any recording has 9 frames"):
        flow_places([make_footage()], 9, 3)


def test_flow_trains_on_the_same_part_of_all_frames_of_a_sample() -> None:
    ramp = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)  # tells each place
    footage = replace(make_footage(), frames=np.repeat(ramp, 20, axis=0))
    drawn = FlowClips([footage], 3, ClipAugmenter(STILL), crop=(4, 2), seed=1)
    corners = set()
    for index in range(20):
        part = drawn[0, index].numpy()
        assert part.shape == (3, 2, 4, 1)
        y, x = divmod(int(part[0, 0, 0, 0]), 8)
        assert (part == ramp[:, y : y + 2, x : x + 4]).all()
        corners.add((y, x))
    assert len(corners) > 5


def test_flow_looks_for_the_part_that_changes() -> None:
    frames = np.full((20, 64, 64, 1), 90, np.uint8)
    frames[::2, 40:48, 8:16] = 200  # blinks
    footage = replace(make_footage(), frames=frames)

    def share(tries: int) -> float:
        augmenter = ClipAugmenter(STILL)
        clips = FlowClips([footage], 2, augmenter, crop=(16, 16), crop_tries=tries, seed=1)
        parts = [clips[0, index].numpy() for index in range(300)]
        return float(np.mean([(one[0] != one[1]).any() for one in parts]))

    assert share(1) < 0.4
    assert 0.5 < share(12) < 0.9  # and what stands still is seen, too


def test_windows_beyond_the_ends_of_a_clip_are_filled() -> None:
    shape = WindowShape(2, 1, fill=(7,))
    windows = HeldOutWindows([make_footage()], shape, stride=1)
    assert len(windows) == 7 + 3 + 8 - 1  # frame 5 is not labelled
    values = [[int(frame[0, 0, 0]) for frame in windows[index]["frames"]] for index in range(9)]
    assert values[0] == [7, 7, 0, 10]
    assert values[5] == [40, 50, 60, 7]
    assert values[6] == [7, 7, 70, 80]
    assert values[8] == [70, 80, 90, 7]
    short = WindowShape(5, 5, fill=(7,)).around(make_footage().frames, (7, 10), 8, 9)
    assert [int(frame[0, 0, 0]) for frame in short] == [7] * 4 + [70, 80, 90] + [7] * 4


def test_windows_stay_within_their_clip_and_leave_out_what_is_not_labelled() -> None:
    windows = HeldOutWindows([make_footage()], PAST_3, stride=1)
    found = [levels(windows[index]["frames"]) for index in range(len(windows))]
    assert [window[-1] for window in found] == [3, 4, 6, 15, 16, 17, 18, 19]
    for window in found:
        assert window == list(range(window[0], window[0] + 4))
        assert clip_of(window[0]) == clip_of(window[-1])


def test_training_draws_the_same_windows_again_for_the_same_key() -> None:
    footage = make_footage()
    windows = TrainingWindows(
        [footage], PAST_3, ClipAugmenter(ClipAugmentSettings()), oversampling_exponent=0.5, seed=4
    )
    first, again, other = windows[2, 5], windows[2, 5], windows[3, 5]
    assert (first["frames"] == again["frames"]).all()
    assert (first["labels"] == again["labels"]).all()
    assert (first["frames"] != other["frames"]).any()


def test_all_frames_of_a_window_are_changed_alike() -> None:
    settings = ClipAugmentSettings(noise_probability=0)
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 1), np.uint8)
    frames = np.stack([picture] * 4)
    changed = ClipAugmenter(settings)(frames, np.random.default_rng(5))
    assert changed.shape == frames.shape
    assert (changed == changed[0]).all()
    assert (changed != frames).any()
    np.testing.assert_array_equal(ClipAugmenter(STILL)(frames, np.random.default_rng(5)), frames)


def test_colored_windows_can_become_gray() -> None:
    settings = ClipAugmentSettings(gray_probability=1.0, noise_probability=0)
    frames = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), np.uint8)
    changed = ClipAugmenter(settings)(frames, np.random.default_rng(5))
    assert (changed == changed[..., :1]).all()


def test_a_range_upside_down_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"scale is 1\.2 to 0\.9"):
        ClipAugmentSettings(scale=(1.2, 0.9))
    with pytest.raises(InvalidConfig, match="mirror_probability is 2"):
        ClipAugmentSettings(mirror_probability=2)


def test_rare_behaviors_weigh_more() -> None:
    labels = np.array([[1, 0]] * 6 + [[1, 1]] * 2 + [[0, 0]] * 2, np.int8)
    weights = sampling_weights(labels, 1.0)
    assert weights.tolist() == pytest.approx([1 / 0.8] * 6 + [1 / 0.2] * 4)
    assert sampling_weights(labels, 0.0).tolist() == [1.0] * 10


def test_clips_that_are_too_short_for_any_window_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="no labelled frame has 8 earlier and 0 later frames"):
        HeldOutWindows([make_footage()], WindowShape(8), stride=1)


def test_stretches_begin_after_the_past_and_end_with_their_clip() -> None:
    footage = make_footage()
    first, second = CLIPS[0], CLIPS[2]
    assert footage.labelled_stretches(PAST_3, 3) == [
        (3, 6, first), (6, 7, first), (15, 18, second), (18, 20, second),
    ]  # fmt: skip


def test_shorter_stretches_are_padded_as_not_labelled() -> None:
    features, labels = np.ones((3, 5), np.float32), np.ones((3, 2), np.int8)
    sample = FeatureStretches([(features, labels)], 4)[0]
    assert sample["features"].shape == (4, 5)
    assert sample["features"][3].tolist() == [0.0] * 5
    assert sample["labels"][:, 0].tolist() == [1, 1, 1, -1]
    assert sample["valid"].tolist() == [1, 1, 1, 0]


def test_bout_lengths_are_cut_at_clips() -> None:
    labels = np.array([[1], [1], [1], [1], [0], [1]], np.int8)
    assert bout_lengths(labels, [(0, 3), (3, 6)]) == [[3, 1, 1]]
