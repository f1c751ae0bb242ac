"""Many videos: what is skipped, made anew and gone on with, and what a bad video does."""

import asyncio
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from service.jobs.chunks import ChunkStore
from service.jobs.finish import Finisher, Outputs
from service.jobs.lease import LeaseTaker
from service.jobs.manifest import read_manifest, work_folder
from service.jobs.reports import VideoReport
from service.jobs.runner import run_videos
from service.jobs.video import Request, VideoWorker
from service.jobs.work import VideoProgress
from service.results import RequestOptions, read_results
from service.results.plan import plan_videos
from service.simulation import SimulationSettings, simulate, write_recording
from service.values import FrameStatus
from tests.service.jobs.counting import BUNDLE, FRAMES, CountingAnalyzer

FORMATS = ("dlc-h5", "dlc-csv")
FINISHER = Finisher(2)


@pytest.fixture(scope="module", autouse=True)
def close_finisher() -> Iterator[None]:
    yield
    asyncio.run(FINISHER.close())


def sizes(report: VideoReport) -> list[int]:
    """Bytes of each file that the report names."""
    return [Path(path).stat().st_size for path in report.files]


async def analyze(
    analyzer: CountingAnalyzer,
    folder: Path,
    *,
    options: RequestOptions | None = None,
    formats: tuple[str, ...] = FORMATS,
    overlay: bool = False,
    overwrite: bool = False,
    told: list[VideoProgress] | None = None,
) -> list[VideoReport]:
    request = Request(
        options=options or RequestOptions(),
        outputs=Outputs(formats, overlay),
        overwrite=overwrite,
    )
    told = [] if told is None else told
    worker = VideoWorker(analyzer, FINISHER, LeaseTaker(), request, told.append)
    planned = plan_videos([folder / "videos"], folder / "out")
    return await run_videos(planned, worker, parallel=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "bad.mp4", "c.mp4", "scratched.mp4"):
        (tmp_path / "videos" / name).write_bytes(name.encode())
    return tmp_path


async def test_a_bad_video_stops_no_other_and_is_reported(folder: Path) -> None:
    analyzer = CountingAnalyzer()
    reports = await analyze(analyzer, folder)
    assert [one.state for one in reports] == ["done", "failed", "done", "done"]
    assert "cut off after frame 5" in reports[1].message
    assert reports[3].message == "1 CORRUPT of 12 frames; frame 7 is scratched"
    assert reports[3].statuses == {"ok": 11, "corrupt": 1}
    assert [one.frames for one in reports] == [12, 0, 12, 12]
    assert not list((folder / "out").glob("*bad*"))
    (fault,) = read_results(folder / "out" / "scratched.parquet").faults
    assert (fault.frame_index, fault.status) == (7, FrameStatus.CORRUPT)
    assert fault.reason == "is scratched"
    assert all(sizes(one)[-1] > 100 for one in reports if one.state == "done")
    assert analyzer.most_at_once == 2
    assert analyzer.at_once == 0


async def test_finished_videos_are_skipped_and_failed_ones_tried_again(folder: Path) -> None:
    await analyze(CountingAnalyzer(), folder)
    again = CountingAnalyzer()
    reports = await analyze(again, folder)
    assert again.analyzed == ["bad.mp4"]
    assert [one.state for one in reports] == ["skipped", "failed", "skipped", "skipped"]
    assert reports[0].frames == 12


async def test_another_version_option_or_file_is_analyzed_again(folder: Path) -> None:
    (folder / "videos" / "bad.mp4").unlink()
    await analyze(CountingAnalyzer(), folder)
    newer = CountingAnalyzer(msgspec.structs.replace(BUNDLE, version=2))
    await analyze(newer, folder)
    assert len(newer.analyzed) == 3
    timed = CountingAnalyzer(newer.bundles[0])
    await analyze(timed, folder, options=RequestOptions(frame_rate_hz=50))
    assert len(timed.analyzed) == 3
    (folder / "videos" / "c.mp4").write_bytes(b"other bytes")
    changed = CountingAnalyzer(newer.bundles[0])
    await analyze(changed, folder, options=RequestOptions(frame_rate_hz=50))
    assert changed.analyzed == ["c.mp4"]


