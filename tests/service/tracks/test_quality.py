from dataclasses import replace

import numpy as np
import pytest

from service.errors import InvalidConfig, InvalidRequest
from service.tracks.quality import QualityChoices, body_axis, judge_track, worst_frames
from service.tracks.sides import left_right_by_name

MINUTES = 120 / 30 / 60


def swapped(track, rows):
    positions = track.keypoints_xy.copy()
    positions[rows, :, 1], positions[rows, :, 2] = (
        track.keypoints_xy[rows, :, 2],
        track.keypoints_xy[rows, :, 1],
    )
    return replace(track, keypoints_xy=positions)


def test_a_clean_track_has_no_faults(track):
    judged = judge_track(track)
    found = judged.quality
    assert found.axis == ("snout", "tailbase")
    assert found.body_length_px == pytest.approx(100, rel=1e-4)
    assert found.minutes == pytest.approx(MINUTES)
    assert found.all_confident_share == 1.0
    assert found.jump_frames_per_minute == found.return_frames_per_minute == 0
    assert [one.keypoint for one in found.keypoints] == list(track.keypoints)
    assert all(one.jitter_px is not None and one.jitter_px < 0.01 for one in found.keypoints)
    (side,) = found.sides
    assert (side.left, side.right) == ("leftear", "rightear")
    assert side.judged_share == 1.0
    assert side.wrong_side_share == side.exchanges_per_minute == 0
    assert set(judged.reasons) == {""}


def test_a_jump_and_return_is_counted_as_both_and_is_the_worst_frame(track, move):
    judged = judge_track(move(track, 60, "snout", 60.0))
    found = judged.quality
    assert found.jump_frames_per_minute == pytest.approx(2 / MINUTES)  # there and back
    assert found.return_frames_per_minute == pytest.approx(1 / MINUTES)
    assert found.keypoints[0].returns_per_minute == pytest.approx(1 / MINUTES)
    assert found.keypoints[3].jumps_per_minute == 0
    assert worst_frames(judged, 1, 15) == [60]
    assert "jumped 1" in judged.reasons[60]
    assert "and back 1" in judged.reasons[60]


def test_a_small_jump_shows_only_by_its_return(track, move):
    found = judge_track(move(track, 60, "snout", 25.0)).quality
    assert found.jump_frames_per_minute == 0
    assert found.return_frames_per_minute == pytest.approx(1 / MINUTES)


def test_swapped_ears_are_on_the_wrong_side_until_they_swap_back(track):
    judged = judge_track(swapped(track, slice(50, 62)))
    (side,) = judged.quality.sides
    assert side.wrong_side_share == pytest.approx(12 / 120)
    assert side.exchanges_per_minute == pytest.approx(2 / MINUTES)
    assert judged.reasons[55] == "wrong side 1"


def test_sides_hold_while_the_animal_turns_through_the_whole_circle(make_track):
    (side,) = judge_track(make_track(frames=480)).quality.sides
    assert side.wrong_side_share == side.exchanges_per_minute == 0


def test_unsure_keypoints_count_by_the_cutoff(track, doubt):
    judged = judge_track(doubt(track, slice(10, 22), "leftear", 0.4))
    found = judged.quality
    assert found.all_confident_share == pytest.approx(108 / 120)
    assert found.keypoints[1].confident_share == pytest.approx(108 / 120)
    assert found.sides[0].judged_share == pytest.approx(108 / 120)
    assert judged.reasons[15] == "unsure 1"
    lower = judge_track(
        doubt(track, slice(10, 22), "leftear", 0.4), QualityChoices(cutoff=0.3)
    ).quality
    assert lower.all_confident_share == 1.0


def test_jitter_grows_with_the_noise(make_track):
    small, large = (
        judge_track(make_track(noise_px=noise)).quality.keypoints[0].jitter_px
        for noise in (0.5, 2.0)
    )
    assert small is not None
    assert large is not None
    assert large == pytest.approx(4 * small, rel=0.05)


def test_the_worst_frames_are_apart(track, doubt):
    judged = judge_track(doubt(track, slice(40, 80), "snout", 0.1))
    worst = worst_frames(judged, 3, 15)
    assert worst == [40, 55, 70]
    assert worst_frames(judged, 0, 15) == []


def test_a_keypoint_of_the_scene_makes_no_frame_unsure(make_track):
    track = make_track(animals=2)
    positions, confidence = track.keypoints_xy.copy(), track.confidence.copy()
    positions[:, 1, 2], confidence[:, 1, 2] = np.nan, np.nan
    confidence[:, :, [0, 1, 3]] = 1.0
    confidence[:, 0, 2] = 1.0
    scene = replace(
        track,
        keypoints=("snout", "leftear", "corner", "tailbase"),
        keypoints_xy=positions,
        confidence=confidence,
        unique_keypoints=("corner",),
        skeleton=(),
    )
    assert judge_track(scene).badness.max() == 0


def test_every_animal_counts(make_track, move):
    found = judge_track(move(make_track(animals=3), 30, "snout", 80.0)).quality
    assert found.animals == 3
    assert found.jump_frames_per_minute == pytest.approx(2 / MINUTES)
    assert found.sides[0].judged_share == 1.0


def test_ends_and_pairs_are_found_by_name_or_given(track):
    assert body_axis(("left_paw", "Nose", "tail_tip", "tailbase")) == ("Nose", "tailbase")
    assert body_axis(("elbow", "wrist")) is None
    assert left_right_by_name(("EarLeft", "EarRight", "paw_l", "paw_r", "leftover")) == (
        ("EarLeft", "EarRight"),
        ("paw_l", "paw_r"),
    )
    named = replace(track, keypoints=("p", "q", "r", "s"), skeleton=())
    plain = judge_track(named).quality
    assert plain.axis is None
    assert plain.sides == ()
    assert plain.body_length_px == pytest.approx(100, rel=1e-4)
    told = judge_track(named, QualityChoices(axis=("p", "s"), left_right=(("q", "r"),))).quality
    assert told.sides[0].judged_share == 1.0


def test_what_cannot_be_judged_is_refused(track):
    with pytest.raises(InvalidRequest, match="no keypoint 'nose'"):
        judge_track(track, QualityChoices(axis=("nose", "tailbase")))
    unsure = replace(track, confidence=np.zeros_like(track.confidence))
    with pytest.raises(InvalidRequest, match="lower --cutoff"):
        judge_track(unsure)
    with pytest.raises(InvalidConfig, match="above 0"):
        QualityChoices(jump_body_lengths=0)
