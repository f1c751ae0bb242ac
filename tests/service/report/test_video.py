import dataclasses
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from service.report import write_video_report
from service.results import RequestOptions, VideoResults, gather_results
from service.results.provenance import DynamicCropOptions
from service.simulation import Recording
from service.values import FrameStatus
from tests.service.report.pages import Page


def changed(results: VideoResults, **changes: object) -> VideoResults:
    """The results with another provenance."""
    provenance = msgspec.structs.replace(results.provenance, **changes)
    return dataclasses.replace(results, provenance=provenance)


def test_the_page_tells_what_was_analyzed_and_with_what(
    results: VideoResults, video: Path, tmp_path: Path
) -> None:
    options = RequestOptions(
        crop_xywh=(10, 5, 100, 80),
        first_frame=2,
        dynamic_crop=DynamicCropOptions(margin_px=50, max_zoom=2.5),
    )
    path = write_video_report(changed(results, options=options), tmp_path, video=video)
    assert path == tmp_path / f"{video.stem}_report.html"
    page = Page(path)
    facts = page.tables[0]
    assert facts["file"] == [video.name]
    assert facts["picture"] == ["160x120 px, h264"]
    assert facts["frame rate"] == ["30.000 Hz"]
    assert facts["frames"] == ["30"]
    assert facts["duration"] == ["0:01.0"]
    assert facts["decoder"][0].startswith("pyav")
    assert facts["crop"] == ["100x80 px at x 10, y 5"]
    assert facts["dynamic crop"] == ["around the animal, 50 px wider, at most 2.5 times enlarged"]
    assert facts["part"] == ["from frame 2, to the end"]
    models = page.table("bundle")
    assert models["mouse@1"][1:3] == ["fake:cpu", "fp32"]
    assert "snout" in models["mouse@1"][0]
    assert models["activity@1"][0] == "4 behaviors, any number of them"
    assert page.headings == [
        *("Models", "Frames", "Pictures"),
        *("Pose: mouse@1", "Behavior: activity@1"),
    ]
    # Four stills, way and confidence, and the ethogram; all show something.
    assert len(page.pictures) == 7
    assert all(one.std() > 5 for one in page.pictures)
    assert "was wrong" not in page.text
    assert page.links == []
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_bouts_and_answers_are_counted(results: VideoResults, tmp_path: Path) -> None:
    page = Page(write_video_report(results, tmp_path))
    bouts = page.table("behavior", "bouts")
    # 12 and 6 of 30 frames at 30 Hz from frames 8 and 22 on; the first 6 frames have no answer.
    assert bouts["locomotion"] == ["1", "0.40", "0.40", "0.40", "0.40", "50.0%", "0.27"]
    assert bouts["rearing"] == ["1", "0.20", "0.20", "0.20", "0.20", "25.0%", "0.73"]
    assert bouts["grooming"] == ["0", "-", "-", "-", "0.00", "0.0%", "-"]
    frames, answers = (one for one in page.tables if one.get("", [""])[0] == "status")
    assert frames["ok"] == ["30", "100.0%", "decoded"]
    assert answers["no context"] == ["6", "20.0%", "too few frames before"]


def test_names_are_escaped_and_a_damaged_file_is_told(
    results: VideoResults, tmp_path: Path
) -> None:
    name = 'a <b> & "c" $x$ \udcff.mp4'
    source = msgspec.structs.replace(results.provenance.source, name=name)
    results = changed(results, source=source, message="2 frames <are> missing")
    status = results.status.copy()
    status[3] = FrameStatus.CORRUPT
    path = write_video_report(dataclasses.replace(results, status=status), tmp_path, stem="a")
    page = Page(path)
    assert page.tables[0]["file"] == [name.replace("\udcff", "?")]
    assert "<b>" not in page.text
    assert "What was wrong with the file: 2 frames <are> missing" in page.words
    assert page.table("status")["corrupt"] == ["1", "3.3%", "damaged"]


def test_a_video_that_is_gone_leaves_only_the_stills_out(
    results: VideoResults, tmp_path: Path
) -> None:
    page = Page(write_video_report(results, tmp_path, video=tmp_path / "gone.mp4"))
    assert any("gone.mp4" in one and one.startswith("There are none") for one in page.words)
    assert len(page.pictures) == 3


