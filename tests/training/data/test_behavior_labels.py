import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from service.bundle import InputSpec
from service.simulation import SimulationSettings, simulate, write_recording
from training.data.behavior_frames import load_footage
from training.data.behavior_labels import read_behavior_project, read_labels
from training.data.labels import InvalidLabels

TABLE = ",background,run,rear\n0,1,0,0\n1,0,1,0\n2,0,0,1\n3,-1,-1,-1\n"


def write(folder: Path, text: str, name: str = "one") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.mp4").write_bytes(b"no video, but its name is there")
    path = folder / f"{name}_labels.csv"
    path.write_text(text)
    return path


def test_exclusive_labels_begin_with_background_and_keep_unlabelled_frames(tmp_path: Path) -> None:
    labels, behaviors = read_labels(write(tmp_path, TABLE), exclusive=True)
    assert behaviors == ("background", "run", "rear")
    assert labels.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]]


def test_multi_label_labels_leave_background_out(tmp_path: Path) -> None:
    labels, behaviors = read_labels(write(tmp_path, TABLE), exclusive=False)
    assert behaviors == ("run", "rear")
    assert labels.tolist() == [[0, 0], [1, 0], [0, 1], [-1, -1]]


def test_columns_are_brought_to_the_wanted_order(tmp_path: Path) -> None:
    labels, _ = read_labels(write(tmp_path, TABLE), exclusive=False, behaviors=("rear", "run"))
    assert labels.tolist() == [[0, 0], [0, 1], [1, 0], [-1, -1]]


def test_background_is_recomputed_and_none_is_another_name_of_it(tmp_path: Path) -> None:
    text = ",none,run\n0,0,0\n1,1,1\n"
    labels, behaviors = read_labels(write(tmp_path, text), exclusive=True)
    assert behaviors == ("background", "run")
    assert labels.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (",background,run\n0,1,0\n1,0,\n", "'nan' in row 1 of run"),
        (",background,run\n0,1,0\n1,0,yes\n", "'yes' in row 1 of run"),
        (",background,run\n0,1,0\n1,0,2\n", "'2' in row 1 of run"),
        (",background,run\n0,-1,-1\n1,-1,-1\n", "labels no frame"),
        (",background,run\n", "labels no frame"),
        ("", "is not a label table"),
    ],
)
def test_bad_values_are_named_with_their_place(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidLabels, match=re.escape(complaint)):
        read_labels(write(tmp_path, text), exclusive=False)


def test_an_unknown_behavior_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidLabels, match="unknown rear; missing groom"):
        read_labels(write(tmp_path, TABLE), exclusive=False, behaviors=("run", "groom"))


def test_two_behaviors_at_once_are_refused_where_one_is_wanted(tmp_path: Path) -> None:
    path = write(tmp_path, ",background,run,rear\n0,1,0,0\n1,0,1,1\n")
    assert read_labels(path, exclusive=False)[0].tolist() == [[0, 0], [1, 1]]
    with pytest.raises(InvalidLabels, match="run and rear in row 1"):
        read_labels(path, exclusive=True)


def test_a_project_is_found_in_folders_videos_and_labels(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "videos" / "one.mkv").write_bytes(b"")
    (tmp_path / "labels" / "one_labels.csv").write_text(TABLE)
    (tmp_path / "clips.csv").write_text("video,first_frame,last_frame\none.mkv,0,1\none.mkv,2,3\n")
    [recording] = read_behavior_project([tmp_path], exclusive=True).recordings
    assert recording.name == "one"
    assert recording.clips == ((0, 2), (2, 4))


def test_clips_that_overlap_or_leave_the_video_are_refused(tmp_path: Path) -> None:
    write(tmp_path, TABLE)
    for limits in ("one.mp4,0,2\none.mp4,2,3", "one.mp4,0,4", "one.mp4,2,1"):
        (tmp_path / "clips.csv").write_text(f"video,first_frame,last_frame\n{limits}\n")
        with pytest.raises(InvalidLabels, match="overlaps another or is not within its 4 frames"):
            read_behavior_project([tmp_path], exclusive=True)