async def test_no_file_of_an_earlier_analysis_stays_beside_a_new_record(folder: Path) -> None:
    (folder / "videos" / "bad.mp4").unlink()
    out = folder / "out"
    out.mkdir()
    own = ("a_notes.csv", "a.nwb", "a_overlay.mp4", "aethostream_mouse_v1.slp")
    for name in own:  # some have names of formats that are not asked for
        (out / name).write_text("mine")
    await analyze(CountingAnalyzer(), folder)
    before = {path.name for path in out.iterdir()}
    options = RequestOptions(frame_limit=4)
    formats = ("dlc-csv",)
    await analyze(CountingAnalyzer(), folder, options=options, formats=formats, overwrite=True)
    left = {path.name for path in out.iterdir()}
    assert before - left == {f"{name}ethostream_mouse_v1.h5" for name in ("a", "c", "scratched")}
    assert all((out / name).read_text() == "mine" for name in own)
    assert len(read_results(out / "a.parquet").frame_index) == 4
    assert len((out / "aethostream_mouse_v1.csv").read_text().splitlines()) == 3 + 4


async def test_a_file_of_somebody_else_is_neither_replaced_nor_taken_for_a_result(
    folder: Path,
) -> None:
    (folder / "videos" / "bad.mp4").unlink()
    out = folder / "out"
    out.mkdir()
    own = {"a.parquet": "mine", "c_overlay.mp4": "mine", "scratchedethostream_mouse_v1.csv": "mine"}
    for name, text in own.items():
        (out / name).write_text(text)
    for overwrite in (False, True):
        again = CountingAnalyzer()
        reports = await analyze(again, folder, overlay=True, overwrite=overwrite)
        assert again.analyzed == []
        for report, name in zip(reports, own, strict=True):
            assert report.state == "failed"
            assert report.message.startswith(f"{out / name} would be replaced")
    assert {path.name: path.read_text() for path in out.iterdir() if path.is_file()} == own
    (out / "a.parquet").unlink()
    await analyze(CountingAnalyzer(), folder, formats=("dlc-h5",))  # c and scratched, too
    reports = await analyze(CountingAnalyzer(), folder)
    assert [one.state for one in reports] == ["skipped", "skipped", "failed"]
    assert {(out / name).read_text() for name in list(own)[1:]} == {"mine"}


async def test_results_that_were_copied_without_hidden_folders_are_known(folder: Path) -> None:
    (folder / "videos" / "bad.mp4").unlink()
    await analyze(CountingAnalyzer(), folder)
    shutil.rmtree(folder / "out" / ".ethostream")
    reports = await analyze(CountingAnalyzer(), folder)
    assert {one.state for one in reports} == {"skipped"}
    reports = await analyze(CountingAnalyzer(), folder, overwrite=True)
    assert {one.state for one in reports} == {"done"}


async def test_another_recording_of_the_same_name_replaces_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"

    async def run(day: str, *, overwrite: bool = False) -> VideoReport:
        request = Request(options=RequestOptions(), outputs=Outputs(()), overwrite=overwrite)
        worker = VideoWorker(CountingAnalyzer(), FINISHER, LeaseTaker(), request, lambda _: None)
        (report,) = await run_videos(plan_videos([tmp_path / day], out), worker, parallel=1)
        return report

    for day in ("day1", "day2"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "cam.mp4").write_bytes(day.encode() * len(day))
        os.utime(tmp_path / day / "cam.mp4", (0, int(day[-1])))
    assert (await run("day1")).state == "done"
    record = (out / "cam.parquet").read_bytes()
    refused = await run("day2")
    assert refused.state == "failed"
    assert "would write the same files" in refused.message
    assert str(tmp_path / "day1" / "cam.mp4") in refused.message
    assert (out / "cam.parquet").read_bytes() == record
    assert (await run("day1")).state == "skipped"
    assert (await run("day2", overwrite=True)).state == "done"
    (tmp_path / "day2" / "cam.mp4").rename(tmp_path / "day2" / "gone.avi")  # moved away
    assert (await run("day1")).state == "done"


