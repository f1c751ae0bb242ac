"""Which videos are found, and how their results are named."""

import os
from pathlib import Path

import pytest

from service.errors import InvalidRequest
from service.jobs.planning import plan_work
from service.results.plan import in_random_order, plan_videos

LATIN1 = os.fsdecode(b"M\xe4use")
"""A name by a system with another encoding than UTF-8."""


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_are_searched_and_other_files_left_alone(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp4", "a/c.AVI", "a/notes.txt", "a/c.parquet", ".trash/d.mp4", "a/.e.mp4")
    touch(tmp_path, "a/c_overlay.mp4")
    planned = plan_videos([tmp_path])
    assert [str(one.path.relative_to(tmp_path)) for one in planned] == ["a/c.AVI", "b.mp4"]
    assert [one.out for one in planned] == [tmp_path / "a", tmp_path]


def test_an_out_folder_keeps_the_sub_folders(tmp_path: Path) -> None:
    touch(tmp_path, "videos/day1/x.mp4", "videos/day2/x.mp4", "y.mp4")
    planned = plan_videos([tmp_path / "videos", tmp_path / "y.mp4"], tmp_path / "out")
    assert [(one.out.relative_to(tmp_path).as_posix(), one.stem) for one in planned] == [
        ("out/day1", "x"),
        ("out/day2", "x"),
        ("out", "y"),
    ]
    assert planned[0].overlay.name == "x_overlay.mp4"


def test_a_video_that_is_named_twice_is_planned_once(tmp_path: Path) -> None:
    touch(tmp_path, "x.mp4")
    assert len(plan_videos([tmp_path, tmp_path / "x.mp4", tmp_path])) == 1


def test_results_of_a_link_have_its_own_name(tmp_path: Path) -> None:
    touch(tmp_path, "annex/MD5E-s9--ab12.mp4", "annex/MD5E-s9--cd34.mp4")
    (tmp_path / "annex" / "MD5E-s9--cd34.mp4").write_bytes(b"other")
    (tmp_path / "day").mkdir()
    for name, key in (("mouse1", "ab12"), ("mouse2", "cd34"), ("same", "ab12")):
        (tmp_path / "day" / f"{name}.mp4").symlink_to(tmp_path / "annex" / f"MD5E-s9--{key}.mp4")
    planned = plan_videos([tmp_path / "day"])
    assert [(one.path, one.stem) for one in planned] == [
        (tmp_path / "day" / "mouse1.mp4", "mouse1"),
        (tmp_path / "day" / "mouse2.mp4", "mouse2"),
    ]
    work = plan_work([tmp_path / "day"])
    assert not work.left_out


def test_videos_that_differ_in_their_ending_keep_it(tmp_path: Path) -> None:
    touch(tmp_path, "x.mp4", "x.avi", "y.mp4")
    assert [one.stem for one in plan_videos([tmp_path])] == ["x.avi", "x.mp4", "y"]


def test_a_file_of_any_ending_is_taken_when_it_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "camera.raw")
    assert plan_videos([tmp_path / "camera.raw"])[0].stem == "camera"
    assert plan_videos([tmp_path / "gone.mp4"])[0].path.name == "gone.mp4"


def test_results_that_would_overwrite_each_other_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.mp4", "b/x.mp4")
    paths = [tmp_path / "a/x.mp4", tmp_path / "b/x.mp4"]
    with pytest.raises(InvalidRequest, match=r"a/x\.mp4 and .*b/x\.mp4 would write the same"):
        plan_videos(paths, tmp_path / "out")
    assert len(plan_videos(paths)) == 2


def test_a_folder_without_a_video_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no video is in .*\.avi .*\.mp4"):
        plan_videos([tmp_path])


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_the_pictures_of_a_folder_are_one_video_in_natural_order(tmp_path: Path) -> None:
    for name in ("b/img10.png", "b/img9.PNG", "a/1.tif", "a/notes.txt", "a/.hidden.png"):
        made(tmp_path / "root" / name)
    first, second = plan_videos([tmp_path / "root"], tmp_path / "out")
    assert (first.path.name, first.stem, first.out) == ("a", "a", tmp_path / "out")
    assert [one.name for one in first.pictures] == ["1.tif"]
    assert [one.name for one in second.pictures] == ["img9.PNG", "img10.png"]
    (beside,) = plan_videos([tmp_path / "root" / "b"])
    assert beside.out == tmp_path / "root" / "b"
    assert beside.pictures == second.pictures


def test_named_pictures_are_taken_and_those_beside_videos_are_not(tmp_path: Path) -> None:
    video = made(tmp_path / "a.mp4")
    pictures = [made(tmp_path / "b" / f"{number}.png") for number in (1, 2, 3)]
    assert [one.path for one in plan_videos([tmp_path])] == [video]
    both = plan_videos([video, pictures[2], pictures[0], pictures[2]])
    assert [one.path for one in both] == [video, tmp_path / "b"]
    assert both[1].pictures == (pictures[0], pictures[2])


def test_a_random_order_keeps_every_video_once(tmp_path: Path) -> None:
    planned = plan_videos([made(tmp_path / f"{number}.mp4") for number in range(30)])
    shuffled = in_random_order(planned)
    assert shuffled != planned
    assert sorted(shuffled, key=lambda one: one.path) == sorted(planned, key=lambda one: one.path)


@pytest.mark.parametrize("name", [f"{LATIN1}.mp4", f"{LATIN1}/x.mp4", f"{LATIN1}.png"])
def test_a_name_that_is_not_utf_8_is_refused_and_shown_with_escapes(
    name: str, tmp_path: Path
) -> None:
    touch(tmp_path, name)
    with pytest.raises(InvalidRequest, match=r"M\\udce4use.* is not UTF-8.*rename"):
        plan_work([tmp_path])


def test_a_file_left_out_is_named_in_utf_8(tmp_path: Path) -> None:
    touch(tmp_path, "x.mp4", f"{LATIN1}.txt")
    (left_out,) = plan_work([tmp_path]).left_out
    assert left_out.path == f"{tmp_path}/M\\udce4use.txt"
