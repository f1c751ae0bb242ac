"""What a video is said to hold is what was put into it."""

from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path

import av
import pytest
import pytest_asyncio

from service.errors import InvalidVideo
from service.values import FrameStatus
from service.video import DecodeWorkers
from service.video_tools import VideoTruth, verify_video
from tests.service.video.clips import find_clip
from tests.service.video.corpus import write_clip, write_video


@pytest_asyncio.fixture
async def workers() -> AsyncIterator[DecodeWorkers]:
    async with DecodeWorkers(1) as pool:
        yield pool


async def verify(workers: DecodeWorkers, folder: Path, name: str) -> VideoTruth:
    clip = find_clip(name)
    truth = await verify_video(write_clip(clip, folder), workers)
    assert truth.is_complete
    assert truth.packets.frames == truth.decoded.frames == truth.decoded.ok == len(clip.numbers)
    assert truth.container.codec == clip.codec
    return truth


async def test_a_plain_video_needs_no_note(workers: DecodeWorkers, tmp_path: Path) -> None:
    truth = await verify(workers, tmp_path, "h264 with B-frames")
    assert truth.notes == ()
    container, packets = truth.container, truth.packets
    assert (container.frames, container.frame_rate_hz) == (40, 30)
    assert (container.pixel_format, container.width_px, container.height_px) == ("yuv420p", 96, 64)
    assert container.duration_s == pytest.approx(40 / 30, abs=1e-3)
    assert (packets.key_frames, packets.longest_group, packets.is_reordered) == (4, 12, True)
    assert packets.usual_step_ns == pytest.approx(1e9 / 30, abs=2)
    assert packets.duration_ns == pytest.approx(39e9 / 30, abs=2)
    assert truth.decoded.decoder.startswith("pyav ")


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("h264 variable rate", "variable frame rate: 33.3333 to 166.667 ms between frames"),
        (
            "h264 with a gap",
            "1 gap in the times, up to 2033.33 ms where 33.3333 ms is usual: about 60 frames not "
            "recorded",
        ),
        ("mjpeg with dropped frames", "the container claims 45 frames and holds 40"),
        (
            "mjpeg in mkv at 2000 Hz",
            "19 frames at the time of the frame before: the container's clock is too coarse, or "
            "times were repeated",
        ),
        ("h264 cut between key frames", "an edit list hides 7 packets: no frames"),
        ("h264 with its end cut off", "an edit list hides 10 packets: no frames"),
        ("h264 without a container", "frames have no times; they are counted at the frame rate"),
        (
            "h264 rotated by 90",
            "turned by 90 degrees counterclockwise, as the container asks",
        ),
        ("h264 interlaced", "interlaced: each picture shows two moments"),
    ],
)
async def test_what_is_not_plain_is_told(
    workers: DecodeWorkers, tmp_path: Path, name: str, note: str
) -> None:
    truth = await verify(workers, tmp_path, name)
    assert note in truth.notes


@pytest.mark.parametrize("name", ["h264 in mkv", "vp9", "mjpeg", "h264 at 2000 Hz", "av1"])
async def test_times_rounded_by_the_container_are_an_even_rate(
    workers: DecodeWorkers, tmp_path: Path, name: str
) -> None:
    truth = await verify(workers, tmp_path, name)
    assert truth.notes == ()
    assert truth.packets.uneven_steps == 0


async def test_one_dropped_frame_is_a_gap_at_any_rate(
    workers: DecodeWorkers, tmp_path: Path
) -> None:
    for rate_hz, ending in ((30, "mkv"), (300, "mkv"), (1000, "mkv"), (2000, "mp4")):
        path = write_video(
            tmp_path / f"{rate_hz}.{ending}",
            pts=[number + (number > 20) for number in range(40)],
            tick_s=Fraction(1, rate_hz),
        )
        packets = (await verify_video(path, workers)).packets
        assert (packets.gaps, packets.frames_in_gaps) == (1, 1)
        assert packets.first_gaps[0].frame_index == 21
        assert not packets.is_variable_rate


@pytest.mark.parametrize(
    ("ticks", "steps_ms"),
    [([n // 2 * 5 + n % 2 * 2 for n in range(41)], (20, 30)), ([0, 1, 100], (10, 990))],
    ids=["2:3 pulldown", "three frames"],
)
async def test_a_rate_without_a_usual_step_is_variable(
    workers: DecodeWorkers, tmp_path: Path, ticks: list[int], steps_ms: tuple[int, int]
) -> None:
    path = write_video(
        tmp_path / "a.mp4",
        frames=len(ticks),
        pts=ticks,
        tick_s=Fraction(1, 100),
        options={"bf": "0"},
    )
    truth = await verify_video(path, workers)
    assert truth.is_complete
    packets = truth.packets
    assert (packets.shortest_step_ns, packets.longest_step_ns) == pytest.approx(
        [step * 1e6 for step in steps_ms], abs=1e3
    )
    assert packets.usual_step_ns == pytest.approx(steps_ms[0] * 1e6, abs=1e3)
    assert packets.uneven_steps == len(ticks) // 2


async def test_px_that_are_not_square_are_told(workers: DecodeWorkers, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", options={"x264-params": "sar=4/3"})
    assert (
        "px are 4:3 wide to high; results are in stored px"
        in (await verify_video(path, workers)).notes
    )


async def test_damaged_frames_are_told_by_their_numbers(
    workers: DecodeWorkers, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p")
    with av.open(str(path)) as container:
        packet = list(container.demux(video=0))[20]
        place, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[place + 8 : place + size] = bytes(size - 8)
    path.write_bytes(data)
    seen: list[tuple[int, int]] = []
    truth = await verify_video(path, workers, on_frame=lambda *done: seen.append(done))
    assert not truth.is_complete
    assert (truth.decoded.ok, truth.decoded.corrupt) == (39, 1)
    assert [(one.frame_index, one.status) for one in truth.decoded.faults] == [
        (20, FrameStatus.CORRUPT)
    ]
    assert truth.decoded.faults[0].reason
    assert seen == [(number, 40) for number in range(1, 41)]


async def test_a_cut_off_file_is_not_complete(workers: DecodeWorkers, tmp_path: Path) -> None:
    whole = write_clip(find_clip("h264 index in front"), tmp_path)
    whole.write_bytes(whole.read_bytes()[:-3000])
    truth = await verify_video(whole, workers)
    assert not truth.is_complete
    assert truth.packets.missing == truth.decoded.missing > 0
    assert truth.packets.frames == 40 - truth.packets.missing
    assert truth.decoded.frames == truth.container.frames == 40


async def test_a_cut_off_file_that_lists_no_frames_is_not_complete(
    workers: DecodeWorkers, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "a.mkv", frames=120, options={"bf": "0", "g": "10"})
    assert (await verify_video(path, workers)).is_complete
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    truth = await verify_video(path, workers)
    assert not truth.is_complete
    assert truth.decoded.missing == 0
    (note,) = truth.notes
    assert note.startswith("the file is cut off: the container claims 4 s, its frames take ")


async def test_a_file_that_cannot_be_opened_is_an_error(
    workers: DecodeWorkers, tmp_path: Path
) -> None:
    (tmp_path / "noise.mp4").write_bytes(b"no video at all")
    with pytest.raises(InvalidVideo, match=r"noise\.mp4"):
        await verify_video(tmp_path / "noise.mp4", workers)