async def test_fewer_frames_replace_no_more_of_them_unasked(folder: Path) -> None:
    first = await analyze(CountingAnalyzer(), folder)
    records = {path: path.read_bytes() for path in (folder / "out").glob("*.parquet")}
    assert len(records) == 3
    again = CountingAnalyzer()
    few = RequestOptions(frame_limit=4)
    refused = await analyze(again, folder, options=few)
    assert again.analyzed == ["bad.mp4"]  # of which no results are there
    for before, report in zip(first, refused, strict=True):
        if before.state == "done":
            assert report.state == "failed"
            assert f"{before.frames} frames of" in report.message
            assert "would replace them by 4" in report.message
    assert {path: path.read_bytes() for path in records} == records
    done = await analyze(CountingAnalyzer(), folder, options=few, overwrite=True)
    assert [(one.state, one.frames) for one in done] == [("done", 4)] * 4
    assert {one.state for one in await analyze(CountingAnalyzer(), folder)} == {"done", "failed"}


async def test_overwrite_analyzes_all_again(folder: Path) -> None:
    await analyze(CountingAnalyzer(), folder)
    again = CountingAnalyzer()
    await analyze(again, folder, overwrite=True)
    assert len(again.analyzed) == 4


async def test_a_format_that_is_missing_is_made_from_the_record(folder: Path) -> None:
    await analyze(CountingAnalyzer(), folder, formats=("parquet",))
    assert not list((folder / "out").glob("*.h5"))
    again = CountingAnalyzer()
    reports = await analyze(again, folder, formats=("dlc-h5",))
    assert again.analyzed == ["bad.mp4"]
    assert reports[0].state == "skipped"
    assert (folder / "out" / "aethostream_mouse_v1.h5").is_file()


async def test_a_damaged_record_is_replaced(folder: Path) -> None:
    await analyze(CountingAnalyzer(), folder)
    record = folder / "out" / "a.parquet"
    record.write_bytes(b"cut off")
    again = CountingAnalyzer()
    await analyze(again, folder)
    assert "a.mp4" in again.analyzed
    assert len(read_results(record)) == 12


async def test_an_overlay_is_drawn_also_for_a_video_that_was_finished(tmp_path: Path) -> None:
    settings = SimulationSettings(width_px=64, height_px=64, duration_s=FRAMES / 30)
    write_recording(simulate(settings), tmp_path / "videos", name="a")
    await analyze(CountingAnalyzer(), tmp_path)
    assert not (tmp_path / "out" / "a_overlay.mp4").exists()
    again = CountingAnalyzer()
    (report,) = await analyze(again, tmp_path, overlay=True)
    assert again.analyzed == []
    assert report.files[-1].endswith("a_overlay.mp4")
    assert sizes(report)[-1] > 1000


async def interrupt(analyzer: CountingAnalyzer, folder: Path, **choices: object) -> None:
    """Stop where the analyzer hangs, as a server does that is told to."""
    analysis = asyncio.create_task(analyze(analyzer, folder, **choices))  # type: ignore[arg-type]
    await asyncio.wait_for(analyzer.hangs.wait(), 60)
    analysis.cancel()
    await asyncio.gather(analysis, return_exceptions=True)


