from dataclasses import dataclass

import numpy as np
import pytest

from service.bundle import BehaviorSpec
from service.errors import InvalidConfig
from training.behavior.invariance import (
    Change,
    draw_invariance,
    measure_invariance,
    standard_changes,
)
from training.data.behavior_frames import Footage

pytestmark = pytest.mark.needs_train

WIDTH_PX, HEIGHT_PX = 40, 20


@dataclass(frozen=True)
class Said:
    name: str
    logits: np.ndarray
    labels: np.ndarray
    clips: tuple[tuple[int, int], ...]


SPEC = BehaviorSpec(
    behaviors=("left half",),
    exclusive=False,
    thresholds=(0.5,),
    min_bout_frames=(1,),
    frame_rate_hz=10.0,
    flow_frames=0,
    past_frames=0,
    future_frames=0,
    feature_size=1,
    state_size=1,
)


def footage(frames: int = 24) -> Footage:
    """A bright spot that jumps between the left and the right half; left is the behavior."""
    random = np.random.default_rng(1)
    pixels = np.zeros((frames, HEIGHT_PX, WIDTH_PX, 1), np.uint8)
    labels = np.zeros((frames, 1), np.int8)
    for frame in range(frames):
        x, y = int(random.integers(4, WIDTH_PX - 4)), int(random.integers(4, HEIGHT_PX - 4))
        pixels[frame, y - 1 : y + 2, x - 1 : x + 2] = 200
        labels[frame] = x < WIDTH_PX / 2
    return Footage("spot", pixels, labels, ((0, frames),))


def looks_where_it_is(one: Footage) -> Said:
    """A model that depends on position."""
    left = one.frames[:, :, : WIDTH_PX // 2].sum(axis=(1, 2, 3), dtype=np.int64)
    right = one.frames[:, :, WIDTH_PX // 2 :].sum(axis=(1, 2, 3), dtype=np.int64)
    logits = np.where(left > right, 4.0, -4.0).astype(np.float32)[:, None]
    return Said(one.name, logits, one.labels, one.clips)


def knows_the_labels(one: Footage) -> Said:
    """A model that no change disturbs."""
    return Said(one.name, one.labels.astype(np.float32) * 8 - 4, one.labels, one.clips)


def test_mirrorings_are_exact() -> None:
    frames = footage().frames
    np.testing.assert_array_equal(Change("m", is_mirrored=True).apply(frames), frames[:, :, ::-1])
    np.testing.assert_array_equal(Change("f", is_flipped=True).apply(frames), frames[:, ::-1])
    np.testing.assert_array_equal(Change("unchanged").apply(frames), frames)


def test_shifts_move_right_and_down_and_repeat_the_border() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    moved = Change("s", shift_px=(5, 3)).apply(frames)
    np.testing.assert_array_equal(moved[:, 3:, 5:], frames[:, :-3, :-5])
    np.testing.assert_array_equal(moved[:, 3:, 0], frames[:, :-3, 0])


def test_turns_are_clockwise_and_half_turns_exact() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 21, 21, 1), np.uint8)
    quarter = Change("q", rotation_degrees=90).apply(frames)
    np.testing.assert_array_equal(quarter, np.rot90(frames, k=-1, axes=(1, 2)))
    wide = footage().frames
    half = Change("h", rotation_degrees=180).apply(wide)
    np.testing.assert_array_equal(half, wide[:, ::-1, ::-1])


def test_a_model_that_goes_by_position_fails_in_the_mirror_only() -> None:
    changes = (Change("mirror", is_mirrored=True), Change("flip", is_flipped=True))
    found = measure_invariance(looks_where_it_is, [footage()], SPEC, changes)
    assert found.unchanged.macro_f1 == 1.0
    by_name = {one.name: one for one in found.changed}
    assert by_name["mirror"].macro_f1 < 0.2
    assert by_name["mirror"].equal_share < 0.2
    assert by_name["flip"].macro_f1 == 1.0
    assert by_name["flip"].equal_share == 1.0


def test_a_model_that_no_change_disturbs_loses_nothing() -> None:
    found = measure_invariance(knows_the_labels, [footage(), footage(8)], SPEC)
    assert len(found.changed) == len(standard_changes(WIDTH_PX, HEIGHT_PX)) == 11
    figures = found.as_dict()
    assert list(figures)[:3] == ["unchanged", "4 px left", "4 px right"]
    for one in figures.values():
        assert one == {
            "macro_f1": 1.0,
            "macro_f1_change": 0.0,
            "equal_share": 1.0,
            "f1": {"left half": 1.0},
        }


def test_the_plot_has_a_bar_for_each_change() -> None:
    found = measure_invariance(looks_where_it_is, [footage()], SPEC)
    figure = draw_invariance(found)
    axes = figure.axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["unchanged", *(one.name for one in found.changed)]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [one.macro_f1 for one in (found.unchanged, *found.changed)]
    figure.canvas.draw()


def test_nothing_to_change_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="there is no recording to change"):
        measure_invariance(knows_the_labels, [], SPEC)
