"""The overlay video: its frames, its times, and what stands on them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from service.drawing import OverlayOptions, colors, draw_overlay
from service.drawing.colors import behavior_color
from service.drawing.panel import Panel
from service.errors import InvalidRequest
from service.results import VideoResults
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