async def test_an_interrupted_video_goes_on_and_gives_the_same_bytes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.work.CHUNK_SECONDS", 0.0)
    for name in ("bad.mp4", "c.mp4", "scratched.mp4"):
        (folder / "videos" / name).unlink()
    await analyze(CountingAnalyzer(), folder)
    whole = (folder / "out" / "a.parquet").read_bytes()
    (folder / "out" / "a.parquet").unlink()
    await interrupt(CountingAnalyzer(hang_at=10), folder)
    assert not (folder / "out" / "a.parquet").exists()
    again = CountingAnalyzer()
    (report,) = await analyze(again, folder)
    assert again.first_frames == [10]
    assert (report.frames, report.resumed_frames) == (FRAMES, 10)
    assert (folder / "out" / "a.parquet").read_bytes() == whole
    (video,) = plan_videos([folder / "videos"], folder / "out")
    manifest = read_manifest(work_folder(video))
    assert manifest is not None
    assert manifest.state == "done"
    assert not list((work_folder(video) / "chunks").iterdir())


@pytest.mark.parametrize("change", ["video", "options", "bundle", "decoder", "damage"])
async def test_rows_of_another_video_option_bundle_or_decoder_are_never_mixed_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr("service.jobs.work.CHUNK_SECONDS", 0.0)
    for name in ("bad.mp4", "c.mp4", "scratched.mp4"):
        (folder / "videos" / name).unlink()
    await interrupt(CountingAnalyzer(hang_at=10), folder)
    again = CountingAnalyzer()
    options = RequestOptions()
    match change:
        case "video":
            (folder / "videos" / "a.mp4").write_bytes(b"other bytes")
        case "options":
            options = RequestOptions(frame_rate_hz=25.0)
        case "bundle":
            again = CountingAnalyzer(msgspec.structs.replace(BUNDLE, manifest_sha256="b" * 64))
        case "decoder":
            again = CountingAnalyzer(decoder="dali 2")
        case "damage":
            (video,) = plan_videos([folder / "videos"], folder / "out")
            first = min((work_folder(video) / "chunks").iterdir())
            first.write_bytes(first.read_bytes()[:-1])
    (report,) = await analyze(again, folder, options=options)
    assert (report.state, report.resumed_frames) == ("done", 0)
    assert again.first_frames[-1] == 0
    assert again.first_frames == ([10, 0] if change == "decoder" else [0])
    assert len(read_results(folder / "out" / "a.parquet")) == FRAMES


async def test_a_dynamic_crop_goes_on_from_the_last_poses(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.results.provenance import DynamicCropOptions

    monkeypatch.setattr("service.jobs.work.CHUNK_SECONDS", 0.0)
    for name in ("a.mp4", "bad.mp4", "c.mp4"):
        (folder / "videos" / name).unlink()
    options = RequestOptions(dynamic_crop=DynamicCropOptions(margin_px=5, max_zoom=2))
    await interrupt(CountingAnalyzer(hang_at=10), folder, options=options)
    again = CountingAnalyzer()
    await analyze(again, folder, options=options)
    ((frame_index, poses),) = again.last_poses[0]
    assert frame_index == 9
    assert poses.keypoints_xy.tolist() == [[[20, 9], [20, 9]]]


async def test_a_video_that_changes_while_it_is_analyzed_fails(folder: Path) -> None:
    for name in ("bad.mp4", "c.mp4", "scratched.mp4"):
        (folder / "videos" / name).unlink()
    analyzer = CountingAnalyzer(hang_at=10)
    analysis = asyncio.create_task(analyze(analyzer, folder))
    await asyncio.wait_for(analyzer.hangs.wait(), 60)
    (folder / "videos" / "a.mp4").write_bytes(b"it has grown since")
    analyzer.goes_on.set()
    (report,) = await analysis
    assert report.state == "failed"
    assert "was changed while it was analyzed" in report.message
    assert not (folder / "out" / "a.parquet").exists()


async def test_a_place_that_cannot_be_written_is_told(folder: Path) -> None:
    (folder / "out").write_text("a file where a folder should be")
    reports = await analyze(CountingAnalyzer(), folder)
    assert {one.state for one in reports} == {"failed"}
    assert all("out" in one.message for one in reports)


async def test_two_processes_share_the_videos(folder: Path) -> None:
    (folder / "videos" / "bad.mp4").unlink()
    one, other = CountingAnalyzer(), CountingAnalyzer()
    both = await asyncio.gather(analyze(one, folder), analyze(other, folder))
    assert sorted(one.analyzed + other.analyzed) == ["a.mp4", "c.mp4", "scratched.mp4"]
    states = [(a.state, b.state) for a, b in zip(*both, strict=True)]
    assert all(sorted(pair) == ["done", "skipped"] for pair in states)


async def test_progress_is_told(folder: Path) -> None:
    told: list[VideoProgress] = []
    await analyze(CountingAnalyzer(), folder, told=told)
    mine = [one for one in told if one.video.stem == "a"]
    assert [one.state for one in mine if one.state != "analyzing"] == ["writing", "over"]
    frames = [one.frames for one in mine if one.state == "analyzing"]
    assert frames == sorted(frames)
    assert frames[-1] == FRAMES
    assert {one.total for one in mine if one.state == "analyzing"} == {FRAMES}


async def test_a_full_disk_is_told_and_costs_nothing_that_was_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.work.CHUNK_SECONDS", 0.0)
    for name in ("bad.mp4", "c.mp4", "scratched.mp4"):
        (folder / "videos" / name).unlink()
    append = ChunkStore.append

    def run_full(self: ChunkStore, table: object) -> None:
        if self.rows >= 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, table)

    monkeypatch.setattr(ChunkStore, "append", run_full)
    (report,) = await analyze(CountingAnalyzer(), folder)
    assert report.state == "failed"
    assert report.message.startswith(f"the disk of {folder / 'out'} is full; make room")
    (video,) = plan_videos([folder / "videos"], folder / "out")
    manifest = read_manifest(work_folder(video))
    assert manifest is not None
    assert (manifest.state, manifest.message) == ("failed", report.message)
    monkeypatch.setattr(ChunkStore, "append", append)
    again = CountingAnalyzer()
    (report,) = await analyze(again, folder)
    assert (report.state, again.first_frames) == ("done", [10])


