"""Triggers switch on the frame that decides, and never on what is not known."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from service.bundle import BehaviorSpec, PoseSpec
from service.errors import InvalidRequest
from service.repository import Selection
from service.triggers import (
    AllOf,
    Angle,
    AnyOf,
    Circle,
    Condition,
    Distance,
    InRegion,
    Keypoint,
    Not,
    Polygon,
    Probability,
    Speed,
    Trigger,
    TriggerWatch,
    ValueRange,
)
from service.values import BehaviorAnswer, BehaviorStatus, Poses
from tests.service.conftest import load, manifest

NAMES = ("nose", "neck", "tail")
POSE = Selection(load(manifest("pose", pose=PoseSpec(keypoints=NAMES, max_animals=2)), {}))
BEHAVIOR = Selection(
    load(
        manifest(
            "behavior",
            behavior=BehaviorSpec(
                behaviors=("rear", "groom"),
                exclusive=False,
                thresholds=(0.5, 0.5),
                min_bout_frames=(1, 1),
                frame_rate_hz=30.0,
                flow_frames=2,
                past_frames=2,
                future_frames=0,
                feature_size=2,
                state_size=2,
            ),
        ),
        {},
    )
)
BOTH = (POSE, BEHAVIOR)
NOSE, NECK, TAIL = (Keypoint(name=name) for name in NAMES)
SQUARE = Polygon(((10, 10), (30, 10), (30, 30), (10, 30)))
MOVING = Speed(NOSE, ValueRange(at_least=50))
REARING = Probability(behavior="rear", probability=ValueRange(at_least=0.8))


def poses(*xy: tuple[float, float], confidence: float = 1.0) -> Poses:
    """One animal at `xy` (nose, neck, tail), and one that is nowhere."""
    places = [*xy, *[(0.0, 0.0)] * (3 - len(xy))]
    found = np.full((2, 3), confidence, np.float32)
    found[1] = 0
    return Poses(np.array([places, [(np.nan, np.nan)] * 3], np.float32), found)


def behavior(index: int, rear: float) -> BehaviorAnswer:
    values = np.array([rear, 0], np.float32)
    return BehaviorAnswer(index, BehaviorStatus.OK, values, values > 0.5)


def switches(condition: Condition, frames: list[Poses | None], **settings: int) -> list[str]:
    """Where a trigger on poses at 10 frames/s switches, such as `on 3`."""
    watch = TriggerWatch([Trigger(name="t", condition=condition, **settings)], BOTH)
    told = []
    for index, answer in enumerate(frames):
        watch.begin(index, index / 10)
        told += watch.tell(index, POSE.loaded.key, answer)
        assert not watch.tell(index, BEHAVIOR.loaded.key, None)
    return [f"{one.kind} {one.frame_index}" for one in told]


def test_a_keypoint_enters_and_leaves_a_region_whose_edge_belongs_to_it():
    way = [poses((x, 20)) for x in (5, 9.9, 10, 20, 30, 30.1, 5)]
    assert switches(InRegion(NOSE, SQUARE), way) == ["on 2", "off 5"]
    circle = Circle(x_px=20, y_px=20, radius_px=10)
    assert switches(InRegion(NOSE, circle), way) == ["on 2", "off 5"]


class Corners(Sequence[tuple[float, float]]):
    """Those of a wheel of 1000 spokes, which counts how often each is read."""

    def __init__(self) -> None:
        angles = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
        self._xy = [(20 + 10 * np.cos(one), 20 + 10 * np.sin(one)) for one in angles]
        self.reads = [0] * len(self._xy)

    def __len__(self) -> int:
        return len(self._xy)

    def __getitem__(self, index: int) -> tuple[float, float]:  # type: ignore[override]
        self.reads[index] += 1
        return self._xy[index]


def test_the_corners_of_a_polygon_are_read_before_the_frames_come_not_with_each():
    way = [poses((x, 20)) for x in (5, 9.9, 11, 20, 29, 30.1, 5)]
    few, many = Corners(), Corners()
    assert switches(InRegion(NOSE, Polygon(few)), way[:2]) == []
    assert switches(InRegion(NOSE, Polygon(many)), way) == ["on 2", "off 5"]
    assert many.reads == few.reads


def test_the_distance_of_two_keypoints():
    way = [poses((0, 0), (3, 4 * step)) for step in range(4)]
    assert switches(Distance(NOSE, NECK, ValueRange(at_least=5, at_most=9)), way) == [
        "on 1",
        "off 3",
    ]


def test_the_angle_of_three_keypoints_is_that_at_the_middle_one():
    way = [poses((10, 0), (0, 0), tail) for tail in ((10, 0.1), (0, 5), (-5, 0), (0, 0), (-5, -5))]
    right = Angle(NOSE, NECK, TAIL, ValueRange(at_least=89.9, at_most=90.1))
    assert switches(right, way) == ["on 1", "off 2"]
    # Where tail and neck coincide there is no angle, and so the condition does not hold.
    wide = Angle(NOSE, NECK, TAIL, ValueRange(at_least=91))
    assert switches(wide, way) == ["on 2", "off 3", "on 4"]


def test_speed_counts_from_where_a_keypoint_was_last_found():
    way: list[Poses | None] = [poses((x, 0)) for x in (0, 1, 11, 12)]
    assert switches(MOVING, way) == ["on 2", "off 3"]  # 10, 100 and 10 px/s
    way[1] = None  # 11 px in two frames: 55 px/s
    assert switches(MOVING, way) == ["on 2", "off 3"]
    way[2] = None  # 12 px in three frames: 40 px/s
    assert switches(MOVING, way) == []


@pytest.mark.parametrize("pictures", [1, 3, 10])
def test_the_pictures_of_one_chunk_have_one_time_and_make_no_speed_wrong(pictures):
    def told(least: float) -> list[str]:
        fast = Speed(NOSE, ValueRange(at_least=least))
        watch = TriggerWatch([Trigger(name="t", condition=fast)], (POSE,))
        events = []
        for index in range(2 * pictures):  # 3 px a picture at 30 pictures/s: 90 px/s
            watch.begin(index, index // pictures * pictures / 30)
            events += watch.tell(index, POSE.loaded.key, poses((3 * index, 0)))
        return [f"{one.kind} {one.frame_index}" for one in events]

    assert told(89)[:1] == [f"on {pictures}"]
    assert told(91) == []


def test_speed_goes_on_where_a_clock_was_set_back():
    watch = TriggerWatch([Trigger(name="t", condition=MOVING)], (POSE,))
    times_s = (100.0, 100.1, 5.0, 5.1)
    events = []
    for index, time_s in enumerate(times_s):
        watch.begin(index, time_s)
        events += watch.tell(index, POSE.loaded.key, poses((10 * index, 0)))
    assert [(one.kind, one.frame_index) for one in events] == [("on", 1), ("off", 2), ("on", 3)]


def test_a_keypoint_below_its_confidence_is_not_known():
    inside = InRegion(NOSE, SQUARE)
    faint = poses((20, 20), confidence=0.5)  # the bundle's cutoff is 0.6
    assert switches(inside, [faint]) == []
    assert switches(Not(inside), [faint]) == []
    sure = Keypoint(name="nose", min_confidence=0.4)
    assert switches(InRegion(sure, SQUARE), [faint]) == ["on 0"]
    assert switches(Not(inside), [poses((0, 0))]) == ["on 0"]
    second = Keypoint(name="nose", animal=1, min_confidence=0)
    assert switches(InRegion(second, SQUARE), [poses((20, 20))]) == []  # its place is NaN


def test_conditions_join_and_what_is_not_known_decides_only_what_it_can():
    inside, near = InRegion(NOSE, SQUARE), Distance(NOSE, NECK, ValueRange(at_most=5))
    joined, apart = poses((20, 20), (20, 22)), poses((20, 20), (40, 40))
    assert switches(AllOf((inside, near)), [apart, joined]) == ["on 1"]
    assert switches(AnyOf((inside, near)), [apart]) == ["on 0"]
    lost_neck = Poses(joined.keypoints_xy, np.array([[1, 0, 1], [0, 0, 0]], np.float32))
    assert switches(AnyOf((inside, near)), [lost_neck]) == ["on 0"]
    assert switches(Not(AllOf((inside, near))), [lost_neck]) == []
    assert switches(Not(AnyOf((inside, near))), [lost_neck]) == []
    outside = Poses(poses((0, 0)).keypoints_xy, lost_neck.confidence)
    assert switches(Not(AllOf((inside, near))), [outside]) == ["on 0"]


def test_a_speed_beside_a_false_condition_sees_every_frame():
    condition = AllOf((InRegion(NOSE, SQUARE), MOVING))
    # Outside until the last frame; its speed is that of the last step, 20 px in 0.1 s.
    assert switches(condition, [poses((0, 0)), poses((0, 20)), poses((20, 20))]) == ["on 2"]


def test_a_trigger_waits_for_frames_in_a_row():
    pattern = "..#.##.###.#...#"
    way = [poses((20, 20) if one == "#" else (0, 0)) for one in pattern]
    told = switches(InRegion(NOSE, SQUARE), way, frames_on=3, frames_off=2)
    assert told == ["on 9", "off 13"]


def test_frames_that_were_left_out_hold_nothing():
    inside = poses((20, 20))
    assert switches(InRegion(NOSE, SQUARE), [inside, None, inside]) == ["on 0", "off 1", "on 2"]
    assert switches(InRegion(NOSE, SQUARE), [inside, None, inside], frames_off=2) == ["on 0"]


def test_pose_and_behavior_decide_together_when_the_later_answer_is_here():
    trigger = Trigger(name="t", condition=AllOf((InRegion(NOSE, SQUARE), REARING)))
    watch = TriggerWatch([trigger], BOTH)
    for index in range(3):
        watch.begin(index, index / 10)
    for index in range(3):  # the animal is inside in frames 1 and 2
        answer = poses((20, 20) if index else (0, 0))
        assert watch.tell(index, POSE.loaded.key, answer) == ()
    told = [watch.tell(index, BEHAVIOR.loaded.key, behavior(index, 0.9)) for index in range(2)]
    assert [[(one.kind, one.frame_index) for one in events] for events in told] == [[], [("on", 1)]]
    (event,) = watch.tell(2, BEHAVIOR.loaded.key, behavior(2, 0.79))
    assert (event.trigger, event.kind, event.frame_index) == ("t", "off", 2)


def test_triggers_switch_each_for_itself():
    watch = TriggerWatch(
        [
            Trigger(name="in", condition=InRegion(NOSE, SQUARE)),
            Trigger(name="rear", condition=REARING),
        ],
        BOTH,
    )
    watch.begin(7, 0.0)
    assert [one.trigger for one in watch.tell(7, POSE.loaded.key, poses((20, 20)))] == ["in"]
    told = watch.tell(7, BEHAVIOR.loaded.key, behavior(7, 1.0))
    assert [one.trigger for one in told] == ["rear"]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (InRegion(Keypoint(name="paw"), SQUARE), "no keypoint 'paw'; it has nose, neck, tail"),
        (InRegion(Keypoint(name="nose", animal=2), SQUARE), "animal 2 .* finds 2, counted from 0"),
        (
            InRegion(Keypoint(name="nose", bundle="cat"), SQUARE),
            "bundle 'cat' is needed.*fake-pose",
        ),
        (InRegion(Keypoint(name="nose", min_confidence=60), SQUARE), "min_confidence is 60"),
        (InRegion(NOSE, Polygon(((0, 0), (1, 1)))), "2 corners; give 3"),
        (InRegion(NOSE, Polygon(((0, 0),) * 1001)), "more than 1000 corners; give 1000 at most"),
        (InRegion(NOSE, Circle(x_px=0, y_px=0, radius_px=0)), "radius of 0 px"),
        (InRegion(NOSE, Circle(x_px=math.nan, y_px=0, radius_px=9)), r"at \(nan, 0\) has no place"),
        (InRegion(NOSE, Polygon(((0, 0), (9, 0), (9, math.nan)))), "corner that is no place"),
        (Distance(NOSE, NECK, ValueRange()), "no limit"),
        (Speed(NOSE, ValueRange(at_least=math.nan)), "from nan to None"),
        (Speed(NOSE, ValueRange(at_least=1, at_most=math.nan)), "from 1 to nan"),
        (Speed(NOSE, ValueRange(at_least=5, at_most=4)), "from 5 to 4 is empty"),
        (Probability(behavior="sit", probability=ValueRange(at_least=0.5)), "no behavior 'sit'"),
        (AllOf(()), "empty; give at least one"),
        (Not(AnyOf((AllOf(()),))), "empty; give at least one"),
        (AnyOf((REARING,) * 64), "65 conditions; give 64"),
    ],
)
def test_what_cannot_be_followed_is_refused(condition, message):
    with pytest.raises(InvalidRequest, match=f"^trigger t.*{message}"):
        TriggerWatch([Trigger(name="t", condition=condition)], BOTH)


def test_names_and_numbers_of_triggers_are_checked():
    one = Trigger(name="t", condition=REARING)
    for triggers, message in (
        ([one, one], "called 't'; give each a name of its own"),
        ([Trigger(name="", condition=REARING)], "called ''"),
        ([Trigger(name="t", condition=REARING, frames_on=0)], "waits for 0 frames"),
        ([Trigger(name=f"{n}", condition=REARING) for n in range(33)], "33 triggers"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            TriggerWatch(triggers, BOTH)
    with pytest.raises(InvalidRequest, match="one behavior bundle is needed"):
        TriggerWatch([one], (POSE,))