def test_what_is_missing_or_double_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidLabels, match="holds no file"):
        read_behavior_project([tmp_path], exclusive=True)
    write(tmp_path / "a", TABLE)
    write(tmp_path / "b", TABLE)
    with pytest.raises(InvalidLabels, match="label a recording one"):
        read_behavior_project([tmp_path], exclusive=True)
    (tmp_path / "a" / "one.mp4").unlink()
    with pytest.raises(InvalidLabels, match="has no video one"):
        read_behavior_project([tmp_path / "a"], exclusive=True)


def test_the_hash_follows_labels_and_video(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE)
    first = read_behavior_project([tmp_path], exclusive=True).sha256()
    assert read_behavior_project([tmp_path], exclusive=True).sha256() == first
    path.write_text(TABLE.replace("3,-1,-1,-1", "3,1,0,0"))
    second = read_behavior_project([tmp_path], exclusive=True).sha256()
    (tmp_path / "one.mp4").write_bytes(b"another video")
    third = read_behavior_project([tmp_path], exclusive=True).sha256()
    assert len({first, second, third}) == 3


def test_a_video_with_another_number_of_frames_is_refused(tmp_path: Path) -> None:
    recording = simulate(SimulationSettings(width_px=64, height_px=64, duration_s=0.5))
    path = write_recording(recording, tmp_path, codec="mjpeg").behavior_csv
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-2]) + "\n")
    spec = InputSpec(width_px=64, height_px=64, color="gray", fit="letterbox")
    project = read_behavior_project([tmp_path], exclusive=False)
    rows = len(lines) - 3
    with pytest.raises(InvalidLabels, match=f"has {rows + 2} frames, but .* {rows} rows"):
        load_footage(project.recordings, spec)


def test_a_damaged_video_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, TABLE)
    spec = InputSpec(width_px=64, height_px=64, color="gray", fit="letterbox")
    project = read_behavior_project([tmp_path], exclusive=True)
    with pytest.raises(InvalidLabels, match=r"one\.mp4 cannot be decoded"):
        load_footage(project.recordings, spec)


DEEPETHOGRAM = """\
project:
  class_names: [background, run, rear]
  data_path: /home/another/cage_deepethogram/DATA
"""


def make_deepethogram(folder: Path, **tables: str) -> Path:
    for name, text in tables.items():
        write_into = folder / "DATA" / name
        write_into.mkdir(parents=True)
        write(write_into, text, name)
    (folder / "project_config.yaml").write_text(DEEPETHOGRAM)
    return folder


def test_a_deepethogram_project_is_read_beside_a_flat_folder(tmp_path: Path) -> None:
    text = ",background,rear,run\n0,1,0,0\n1,0,-1,1\n2,0,1,0\n"
    unlabelled = ",background,run,rear\n0,-1,-1,-1\n"
    project = make_deepethogram(tmp_path / "deg", one=text, two=unlabelled)
    backup = project / "label-backups" / "then" / "DATA" / "one"
    backup.mkdir(parents=True)
    write(backup, text)
    write(tmp_path / "flat", TABLE, "three")
    found = read_behavior_project([project, tmp_path / "flat"], exclusive=False)
    assert found.behaviors == ("run", "rear")  # those of the configuration
    assert [one.name for one in found.recordings] == ["one", "three"]
    assert found.recordings[0].labels.tolist() == [[0, 0], [1, -1], [0, 1]]
    assert found.recordings[0].video == project / "DATA" / "one" / "one.mp4"
    exclusive = read_behavior_project([project], exclusive=True)
    assert exclusive.behaviors == ("background", "run", "rear")
    assert exclusive.recordings[0].labels.tolist() == [[1, 0, 0], [-1, -1, -1], [0, 0, 1]]


def test_backups_of_label_files_in_a_flat_folder_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, TABLE)
    (tmp_path / "label-backups").mkdir()
    (tmp_path / "label-backups" / "one_labels.csv").write_text(TABLE)
    assert len(read_behavior_project([tmp_path], exclusive=False).recordings) == 1


def test_what_is_wrong_in_a_deepethogram_project_is_named(tmp_path: Path) -> None:
    half = ",background,run,rear\n0,-1,0,-1\n1,-1,1,-1\n"
    with pytest.raises(InvalidLabels, match="rear is -1 throughout"):
        read_behavior_project([make_deepethogram(tmp_path / "half", one=half)], exclusive=False)
    nothing = make_deepethogram(tmp_path / "nothing", one=half.replace("0,-1,0", "0,-1,-1", 1))
    (nothing / "DATA" / "one" / "one_labels.csv").write_text(",run,rear\n0,-1,-1\n")
    with pytest.raises(InvalidLabels, match=r"no video of .* is labelled"):
        read_behavior_project([nothing], exclusive=False)
    other = make_deepethogram(tmp_path / "other", one=",run,jump\n0,1,0\n")
    with pytest.raises(InvalidLabels, match="unknown jump; missing rear"):
        read_behavior_project([other], exclusive=False)


