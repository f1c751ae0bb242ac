"""Live bouts are those of the finished recording, told as soon as they are sure."""

import numpy as np
import pytest

from service.behavior import apply_bout_rule, runs
from service.bout_tracker import BoutTracker, choose_min_bout_frames
from service.bundle import BehaviorSpec
from service.errors import InvalidRequest
from service.values import BehaviorAnswer, BehaviorStatus


def make_spec(names: tuple[str, ...], limits: tuple[int, ...]) -> BehaviorSpec:
    return BehaviorSpec(
        behaviors=names,
        exclusive=names[0] == "background",
        thresholds=(0.5,) * len(names),
        min_bout_frames=limits,
        frame_rate_hz=30.0,
        flow_frames=1,
        past_frames=1,
        future_frames=0,
        feature_size=4,
        state_size=4,
    )


def answer(index: int, present: np.ndarray | None) -> BehaviorAnswer:
    if present is None:
        return BehaviorAnswer(index, BehaviorStatus.NO_FRAME, None, None)
    return BehaviorAnswer(index, BehaviorStatus.OK, present.astype(np.float32), present)


def follow(spec: BehaviorSpec, rows: list[np.ndarray | None]) -> dict[str, list[tuple[int, int]]]:
    """Bouts of each behavior as (onset, offset); those open at the end end there."""
    tracker = BoutTracker(spec, choose_min_bout_frames(spec, {}, 1))
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in spec.behaviors}
    begun: dict[str, int] = {}
    for index, row in enumerate(rows):
        for event in tracker.add(answer(index, row)):
            if event.kind == "onset":
                assert event.behavior not in begun
                begun[event.behavior] = event.frame_index
            else:
                found[event.behavior].append((begun.pop(event.behavior), event.frame_index))
    for name, onset in begun.items():
        found[name].append((onset, len(rows)))
    return found


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("names", [("run", "rear", "rest"), ("background", "run", "rear")])
def test_bouts_are_those_of_the_whole_recording(names: tuple[str, ...], seed: int) -> None:
    random = np.random.default_rng(seed)
    spec = make_spec(names, (1, 3, 5))
    lengths = random.integers(1, 9, 60)
    if spec.exclusive:
        rows = np.repeat(np.eye(3, dtype=np.bool_)[random.integers(0, 3, 60)], lengths, axis=0)
    else:
        rows = np.column_stack(
            [np.repeat(random.random(60) < 0.5, random.permutation(lengths)) for _ in names]
        )
    known = random.random(len(rows)) < 0.97
    rows = rows & known[:, None]
    # A bout that is open at the end is told once it is long enough, whatever follows.
    rows = np.concatenate([rows, np.zeros((6, 3), np.bool_)])
    known = np.concatenate([known, np.zeros(6, np.bool_)])
    wanted = apply_bout_rule(rows, spec.min_bout_frames, exclusive=spec.exclusive)
    found = follow(spec, [row if one else None for row, one in zip(rows, known, strict=True)])
    for column, name in enumerate(names):
        if name != "background":
            assert found[name] == runs(wanted[:, column])


def test_an_onset_is_told_when_the_bout_is_long_enough_and_an_offset_when_it_is_over() -> None:
    tracker = BoutTracker(make_spec(("run",), (3,)), np.array([3]))
    told = [
        [(one.kind, one.frame_index) for one in tracker.add(answer(index, np.array([flag])))]
        for index, flag in enumerate([0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    ]
    assert told[3] == [("onset", 1)]
    assert told[9] == [("offset", 7)]  # the gap of two frames did not end it
    assert sum(map(len, told)) == 2


def test_frames_that_never_came_count_as_absent() -> None:
    tracker = BoutTracker(make_spec(("run",), (2,)), np.array([2]))
    for index in (0, 1):
        tracker.add(answer(index, np.array([True])))
    events = tracker.add(answer(9, np.array([True])))
    assert [(one.kind, one.frame_index) for one in events] == [("offset", 2)]


def test_limits_can_be_replaced_and_follow_the_stride() -> None:
    spec = make_spec(("run", "rear"), (3, 5))
    assert choose_min_bout_frames(spec, {"rear": 2}, 2).tolist() == [5, 3]
    with pytest.raises(InvalidRequest, match="no behavior 'fly'; the bundle has run, rear"):
        choose_min_bout_frames(spec, {"fly": 2}, 1)
    with pytest.raises(InvalidRequest, match="shortest bout of run is 0 frames"):
        choose_min_bout_frames(spec, {"run": 0}, 1)
