import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from service.errors import InvalidConfig, InvalidRequest, VideoNotFound
from tests.training.behavior_projects.conftest import on, read_table, write_pictures, write_video
from training.behavior_projects.create import (
    add_behavior,
    add_videos,
    create_project,
    remove_behavior,
)
from training.data.deepethogram import read_deepethogram, read_statistics
from training.data.labels import InvalidLabels


def test_a_project_has_background_first_and_no_path_of_this_machine(tmp_path: Path) -> None:
    folder = create_project(tmp_path, "cage", labeler="me", behaviors=("run", "none", "rear"))
    assert folder.name == "cage_deepethogram"
    assert (folder / "models").is_dir()
    text = (folder / "project_config.yaml").read_text()
    assert str(tmp_path) not in text
    found = read_deepethogram(folder)
    assert (found.name, found.labeler) == ("cage", "me")
    assert found.behaviors == ("background", "run", "rear")
    with pytest.raises(InvalidRequest, match="exists already"):
        create_project(tmp_path, "cage", labeler="me", behaviors=("run",))


@pytest.mark.parametrize("behaviors", [(), ("background",), ("run", "run"), ("a,b",)])
def test_behaviors_that_are_none_or_double_are_refused(
    tmp_path: Path, behaviors: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidConfig, match="behavior"):
        create_project(tmp_path, "cage", labeler="", behaviors=behaviors)
    with pytest.raises(InvalidConfig, match="becomes that of a folder"):
        create_project(tmp_path, "../cage", labeler="", behaviors=("run",))


def test_videos_and_pictures_are_added_with_record_and_statistics(
    make_project: Callable[..., Path], tmp_path: Path
) -> None:
    project = make_project("a")
    pictures = write_pictures(tmp_path / "stills")
    copied = write_video(tmp_path / "c.mkv")
    add_videos(project, [pictures, copied], mode="copy")
    found = read_deepethogram(project)
    assert [one.name for one in found.videos] == ["a", "c", "stills"]
    assert found.video("a").video.is_symlink()
    assert not found.video("c").video.is_symlink()
    assert found.video("stills").video == project / "DATA" / "stills" / "stills"
    record = yaml.safe_load((project / "DATA" / "c" / "record.yaml").read_text())
    assert record["rgb"] == "c.mkv"
    statistics = read_statistics(project / "DATA" / "c" / "stats.yaml")
    assert statistics.frames == 2  # frames 0 and 10
    assert statistics.mean == pytest.approx((200 / 255, 100 / 255, 50 / 255), abs=2e-3)
    assert read_statistics(project / "project_config.yaml").frames == 6


def test_a_video_that_a_full_disk_broke_off_can_be_added_again(
    make_project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project("a")
    video = write_video(tmp_path / "c.mkv")

    def copy_a_part(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copy2", copy_a_part)
        with pytest.raises(OSError, match="No space"):
            add_videos(project, [video], mode="copy")
    assert [one.name for one in read_deepethogram(project).videos] == ["a"]
    (placed,) = add_videos(project, [video], mode="copy")
    assert placed.read_bytes() == video.read_bytes()


def test_what_cannot_be_added_is_named_and_nothing_is_placed(
    make_project: Callable[..., Path], tmp_path: Path
) -> None:
    project = make_project("a")
    good = write_video(tmp_path / "good.mkv")
    (tmp_path / "frames.h5").write_bytes(b"")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "empty").mkdir()
    for bad, error, complaint in (
        (tmp_path / "absent.mp4", VideoNotFound, "does not exist"),
        (tmp_path / "frames.h5", InvalidRequest, "convert it"),
        (tmp_path / "empty", InvalidRequest, "holds no picture"),
        (tmp_path / "broken.mp4", InvalidLabels, "cannot be decoded"),
        (tmp_path / "recorded" / "a.mkv", InvalidRequest, "has a video a already"),
    ):
        with pytest.raises(error, match=complaint):
            add_videos(project, [good, bad])
    assert [one.name for one in read_deepethogram(project).videos] == ["a"]


def test_a_behavior_is_added_unlabelled_and_removed_again(project: Path) -> None:
    path = project / "DATA" / "a" / "a_labels.csv"
    outputs = project / "DATA" / "a" / "a_outputs.h5"
    outputs.write_bytes(b"of a model")
    before = path.read_text()
    copies = add_behavior(project, "groom")
    assert any(one.read_text() == before for one in copies if one.name == path.name)
    assert any(one.read_bytes() == b"of a model" for one in copies if one.name == outputs.name)
    assert not outputs.exists()
    table = read_table(path)
    assert list(table) == ["background", "run", "rear", "groom"]
    assert table["groom"] == [-1] * 12
    assert table["background"] == [-1, -1, 0, 0, 0, 0, -1, -1, 0, -1, -1, -1]
    assert read_deepethogram(project).behaviors == ("background", "run", "rear", "groom")
    outputs.write_bytes(b"of a model")
    copies = remove_behavior(project, "groom", delete_outputs=True)
    assert not outputs.exists()
    assert all(one.name != outputs.name for one in copies)
    table = read_table(path)
    assert list(table) == ["background", "run", "rear"]
    assert table["run"][:10] == on((2, 5))[:10]
    assert table["background"] == [1, 1, 0, 0, 0, 0, 1, 1, 0, 1, -1, -1]


def test_behaviors_that_cannot_be_added_or_removed_are_refused(project: Path) -> None:
    with pytest.raises(InvalidConfig, match="stands there twice"):
        add_behavior(project, "run")
    for name in ("background", "groom"):
        with pytest.raises(InvalidConfig, match="cannot be removed"):
            remove_behavior(project, name)
    remove_behavior(project, "rear")
    with pytest.raises(InvalidConfig, match="cannot be removed"):
        remove_behavior(project, "run")


def test_a_label_file_of_other_behaviors_stops_before_anything_is_changed(project: Path) -> None:
    path = project / "DATA" / "a" / "a_labels.csv"
    path.write_text(path.read_text().replace("rear", "jump"))
    before = path.read_text()
    with pytest.raises(InvalidRequest, match="has the behaviors run, jump"):
        add_behavior(project, "groom")
    assert path.read_text() == before
    assert "groom" not in read_deepethogram(project).behaviors
