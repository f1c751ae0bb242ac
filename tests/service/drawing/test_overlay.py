"""The overlay video: its frames, its times, and what stands on them."""

import dataclasses
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from service.drawing import OverlayOptions, colors, draw_overlay, overlay
from service.drawing.colors import behavior_color
from service.drawing.encode import open_video
from service.drawing.painter import OverlayPainter
from service.drawing.panel import Panel
from service.errors import DecoderFailed, InvalidRequest, VideoNotFound
from service.results import VideoResults, gather_results
from service.simulation import Recording
from service.video.pyav import VideoFile


def read(path: Path) -> tuple[VideoFile, np.ndarray, list[int]]:
    file = VideoFile(path)
    frames, times = [], []
    for row in file.rows():
        assert row.picture is not None
        pixels = np.empty(file.shape, np.uint8)
        file.convert(row.picture, pixels)
        frames.append(pixels)
        times.append(row.pts_ns)
    return file, np.stack(frames), times


def test_every_frame_is_drawn_at_its_own_time(
    video: Path, results: VideoResults, tmp_path: Path
) -> None:
    counted: list[int] = []
    drawn = draw_overlay(video, results, tmp_path / "overlay.mp4", on_frame=counted.append)
    assert drawn == 30
    assert counted == list(range(1, 31))
    file, _, times = read(tmp_path / "overlay.mp4")
    assert file.info.codec == "h264"
    np.testing.assert_allclose(times, results.pts_ns, atol=20_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["overlay.mp4"]


def test_a_small_video_is_enlarged_and_keypoints_stay_on_the_animal(
    video: Path, results: VideoResults, tmp_path: Path
) -> None:
    draw_overlay(video, results, tmp_path / "with.mp4")
    nothing = OverlayOptions(confidence_cutoff=1.0)
    draw_overlay(video, results, tmp_path / "without.mp4", nothing)
    file, marked, _ = read(tmp_path / "with.mp4")
    _, plain, _ = read(tmp_path / "without.mp4")
    assert file.shape[1] == 640
    changed = np.abs(marked[12].astype(int) - plain[12])[:480].max(axis=-1) > 60
    rows, columns = np.nonzero(changed)
    seen = results.poses[0].confidence[12, 0] > 0.6
    points = (results.poses[0].keypoints_xy[12, 0][seen] + 0.5) * 4 - 0.5
    assert abs(columns.min() - points[:, 0].min()) < 10
    assert abs(columns.max() - points[:, 0].max()) < 10
    assert abs(rows.min() - points[:, 1].min()) < 10
    assert abs(rows.max() - points[:, 1].max()) < 10


def test_points_that_are_not_grouped_into_animals_have_no_bones_and_no_ways(
    results: VideoResults,
) -> None:
    (bundle, *others), (poses,) = results.provenance.bundles, results.poses
    assert bundle.pose is not None
    twice = dataclasses.replace(
        poses,
        keypoints_xy=np.concatenate([poses.keypoints_xy, poses.keypoints_xy[:, :, ::-1]], axis=1),
        confidence=np.ones((len(results), 2, poses.confidence.shape[2]), np.float32),
    )
    painted = []
    for skeleton, trail in ((bundle.pose.skeleton, 9), ((), 0)):
        pose = msgspec.structs.replace(bundle.pose, max_animals=2, skeleton=skeleton)
        bundles = (msgspec.structs.replace(bundle, pose=pose), *others)
        changed = dataclasses.replace(
            results,
            provenance=msgspec.structs.replace(results.provenance, bundles=bundles),
            poses=(twice,),
        )
        painter = OverlayPainter(changed, (120, 160, 3), OverlayOptions(trail_frames=trail))
        painted.append(painter.paint(np.zeros((120, 160, 3), np.uint8), 20))
    np.testing.assert_array_equal(*painted)


def test_only_frames_with_results_are_drawn(
    video: Path, results: VideoResults, tmp_path: Path
) -> None:
    part = slice(10, 15)
    some = dataclasses.replace(
        results,
        frame_index=results.frame_index[part],
        pts_ns=results.pts_ns[part],
        status=results.status[part],
        poses=tuple(
            dataclasses.replace(
                one, keypoints_xy=one.keypoints_xy[part], confidence=one.confidence[part]
            )
            for one in results.poses
        ),
        behaviors=tuple(
            dataclasses.replace(
                one,
                status=one.status[part],
                probabilities=one.probabilities[part],
                present=one.present[part],
            )
            for one in results.behaviors
        ),
    )
    assert draw_overlay(video, some, tmp_path / "part.mp4", OverlayOptions(trail_frames=3)) == 5


def times_of(results: VideoResults, times_s: list[float]) -> VideoResults:
    pts_ns = np.round(np.array(times_s) * 1e9).astype(np.int64)
    return dataclasses.replace(results, pts_ns=pts_ns)


def test_several_workers_draw_the_same_video_as_one(
    video: Path, results: VideoResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "PIECE_ROWS", 7)  # 5 pieces, the last one of 2 frames
    # An uneven rate, a time that repeats, and one that goes back, from 2.5 s on.
    steps = [0.01, 0.05, 0.0, 0.2, 0.033, -0.02] * 5
    uneven = times_of(results, (2.5 + np.cumsum(steps)).tolist())
    options = OverlayOptions(trail_frames=12)  # longer than a piece
    seen: dict[int, tuple[np.ndarray, list[int]]] = {}
    for workers in (1, 3):
        counted: list[int] = []
        out = tmp_path / f"{workers}.mp4"
        drawn = draw_overlay(video, uneven, out, options, workers=workers, on_frame=counted.append)
        assert drawn == 30
        assert counted == sorted(counted)
        assert counted[-1] == 30
        _, pictures, times = read(out)
        seen[workers] = pictures, times
    np.testing.assert_array_equal(seen[3][0], seen[1][0])
    assert seen[3][1] == seen[1][1]
    assert len(seen[3][1]) == len(set(seen[3][1])) == 30
    assert seen[3][1][0] == pytest.approx(2.51e9, abs=12_000)
    at = np.array(seen[3][1])
    rising = at >= np.maximum.accumulate(uneven.pts_ns) - 12_000
    assert rising.all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.mp4", "3.mp4"]


def test_a_worker_whose_frames_are_all_missing_changes_nothing(
    recording: Recording, results: VideoResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "PIECE_ROWS", 7)
    cut = tmp_path / "cut.mp4"
    with open_video(cut, "h264", 30.0) as writer:
        for place in range(10):
            writer.write(recording.render(place), place / 30)
    seen = {}
    for workers in (1, 3):  # the third one has frames 21 to 29
        assert draw_overlay(cut, results, tmp_path / "drawn.mp4", workers=workers) == 10
        _, pictures, times = read(tmp_path / "drawn.mp4")
        seen[workers] = pictures.tobytes(), times
    assert seen[1] == seen[3]
    np.testing.assert_allclose(seen[3][1], results.pts_ns[:10], atol=12_000)
    beyond = dataclasses.replace(results, frame_index=results.frame_index + 100)
    assert draw_overlay(cut, beyond, tmp_path / "none.mp4", workers=2) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.mp4", "drawn.mp4", "none.mp4"]


def test_more_workers_than_pieces_and_one_a_core_are_no_error(
    video: Path, results: VideoResults, tmp_path: Path
) -> None:
    assert draw_overlay(video, results, tmp_path / "one.mp4", workers=0) == 30
    with pytest.raises(InvalidRequest, match="there are -2 workers"):
        draw_overlay(video, results, tmp_path / "none.mp4", workers=-2)


def test_what_goes_wrong_in_a_worker_is_told_and_leaves_no_file(
    video: Path, results: VideoResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "PIECE_ROWS", 15)
    with pytest.raises(VideoNotFound, match=r"gone\.mp4"):
        draw_overlay(tmp_path / "gone.mp4", results, tmp_path / "drawn.mp4", workers=2)

    class EndsTheProcess:
        def __reduce__(self) -> tuple[object, tuple[int]]:
            return os._exit, (3,)

    with pytest.raises(DecoderFailed, match="died; draw it with one worker"):
        draw_overlay(video, results, tmp_path / "drawn.mp4", EndsTheProcess(), workers=2)
    assert list(tmp_path.iterdir()) == []


def test_results_without_a_frame_give_a_video_without_one(
    video: Path, results: VideoResults, tmp_path: Path
) -> None:
    empty = gather_results(results.provenance, [])
    assert draw_overlay(video, empty, tmp_path / "empty.mp4") == 0
    assert (tmp_path / "empty.mp4").is_file()


def test_a_cutoff_or_trail_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"cut-off is 1\.5"):
        OverlayOptions(confidence_cutoff=1.5)
    with pytest.raises(InvalidRequest, match="-1 frames"):
        OverlayOptions(trail_frames=-1)


def test_the_panel_shows_the_probability_as_the_length_of_its_bar(results: VideoResults) -> None:
    panel = Panel(results, 640)
    height = panel.height_px
    silent, walking = panel.draw(0), panel.draw(12)
    assert silent.shape == walking.shape == (height, 640, 3)
    color = np.array(behavior_color(("locomotion",), 0))
    bar = (walking[:, 120:270] == color).all(axis=-1)
    widest = bar.sum(axis=1).max()
    track = (silent[:, 120:270] == colors.TRACK).all(axis=-1).sum(axis=1).max()
    assert widest == pytest.approx(0.9 * track, abs=5)  # the threshold's tick covers one px
    assert not (silent[:, 120:270] == color).all(axis=-1).any()
