import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from service.errors import InvalidConfig, InvalidRequest, VideoNotFound
from service.simulation import SimulationSettings, simulate, write_recording
from training.commands import project
from training.data.deeplabcut import read_project
from training.data.deeplabcut_config import read_config
from training.data.write_deeplabcut import write_label_table
from training.frames.pictures import write_picture


def call(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    project.configure(parser)
    return project.run(parser.parse_args([str(word) for word in words]))


def test_a_simulated_project_is_made_checked_and_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ("--width", "96", "--height", "80")
    assert call("simulate", "--out", tmp_path / "p", "--frames", "2", *size) == 0
    assert call("check", tmp_path / "p") == 0
    assert "2 frames, 1 animal(s)" in capsys.readouterr().out
    assert (tmp_path / "p" / "label-check" / "labels.png").is_file()
    assert call("convert", tmp_path / "p", "--to", "csv", "--out", tmp_path / "csv") == 0
    assert len(list((tmp_path / "csv").glob("labeled-data/*/*.csv"))) == 2


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = SimulationSettings(width_px=96, height_px=80, duration_s=0.2)
    folder = tmp_path_factory.mktemp("recorded")
    return write_recording(simulate(settings), folder, name="mouse", codec="mjpeg").video


def made_by(capsys: pytest.CaptureFixture[str]) -> Path:
    first, following = capsys.readouterr().out.splitlines()
    folder = Path(first.removeprefix("project "))
    assert following == f"next: ethostream extract-frames {folder}"
    return folder


def test_a_project_is_created_with_what_the_command_line_says(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("create", "social", video, "--scorer", "ada", "--keypoints", "nose, tail",
             "--animals", "m1,m2", "--unique", "corner", "--skeleton", "nose:tail")  # fmt: skip
    assert call(*words, "--out", tmp_path) == 0
    folder = made_by(capsys)
    config = read_config(folder)
    assert (config.task, config.scorer, config.iteration) == ("social", "ada", 0)
    assert config.keypoints == ("nose", "tail", "corner")
    assert (config.animals, config.unique_keypoints) == (("m1", "m2"), ("corner",))
    assert config.skeleton == (("nose", "tail"),)
    assert [(one.path, one.crop_xywh) for one in config.videos] == [
        (folder / "videos" / video.name, (0, 0, 96, 80))
    ]
    assert config.videos[0].path.is_symlink()
    assert call(*words, "--out", tmp_path / "second", "--copy-videos") == 0
    copied = read_config(made_by(capsys)).videos[0].path
    assert not copied.is_symlink()
    assert copied.read_bytes() == video.read_bytes()


def test_wrong_words_make_no_project(video: Path, tmp_path: Path) -> None:
    words = ("create", "t", video, "--scorer", "ada", "--out", tmp_path, "--keypoints")
    with pytest.raises(InvalidRequest, match="is not A:B"):
        call(*words, "nose,tail", "--skeleton", "nose-tail")
    with pytest.raises(InvalidConfig, match="unique keypoints are for several animals"):
        call(*words, "nose,tail", "--unique", "corner")
    with pytest.raises(VideoNotFound, match="does not exist; correct the path"):
        call("create", "t", tmp_path / "no.mp4", *words[3:], "nose")
    assert list(tmp_path.iterdir()) == []


def labelled(video: Path, out: Path, animals: tuple[str, ...], unique: tuple[str, ...]) -> Path:
    """A project with one labelled picture, and machine labels of that and of another one."""
    words: list[str | Path] = [
        "create",
        "t",
        video,
        "--scorer",
        "ada",
        "--keypoints",
        "nose,tail",
        "--out",
        out,
    ]
    if animals:
        words += ["--animals", ",".join(animals), "--unique", ",".join(unique)]
    assert call(*words) == 0
    (folder,) = out.iterdir()
    config = read_config(folder)
    pictures = config.labels / "mouse"
    for name in ("img0.png", "img1.png"):
        write_picture(pictures / name, np.zeros((80, 96, 3), np.uint8))
    shape = max(1, len(animals)), len(config.keypoints)
    places = np.arange(np.prod(shape), dtype=float).reshape(*shape, 1).repeat(2, axis=2)
    for stem, names, offset in (
        ("CollectedData_ada", ["img0.png"], 1.25),
        ("machinelabels-iter0", ["img0.png", "img1.png"], 40.5),
    ):
        rows = [(f"labeled-data/mouse/{name}", places + offset) for name in names]
        scores = [np.full(shape, 0.5) for _ in rows] if "machine" in stem else None
        write_label_table(pictures / stem, "ada", config.keypoints, animals, unique, rows, scores)
    return folder


@pytest.mark.parametrize(
    ("animals", "unique"),
    [((), ()), (("m1",), ("corner",)), (("m1", "m2"), ("corner", "lamp")), (("m1", "m2"), ())],
)
@pytest.mark.parametrize("replace", [False, True])
def test_a_merge_keeps_animals_and_unique_body_parts_apart(
    video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    animals: tuple[str, ...],
    unique: tuple[str, ...],
    replace: bool,
) -> None:
    folder = labelled(video, tmp_path / "lab", animals, unique)
    words: list[str | Path] = ["merge", folder, *(["--replace"] if replace else [])]
    plan = "1 pictures added, 1 replaced, 0 keep" if replace else "1 pictures added, 0 replaced, 1"
    capsys.readouterr()
    for more, status in (["--dry-run"], 0), ([], 1):
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert call(*words, *more) == status
        text = capsys.readouterr().out
        assert plan in text
        assert "iteration 0 -> 1\nnothing was changed" in text
        assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert call(*words, "--yes") == 0
    assert f"{folder / 'config.yaml'} is at iteration 1" in capsys.readouterr().out

    shape = max(1, len(animals)), 2 + len(unique)
    places = np.arange(np.prod(shape), dtype=float).reshape(shape)
    places[1:, 2:] = np.nan  # a unique body part is in the first animal's row alone
    first, second = read_project(folder).frames
    for frame, offset in ((first, 40.5 if replace else 1.25), (second, 40.5)):
        np.testing.assert_array_equal(frame.keypoints_xy[..., 0], places + offset)
    table = pd.read_hdf(folder / "labeled-data" / "mouse" / "CollectedData_ada.h5")
    assert "likelihood" not in table.columns.get_level_values("coords")
    if animals:
        individuals = [*animals, *(["single"] if unique else [])]
        assert list(table.columns.get_level_values("individuals").unique()) == individuals


def test_a_merge_of_labels_that_do_not_fit_changes_nothing(video: Path, tmp_path: Path) -> None:
    folder = labelled(video, tmp_path / "lab", ("m1", "m2"), ("corner",))
    config = folder / "config.yaml"
    text = config.read_text()
    for path in (folder / "labeled-data" / "mouse").glob("CollectedData*"):
        path.unlink()
    config.write_text(text.replace("- m2\n", "- other\n"))
    with pytest.raises(InvalidRequest, match=r"individuals m1, m2, but .* m1, other; bring them"):
        call("merge", folder, "--yes")
    config.write_text(text)
    (folder / "labeled-data" / "mouse" / "img1.png").unlink()
    with pytest.raises(InvalidRequest, match=r"img1.png does not exist; restore the picture"):
        call("merge", folder, "--yes")
    assert config.read_text() == text
    assert not (folder / "label-backups").exists()
