import csv
from pathlib import Path

import numpy as np
import pytest

from service.errors import InvalidConfig, InvalidRequest
from tests.training.behavior_projects.conftest import (
    on,
    write_pictures,
    write_table,
    write_video,
)
from training.behavior_projects.clips import cut_bouts
from training.behavior_projects.create import add_videos
from training.data.behavior_frames import decode_video
from training.data.labels import InvalidLabels


def frame_numbers(path: Path) -> list[int]:
    """The numbers that `write_video` wrote into the first pixels."""
    return [int(pixels[0, 0, 0]) for pixels in decode_video(path)]


def test_each_bout_is_a_video_of_its_frames(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    clips = cut_bouts([project], out, codec="ffv1")
    found = {clip.path.relative_to(out).as_posix(): frame_numbers(clip.path) for clip in clips}
    assert found == {
        "run/a_2-4.mkv": [2, 3, 4],
        "rear/a_4-5.mkv": [4, 5],
        "rear/a_8-8.mkv": [8],
    }
    with (out / "bouts.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["file"] == "run/a_2-4.mkv"
    assert (rows[0]["onset_frame"], rows[0]["offset_frame"]) == ("2", "5")
    with pytest.raises(InvalidRequest, match="is not empty"):
        cut_bouts([project], out)


def test_margins_stay_in_the_video_and_long_clips_are_cut(project: Path, tmp_path: Path) -> None:
    clips = cut_bouts(
        [project], tmp_path / "clips", behaviors=["run"], margin_frames=3, codec="ffv1"
    )
    assert [frame_numbers(clip.path) for clip in clips] == [[0, 1, 2, 3, 4, 5, 6, 7]]
    short = cut_bouts([project], tmp_path / "s", behaviors=["run"], longest_frames=2, codec="ffv1")
    assert [frame_numbers(clip.path) for clip in short] == [[2, 3]]


def test_bouts_end_at_the_limits_of_joined_videos(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_video(data / "one.mkv")
    write_table(data / "one_labels.csv", {"run": on((4, 8))})
    (data / "clips.csv").write_text("video,first_frame,last_frame\none.mkv,0,5\none.mkv,6,11\n")
    clips = cut_bouts([data], tmp_path / "clips", margin_frames=1, codec="ffv1")
    assert [frame_numbers(clip.path) for clip in clips] == [[3, 4, 5], [6, 7, 8]]


def test_pictures_are_cut_too_and_h264_can_be_written(project: Path, tmp_path: Path) -> None:
    add_videos(project, [write_pictures(tmp_path / "stills")])
    write_table(
        project / "DATA" / "stills" / "stills_labels.csv", {"run": on((10, 12)), "rear": on()}
    )
    clips = cut_bouts([project], tmp_path / "clips", behaviors=["run"])
    assert [clip.path.name for clip in clips] == ["a_2-4.mp4", "stills_10-11.mp4"]
    shown = list(decode_video(clips[1].path))
    assert len(shown) == 2
    assert np.abs(shown[0].astype(int) - 60).max() < 5


def test_what_cannot_be_cut_is_named(project: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="jump is no behavior"):
        cut_bouts([project], tmp_path / "clips", behaviors=["jump"])
    with pytest.raises(InvalidConfig, match="give a margin from 0"):
        cut_bouts([project], tmp_path / "clips", margin_frames=-1)
    with pytest.raises(InvalidConfig, match="unknown codec"):
        cut_bouts([project], tmp_path / "clips", codec="gif")
    write_table(
        project / "DATA" / "a" / "a_labels.csv",
        {"run": on((2, 20), frames=20), "rear": on(frames=20)},
    )
    with pytest.raises(InvalidLabels, match="has 12 frames, but"):
        cut_bouts([project], tmp_path / "clips")
