from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.drawing.encode import open_video
from service.errors import InvalidConfig
from tests.training.behavior_projects.conftest import write_pictures
from training.behavior_projects.channels import (
    measure_channels,
    merge_channels,
    update_statistics,
)
from training.data.deepethogram import ChannelStatistics, read_statistics
from training.data.labels import InvalidLabels


def write_noise(path: Path, frames: int, low: int, high: int) -> np.ndarray:
    pixels = np.random.default_rng(low).integers(low, high, (frames, 16, 16, 3), np.uint8)
    with open_video(path, "ffv1", 30.0) as video:
        for index, frame in enumerate(pixels):
            video.write(frame, index / 30)
    return pixels / 255.0


def test_statistics_of_videos_are_joined_as_if_all_frames_were_one(tmp_path: Path) -> None:
    dark = write_noise(tmp_path / "dark.mkv", 5, 0, 40)
    bright = write_noise(tmp_path / "bright.mkv", 15, 100, 250)
    merged = merge_channels(
        [measure_channels(tmp_path / name, 1) for name in ("dark.mkv", "bright.mkv")]
    )
    both = np.concatenate([dark, bright]).reshape(-1, 3)
    assert merged.frames == 20
    np.testing.assert_allclose(merged.mean, both.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(merged.std, both.std(axis=0), atol=1e-5)
    mean_of_stds = 0.25 * dark.std() + 0.75 * bright.std()
    assert merged.std[0] > 1.3 * mean_of_stds  # what A18.6 would give


def test_every_nth_frame_is_looked_at(tmp_path: Path) -> None:
    pixels = write_noise(tmp_path / "v.mkv", 7, 10, 200)
    found = measure_channels(tmp_path / "v.mkv", 3)
    assert found.frames == 3
    np.testing.assert_allclose(found.mean, pixels[::3].mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(found.std, pixels[::3].std(axis=(0, 1, 2)), atol=1e-5)
    assert measure_channels(write_pictures(tmp_path / "stills"), 5).frames == 3
    with pytest.raises(InvalidConfig, match="give 1 or more"):
        measure_channels(tmp_path / "v.mkv", 0)


def test_a_video_without_a_frame_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"none")
    with pytest.raises(InvalidLabels, match="cannot be decoded"):
        measure_channels(tmp_path / "v.mp4")


def test_measured_videos_are_not_measured_again_unless_it_is_asked(
    make_project: Callable[..., Path],
) -> None:
    project = make_project("a", "b")
    stats = project / "DATA" / "a" / "stats.yaml"
    stats.write_text("normalization: {N: 2, mean: [0.5, 0.5, 0.5], std: [0.1, 0.1, 0.1]}\n")
    found, merged = update_statistics(project)
    assert found["a"] == ChannelStatistics(2, (0.5, 0.5, 0.5), (0.1, 0.1, 0.1))
    assert merged == read_statistics(project / "project_config.yaml")
    assert merged.mean[0] == pytest.approx((0.5 + 200 / 255) / 2, abs=2e-3)
    found, _ = update_statistics(project, every=1, again=True)
    assert found["a"].frames == 12
    assert read_statistics(stats) == found["a"]
