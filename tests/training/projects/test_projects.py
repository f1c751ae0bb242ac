import errno
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from service.errors import InvalidConfig, InvalidRequest
from training.data.deeplabcut import read_project
from training.data.deeplabcut_config import read_config
from training.data.labels import InvalidLabels
from training.data.write_deeplabcut import write_label_table
from training.projects.check import check_labels
from training.projects.convert import convert_tables, deeplabcut_to_slp, to_deeplabcut
from training.projects.create import Labelling, add_videos, create_project
from training.projects.merge import merge, plan_merge
from training.projects.simulated import simulate_project

sio = pytest.importorskip("sleap_io", reason="run `uv sync --inexact --extra analysis`")


def make_video(path: Path) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for level in range(5):
        writer.write(np.full((48, 64, 3), level * 40, np.uint8))
    writer.release()
    return path


@pytest.fixture(params=[1, 3])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return simulate_project(
        tmp_path / "sim", frames=4, animals=request.param, width_px=96, height_px=80
    )


def points_of(project: Path) -> np.ndarray:
    return np.stack([frame.keypoints_xy for frame in read_project(project).frames])


def test_sleap_io_reads_what_was_written(project: Path) -> None:
    ours = read_project(project)
    theirs = sio.load_file(str(project / "config.yaml"))
    assert len(theirs.labeled_frames) == len(ours.frames) == 4
    names = theirs.skeletons[0].node_names
    order = [names.index(name) for name in ours.keypoints]
    for frame, other in zip(ours.frames, theirs.labeled_frames, strict=True):
        found = np.full_like(frame.keypoints_xy, np.nan)
        for one in other.instances:
            slot = ours.animals.index(one.track.name) if one.track else 0
            found[slot] = one.numpy()[order]
        assert np.array_equal(found, frame.keypoints_xy, equal_nan=True)


def test_pandas_reads_the_h5_as_the_csv(project: Path) -> None:
    for h5_path in project.glob("labeled-data/*/*.h5"):
        table = pd.read_hdf(h5_path, "df_with_missing")
        levels = list(range(table.columns.nlevels))
        text = pd.read_csv(h5_path.with_suffix(".csv"), header=levels, index_col=[0, 1, 2])
        assert np.array_equal(table.to_numpy(), text.to_numpy(), equal_nan=True)


def test_a_way_to_sleap_and_back_keeps_every_value(project: Path, tmp_path: Path) -> None:
    deeplabcut_to_slp(project, tmp_path / "labels.slp")
    assert to_deeplabcut(tmp_path / "labels.slp", tmp_path / "b", scorer="me", task="t") == 4
    for table in sorted(project.glob("labeled-data/*/*.h5")):
        back = tmp_path / "b" / "labeled-data" / table.parent.name / "CollectedData_me.h5"
        one, two = (pd.read_hdf(path, "df_with_missing") for path in (table, back))
        assert np.array_equal(one.to_numpy(), two.to_numpy(), equal_nan=True)
        assert list(one.index) == list(two.index)


def test_folders_whose_names_would_be_one_are_kept_apart(tmp_path: Path) -> None:
    rows = ["scorer,me,me", "bodyparts,nose,nose", "coords,x,y"]
    for number, folder in enumerate(("a/b", "a_b", "a_b_2")):
        picture = tmp_path / "lp" / "labeled-data" / folder / "img0.png"
        picture.parent.mkdir(parents=True)
        cv2.imwrite(str(picture), np.full((48, 64, 3), number, np.uint8))
        rows.append(f"labeled-data/{folder}/img0.png,{number},{number}")
    (tmp_path / "lp" / "CollectedData.csv").write_text("\n".join(rows))
    with pytest.raises(InvalidRequest, match="with --to deeplabcut"):
        deeplabcut_to_slp(tmp_path / "lp", tmp_path / "labels.slp")
    to_deeplabcut(tmp_path / "lp", tmp_path / "dlc", scorer="me", task="t")
    frames = read_project(tmp_path / "dlc").frames
    assert sorted(frame.keypoints_xy[0, 0, 0] for frame in frames) == [0, 1, 2]
    for frame in frames:
        assert frame.picture.read()[0, 0, 0] == frame.keypoints_xy[0, 0, 0]