async def test_a_name_too_long_for_its_results_is_told(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    video = tmp_path / "videos" / f"{'x' * 240}.mp4"
    video.write_bytes(b"video")
    (report,) = await analyze(CountingAnalyzer(), tmp_path)
    assert report.state == "failed"
    assert f"give {video.name} a shorter name" in report.message


@pytest.mark.parametrize("formats", [FORMATS, ()])
async def test_a_name_too_long_for_a_result_is_told_before_the_work(
    tmp_path: Path, formats: tuple[str, ...]
) -> None:
    (tmp_path / "videos").mkdir()
    # Short enough for the work folder, too long for that of a file that is being written.
    video = tmp_path / "videos" / f"{'x' * 235}.mp4"
    video.write_bytes(b"video")
    analyzer = CountingAnalyzer()
    (report,) = await analyze(analyzer, tmp_path, formats=formats)
    assert f"give {video.name} a shorter name" in report.message
    assert analyzer.analyzed == []


@pytest.mark.parametrize(("deaths", "state"), [(2, "done"), (3, "failed")])
async def test_another_decoder_goes_on_where_one_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int, state: str
) -> None:
    monkeypatch.setattr("service.jobs.work.CHUNK_SECONDS", 0.0)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "deadly.mp4").write_bytes(b"video")
    analyzer = CountingAnalyzer(deaths=deaths)
    (report,) = await analyze(analyzer, tmp_path)
    assert report.state == state
    assert analyzer.first_frames == [0, 5, 5]
    if state == "done":
        assert read_results(tmp_path / "out" / "deadly.parquet").frame_index.tolist() == list(
            range(FRAMES)
        )
    else:
        assert "ended by signal 9" in report.message


async def test_a_bug_stops_no_other_video(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("buggy.mp4", "c.mp4"):
        (tmp_path / "videos" / name).write_bytes(name.encode())
    buggy, fine = await analyze(CountingAnalyzer(), tmp_path)
    assert (buggy.state, fine.state) == ("failed", "done")
    assert buggy.message.startswith("ValueError: no such branch; this is a bug of ethostream")
