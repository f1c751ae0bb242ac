import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import InvalidRequest, VideoNotFound
from service.simulation import SimulationSettings, simulate, write_recording
from training.commands import extract_frames


def call(*arguments):
    parser = argparse.ArgumentParser(prog="extract-frames")
    extract_frames.configure(parser)
    return extract_frames.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Two recordings of 30 frames, and one file that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    for seed, name in enumerate(["one", "two"]):
        settings = SimulationSettings(width_px=64, height_px=64, duration_s=1.0, seed=seed)
        write_recording(simulate(settings), folder, name=name, codec="mjpeg")
    (folder / "broken.avi").write_bytes(b"no video" * 50)
    return folder


@pytest.fixture
def project(tmp_path, videos) -> Path:
    folder = tmp_path / "project"
    (folder / "videos").mkdir(parents=True)
    for name in ("one", "two", "broken"):
        (folder / "videos" / f"{name}.avi").symlink_to(videos / f"{name}.avi")
    (folder / "config.yaml").write_text(
        "scorer: person\nbodyparts: [nose]\nstart: 0\nstop: 1\nnumframes2pick: 4\n"
        "video_sets:\n"
        "  C:\\elsewhere\\one.avi:\n    crop: 0, 32, 16, 64\n"
        "  /elsewhere/two.avi:\n    crop: 0, 64, 0, 64\n"
    )
    return folder


def test_a_project_gets_pictures_of_all_of_its_videos(project, capsys):
    before = (project / "config.yaml").read_bytes()
    assert call(project, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["failed"] == 0
    for video, name in zip(answer["videos"], ["one", "two"], strict=True):
        assert video["state"] == "done"
        pictures = sorted((project / "labeled-data" / name).iterdir())
        assert [path.name for path in pictures] == [
            f"img{index:02d}.png" for index in video["extracted"]["picked"]
        ]
        assert len(pictures) == 4
        assert (project / "contact-sheets" / f"{name}.png").is_file()
    assert (project / "config.yaml").read_bytes() == before


def test_named_videos_only_and_the_crop_of_the_config(project, capsys):
    import cv2

    assert call(project, "one.avi", "--method", "uniform", "--crop", "config") == 0
    assert "4 of 30 frames picked" in capsys.readouterr().out
    assert not (project / "labeled-data" / "two").exists()
    for path in (project / "labeled-data" / "one").iterdir():
        assert cv2.imread(str(path)).shape == (48, 32, 3)


def test_bare_videos_go_where_they_are_told(videos, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(videos / "one.avi", "--out", out, "--frames", "3,8-9", "--json") == 0
    (video,) = json.loads(capsys.readouterr().out)["videos"]
    assert video["extracted"]["picked"] == [3, 8, 9]
    assert sorted(path.name for path in (out / "one").iterdir()) == [
        "img03.png", "img08.png", "img09.png",
    ]  # fmt: skip
    assert (out / "contact-sheets" / "one.png").is_file()


def test_a_bad_video_stops_no_other(videos, project, tmp_path, capsys):
    assert call(videos, "--out", tmp_path / "out", "--method", "uniform", "--number", 2) == 1
    text = capsys.readouterr().out
    assert f"{videos / 'broken.avi'}: FAILED:" in text
    assert "4 frames picked, 1 of 3 videos failed" in text
    assert len(list((tmp_path / "out" / "two").iterdir())) == 2
    config = project / "config.yaml"
    config.write_text(config.read_text().replace("elsewhere\\one", "elsewhere\\gone"))
    assert call(project, "--json") == 1
    gone, two = json.loads(capsys.readouterr().out)["videos"]
    assert "gone.avi does not exist; copy it there" in gone["message"]
    assert two["state"] == "done"


def test_too_short_a_video_says_what_to_do(project, capsys):
    assert call(project, "--number", 31) == 1
    assert "has 30 frames to pick from" in capsys.readouterr().out
    assert not (project / "labeled-data").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["VIDEOS"], "give --out DIR"),
        (["VIDEOS", "--out", "OUT", "--crop", "config"], "--crop X,Y,W,H"),
        (["PROJECT", "--out", "OUT"], "leave --out away"),
        (["VIDEOS", "PROJECT"], "name one project, before its videos"),
        (["PROJECT", "--method", "list"], "--frames 10,250"),
        (["PROJECT", "--start", "later"], "seconds such as 30s"),
        (["PROJECT", "--crop", "1,2"], "X,Y,W,H"),
        (["PROJECT", "--number", "0"], "at least 1"),
    ],
)
def test_wrong_calls_are_refused_before_anything_is_written(
    videos, project, tmp_path, arguments, message
):
    paths = {"VIDEOS": videos, "PROJECT": project, "OUT": tmp_path / "out"}
    with pytest.raises(InvalidRequest, match=message):
        call(*(paths.get(one, one) for one in arguments))
    assert not (tmp_path / "out").exists()
    assert not (project / "labeled-data").exists()


def test_a_video_that_nobody_knows_is_refused(project):
    with pytest.raises(VideoNotFound, match=r"it lists: one.avi|C:"):
        call(project, "three.avi")


@pytest.mark.real_data
def test_the_published_project_gets_frames_of_its_unlabelled_video(shared_data, tmp_path, capsys):
    (published,) = (path.parent for path in (shared_data / "dlc-openfield").glob("*/config.yaml"))
    project = tmp_path / "openfield"
    (project / "videos").mkdir(parents=True)
    shutil.copy(published / "config.yaml", project / "config.yaml")
    video = project / "videos" / "m3v1mp4.mp4"
    video.symlink_to(published / "videos" / "m3v1mp4.mp4")
    assert call(project, "--json") == 1, "its config.yaml names no video of this machine"
    (lost,) = json.loads(capsys.readouterr().out)["videos"]
    assert "put it into the project's folder videos" in lost["message"]
    assert call(project, video, "--json") == 0
    (found,) = (one["extracted"] for one in json.loads(capsys.readouterr().out)["videos"])
    assert (found["video_frames"], len(found["picked"]), found["damaged"]) == (2330, 20, 0)
    # The mouse walks all over the arena: its look picks frames from all parts of the video.
    assert len({index // 466 for index in found["picked"]}) == 5
    assert len(list((project / "labeled-data" / "m3v1mp4").glob("img*.png"))) == 20


def test_help_says_units_and_defaults(capsys):
    with pytest.raises(SystemExit):
        call("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "a share of the video such as 0.25, or seconds such as 30s" in text
    assert "default: numframes2pick of config.yaml, else 20" in text


def test_neither_command_loads_torch():
    code = (
        "import sys, training.commands.extract_frames, training.commands.outliers, "
        "training.frames.batch, training.outliers.batch, training.outliers.rounds; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
