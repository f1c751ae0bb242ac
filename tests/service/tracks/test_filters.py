from dataclasses import replace

import numpy as np
import pytest

from service import extras
from service.errors import EngineUnavailable, InvalidConfig, InvalidRequest
from service.tracks.filters import KINDS, FilterChoices, filter_track
from service.tracks.kalman import KalmanSettings


def test_the_median_is_scipys_within_the_recording(make_track):
    signal = pytest.importorskip("scipy.signal", reason="run `uv sync --inexact --extra analysis`")
    noisy = make_track(noise_px=4.0)
    found = filter_track(noisy, FilterChoices(window=5)).track.keypoints_xy
    for keypoint in range(4):
        for axis in (0, 1):
            expected = signal.medfilt(noisy.keypoints_xy[:, 0, keypoint, axis], 5)
            np.testing.assert_allclose(found[2:-2, 0, keypoint, axis], expected[2:-2])


def test_the_median_takes_what_there_is_at_ends_and_gaps(track, doubt):
    found = filter_track(doubt(track, slice(50, 52), "snout"), FilterChoices(window=3, cutoff=0.5))
    assert found.filled == 2
    assert found.missing == 0
    np.testing.assert_allclose(found.track.keypoints_xy[50, 0, 0], track.keypoints_xy[49, 0, 0])
    np.testing.assert_allclose(
        found.track.keypoints_xy[0, 0, 0], track.keypoints_xy[:2, 0, 0].mean(axis=0), rtol=1e-6
    )


def test_one_jump_is_gone_after_the_median_and_the_confidence_is_what_was_measured(track, move):
    jumped = move(track, 40, "tailbase", 200.0)
    found = filter_track(jumped, FilterChoices())
    distance = np.linalg.norm(found.track.keypoints_xy - track.keypoints_xy, axis=-1)
    assert distance[40, 0, 3] < 10
    assert found.moved_px > 0
    np.testing.assert_array_equal(found.track.confidence, track.confidence)


def test_the_spline_fills_short_gaps_on_the_curve_and_no_long_ones(track, doubt):
    pytest.importorskip("scipy", reason="run `uv sync --inexact --extra analysis`")
    gaps = doubt(doubt(track, slice(40, 45), "snout"), slice(60, 66), "snout")
    gaps = doubt(gaps, 0, "leftear")
    found = filter_track(gaps, FilterChoices(kind="spline", window=5))
    known = np.isfinite(found.track.keypoints_xy).all(axis=-1)[:, 0]
    assert np.flatnonzero(~known[:, 0]).tolist() == [60, 61, 62, 63, 64, 65]
    assert np.flatnonzero(~known[:, 1]).tolist() == [0]
    assert (found.filled, found.missing) == (5, 7)
    np.testing.assert_allclose(
        found.track.keypoints_xy[40:45, 0, 0], track.keypoints_xy[40:45, 0, 0], atol=0.05
    )
    assert known[:, 2:].all()


def test_arima_expects_from_the_past_fills_gaps_and_counts_outliers(make_track, move, doubt):
    pytest.importorskip("statsmodels", reason="run `uv sync --inexact --extra analysis`")
    noisy = make_track(frames=80, noise_px=0.5)
    noisy = replace(
        noisy,
        keypoints=("snout",),
        keypoints_xy=noisy.keypoints_xy[:, :, :1],
        confidence=noisy.confidence[:, :, :1],
        skeleton=(),
    )
    faulty = doubt(move(noisy, 50, "snout", 120.0), slice(30, 33), "snout")
    found = filter_track(faulty, FilterChoices(kind="arima"))
    distance = np.linalg.norm(found.track.keypoints_xy - noisy.keypoints_xy, axis=-1)[:, 0, 0]
    assert found.filled == 3
    assert found.missing == 0
    assert found.outliers >= 1
    assert distance[50] < 40  # expected near the path, though measured 120 px from it
    assert distance[30:33].max() < 25
    np.testing.assert_array_equal(found.track.keypoints_xy[:4], faulty.keypoints_xy[:4])


def test_the_kalman_filter_fits_itself_and_comes_nearer_to_the_truth(make_track):
    truth, noisy = make_track(), make_track(noise_px=3.0)
    found = filter_track(noisy, FilterChoices(kind="kalman"))
    before, after = (
        np.linalg.norm(one.keypoints_xy - truth.keypoints_xy, axis=-1).mean()
        for one in (noisy, found.track)
    )
    assert after < 0.7 * before
    assert found.kalman is not None
    given = KalmanSettings(measurement_sd_px=2.5)
    used = filter_track(noisy, FilterChoices(kind="kalman", kalman=given, cutoff=0.3)).kalman
    assert used == replace(given, confidence_cutoff=0.3)


def test_arima_expects_nothing_before_the_animal_comes(make_track, doubt):
    pytest.importorskip("statsmodels", reason="run `uv sync --inexact --extra analysis`")
    late = doubt(make_track(frames=60, noise_px=0.5), slice(20), "snout")
    found = filter_track(late, FilterChoices(kind="arima"))
    known = np.isfinite(found.track.keypoints_xy).all(axis=-1)[:, 0]
    assert np.flatnonzero(~known[:, 0]).tolist() == list(range(20))
    assert known[:, 1:].all()
    assert (found.filled, found.missing) == (0, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_a_track_without_frames_stays_empty(make_track, kind):
    pytest.importorskip("statsmodels", reason="run `uv sync --inexact --extra analysis`")
    found = filter_track(make_track(frames=0), FilterChoices(kind=kind))
    assert (len(found.track), found.moved_px, found.missing) == (0, 0.0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_detections_are_not_filtered_as_if_they_were_animals(make_track, kind):
    several = replace(make_track(frames=20, animals=2), rows="detections")
    with pytest.raises(InvalidRequest, match="not grouped into animals"):
        filter_track(several, FilterChoices(kind=kind))


def test_animals_are_filtered_apart(make_track):
    both = make_track(animals=2, noise_px=2.0)
    found = filter_track(both, FilterChoices()).track
    alone = replace(
        both, animals=1, keypoints_xy=both.keypoints_xy[:, 1:], confidence=both.confidence[:, 1:]
    )
    np.testing.assert_array_equal(
        found.keypoints_xy[:, 1:], filter_track(alone, FilterChoices()).track.keypoints_xy
    )


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"kind": "mean"}, "median, arima, spline, kalman"),
        ({"window": 4}, "odd"),
        ({"kind": "spline", "window": 0}, "positive"),
        ({"cutoff": 1.5}, r"\[0, 1\]"),
        ({"alpha": 0.0}, "alpha"),
    ],
)
def test_wrong_choices_are_refused(choices, message):
    with pytest.raises(InvalidConfig, match=message):
        FilterChoices(**choices)


def test_a_missing_extra_is_named_with_its_command(track, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError("No module named 'statsmodels'", name="statsmodels")

    monkeypatch.setattr(extras, "import_module", absent)
    with pytest.raises(EngineUnavailable, match="uv sync --extra cpu --extra analysis"):
        filter_track(track, FilterChoices(kind="arima"))
