"""Ethogram and trajectory: pictures that show what is in the results."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.drawing import draw_ethogram, draw_trajectory
from service.drawing.colors import behavior_color
from service.errors import InvalidRequest
from service.results import VideoResults, gather_results
from service.simulation import Recording


def count(path: Path, color: tuple[int, int, int]) -> int:
    """Pixels of exactly this color."""
    return int((np.asarray(Image.open(path).convert("RGB")) == color).all(axis=-1).sum())


def test_each_behavior_covers_as_much_as_it_lasts(
    results: VideoResults, recording: Recording, truth: NDArray[np.bool_], tmp_path: Path
) -> None:
    path = tmp_path / "ethogram.png"
    draw_ethogram(results, path, truth)
    names = recording.behavior_names
    longest, shorter, *never = (count(path, behavior_color(names, place)) for place in range(4))
    assert longest > 1.5 * shorter > 10 * max(never)


def test_truth_adds_a_lane_in_ink(
    results: VideoResults, truth: NDArray[np.bool_], tmp_path: Path
) -> None:
    ink = (0x1F, 0x24, 0x30)
    draw_ethogram(results, tmp_path / "without.png")
    draw_ethogram(results, tmp_path / "with.png", truth)
    assert count(tmp_path / "with.png", ink) > count(tmp_path / "without.png", ink) + 2000


def test_truth_of_another_length_is_refused(results: VideoResults, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"truth is \(5, 4\) and the answers are \(30, 4\)"):
        draw_ethogram(results, tmp_path / "a.png", np.zeros((5, 4), np.bool_))


def test_a_bundle_that_did_not_answer_is_named(results: VideoResults, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"'rat'.*there are: activity"):
        draw_ethogram(results, tmp_path / "a.png", bundle="rat")
    with pytest.raises(InvalidRequest, match=r"'rat'.*there are: mouse"):
        draw_trajectory(results, tmp_path / "a.png", bundle="rat")


def test_results_without_a_frame_are_refused(results: VideoResults, tmp_path: Path) -> None:
    empty = gather_results(results.provenance, [])
    with pytest.raises(InvalidRequest, match="0 frames"):
        draw_ethogram(empty, tmp_path / "a.png")
    with pytest.raises(InvalidRequest, match="0 frames"):
        draw_trajectory(empty, tmp_path / "a.png")


def test_the_trajectory_shows_the_way_on_a_frame(
    results: VideoResults, recording: Recording, tmp_path: Path
) -> None:
    draw_trajectory(results, tmp_path / "way.png", background=recording.render(0))
    draw_trajectory(results, tmp_path / "plain.png")
    draw_trajectory(results, tmp_path / "unsure.png", confidence_cutoff=1.0)
    way, plain, unsure = (
        np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")).astype(int)
        for name in ("way", "plain", "unsure")
    )
    assert (way != plain).any(axis=-1).mean() > 0.2
    arena = np.s_[100:500, 150:750]
    assert (plain[arena] != unsure[arena]).any(axis=-1).sum() > 50
    assert (unsure[arena] == 255).all()
