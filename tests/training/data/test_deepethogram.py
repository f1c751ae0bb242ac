from pathlib import Path

import pytest

from training.data.deepethogram import (
    ChannelStatistics,
    find_video,
    is_deepethogram,
    picture_files,
    read_deepethogram,
    read_split,
    read_statistics,
    write_split,
)
from training.data.labels import InvalidLabels

CONFIG = """\
augs:
  normalization:
    N: 30
    mean: [0.5, 0.4, 0.3]
    std: [0.1, 0.2, 0.3]
project:
  class_names: [background, run, rear]
  config_file: C:\\Users\\someone\\cage_deepethogram\\project_config.yaml
  data_path: C:\\Users\\someone\\cage_deepethogram\\DATA
  labeler: me
  model_path: models
  name: cage
  path: C:\\Users\\someone\\cage_deepethogram
"""


def make(folder: Path, config: str = CONFIG) -> Path:
    for name in ("v10", "v2"):
        (folder / "DATA" / name).mkdir(parents=True)
        (folder / "DATA" / name / f"{name}.mp4").write_bytes(b"")
    (folder / "DATA" / "v2" / "v2_labels.csv").write_text(",background,run,rear\n0,1,0,0\n")
    (folder / "DATA" / "notes").mkdir()
    (folder / "project_config.yaml").write_text(config)
    return folder


def test_a_project_of_another_machine_is_read_where_it_lies(tmp_path: Path) -> None:
    project = read_deepethogram(make(tmp_path / "cage_deepethogram"))
    assert is_deepethogram(project.folder)
    assert (project.name, project.labeler) == ("cage", "me")
    assert project.behaviors == ("background", "run", "rear")
    assert [one.name for one in project.videos] == ["v2", "v10"]
    assert project.video("v2").video == project.folder / "DATA" / "v2" / "v2.mp4"
    assert project.video("v10").labels is None
    with pytest.raises(InvalidLabels, match="has no video v3; it has v2, v10"):
        project.video("v3")
    assert read_statistics(project.folder / "project_config.yaml") == ChannelStatistics(
        30, (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)
    )


def test_a_data_folder_of_another_name_and_none_for_background_are_read(tmp_path: Path) -> None:
    make(tmp_path, CONFIG.replace("\\DATA", "\\VIDEOS").replace("background, run", "run, none"))
    (tmp_path / "DATA").rename(tmp_path / "VIDEOS")
    project = read_deepethogram(tmp_path)
    assert project.data.name == "VIDEOS"
    assert project.behaviors == ("background", "run", "rear")


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("project: {name: cage}", "has no list project.class_names"),
        ("project: {class_names: [run, run]}", "names the behavior run twice"),
        ("project: [", "cannot be read"),
        ("a text", "is no mapping"),
        ("!!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)
def test_a_damaged_configuration_is_named(tmp_path: Path, config: str, complaint: str) -> None:
    make(tmp_path, config)
    with pytest.raises(InvalidLabels, match=complaint):
        read_deepethogram(tmp_path)


def test_missing_data_and_videos_are_named(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "DATA" / "v2" / "v2.mp4").unlink()
    with pytest.raises(InvalidLabels, match=r"v2_labels\.csv has no video"):
        read_deepethogram(tmp_path)
    (tmp_path / "DATA").rename(tmp_path / "gone")
    with pytest.raises(InvalidLabels, match="has no folder DATA"):
        read_deepethogram(tmp_path)


def test_pictures_come_before_avi_and_avi_before_mp4(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    assert find_video(folder) is None
    (folder / "v.h5").write_bytes(b"")
    with pytest.raises(InvalidLabels, match="holds frames as HDF5, which is not read"):
        find_video(folder)
    for name in ("v.mov", "v.mp4", "v.avi"):
        (folder / name).write_bytes(b"")
        assert find_video(folder) == folder / name
    (folder / "v").mkdir()
    assert find_video(folder) == folder / "v.avi"
    for name in ("frame10.png", "frame2.png"):
        (folder / "v" / name).write_bytes(b"")
    assert find_video(folder) == folder / "v"
    assert [one.name for one in picture_files(folder / "v")] == ["frame2.png", "frame10.png"]


def test_a_video_of_another_name_is_taken_where_it_is_alone(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    (folder / "original.mp4").write_bytes(b"")
    assert find_video(folder) == folder / "original.mp4"
    (folder / "second.mp4").write_bytes(b"")
    with pytest.raises(InvalidLabels, match="holds 2 videos and none is named v"):
        find_video(folder)


def test_a_split_is_read_and_written_back(tmp_path: Path) -> None:
    path = tmp_path / "split.yaml"
    path.write_text("metadata: {split: [0.8, 0.2, 0.0]}\ntrain: [a, b]\nval:\n- c\ntest: []\n")
    split = read_split(path)
    assert (split.training, split.validation, split.test) == (("a", "b"), ("c",), ())
    write_split(split, path)
    assert read_split(path) == split
    for text, complaint in (
        ("train: [a]\nval: [a]", "lists the video a twice"),
        ("train: a", "give a list"),
        ("metadata: {}", "lists no video"),
    ):
        path.write_text(text)
        with pytest.raises(InvalidLabels, match=complaint):
            read_split(path)


def test_statistics_of_a_wrong_form_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "stats.yaml"
    path.write_text("normalization: {N: 3, mean: [0.1], std: [0.1]}")
    with pytest.raises(InvalidLabels, match="of three channels"):
        read_statistics(path)