def test_a_csv_and_an_h5_that_differ_are_refused_until_one_is_made_anew(project: Path) -> None:
    csv_path = sorted(project.glob("labeled-data/*/*.csv"))[0]
    lines = csv_path.read_text().splitlines()
    cells = lines[-1].split(",")
    cells[3:5] = ["7.5", "8.5"]
    csv_path.write_text("\n".join([*lines[:-1], ",".join(cells)]) + "\n")
    with pytest.raises(InvalidLabels, match=r"differ .*snout is \(7.5, 8.5\).*--in-place"):
        read_project(project)
    convert_tables(project, "h5", None)
    assert np.nanmin(np.abs(points_of(project) - 7.5)) == 0
    assert list(project.glob("label-backups/*/labeled-data/*/*.h5"))


def test_a_check_counts_and_draws(project: Path, tmp_path: Path) -> None:
    report = check_labels(project, tmp_path / "out")
    assert sum(report.frames.values()) == 4
    points = np.isfinite(points_of(project)[..., 0])
    assert sum(one.placed for one in report.keypoints) == points.sum()
    assert sum(one.missing for one in report.keypoints) == (~points).sum()
    assert len(list((tmp_path / "out").glob("*/*.png"))) == 4
    frame = read_project(project).frames[0]
    drawn = cv2.imread(str(tmp_path / "out" / frame.name), cv2.IMREAD_COLOR_RGB)
    assert (drawn != frame.picture.read()).any()
    assert (tmp_path / "out" / "labels.png").is_file()


def machine_labels(project: Path, value: float) -> Path:
    """Adds one picture with machine labels, and such labels for one that a person labelled."""
    labels = read_project(project)
    folder = sorted((project / "labeled-data").iterdir())[0]
    known = sorted(folder.glob("*.png"))[0]
    shutil.copy(known, folder / "img9999.png")
    points = np.full((len(labels.animals), len(labels.keypoints), 2), value)
    scores = np.full(points.shape[:2], 0.5)
    write_label_table(
        folder / "machinelabels-iter0",
        "network",
        labels.keypoints,
        read_config(project).animals,
        (),
        [(f"labeled-data/{folder.name}/{name}", points) for name in (known.name, "img9999.png")],
        [scores, scores],
    )
    return folder


def test_a_merge_adds_new_pictures_and_keeps_what_people_placed(project: Path) -> None:
    before = {frame.name: frame.keypoints_xy for frame in read_project(project).frames}
    folder = machine_labels(project, 11.25)
    plan = plan_merge(project)
    assert (plan.videos[0].added, plan.videos[0].kept) == (1, 1)
    assert len(read_project(project).frames) == 4  # a plan writes nothing
    copies = merge(plan)
    after = {frame.name: frame.keypoints_xy for frame in read_project(project).frames}
    assert (after.pop(f"{folder.name}/img9999.png") == 11.25).all()
    assert all(np.array_equal(after[name], before[name], equal_nan=True) for name in before)
    assert after.keys() == before.keys()
    assert read_config(project / "config.yaml").iteration == 1
    assert {copy.suffix for copy in copies} == {".yaml", ".csv", ".h5"}
    with pytest.raises(InvalidLabels, match=r"no machinelabels-iter1"):
        plan_merge(project)


def test_labels_are_replaced_where_that_is_asked(project: Path) -> None:
    machine_labels(project, 11.25)
    merge(plan_merge(project, replaces=True))
    assert (points_of(project) == 11.25).all(axis=(1, 2, 3)).sum() == 2


def test_labels_refined_in_sleap_are_merged(project: Path, tmp_path: Path) -> None:
    deeplabcut_to_slp(project, tmp_path / "refined.slp")
    before = points_of(project)
    for path in project.glob("labeled-data/*/CollectedData*"):
        path.unlink()
    merge(plan_merge(project, source=tmp_path / "refined.slp"))
    assert np.array_equal(points_of(project), before, equal_nan=True)


