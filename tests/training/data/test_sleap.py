from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.labels import InvalidLabels
from training.data.projects import read_projects
from training.data.sleap import read_slp, write_slp
from training.projects.simulated import simulate_project

sio = pytest.importorskip("sleap_io", reason="run `uv sync --inexact --extra analysis`")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    project = simulate_project(tmp_path / "sim", frames=3, recordings=1, width_px=96, height_px=80)
    return sorted(project.glob("labeled-data/*/*.png"))


def write(path: Path, pictures: list[Path], high: float = 70) -> np.ndarray:
    points = np.random.default_rng(0).uniform(5, high, (3, 2, 3, 2))
    points[:, 1, 2] = np.nan  # the unique keypoint
    points[0, 1] = np.nan
    points[1, 0, 0] = np.nan
    write_slp(
        path,
        keypoints=("nose", "tail", "corner"),
        animals=("ann", "bob"),
        unique_keypoints=("corner",),
        skeleton=(("nose", "tail"),),
        frames=list(zip(pictures, points, strict=True)),
    )
    return points


def test_what_was_written_is_read_with_animals_and_unique_keypoints(
    tmp_path: Path, pictures: list[Path]
) -> None:
    points = write(tmp_path / "a.slp", pictures)
    project = read_slp(tmp_path / "a.slp")
    assert project.animals == ("ann", "bob")
    assert project.unique_keypoints == ("corner",)
    assert project.skeleton == (("nose", "tail"),)
    found = np.stack([frame.keypoints_xy for frame in project.frames])
    assert np.array_equal(found, points.astype(np.float32), equal_nan=True)
    assert list(read_projects([tmp_path / "a.slp"]).frames) == [
        f"openfield0/{path.name}" for path in pictures
    ]


def test_embedded_pictures_are_read_from_the_package(tmp_path: Path, pictures: list[Path]) -> None:
    write(tmp_path / "a.slp", pictures)
    originals = [frame.picture.read() for frame in read_slp(tmp_path / "a.slp").frames]
    package = tmp_path / "a.pkg.slp"
    sio.load_slp(str(tmp_path / "a.slp")).save(str(package), embed="user", verbose=False)
    for path in pictures:
        path.unlink()
    for frame, original in zip(read_slp(package).frames, originals, strict=True):
        assert np.array_equal(frame.picture.read(), original)


def test_pictures_of_one_name_from_several_folders_are_told_apart(tmp_path: Path) -> None:
    paths = [tmp_path / day / "cam" / "img0.png" for day in ("monday", "tuesday")]
    for level, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        Image.new("RGB", (96, 80), (level,) * 3).save(path)
    skeleton = sio.Skeleton(nodes=["nose"], name="animal")
    video = sio.Video.from_filename([str(path) for path in paths])
    frames = [
        sio.LabeledFrame(
            video=video,
            frame_idx=place,
            instances=[sio.Instance.from_numpy(np.full((1, 2), 9.0), skeleton=skeleton)],
        )
        for place in (0, 1)
    ]
    sio.save_file(sio.Labels(frames), str(tmp_path / "a.slp"))
    found = read_slp(tmp_path / "a.slp").frames
    assert len({frame.name for frame in found}) == 2
    assert [frame.picture.read()[0, 0, 0] for frame in found] == [0, 1]


def test_a_missing_picture_a_point_outside_and_a_damaged_file_are_refused(
    tmp_path: Path, pictures: list[Path]
) -> None:
    write(tmp_path / "outside.slp", pictures, high=300)
    with pytest.raises(InvalidLabels, match=r"outside its picture of 96 x 80 px"):
        read_slp(tmp_path / "outside.slp")
    write(tmp_path / "a.slp", pictures)
    pictures[1].unlink()
    with pytest.raises(InvalidLabels, match="does not exist; put it there"):
        read_slp(tmp_path / "a.slp")
    (tmp_path / "bad.slp").write_bytes(b"no labels")
    with pytest.raises(InvalidLabels, match=r"bad.slp is damaged"):
        read_slp(tmp_path / "bad.slp")