def test_pictures_of_a_folder_are_shown_by_their_names(
    results: VideoResults, recording: Recording, tmp_path: Path
) -> None:
    names = tuple(f"{place:02d}.png" for place in range(30))
    for place, name in enumerate(names):
        Image.fromarray(recording.render(place)).save(tmp_path / name)
    source = msgspec.structs.replace(results.provenance.source, pictures=names)
    page = Page(write_video_report(changed(results, source=source), tmp_path, video=tmp_path))
    assert len(page.pictures) == 7
    assert page.pictures[0].shape[1] == 640


def test_results_without_frames_and_without_times_have_a_page(
    results: VideoResults, tmp_path: Path
) -> None:
    empty = gather_results(results.provenance, [])
    page = Page(write_video_report(empty, tmp_path, stem="empty"))
    assert page.tables[0]["frames"] == ["0"]
    assert page.pictures == []
    timeless = dataclasses.replace(results, pts_ns=np.zeros(30, np.int64))
    page = Page(write_video_report(timeless, tmp_path, stem="pictures"))
    bouts = page.table("behavior", "bouts")
    assert bouts["locomotion"] == ["1", "-", "-", "-", "-", "50.0%", "-"]
    assert page.tables[0]["duration"] == ["-"]
    assert len(page.pictures) == 3


def test_several_threads_write_the_same_pages(results: VideoResults, tmp_path: Path) -> None:
    expected = write_video_report(results, tmp_path / "alone").read_text()
    pages = [tmp_path / str(place) for place in range(3)]
    threads = [threading.Thread(target=write_video_report, args=(results, one)) for one in pages]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    name = next((tmp_path / "alone").iterdir()).name
    for one in pages:
        assert (one / name).read_text() == expected


@pytest.mark.parametrize("animals", [1, 2])
def test_speeds_are_told_where_there_is_one_animal(
    results: VideoResults, tmp_path: Path, animals: int
) -> None:
    bundle, *others = results.provenance.bundles
    assert bundle.pose is not None
    pose = msgspec.structs.replace(bundle.pose, max_animals=animals)
    bundle = msgspec.structs.replace(bundle, pose=pose)
    count = len(pose.keypoints)
    xy = np.zeros((30, animals, count, 2), np.float32)
    xy[..., 0] = 3 * np.arange(30)[:, None, None]  # 3 px a frame at 30 Hz
    confidence = np.full((30, animals, count), 0.9, np.float32)
    confidence[:16, 0, 1] = 0.2
    columns = dataclasses.replace(results.poses[0], keypoints_xy=xy, confidence=confidence)
    moving = dataclasses.replace(changed(results, bundles=(bundle, *others)), poses=(columns,))
    page = Page(write_video_report(moving, tmp_path))
    points = page.table("keypoint")
    first, second = pose.keypoints[:2]
    if animals == 1:
        assert points[first] == ["100.0%", "0.900", "0.900", "90.0", "90.0"]
        assert points[second][:3] == ["46.7%", "0.527", "0.200"]
        assert page.table("body")["center"] == ["100.0%", "87.0", "90.0", "90.0", "90.0"]
        assert len(page.pictures) == 3
    else:
        assert points[f"2: {first}"] == ["100.0%", "0.900", "0.900"]
        assert "not grouped into animals" in page.text
        assert len(page.pictures) == 2


def test_speeds_of_a_variable_rate_are_of_all_frames(results: VideoResults, tmp_path: Path) -> None:
    times_s = np.concatenate([np.arange(20) / 30, 20 / 30 + np.arange(10) / 6])
    xy = np.zeros((30, 1, len(results.poses[0].keypoints_xy[0, 0]), 2), np.float32)
    xy[:20, ..., 0] = (90 * times_s[:20])[:, None, None]
    xy[20:, ..., 0] = xy[19, 0, 0, 0] + 3 * np.arange(1, 11)[:, None, None]  # 18 px/s
    columns = dataclasses.replace(
        results.poses[0], keypoints_xy=xy, confidence=np.ones(xy.shape[:3], np.float32)
    )
    varied = dataclasses.replace(
        results, pts_ns=np.rint(times_s * 1e9).astype(np.int64), poses=(columns,)
    )
    _, _, mean, median, _ = Page(write_video_report(varied, tmp_path)).table("body")["center"]
    assert float(median) == pytest.approx(90, abs=0.1)
    assert float(mean) == pytest.approx((20 * 90 + 10 * 18) / 30, rel=0.02)
