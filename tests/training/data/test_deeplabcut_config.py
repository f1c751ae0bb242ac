from pathlib import Path

import pytest

from service.errors import VideoNotFound
from training.data.deeplabcut_config import is_project, read_config
from training.data.labels import InvalidLabels


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(text)
    return folder


@pytest.fixture
def project(tmp_path):
    (tmp_path / "here.avi").touch()
    folder = write(
        tmp_path / "p",
        f"""
Task: reach
scorer: 7
date: 2018-10-30
video_sets:
  ? C:\\Users\\lab one\\p\\videos\\cage 1.mp4
  : crop: 10, 330, 20, 260
  {tmp_path}/here.avi:
    crop: ''
  /elsewhere/gone.mp4:
bodyparts: [nose, tail]
start: 0.1
stop: 0.9
numframes2pick: 12
iteration: 3
some_new_key: 5
""",
    )
    (folder / "videos").mkdir()
    (folder / "videos" / "cage 1.mp4").touch()
    return folder


def test_it_reads_what_picking_frames_needs(project, tmp_path):
    read = read_config(project)
    assert [video.path for video in read.videos] == [
        project / "videos" / "cage 1.mp4",
        tmp_path / "here.avi",
        Path("/elsewhere/gone.mp4"),
    ]
    assert [video.crop_xywh for video in read.videos] == [(10, 20, 320, 240), None, None]
    assert (read.scorer, read.keypoints, read.animals) == ("7", ("nose", "tail"), ())
    assert (read.start, read.stop, read.number, read.iteration) == (0.1, 0.9, 12, 3)
    assert read == read_config(project / "config.yaml")
    assert is_project(project)
    assert is_project(project / "config.yaml")
    assert not is_project(tmp_path)


def test_projects_with_several_animals_name_them_and_the_unique_parts(tmp_path):
    read = read_config(
        write(
            tmp_path / "m",
            """
multianimalproject: true
individuals: [a, b]
uniquebodyparts: [corner]
multianimalbodyparts: [nose, tail]
bodyparts: MULTI!
""",
        )
    )
    assert read.animals == ("a", "b")
    assert read.keypoints == ("nose", "tail", "corner")
    assert read.unique_keypoints == ("corner",)
    assert (read.start, read.stop, read.number) == (0, 1, 20)


def test_videos_are_found_by_path_and_by_name(project, tmp_path):
    read = read_config(project)
    assert read.find_video(Path("cage 1.mp4")).crop_xywh == (10, 20, 320, 240)
    assert read.find_video(project / "videos" / "cage 1.mp4").crop_xywh == (10, 20, 320, 240)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "here.avi").touch()
    other = read.find_video(tmp_path / "other" / "here.avi")
    assert other.path == tmp_path / "other" / "here.avi"
    with pytest.raises(VideoNotFound, match=r"lists no video of that name .*cage 1.mp4"):
        read.find_video(Path("cage 9.mp4"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start: 0.5\nstop: 0.2", "0 <= start < stop <= 1"),
        ("numframes2pick: 0", "at least 1"),
        ("numframes2pick: many", "malformed"),
        ("video_sets: {a.mp4: {crop: 'left'}}", "x1, x2, y1, y2 in px"),
        ("video_sets: {a.mp4: {crop: '9, 3, 0, 4'}}", "x1 < x2"),
        ("bodyparts: [nose", "malformed"),
        ("bodyparts: [nose, tail, nose]", "names the body part nose twice"),
        ("bodyparts: []", "names no body parts"),
        ("bodyparts: MULTI!", "set that key"),
        ("multianimalproject: true\nmultianimalbodyparts: [a]\nbodyparts: MULTI!", "individuals"),
    ],
)
def test_wrong_values_are_refused_by_file_and_value(tmp_path, text, message):
    text += "" if "bodyparts" in text else "\nbodyparts: [a]"
    with pytest.raises(InvalidLabels, match=message) as caught:
        read_config(write(tmp_path / "p", text))
    assert str(tmp_path / "p" / "config.yaml") in str(caught.value)


def test_a_folder_without_config_is_no_project(tmp_path):
    with pytest.raises(InvalidLabels, match="name the folder of a DeepLabCut project"):
        read_config(tmp_path)


@pytest.mark.real_data
def test_the_published_project_is_read(shared_data):
    (folder,) = [path.parent for path in (shared_data / "dlc-openfield").glob("*/config.yaml")]
    read = read_config(folder)
    assert read.keypoints == ("snout", "leftear", "rightear", "tailbase")
    assert (read.scorer, read.number) == ("Pranav", 20)
