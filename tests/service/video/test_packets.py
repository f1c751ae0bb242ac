"""The index of the packets counts what the file holds, also where the demuxer loses some of it."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from service.values import FrameStatus
from service.video.packets import find_rate_hz
from service.video.pyav import VideoFile
from tests.service.video.clips import find_clip
from tests.service.video.corpus import remux, write_clip, write_video
from tests.service.video.reading import see
from tests.service.video.xvid import drop_frames

OK, MISSING, CORRUPT = FrameStatus.OK, FrameStatus.MISSING, FrameStatus.CORRUPT
REPEATED = FrameStatus.REPEATED


def lose_chunk(path: Path, place: int) -> None:
    """Damage the name of an AVI chunk, so that the demuxer looks for the next one."""
    with av.open(str(path)) as container:
        packet = list(container.demux(video=0))[place]
        begin = packet.pos - 8
    data = bytearray(path.read_bytes())
    data[begin : begin + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_chunk_that_the_demuxer_loses_shifts_no_frame(tmp_path: Path, threads: int) -> None:
    path = write_clip(find_clip("mjpeg"), tmp_path)
    lose_chunk(path, 17)
    video = VideoFile(path, threads=threads)
    rows = see(video)
    assert [(one.frame_index, one.status, one.number) for one in rows] == [
        (n, MISSING, None) if n == 17 else (n, OK, n) for n in range(40)
    ]
    assert [one.pts_ns for one in rows] == pytest.approx([n * 1e9 / 30 for n in range(40)], abs=2)
    assert see(video, 30, 3) == rows[30:33]
    assert "not where it should be" in next(video.rows(17, 1)).reason


def test_what_refers_to_a_lost_chunk_is_not_trusted(tmp_path: Path) -> None:
    path = write_clip(find_clip("mpeg4 in avi"), tmp_path)
    lose_chunk(path, 15)
    rows = see(VideoFile(path))
    assert [one.frame_index for one in rows] == list(range(40))
    assert sum(one.status is MISSING for one in rows) == 1
    assert all(one.number == one.frame_index for one in rows if one.status is OK)
    assert all(one.status is OK for one in (*rows[:8], *rows[28:]))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_dropped_frame_shows_the_one_before_again(tmp_path: Path, threads: int) -> None:
    options = {"qscale": "3", "g": "1"}
    whole = write_video(tmp_path / "whole.avi", codec="mpeg4", options=options)
    dropped = {5: 4, 6: 4, 17: 16}
    drop_frames(whole, tmp_path / "dropped.avi", dropped)
    video = VideoFile(tmp_path / "dropped.avi", threads=threads)
    rows = see(video)
    assert [(one.frame_index, one.status, one.number) for one in rows] == [
        (n, REPEATED, dropped[n]) if n in dropped else (n, OK, n) for n in range(40)
    ]
    for first in (5, 6, 7, 17):
        assert see(video, first, 2) == rows[first : first + 2]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["h264 with open groups", "hevc with open groups"])
def test_a_recording_cut_within_open_groups_loses_what_looks_back(
    tmp_path: Path, name: str, threads: int
) -> None:
    whole = write_clip(find_clip(name), tmp_path)
    with av.open(str(whole)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        times = [packet.pts for packet in packets]
        key = [place for place, packet in enumerate(packets) if packet.is_keyframe][1]
    remux(whole, tmp_path / "cut.mkv", first_packet=key)
    looks_back = sum(time < times[key] for time in times[key:])
    rows = see(VideoFile(tmp_path / "cut.mkv", threads=threads))
    first = 40 - len(rows)
    assert looks_back > 0
    assert len(rows) == 40 - key
    assert [(one.status, one.number) for one in rows[looks_back:]] == [
        (OK, n) for n in range(first + looks_back, 40)
    ]
    assert all(one.status is CORRUPT or one.number == first + n for n, one in enumerate(rows))


def test_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    path = write_clip(find_clip("ffv1 with checksums"), tmp_path)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        middle = packets[17].pos + packets[17].size // 2
        next_key = next(
            place for place, packet in enumerate(packets) if place > 17 and packet.is_keyframe
        )
    data = bytearray(path.read_bytes())
    data[middle] ^= 1
    path.write_bytes(data)
    rows = see(VideoFile(path))
    assert [one.status for one in rows] == [
        CORRUPT if 17 <= n < next_key else OK for n in range(40)
    ]
    assert all(one.number == one.frame_index for one in rows if one.status is OK)


def test_frames_without_times_are_timed_by_the_frame_rate(tmp_path: Path) -> None:
    video = VideoFile(write_clip(find_clip("h264 without a container"), tmp_path))
    rate_hz = video.info.frame_rate_hz
    times_ns = [row.pts_ns for row in video.rows()]
    assert times_ns == pytest.approx([n * 1e9 / rate_hz for n in range(40)], abs=1)


def test_a_clock_that_is_too_coarse_leaves_the_order_to_the_decoder(tmp_path: Path) -> None:
    video = VideoFile(write_clip(find_clip("h264 in mkv at 2000 Hz"), tmp_path))
    assert not video.index.by_time
    rows = see(video, 13, 4)
    assert [one.number for one in rows] == [13, 14, 15, 16]
    assert [one.pts_ns for one in rows] == sorted(one.pts_ns for one in rows)


def test_the_rate_of_a_clock_is_no_frame_rate(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mkv", pts=[40 * n for n in range(20)], tick_s=Fraction(1, 1000), frames=20
    )
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        video = VideoFile(path)
        assert float(stream.average_rate) > 900
        assert find_rate_hz(stream, video.index.times) == pytest.approx(25)
        assert video.info.frame_rate_hz == pytest.approx(25)
