import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from service.report import ReportedVideo, job_plot, write_job_report, write_video_report
from service.report.job_plot import draw_job
from service.report.job_videos import measure_videos
from service.results import VideoResults, write_results
from tests.service.report.pages import Page


@pytest.fixture(scope="module")
def record(results: VideoResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(results, tmp_path_factory.mktemp("record"), (), stem="cage")[0]


def done(record: Path, name: str, **changes: object) -> ReportedVideo:
    values = {"state": "done", "frames": 30, "seconds": 0.5, "record": record, **changes}
    return ReportedVideo(video=f"/data/day 1/{name}", **values)


def test_the_page_tells_what_became_of_each_video(
    results: VideoResults, record: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    report = write_video_report(results, folder, stem="c:d <1>#")
    videos = [
        done(record, "a <b>&.mp4", files=(str(report), str(folder / "c:d <1>#.csv"))),
        done(record, "../day 2/b.mp4", state="skipped", seconds=0.0),
        ReportedVideo(video="/data/day 1/notes.mp4", state="failed", message="no <video>"),
        ReportedVideo(video="/data/day 1/last.mp4", state="cancelled"),
    ]
    path = write_job_report(videos, tmp_path, title="Friday <all>")
    assert path == tmp_path / "report.html"
    page = Page(path)
    totals = page.tables[0]
    assert totals["videos"] == ["4"]
    assert [totals[state] for state in ("done", "skipped", "failed", "cancelled")] == [["1"]] * 4
    assert totals["frames"] == ["60"]
    assert totals["hours of video"] == ["0.00"]
    assert totals["frames/s of one analysis, mean"] == ["60.0"]
    assert page.table("number", "video", "state", "why") == {
        "": ["number", "video", "state", "why"],
        "3": ["day 1/notes.mp4", "failed", "no <video>"],
        "4": ["day 1/last.mp4", "cancelled", ""],
    }
    rows = page.table("number", "video", "state", "frames")
    assert rows["1"][:7] == ["day 1/a <b>&.mp4", "done", "30", "0", "0:01.0", "0.50", "60.0"]
    assert rows["2"][:7] == ["day 2/b.mp4", "skipped", "30", "0", "0:01.0", "-", "-"]
    assert rows["2"][7].startswith("pyav")
    assert rows["3"][-2:] == ["no <video>", ""]
    sure = results.poses[0].confidence[:, 0] >= 0.6
    assert rows["1"][8] == f"{sure.mean():.1%}"
    assert page.links == [
        "results/c%3Ad%20%3C1%3E%23_report.html",
        "results/c%3Ad%20%3C1%3E%23.csv",
    ]
    assert "<b>" not in page.text
    assert "Friday <all>" in page.words


def test_behaviors_are_compared_across_videos(
    results: VideoResults, record: Path, tmp_path: Path
) -> None:
    found = results.behaviors[0]
    silent = dataclasses.replace(
        results,
        behaviors=(dataclasses.replace(found, present=np.zeros_like(found.present)),),
    )
    still = write_results(silent, tmp_path / "silent", (), stem="silent")[0]
    videos = [done(record, "a.mp4"), done(record, "b.mp4"), done(still, "c.mp4")]
    page = Page(write_job_report(videos, tmp_path, title="job"))
    summary = page.table("behavior", "in videos")
    assert summary["locomotion"] == [
        *("2 of 3", "2", "0.7", "0.40", "0.80", "33.3%"),
        *("0.27", "0.40", "0.23"),
    ]
    assert summary["grooming"][:3] == ["0 of 3", "0", "0.0"]
    single = page.table("number", "video", "answered (s)")
    assert single["1"][:6] == ["a.mp4", "0.80", "0.40", "1", "0.20", "1"]
    assert single["3"][2:6] == ["0.00", "0", "0.00", "0"]


def test_a_record_that_cannot_be_read_stops_nothing(record: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(record.read_bytes()[:200])
    videos = [done(damaged, "a.mp4", message="late"), done(record, "b.mp4")]
    page = Page(write_job_report(videos, tmp_path, title="job"))
    message = page.table("number", "video", "state", "frames")["1"][-2]
    assert message.startswith("late; no statistics: ")
    assert "damaged.parquet" in message
    assert page.table("number", "video", "answered (s)").keys() == {"", "2"}


def test_frames_of_an_earlier_run_do_not_make_this_one_faster(record: Path, tmp_path: Path) -> None:
    videos = [
        done(record, "a.mp4", resumed_frames=20),
        done(record, "b.mp4", resumed_frames=30),
        ReportedVideo(video="/data/day 1/c.mp4", state="busy"),
        ReportedVideo(video="/data/day 1/d.txt", state="skipped", message="no video"),
    ]
    page = Page(write_job_report(videos, tmp_path, title="job"))
    rows = page.table("number", "video", "state", "frames")
    assert [rows[number][6] for number in "123"] == ["20.0", "-", "-"]
    assert page.tables[0]["frames analyzed now"] == ["10"]
    assert page.tables[0]["frames/s of one analysis, mean"] == ["20.0"]
    undone = page.table("number", "video", "state", "why")
    assert undone.keys() == {"", "3", "4"}
    assert undone["3"] == ["c.mp4", "busy", ""]
    assert undone["4"] == ["d.txt", "skipped", "no video"]


def test_bundles_of_other_versions_are_not_mixed(
    results: VideoResults, record: Path, tmp_path: Path
) -> None:
    pose, activity = results.provenance.bundles
    newer = msgspec.structs.replace(activity, version=2)
    provenance = msgspec.structs.replace(results.provenance, bundles=(pose, newer))
    columns = dataclasses.replace(results.behaviors[0], bundle=newer.key)
    other = dataclasses.replace(results, provenance=provenance, behaviors=(columns,))
    second = write_results(other, tmp_path / "other", (), stem="other")[0]
    videos = [done(record, "a.mp4"), done(second, "b.mp4")]
    page = Page(write_job_report(videos, tmp_path, title="job"))
    behaviors = [one for one in page.headings if one.startswith("Behavior")]
    assert behaviors == ["Behavior: activity@1", "Behavior: activity@2"]


def test_two_hundred_videos_fit_on_one_page(record: Path, tmp_path: Path) -> None:
    videos = [done(record, f"{number:03d}.mp4") for number in range(200)]
    page = Page(write_job_report(videos, tmp_path, title="job"))
    assert len(page.table("number", "video", "state", "frames")) == 201
    assert page.tables[0]["frames"] == ["6,000"]
    assert len(page.pictures) == 1
    assert len(page.text) < 2_000_000


def test_a_job_without_videos_has_a_page(tmp_path: Path) -> None:
    page = Page(write_job_report([], tmp_path, title="nothing"))
    assert page.tables[0]["videos"] == ["0"]
    assert page.pictures == []


def test_the_picture_shows_states_and_behaviors_in_their_colors(
    record: Path, tmp_path: Path
) -> None:
    failed = ReportedVideo(video="/data/day 1/b.mp4", state="failed")
    videos = measure_videos([done(record, "a.mp4"), failed, done(record, "c.mp4")])
    draw_job(videos, tmp_path / "job.png", title="job")
    pixels = np.asarray(Image.open(tmp_path / "job.png").convert("RGB")).astype(int)

    def count(color: tuple[int, int, int]) -> int:
        return int((np.abs(pixels - np.array(color)).max(axis=-1) <= 3).sum())

    green, red = count((0x2E, 0xCC, 0x8B)), count((0xC8, 0x32, 0x3C))
    assert green == pytest.approx(2 * red, rel=0.2)  # and its patch in the legend
    locomotion = count((56, 160, 255))
    rearing = count((255, 138, 52))
    assert locomotion > 5000
    assert rearing > 5000
    # Bars of two videos of three; every row has its own scale.
    assert locomotion == pytest.approx(rearing, rel=0.2)


def test_bouts_are_counted_in_whole_numbers(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: list[float] = []

    def read(figure: Figure, out: Path) -> None:
        for axis in figure.axes[2::2]:
            axis.set_ylim(0, 4.3)
            ticks.extend(axis.get_yticks())

    monkeypatch.setattr(job_plot, "save_figure", read)
    job_plot.draw_job(measure_videos([done(record, "a.mp4")]), tmp_path / "job.png", title="job")
    assert len(ticks) > 2
    assert all(tick == int(tick) for tick in ticks)
