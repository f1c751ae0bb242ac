from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from training.data.deeplabcut import read_project
from training.data.labels import InvalidLabels, left_right_pairs, picture_size_px, read_picture
from training.data.projects import choose_frames, read_projects

HEAD = "scorer,me,me,me,me\nbodyparts,snout,snout,tail,tail\ncoords,x,y,x,y\n"


def make_project(folder: Path, table: str, *, video: str = "v1", pictures: int = 2) -> Path:
    directory = folder / "labeled-data" / video
    directory.mkdir(parents=True)
    for number in range(pictures):
        cv2.imwrite(str(directory / f"img{number}.png"), np.full((8, 10, 3), number, np.uint8))
    (directory / "CollectedData_me.csv").write_text(table)
    return folder


def test_keypoints_are_read_and_empty_cells_are_nan(tmp_path: Path) -> None:
    table = HEAD + "labeled-data/v1/img0.png,1.5,2,,\nlabeled-data/v1/img1.png,3,4,5,6\n"
    project = read_project(make_project(tmp_path, table))
    assert project.keypoints == ("snout", "tail")
    assert [frame.name for frame in project.frames] == ["v1/img0.png", "v1/img1.png"]
    expected = [[[[1.5, 2], [np.nan, np.nan]]], [[[3, 4], [5, 6]]]]
    assert np.array_equal([f.keypoints_xy for f in project.frames], expected, equal_nan=True)


def test_the_path_may_stand_in_three_cells_or_with_backslashes(tmp_path: Path) -> None:
    three = (
        "scorer,,,me,me,me,me\nbodyparts,,,snout,snout,tail,tail\ncoords,,,x,y,x,y\n"
        "labeled-data,v1,img0.png,1,2,3,4\n"
    )
    assert read_project(make_project(tmp_path / "a", three)).frames[0].name == "v1/img0.png"
    windows = HEAD + "labeled-data\\v1\\img1.png,1,2,3,4\n"
    assert read_project(make_project(tmp_path / "b", windows)).frames[0].name == "v1/img1.png"


def test_an_h5_table_gives_the_same_as_a_csv(tmp_path: Path) -> None:
    rows = "labeled-data/v1/img0.png,1.5,2,,\nlabeled-data/v1/img1.png,3,4,5,6\n"
    from_csv = read_project(make_project(tmp_path / "a", HEAD + rows))
    folder = make_project(tmp_path / "b", "")
    video = folder / "labeled-data" / "v1"
    (video / "CollectedData_me.csv").unlink()
    columns = pd.MultiIndex.from_product(
        [["me"], ["snout", "tail"], ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    values = np.array([[1.5, 2, np.nan, np.nan], [3, 4, 5, 6]])
    index = pd.MultiIndex.from_product([["labeled-data"], ["v1"], ["img0.png", "img1.png"]])
    table = pd.DataFrame(values, index=index, columns=columns)
    table.to_hdf(video / "CollectedData_me.h5", key="df_with_missing")
    from_h5 = read_project(folder)
    assert from_h5.keypoints == from_csv.keypoints
    for one, other in zip(from_h5.frames, from_csv.frames, strict=True):
        assert one.name == other.name
        assert np.array_equal(one.keypoints_xy, other.keypoints_xy, equal_nan=True)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (HEAD + "labeled-data/v1/img0.png,1,2,3,4x\n", r"row 4: tail is '4x'.*correct it"),
        (HEAD + "labeled-data/v1/img0.png,1,2,3\n", r"row 4 has 4 cells instead of 5"),
        (HEAD + "labeled-data/v1/img0.png,1,2,3,\n", r"row 4: tail is \(3, nan\); give both"),
        (HEAD + "labeled-data/v1/lost.png,1,2,3,4\n", r"lost.png does not exist; restore"),
        (HEAD, "no labelled pictures"),
        ("a,b\n", "must be scorer, bodyparts and coords"),
        ("", "is empty; its first rows must be scorer"),
        (HEAD.replace("tail,tail", "tail,snout"), "columns x, y of each body part"),
        (HEAD.replace("tail,tail", "snout,snout"), "row 2: the body part snout stands there twice"),
        (HEAD + "labeled-data/v1/img0.png,1,2,11,4\n", r"row 4, .*tail is at \(11, 4\), outside"),
        (HEAD + 2 * "labeled-data/v1/img0.png,1,2,3,4\n", "row 5: .*labelled twice"),
    ],
)
def test_a_malformed_table_is_refused_by_file_and_row(
    tmp_path: Path, table: str, message: str
) -> None:
    with pytest.raises(InvalidLabels, match=message) as caught:
        read_project(make_project(tmp_path, table))
    assert "CollectedData_me.csv" in str(caught.value)


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLabels, match="name the folder of a DeepLabCut project"):
        read_project(tmp_path)
    (tmp_path / "labeled-data" / "v1").mkdir(parents=True)
    with pytest.raises(InvalidLabels, match=r"no CollectedData_\*"):
        read_project(tmp_path)


def test_labels_of_two_scorers_of_one_video_are_refused(tmp_path: Path) -> None:
    folder = make_project(tmp_path, HEAD)
    (folder / "labeled-data" / "v1" / "CollectedData_you.csv").write_text(HEAD)
    with pytest.raises(InvalidLabels, match="2 scorers"):
        read_project(folder)


