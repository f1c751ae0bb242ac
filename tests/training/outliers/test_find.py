import numpy as np
import pytest

from service.errors import InvalidRequest
from training.outliers.find import find_outliers
from training.outliers.settings import OutlierSettings


def still(frames=30, animals=1):
    return np.full((frames, animals, 4, 2), 50.0, np.float32)


def test_methods_are_counted_apart_and_their_frames_put_together(make_track):
    points = still()
    points[10:, 0, 0] += 30
    points[20:, 0, 1:3] += 30
    confidence = np.ones((30, 1, 4), np.float32)
    confidence[[20, 25], 0, 3] = 0.001
    settings = OutlierSettings(methods=("jump", "uncertain", "list"), frames=(3, 10))
    found = find_outliers(make_track(points, confidence), settings, range(30))
    assert list(found.frame_index) == [3, 10, 20, 25]
    assert [(one.method, one.frames) for one in found.counts] == [
        ("jump", 2), ("uncertain", 2), ("list", 2),
    ]  # fmt: skip
    assert found.counts[0].by_keypoint == {"snout": 1, "leftear": 1, "rightear": 1, "tailbase": 0}
    assert found.reasons[10] == "jump: snout; list"
    assert found.reasons[20] == "jump: leftear, rightear; uncertain: tailbase"


def test_only_the_chosen_keypoints_and_frames_are_looked_at(make_track):
    points = still()
    points[10:, 0, 0] += 30
    points[20:, 0, 2] += 30
    track = make_track(points)
    only = find_outliers(track, OutlierSettings(keypoints=("rightear", "snout")), range(15, 30))
    assert list(only.frame_index) == [20]
    assert only.counts[0].by_keypoint == {"snout": 0, "rightear": 1}
    with pytest.raises(InvalidRequest, match="no keypoint nose; choose among snout, leftear"):
        find_outliers(track, OutlierSettings(keypoints=("nose",)), range(30))


def test_each_animal_is_followed_by_itself(make_track):
    points = still(animals=2)
    points[:, 1] += 200
    points[12:, 1, 3] += 30
    assert list(find_outliers(make_track(points), OutlierSettings(), range(30)).frame_index) == [12]


@pytest.mark.parametrize(
    ("rows", "why"), [("detections", "not put together"), ("poses", "not linked over time")]
)
def test_detections_that_nobody_tracked_are_not_followed(make_track, rows, why):
    points = still(animals=2)
    points[::2, 0], points[::2, 1] = 150, 250  # the slots change places in every frame
    confidence = np.ones((30, 2, 4), np.float32)
    confidence[7, 1, 2] = 0
    track = make_track(points, confidence, rows=rows)
    for method in ("jump", "fitting"):
        with pytest.raises(InvalidRequest, match=f"{why}.*--method uncertain, or --tracked"):
            find_outliers(track, OutlierSettings(methods=(method,)), range(30))
    told = find_outliers(track, OutlierSettings(tracked=True), range(30))
    assert len(told.frame_index) == 29
    found = find_outliers(track, OutlierSettings(methods=("uncertain",)), range(30))
    assert list(found.frame_index) == [7]


def test_frames_that_predictions_leave_out_keep_their_place_in_the_model(make_track):
    time = np.arange(200) / 20
    path = np.stack([100 + 60 * np.cos(time), 100 + 60 * np.sin(time)], axis=-1)
    path += np.random.default_rng(0).normal(0, 0.3, path.shape)
    points = np.repeat(path[:, None, None], 4, axis=2)
    points[150, 0, 2] += (40, 0)
    index = np.r_[0:60, 75:200]
    settings = OutlierSettings(methods=("fitting",), keypoints=("rightear",))
    found = find_outliers(make_track(points[index], frame_index=index), settings, range(200))
    assert 150 in found.frame_index
    assert set(found.frame_index) <= {75, 150, 151, 152, 153}


def test_listed_frames_must_have_a_prediction(make_track):
    settings = OutlierSettings(methods=("list",), frames=(3, 30))
    with pytest.raises(InvalidRequest, match="no prediction for the frames 30; correct --frames"):
        find_outliers(make_track(still()), settings, range(30))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("manual",)}, "jump, uncertain, fitting, list"),
        ({"methods": ()}, "no method"),
        ({"epsilon_px": 0}, "more than 0"),
        ({"epsilon_px": float("nan")}, "more than 0"),
        ({"p_bound": 1.0}, "p-bound is 1"),
        ({"share": 0.0}, "share is 0"),
        ({"methods": ("list",)}, "--frames 10,250"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(InvalidRequest, match=message):
        OutlierSettings(**changes)