def test_pictures_of_a_project_are_the_video_and_count_in_the_hash(tmp_path: Path) -> None:
    project = make_deepethogram(tmp_path, one=TABLE)
    pictures = project / "DATA" / "one" / "one"
    pictures.mkdir()
    (pictures / "0.png").write_bytes(b"one picture")
    found = read_behavior_project([project], exclusive=False)
    assert found.recordings[0].video == pictures
    before = found.sha256()
    (pictures / "0.png").write_bytes(b"another one")
    assert found.sha256() != before


def test_h5_labels_of_a_project_have_the_names_of_its_configuration(tmp_path: Path) -> None:
    project = make_deepethogram(tmp_path, one=TABLE)
    (project / "DATA" / "one" / "one_labels.csv").unlink()
    with h5py.File(project / "DATA" / "one" / "one_labels.h5", "w") as file:
        file["labels"] = np.array([[1, 0, 0], [0, 1, 0], [-1, -1, -1]])
    [recording] = read_behavior_project([project], exclusive=False).recordings
    assert recording.labels.tolist() == [[0, 0], [1, 0], [-1, -1]]


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A folder with a video of 15 frames at 30 Hz and BORIS events of it."""
    settings = SimulationSettings(width_px=64, height_px=64, duration_s=0.5)
    files = write_recording(simulate(settings), tmp_path / "sim", name="mouse", codec="mjpeg")
    folder = tmp_path / "scored"
    folder.mkdir()
    files.video.rename(folder / "mouse.avi")
    (folder / "events.csv").write_text(
        "Time,Media file path,Total length,FPS,Subject,Behavior,Status\n"
        "0.1,/elsewhere/mouse.avi,0.5,30,,rear,START\n"
        "0.2,/elsewhere/mouse.avi,0.5,30,,rear,STOP\n"
    )
    return folder


def test_boris_events_are_read_as_a_file_or_a_folder(scored: Path) -> None:
    for place in (scored, scored / "events.csv"):
        project = read_behavior_project([place], exclusive=False)
        assert project.behaviors == ("rear",)
        [recording] = project.recordings
        assert recording.name == "mouse"
        assert recording.labels[:, 0].tolist() == [0, 0, 0, 1, 1, 1, *[0] * 9]
        assert recording.clips == ((0, 15),)
    exclusive = read_behavior_project([scored], exclusive=True)
    assert exclusive.behaviors == ("background", "rear")
    assert exclusive.recordings[0].labels.sum(axis=1).tolist() == [1] * 15


def test_boris_events_take_the_behaviors_of_label_files_beside_them(
    scored: Path, tmp_path: Path
) -> None:
    write(tmp_path / "flat", TABLE, "other")
    project = read_behavior_project([scored, tmp_path / "flat"], exclusive=False)
    assert project.behaviors == ("run", "rear")
    labels = {one.name: one.labels for one in project.recordings}
    assert labels["mouse"].sum(axis=0).tolist() == [0, 3]
    with pytest.raises(InvalidLabels, match="unknown behavior 'rear' in row 3"):
        read_behavior_project([scored], exclusive=False, behaviors=("run",))
    (scored / "mouse.avi").unlink()
    with pytest.raises(InvalidLabels, match="has no video mouse"):
        read_behavior_project([scored], exclusive=False)


@pytest.mark.real_data
def test_the_rat_clips_are_read_with_their_limits(shared_data: Path) -> None:
    project = read_behavior_project([shared_data / "rat-behavior"], exclusive=True)
    assert project.behaviors[0] == "background"
    assert len(project.behaviors) == 7
    assert len(project.recordings) == 17
    clips = [clip for recording in project.recordings for clip in recording.clips]
    assert len(clips) == 407
    assert {end - first for first, end in clips} == {16}
    labels = np.concatenate([recording.labels for recording in project.recordings])
    assert (labels.sum(axis=1) == 1).all()