def test_projects_are_joined_unless_body_parts_or_frame_names_collide(tmp_path: Path) -> None:
    row = "labeled-data/v/img0.png,1,2,3,4\n"
    first = make_project(tmp_path / "a", HEAD + row, video="v1")
    second = make_project(tmp_path / "b", HEAD + row, video="v2")
    data = read_projects([first, second])
    assert list(data.frames) == ["v1/img0.png", "v2/img0.png"]
    assert data.sha256 != read_projects([first]).sha256
    with pytest.raises(InvalidLabels, match="labelled twice"):
        read_projects([first, first])
    other = make_project(tmp_path / "c", HEAD.replace("tail", "paw") + row)
    with pytest.raises(InvalidLabels, match="same body parts"):
        read_projects([first, other])
    with pytest.raises(InvalidLabels, match="not in the data"):
        choose_frames(data.frames, ["v3/img0.png"])


def test_labels_without_a_single_point_train_nothing(tmp_path: Path) -> None:
    empty = make_project(tmp_path / "empty", HEAD + "labeled-data/v1/img0.png,,,,\n")
    with pytest.raises(InvalidLabels, match=r"none of the 1 pictures of .*empty has a labelled"):
        read_projects([empty])
    row = "labeled-data/v2/img0.png,,,3,4\n"
    some = make_project(tmp_path / "some", HEAD + row, video="v2")
    assert len(read_projects([empty, some]).frames) == 2


def test_the_hash_changes_with_labels_and_with_pixels(tmp_path: Path) -> None:
    row = "labeled-data/v1/img0.png,1,2,3,4\n"
    hashes = {
        read_project(make_project(tmp_path / "a", HEAD + row)).sha256(),
        read_project(make_project(tmp_path / "b", HEAD + row.replace("4", "5"))).sha256(),
    }
    changed = make_project(tmp_path / "c", HEAD + row)
    picture = changed / "labeled-data" / "v1" / "img0.png"
    cv2.imwrite(str(picture), np.full((8, 10, 3), 9, np.uint8))
    assert len(hashes | {read_project(changed).sha256()}) == 3


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "img0.png"
    path.write_bytes(b"no picture")
    with pytest.raises(InvalidLabels, match="not a readable picture"):
        read_picture(path)


def test_a_stack_of_pictures_is_refused_where_its_first_page_was_taken(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    pages = [Image.new("L", (10, 8), level) for level in (10, 20, 30)]
    pages[0].save(path)
    assert picture_size_px(path) == (10, 8)
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.raises(InvalidLabels, match=r"stack\.tif holds 3 pictures and its labels"):
        picture_size_px(path)


def test_a_photograph_with_smaller_copies_of_itself_is_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "photograph.jpg"
    copies = [Image.new("RGB", size) for size in ((10, 8), (5, 4))]
    copies[0].save(path, format="MPO", save_all=True, append_images=copies[1:])
    with Image.open(path) as picture:
        assert picture.n_frames == 2
    assert picture_size_px(path) == (10, 8)


def test_left_and_right_are_paired_by_name() -> None:
    names = ("snout", "leftear", "rightear", "LeftPaw", "RightPaw", "lefthip")
    assert left_right_pairs(names) == (("leftear", "rightear"), ("LeftPaw", "RightPaw"))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("pawL", "pawR"),
        ("L_paw", "R_paw"),
        ("LEFT_PAW", "RIGHT_PAW"),
        ("lpaw", "rpaw"),
        ("paw_l_1", "paw_r_1"),
        ("hind-L2", "hind-R2"),
    ],
)
def test_left_and_right_are_told_in_many_ways(left: str, right: str) -> None:
    assert left_right_pairs(("tail", right, "nail", left, "lefthip")) == ((left, right),)


def test_no_keypoint_is_in_two_pairs() -> None:
    pairs = left_right_pairs(("ll", "lr", "rl", "rr"))
    assert sorted(name for pair in pairs for name in pair) == ["ll", "lr", "rl", "rr"]


@pytest.mark.real_data
def test_a_project_with_missing_points_and_two_picture_sizes_is_read(shared_data: Path) -> None:
    project = read_project(shared_data / "dlc-reaching" / "Reaching-Mackenzie-2018-08-30")
    assert project.keypoints == ("Hand", "Finger1", "Tongue", "Joystick1", "Joystick2")
    points = np.stack([frame.keypoints_xy for frame in project.frames])
    assert len(points) == 55
    assert np.isfinite(points[:, 0, 2]).all(axis=1).sum() == 15  # tongues


@pytest.mark.real_data
def test_the_open_field_project_is_read_alike_from_csv_and_h5(
    shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "dlc-openfield" / "openfield-Pranav-2018-10-30"
    project = read_project(source)
    assert project.keypoints == ("snout", "leftear", "rightear", "tailbase")
    video = tmp_path / "labeled-data" / "m4s1"
    video.mkdir(parents=True)
    for path in (source / "labeled-data" / "m4s1").iterdir():
        if path.suffix != ".csv":
            (video / path.name).symlink_to(path)
    assert read_project(tmp_path).sha256() == project.sha256()
