"""Analyzing many videos: what is skipped, what is made anew, and what a bad video does."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from service.commands._analyzers import Finished, Started
from service.commands._videos import VideoReport, analyze_videos
from service.errors import InvalidVideo
from service.results import (
    FORMATS,
    AnsweredBundle,
    AnsweredPose,
    RequestOptions,
    read_results,
)
from service.results.plan import plan_videos
from service.results.video_results import ChunkLike
from service.simulation import SimulationSettings, simulate, write_recording
from service.values import FrameStatus, PoseColumns, ResultChunk, VideoInfo

FRAMES = 12
BUNDLE = AnsweredBundle(
    name="mouse",
    version=1,
    manifest_sha256="a" * 64,
    engine="fake:cpu",
    precision="fp32",
    pose=AnsweredPose(keypoints=("snout", "tailbase")),
)


class CountingAnalyzer:
    """Answers with zeros in chunks of five; videos named `bad` fail in the middle."""

    def __init__(self, bundle: AnsweredBundle = BUNDLE) -> None:
        self.bundles = (bundle,)
        self.analyzed: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    async def analyze(
        self, video: Path, options: RequestOptions
    ) -> AsyncGenerator[Started | ChunkLike | Finished, None]:
        self.analyzed.append(video.name)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield Started(VideoInfo(64, 64, 30.0, FRAMES, "h264", "pyav"), self.bundles)
            for first in range(0, options.frame_limit or FRAMES, 5):
                await asyncio.sleep(0.02)
                index = np.arange(first, min(first + 5, options.frame_limit or FRAMES))
                if video.stem == "bad" and first:
                    raise InvalidVideo(f"{video} is cut off after frame {first}")
                shape = (len(index), 1, 2)
                yield ResultChunk(
                    index,
                    index * 33_000_000,
                    np.full(len(index), FrameStatus.OK, np.uint8),
                    (
                        PoseColumns(
                            self.bundles[0].key,
                            np.full((*shape, 2), 20, np.float32),
                            np.ones(shape, np.float32),
                        ),
                    ),
                )
            yield Finished("one frame is damaged" if video.stem == "scratched" else "")
        finally:
            self.at_once -= 1


def sizes(report: VideoReport) -> list[int]:
    """Bytes of each file that the report names."""
    return [Path(path).stat().st_size for path in report.files]


async def analyze(
    analyzer: CountingAnalyzer,
    folder: Path,
    *,
    options: RequestOptions | None = None,
    formats: tuple[str, ...] = tuple(FORMATS),
    overlay: bool = False,
    overwrite: bool = False,
) -> list[VideoReport]:
    return await analyze_videos(
        plan_videos([folder / "videos"], folder / "out"),
        analyzer,
        options or RequestOptions(),
        formats=formats,
        overlay=overlay,
        overwrite=overwrite,
        parallel=2,
        show_progress=True,
    )


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
    assert reports[3].message == "one frame is damaged"
    assert [one.frames for one in reports] == [12, 0, 12, 12]
    assert not list((folder / "out").glob("*bad*"))
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
    limited = CountingAnalyzer(newer.bundles[0])
    await analyze(limited, folder, options=RequestOptions(frame_limit=4))
    assert len(limited.analyzed) == 3
    (folder / "videos" / "c.mp4").write_bytes(b"other bytes")
    changed = CountingAnalyzer(newer.bundles[0])
    await analyze(changed, folder, options=RequestOptions(frame_limit=4))
    assert changed.analyzed == ["c.mp4"]


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