def test_a_new_project_has_the_layout_of_deeplabcut(tmp_path: Path) -> None:
    video = make_video(tmp_path / "my video.mp4")
    other = make_video(tmp_path / "other.mp4")
    labelling = Labelling(
        task="t", scorer="me", keypoints=("nose", "on", "corner"), animals=("a", "b"),
        unique_keypoints=("corner",), skeleton=(("nose", "on"),),
    )  # fmt: skip
    folder = create_project(labelling, [video], tmp_path)
    assert (folder / "labeled-data" / "my video").is_dir()
    text = (folder / "config.yaml").read_text()
    add_videos(folder, [other], mode="copy", crop_xywh=(8, 4, 32, 16))
    config = read_config(folder / "config.yaml")
    assert config.keypoints == ("nose", "on", "corner")
    assert config.animals == ("a", "b")
    assert config.unique_keypoints == ("corner",)
    assert [one.path.name for one in config.videos] == ["my video.mp4", "other.mp4"]
    now = (folder / "config.yaml").read_text()
    assert "crop: 8, 40, 4, 20" in now
    assert set(text.splitlines()) <= set(now.splitlines())
    assert not (folder / "videos" / "other.mp4").is_symlink()
    assert (folder / "videos" / "my video.mp4").resolve() == video
    with pytest.raises(InvalidRequest, match="exists already"):
        create_project(labelling, [video], tmp_path)
    with pytest.raises(InvalidRequest, match="outside the frames"):
        add_videos(folder, [make_video(tmp_path / "c.mp4")], crop_xywh=(60, 0, 8, 8))
    with pytest.raises(InvalidRequest, match="share the folder"):
        add_videos(folder, [other])


def fill_the_disk_after(copies: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let copies of videos fail after some, as where the disk becomes full."""
    copied = iter([True] * copies)
    copy = shutil.copy2

    def copy_or_fail(source: Path, target: Path) -> None:
        copy(source, target)
        if not next(copied, False):
            target.write_bytes(target.read_bytes()[:100])
            raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copy2", copy_or_fail)


def test_a_project_that_a_full_disk_broke_off_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = [make_video(tmp_path / name) for name in ("a.mp4", "b.mp4")]
    labelling = Labelling(task="t", scorer="me", keypoints=("nose",))
    with monkeypatch.context() as patched:
        fill_the_disk_after(1, patched)
        with pytest.raises(OSError, match="No space"):
            create_project(labelling, videos, tmp_path / "out", mode="copy")
    folder = create_project(labelling, videos, tmp_path / "out", mode="copy")
    assert len(read_config(folder / "config.yaml").videos) == 2


def test_videos_before_one_that_cannot_be_copied_are_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = [make_video(tmp_path / name) for name in ("a.mp4", "b.mp4")]
    folder = create_project(Labelling(task="t", scorer="me", keypoints=("nose",)), [], tmp_path)
    with monkeypatch.context() as patched:
        fill_the_disk_after(1, patched)
        with pytest.raises(OSError, match="No space"):
            add_videos(folder, videos, mode="copy")
    assert [one.name for one in (folder / "videos").iterdir()] == ["a.mp4"]
    assert [one.path.name for one in read_config(folder / "config.yaml").videos] == ["a.mp4"]
    add_videos(folder, videos[1:], mode="copy")
    assert (folder / "videos" / "b.mp4").read_bytes() == videos[1].read_bytes()


def test_names_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="stands there twice"):
        Labelling(task="t", scorer="me", keypoints=("a", "a"))
    with pytest.raises(InvalidConfig, match="tail is no keypoint"):
        Labelling(task="t", scorer="me", keypoints=("a",), skeleton=(("a", "tail"),))


def test_body_parts_that_config_does_not_name_are_refused(project: Path) -> None:
    config = project / "config.yaml"
    config.write_text(config.read_text().replace("- snout\n", "- nose\n"))
    with pytest.raises(InvalidLabels, match=r"bring them to the same body parts"):
        read_project(project)
