from collections.abc import Callable
from pathlib import Path

import pytest

from service.simulation import SimulationSettings, simulate, write_recording
from tests.training.behavior_projects.conftest import on, write_table, write_video
from training.behavior_projects.check import check_project
from training.behavior_projects.create import add_videos
from training.data.labels import InvalidLabels


def label(project: Path, name: str, columns: dict[str, list[int]]) -> Path:
    return write_table(project / "DATA" / name / f"{name}_labels.csv", columns)


def test_frames_and_bouts_are_counted_where_all_behaviors_are_labelled(project: Path) -> None:
    report = check_project(project)
    assert not report.errors
    counts = {one.behavior: (one.frames, one.bouts, one.recordings) for one in report.behaviors}
    assert counts == {"background": (5, 3, 1), "run": (3, 1, 1), "rear": (3, 2, 1)}
    assert (report.recordings, report.frames, report.partly) == (1, 10, 2)
    assert report.notes == ("b has no labels; it is passed over",)


def test_videos_of_several_sizes_and_without_any_label_are_notes(
    project: Path, tmp_path: Path
) -> None:
    settings = SimulationSettings(width_px=64, height_px=64, duration_s=0.4)
    recorded = write_recording(simulate(settings), tmp_path / "sim", name="small", codec="mjpeg")
    add_videos(project, [recorded.video])
    label(project, "b", {"run": [-1] * 12, "rear": [-1] * 12})
    report = check_project(project)
    assert not report.errors
    text = "\n".join(report.notes)
    assert "videos have 2 sizes (48 x 32, 64 x 64 px)" in text
    assert "b has no labelled frame" in text


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"run": on(frames=9), "rear": on(frames=9)}, "has 12 frames, but its label file has 9"),
        ({"run": on((0, 3))}, "the behavior rear is missing"),
        ({"run": on(), "rear": on(), "jump": on()}, "the behavior jump is unknown"),
        ({"run": on(), "rear": [-1] * 12}, "labels no frame with all behaviors: rear is -1"),
        ({"run": on(), "rear": [2] * 12}, "has '2' in row 0 of rear"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    project: Path, columns: dict[str, list[int]], complaint: str
) -> None:
    path = label(project, "b", columns)
    report = check_project(project)
    assert len(report.errors) == 1
    assert complaint in report.errors[0]
    assert str(path) in report.errors[0] or "b.mkv" in report.errors[0]
    assert report.recordings == 1  # the other video is counted all the same


def test_nan_and_damaged_videos_are_told_together(project: Path) -> None:
    label(project, "b", {"run": on(), "rear": on()})
    path = project / "DATA" / "a" / "a_labels.csv"
    path.write_text(path.read_text().replace("0,0,0", "0,,0", 1))
    (project / "DATA" / "b" / "b.mkv").unlink()
    (project / "DATA" / "b" / "b.mkv").write_bytes(b"broken")
    errors = check_project(project).errors
    assert "'nan' in row 0 of run" in errors[0]
    assert "b.mkv" in errors[1]
    assert "no video of" in errors[2]


def test_a_behavior_without_a_frame_is_an_error(make_project: Callable[..., Path]) -> None:
    project = make_project("a")
    label(project, "a", {"run": on((0, 12)), "rear": on()})
    report = check_project(project)
    assert [one for one in report.errors if "rear is present in no labelled frame" in one]
    assert "every frame has a behavior: background cannot be learned" in report.notes


def test_background_that_contradicts_is_a_note(project: Path) -> None:
    label(project, "b", {"none": [1] * 12, "run": on((0, 3)), "rear": on()})
    notes = check_project(project).notes
    assert "b: background contradicts the behaviors in 3 frames; it is recomputed" in notes


def test_split_yaml_is_compared_with_the_labels(project: Path) -> None:
    (project / "DATA" / "split.yaml").write_text("train: [a]\nval: []\ntest: []\n")
    label(project, "b", {"run": on((0, 3)), "rear": on()})
    assert any("does not place b" in one for one in check_project(project).notes)
    (project / "DATA" / "split.yaml").write_text("train: [a]\nval: [b]\ntest: []\n")
    assert any("rear occurs in no validation" in one for one in check_project(project).notes)
    (project / "DATA" / "split.yaml").write_text("train: [a]\nval: [a]\n")
    assert any("lists the video a twice" in one for one in check_project(project).errors)


def test_a_flat_folder_is_checked_too(tmp_path: Path) -> None:
    write_video(tmp_path / "one.mkv")
    write_table(tmp_path / "one_labels.csv", {"run": on((0, 3)), "rear": on((5, 7), frames=12)})
    assert not check_project(tmp_path).errors
    write_table(tmp_path / "one_labels.csv", {"run": on((0, 3), frames=13)})
    assert any("12 frames, but" in one for one in check_project(tmp_path).errors)
    with pytest.raises(InvalidLabels, match="holds no file"):
        check_project(tmp_path / "nowhere")


def test_bouts_of_joined_videos_are_cut_at_the_clips(project: Path) -> None:
    (project / "clips.csv").write_text("video,first_frame,last_frame\na.mkv,0,3\na.mkv,4,11\n")
    bouts = {one.behavior: one.bouts for one in check_project(project).behaviors}
    assert bouts == {"background": 3, "run": 2, "rear": 2}
    (project / "clips.csv").write_text("video,first_frame,last_frame\na.mkv,0,30\n")
    assert any("not within its 12 frames" in one for one in check_project(project).errors)


@pytest.mark.real_data
def test_the_rat_recordings_are_whole(shared_data: Path) -> None:
    report = check_project(shared_data / "rat-behavior")
    assert not report.errors
    assert (report.recordings, report.frames, report.partly) == (17, 407 * 16, 0)
    assert sum(one.bouts for one in report.behaviors) == 407  # one a clip
