"""Which videos are below some paths, and what is said of the other files."""

from pathlib import Path

import pytest

from service.errors import InvalidRequest, PathOutsideRoots, VideoNotFound
from service.jobs.finish import Outputs
from service.jobs.planning import find_below_roots, plan_work
from service.jobs.submit import JobRequest, plan_job
from service.results import RequestOptions


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    for name, content in {
        "monday/a.mp4": b"one",
        "monday/b.mp4": b"two",
        "monday/twin.mp4": b"one",
        "monday/notes.txt": b"rat 7 escaped",
        "monday/photo.png": b"\x89PNG",
        "monday/a.parquet": b"results",
        "monday/a_overlay.mp4": b"drawn",
        "monday/.hidden/c.mp4": b"hidden",
        "monday/README": b"",
        "tuesday/a.avi": b"three",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def test_every_file_is_planned_or_named_with_a_reason(tree: Path) -> None:
    work = plan_work([tree], tree / "out")
    assert [one.path.name for one in work.videos] == ["a.mp4", "b.mp4", "a.avi"]
    reasons = {Path(one.path).name: one.reason for one in work.left_out}
    assert reasons.pop("twin.mp4").endswith("a.mp4: see the results of that")
    assert reasons == {
        "notes.txt": "its ending .txt is none of a video",
        "photo.png": "it is a picture in a folder of videos",
        "README": "its ending is missing and is none of a video",
        "a_overlay.mp4": "it was drawn here",
    }


def test_what_lies_behind_a_link_or_may_not_be_looked_into_is_named(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk2").mkdir()
    for name, target in {
        "annex.mp4": "../../gone/a.mp4",
        "disk2": "../../disk2",
        "latest": "../tuesday",
        "a_link.avi": "../tuesday/a.avi",
    }.items():
        (tree / "monday" / name).symlink_to(target)
    (tree / "locked").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: path.name != "locked")  # root may do all
    reasons = {Path(one.path).name: one.reason for one in plan_work([tree]).left_out}
    assert reasons["annex.mp4"] == "it is a link to ../../gone/a.mp4, where nothing is"
    assert reasons["disk2"] == "it is a link to another folder; name that one, too"
    assert reasons["locked"] == "this user may not look into it; change its rights"
    assert not reasons.keys() & {"latest", "a_link.avi", "monday", "tuesday"}


def test_files_of_one_size_and_other_bytes_are_no_twins(tmp_path: Path) -> None:
    size = 3 << 20  # equal at both ends, other in the middle
    for name, middle in (("a.mp4", b"\1"), ("b.mp4", b"\2"), ("c.mp4", b"\2")):
        content = bytearray(size)
        content[size // 2 : size // 2 + 1] = middle
        (tmp_path / name).write_bytes(content)
    work = plan_work([tmp_path])
    assert [one.path.name for one in work.videos] == ["a.mp4", "b.mp4"]
    assert [Path(one.path).name for one in work.left_out] == ["c.mp4"]


def test_patterns_and_paths_are_found_below_the_roots(tree: Path) -> None:
    assert find_below_roots(["monday/*.mp4"], [tree]) == [
        tree / "monday" / name for name in ("a.mp4", "a_overlay.mp4", "b.mp4", "twin.mp4")
    ]
    assert find_below_roots(["**/a.*"], [tree])[-1] == tree / "tuesday" / "a.avi"
    assert find_below_roots([str(tree / "tuesday"), "monday"], [tree]) == [
        tree / "tuesday",
        tree / "monday",
    ]


@pytest.mark.parametrize("is_link", [True, False])
@pytest.mark.parametrize("path", ["monday/a.mp4", "monday/a.mp*"])
def test_a_root_that_is_a_link_goes_by_both_its_names(tree: Path, is_link: bool, path: str) -> None:
    link = tree.parent / "data"
    link.symlink_to(tree)
    place = link if is_link else tree
    assert find_below_roots([str(place / path)], [link]) == [tree / "monday" / "a.mp4"]


@pytest.mark.parametrize("path", ["../secret.mp4", "/etc/passwd", "monday/link.mp4", "m*/link.mp4"])
def test_nothing_outside_of_the_roots_is_found(tree: Path, path: str) -> None:
    secret = tree.parent / "secret.mp4"
    secret.write_bytes(b"secret")
    (tree / "monday" / "link.mp4").symlink_to(secret)
    with pytest.raises(PathOutsideRoots):
        find_below_roots([path], [tree])


@pytest.mark.parametrize(
    "path",
    [
        "../{}.mp4",
        "../{}*",
        "monday/../../{}.mp4",
        "**/../../{}.mp4",
        "away/{}.mp4",
        "away/{}*",
        "/etc/{}.mp4",
    ],
)
def test_whether_a_file_is_outside_of_the_roots_is_not_told(tree: Path, path: str) -> None:
    (tree.parent / "there.mp4").write_bytes(b"secret")
    (tree / "away").symlink_to(tree.parent)
    told = []
    for name in ("there", "gone"):
        with pytest.raises(PathOutsideRoots) as caught:
            find_below_roots([path.format(name)], [tree])
        told.append(str(caught.value).replace(name, "{}"))
    assert told[0] == told[1]
    assert str(tree.parent) not in told[0]


@pytest.mark.parametrize("path", ["circle.mp4", "circle.mp4/a.mp4", "a\0.mp4"])
def test_a_path_that_leads_nowhere_is_refused(tree: Path, path: str) -> None:
    (tree / "circle.mp4").symlink_to("circle.mp4")
    with pytest.raises(PathOutsideRoots):
        find_below_roots([path], [tree])


@pytest.mark.parametrize("path", ["a" * 300, "a" * 300 + "/*.mp4"])
def test_a_path_that_the_system_does_not_take_is_told(tree: Path, path: str) -> None:
    with pytest.raises(VideoNotFound):
        find_below_roots([path], [tree])


def test_what_is_not_there_is_told(tree: Path) -> None:
    with pytest.raises(VideoNotFound, match=r"'wednesday/\*\.mp4'"):
        find_below_roots(["wednesday/*.mp4"], [tree])
    with pytest.raises(PathOutsideRoots, match="none is configured"):
        find_below_roots(["a.mp4"], [])


def request(**changes: object) -> JobRequest:
    settings = {
        "paths": ("monday",),
        "bundles": ("mouse@1",),
        "options": RequestOptions(),
        "outputs": Outputs(("dlc-csv",)),
        **changes,
    }
    return JobRequest(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["secret.mp4", "secret.png"])
def test_a_link_in_a_folder_that_leads_outside_is_refused(tree: Path, name: str) -> None:
    (tree.parent / name).write_bytes(b"secret")
    (tree / "links").mkdir()
    (tree / "links" / name).symlink_to(tree.parent / name)
    with pytest.raises(PathOutsideRoots, match=r"^what 'links' names leads outside") as caught:
        plan_job(request(paths=("links",)), tree.parent / "jobs", roots=[tree], result_roots=[])
    assert str(tree.parent) not in str(caught.value)


def test_results_go_where_they_were_asked_to(tree: Path, tmp_path: Path) -> None:
    jobs, results = tmp_path / "jobs", tmp_path / "results"

    def plan(**changes: object):
        return plan_job(
            request(**changes), jobs, roots=[tree], result_roots=[results, tree / "monday"]
        )

    own = plan()
    assert {one.out for one in own.videos} == {jobs / own.job_id / "results"}
    assert own.sizes_bytes == (3, 3)
    assert {one.out for one in plan(out="rats/7").videos} == {results.resolve() / "rats" / "7"}
    assert {one.out for one in plan(beside_videos=True).videos} == {tree / "monday"}
    with pytest.raises(PathOutsideRoots, match="below no root for results"):
        plan(out="/tmp")
    with pytest.raises(PathOutsideRoots, match="below no root for results"):
        plan(out="a\0b")
    with pytest.raises(PathOutsideRoots, match="leads outside"):
        plan(beside_videos=True, paths=("tuesday",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": ()}, "names no path"),
        ({"bundles": ()}, "names no bundle"),
        ({"out": "x", "beside_videos": True}, "leave one out"),
        ({"outputs": Outputs(("xls",))}, "unknown format 'xls'"),
        ({"priority": 1 << 31}, "priority 2147483648 is out of range; give -2147483648 to"),
        ({"options": RequestOptions(frame_limit=1 << 64)}, "frame limit 18446744073709551616 is"),
        ({"options": RequestOptions(crop_xywh=(0, 0, 1 << 32, 9))}, "crop 4294967296 is out of"),
        ({"paths": ("monday/notes.txt",), "outputs": Outputs((), overlay=True)}, None),
        ({"paths": ("monday/photo.png",), "outputs": Outputs((), overlay=True)}, "for pictures"),
    ],
)
def test_a_job_that_cannot_be_is_refused(
    tree: Path, tmp_path: Path, changes: dict[str, object], message: str | None
) -> None:
    planned = request(**changes)
    if message is None:  # a file that is named is tried, whatever its ending
        plan_job(planned, tmp_path, roots=[tree], result_roots=[])
        return
    with pytest.raises(InvalidRequest, match=message):
        plan_job(planned, tmp_path, roots=[tree], result_roots=[])


def test_a_link_that_leads_nowhere_is_left_to_its_analysis(tree: Path, tmp_path: Path) -> None:
    (tree / "monday" / "annex.mp4").symlink_to(tree / "gone.mp4")
    plan = plan_job(request(paths=("monday/*.mp4",)), tmp_path, roots=[tree], result_roots=[])
    sizes = dict(zip((one.path.name for one in plan.videos), plan.sizes_bytes, strict=True))
    assert sizes["annex.mp4"] == 0
    assert sizes["a.mp4"] == 3
