"""The table of bouts, read by pandas and by our reader of BORIS exports."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from service.behavior import frames_of_bouts
from service.bout_tracker import BoutTracker
from service.bundle import BehaviorSpec
from service.results import AnsweredBundle, RequestOptions, VideoResults, write_results
from service.results.bouts import bout_rows
from service.results.video_results import kept_bouts
from service.values import BehaviorAnswer, BehaviorColumns, BehaviorStatus
from training.data.boris import boris_labels, is_boris, read_boris

Make = Callable[..., AnsweredBundle]
MakeResults = Callable[..., VideoResults]


def write(results: VideoResults, folder: Path) -> Path:
    path = write_results(results, folder, ["bouts"])[1]
    assert path.name == "cage 4_bouts.csv"
    return path


def asked(results: VideoResults, options: RequestOptions) -> VideoResults:
    return replace(results, provenance=msgspec.structs.replace(results.provenance, options=options))


def untimed(results: VideoResults) -> VideoResults:
    """The same as pictures of a folder, which have no times."""
    info = replace(results.provenance.info, frame_rate_hz=0.0)
    provenance = msgspec.structs.replace(results.provenance, info=info)
    return replace(results, provenance=provenance, pts_ns=np.zeros(len(results), np.int64))


def test_a_row_tells_a_bout_after_the_bout_rule(results: VideoResults, tmp_path: Path) -> None:
    table = pd.read_csv(write(results, tmp_path))
    walk = table.iloc[0]
    assert table["Behavior"].tolist() == ["walk", "rear"]  # the one frame of walk at 20 is none
    assert (walk["Observation id"], walk["Media file name"]) == ("cage 4", "cage 4.mp4")
    assert (walk["Behavior type"], walk["Bundle"]) == ("STATE", "activity@1")
    assert (walk["Image index start"], walk["Image index stop"]) == (10, 16)
    assert walk["FPS (frame/s)"] == 30
    assert walk["Start (s)"] == pytest.approx(results.times_s[10])
    assert walk["Stop (s)"] == pytest.approx(results.times_s[16])
    assert walk["Duration (s)"] == pytest.approx(6 / 30, abs=1e-6)
    values = results.behaviors[0].probabilities[10:16, 0]
    assert walk["Mean probability"] == pytest.approx(values.mean(), rel=1e-6)
    assert walk["Highest probability"] == pytest.approx(values.max(), rel=1e-6)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("seed", range(10))
def test_bouts_are_those_that_a_live_stream_is_told(
    results: VideoResults, stride: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    ((bundle, found),) = results.behavior_answers()
    assert bundle.behavior is not None
    shown = np.repeat(random.random(30) < 0.5, random.integers(1, 8, 30))
    shown = np.repeat(shown, stride)[: len(shown) * stride - seed % stride]
    frames = len(shown)
    known = random.random(frames) < 0.97
    values = np.where(known, shown, np.nan).astype(np.float32)[:, None]
    columns = BehaviorColumns(found.bundle, np.zeros(frames, np.uint8), values, values == 1)
    behavior = msgspec.structs.replace(
        bundle.behavior,
        behaviors=("walk",),
        thresholds=(0.5,),
        min_bout_frames=(1 + seed % 4,),
        stride=stride,
    )
    asked_for = msgspec.structs.replace(bundle, behavior=behavior)
    recorded = replace(
        results,
        provenance=msgspec.structs.replace(results.provenance, bundles=(asked_for,)),
        frame_index=np.arange(frames),
        pts_ns=np.arange(frames) * 33_333_333,
        status=np.zeros(frames, np.uint8),
        poses=(),
        behaviors=(columns,),
    )
    rows = bout_rows(recorded, asked_for, columns)
    assert not any(np.isnan((row.mean_probability, row.highest_probability)).any() for row in rows)

    tracker = BoutTracker(
        BehaviorSpec(
            behaviors=("walk",),
            exclusive=False,
            thresholds=(0.5,),
            min_bout_frames=behavior.min_bout_frames,
            frame_rate_hz=30.0,
            flow_frames=1,
            past_frames=1,
            future_frames=0,
            feature_size=4,
            state_size=4,
        ),
        np.array(frames_of_bouts(behavior.min_bout_frames, stride)),
    )
    told = [
        event.frame_index
        for index in range(frames)
        for event in tracker.add(
            BehaviorAnswer(
                index,
                BehaviorStatus.OK,
                values[index] if known[index] else None,
                values[index] == 1 if known[index] else None,
            )
        )
        if event.kind == "onset"
    ]
    assert [row.onset_frame for row in rows] == told


def test_our_reader_of_boris_exports_finds_the_same_frames(
    make_results: MakeResults, make_behavior_bundle: Make, tmp_path: Path
) -> None:
    results = make_results(make_behavior_bundle())
    path = write(results, tmp_path)
    assert is_boris(path)
    [video] = read_boris(path)
    assert video.media == "cage 4.mp4"
    assert video.frame_rate_hz == 30
    bundle, found = results.behavior_answers()[0]
    assert bundle.behavior is not None
    labels = boris_labels(video, bundle.behavior.behaviors, frames=30, frame_rate_hz=30)
    np.testing.assert_array_equal(labels == 1, kept_bouts(bundle.behavior, found))


def test_frames_and_times_are_those_of_the_file(results: VideoResults, tmp_path: Path) -> None:
    pts_ns = 3_000_000_000 + np.cumsum(np.arange(1, 31) * 7_000_000)
    varied = replace(results, frame_index=results.frame_index + 500, pts_ns=pts_ns)
    walk = pd.read_csv(write(varied, tmp_path)).iloc[0]
    assert (walk["Image index start"], walk["Image index stop"]) == (510, 516)
    assert walk["Start (s)"] == pytest.approx(pts_ns[10] / 1e9)
    assert walk["Stop (s)"] == pytest.approx(pts_ns[16] / 1e9)


def test_a_bout_at_the_end_lasts_its_last_frame(results: VideoResults, tmp_path: Path) -> None:
    cut = replace(
        results,
        frame_index=results.frame_index[:15],
        pts_ns=results.pts_ns[:15],
        status=results.status[:15],
        poses=tuple(
            replace(one, keypoints_xy=one.keypoints_xy[:15], confidence=one.confidence[:15])
            for one in results.poses
        ),
        behaviors=tuple(
            replace(
                one,
                status=one.status[:15],
                probabilities=one.probabilities[:15],
                present=one.present[:15],
            )
            for one in results.behaviors
        ),
    )
    walk = pd.read_csv(write(cut, tmp_path)).iloc[0]
    assert walk["Image index stop"] == 15
    assert walk["Stop (s)"] == pytest.approx(results.times_s[14] + 1 / 30)


def test_a_rate_that_was_asked_for_replaces_the_times(
    results: VideoResults, tmp_path: Path
) -> None:
    fast = asked(results, RequestOptions(frame_rate_hz=240.0))
    walk = pd.read_csv(write(fast, tmp_path)).iloc[0]
    assert walk["FPS (frame/s)"] == 240
    assert walk["Start (s)"] == pytest.approx(10 / 240)
    assert walk["Stop (s)"] == pytest.approx(16 / 240)


def test_without_times_the_frame_numbers_tell_the_bouts(
    results: VideoResults, tmp_path: Path
) -> None:
    path = write(untimed(results), tmp_path)
    assert pd.read_csv(path)["Start (s)"].isna().all()
    [video] = read_boris(path)
    labels = boris_labels(video, ("walk", "rear"), frames=30, frame_rate_hz=25)
    assert np.flatnonzero(labels[:, 0]).tolist() == list(range(10, 16))


def test_background_is_left_out_and_every_bundle_is_in(
    make_results: MakeResults, make_behavior_bundle: Make, tmp_path: Path
) -> None:
    results = make_results(
        make_behavior_bundle(), make_behavior_bundle(exclusive=True, name="cage")
    )
    table = pd.read_csv(write(results, tmp_path))
    assert set(table["Bundle"]) <= {"activity@1", "cage@1"}
    assert "background" not in set(table["Behavior"])
    bundle, found = results.behavior_answers()[1]
    assert bundle.behavior is not None
    kept = kept_bouts(bundle.behavior, found)[:, 1:]
    spans = table[table["Bundle"] == "cage@1"]
    frames = (spans["Image index stop"] - spans["Image index start"]).sum()
    assert frames == kept.sum()


def test_a_video_without_a_bout_has_an_empty_table(results: VideoResults, tmp_path: Path) -> None:
    found = results.behaviors[0]
    absent = replace(results, behaviors=(replace(found, present=np.zeros_like(found.present)),))
    table = pd.read_csv(write(absent, tmp_path))
    assert table.empty
    assert "Behavior" in table.columns
