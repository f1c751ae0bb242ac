"""The index of the packets counts what the file holds, also where the demuxer loses some of it."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest

from service.values import FrameStatus
from service.video.ledger import find_start
from service.video.packets import find_rate_hz
from service.video.pyav import VideoFile
from tests.service.video.clips import find_clip
from tests.service.video.corpus import remux, write_clip, write_video
from tests.service.video.reading import see, see_shared
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


def number_packets(source: Path, target: Path) -> Path:
    """Copy a video with the numbers of its packets for times, as programs copy out of AVI."""
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        for number, packet in enumerate(one for one in read.demux(video=0) if one.size):
            packet.time_base = Fraction(1, 30)
            packet.pts = packet.dts = number
            packet.stream = stream
            write.mux(packet)
    return target


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


@pytest.mark.parametrize(("b_frames", "lost"), [(0, 12), (0, 40), (2, 25), (2, 45)])
@pytest.mark.parametrize("ending", ["mp4", "ts"])
def test_pictures_that_refer_to_one_that_was_never_recorded_are_not_trusted(
    tmp_path: Path, ending: str, b_frames: int, lost: int
) -> None:
    """Cameras on a network lose packets, and recorders store the others as they come."""
    options = {"g": "20", "bf": str(b_frames), "sc_threshold": "0"}
    whole = write_video(tmp_path / "whole.mp4", frames=60, options=options)
    path = tmp_path / f"lossy.{ending}"
    with av.open(str(whole)) as read, av.open(str(path), "w") as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        for place, packet in enumerate(one for one in read.demux(video=0) if one.size):
            if place != lost:
                packet.stream = stream
                write.mux(packet)
    rows = see(VideoFile(path))
    begin_ns = rows[0].pts_ns
    shown = [(round((one.pts_ns - begin_ns) * 30 / 1e9), one) for one in rows]
    assert all(one.number == number for number, one in shown if one.status == OK)
    next_key = 20 * (lost // 20 + 1)
    trusted = {number for number, one in shown if one.status == OK}
    assert trusted >= {*range(lost - 2), *range(next_key, 60)}
    assert not trusted & {*range(lost + b_frames, next_key - b_frames)}


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


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("codec", "ending"),
    [("mpeg4", "mkv"), ("mpeg4", "avi"), ("wmv2", "asf"), ("mpeg2video", "ts"), ("libx264", "mkv")],
)
def test_a_recording_cut_within_a_group_loses_what_comes_before_the_next_one(
    tmp_path: Path, codec: str, ending: str, threads: int
) -> None:
    options = {"g": "12", "bf": "0", "sc_threshold": "0" if codec == "libx264" else "1000000000"}
    whole = write_video(tmp_path / f"whole.{ending}", codec=codec, options=options)
    remux(whole, tmp_path / f"cut.{ending}", first_packet=5)
    rows = see(VideoFile(tmp_path / f"cut.{ending}", threads=threads))
    assert [(one.status, one.number) for one in rows] == [
        (CORRUPT, None) if n < 12 else (OK, n) for n in range(40 - len(rows), 40)
    ]
    assert len(rows) >= 28
    assert see(VideoFile(tmp_path / f"cut.{ending}"), 1, 9) == rows[1:10]


def test_a_container_that_marks_no_key_frames_is_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.swf", codec="flv")
    assert [(one.status, one.number) for one in see(VideoFile(path))] == [
        (OK, n) for n in range(40)
    ]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("ticks", [range(40), [n + n // 3 * 4 for n in range(40)]])
def test_frames_lost_at_the_end_of_a_file_do_not_move_those_that_are_shown_after_them(
    tmp_path: Path, ticks: Sequence[int], threads: int
) -> None:
    options = {"bf": "3", "g": "40", "x264-params": "b-adapt=0:b-pyramid=none:scenecut=0"}
    front = {"movflags": "faststart"}
    path = write_video(tmp_path / "a.mp4", options=options, muxer=front, pts=list(ticks))
    data = path.read_bytes()
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    for kept in range(20, 30):
        path.write_bytes(data[: places[kept]])
        rows = see(VideoFile(path, threads=threads))
        assert [one.frame_index for one in rows] == list(range(40))
        shown = [one.number for one in rows if one.status is OK]
        assert shown == [one.frame_index for one in rows if one.status is OK]
        assert sum(one.status is MISSING for one in rows) == 40 - kept
        last = shown[-1] + 1
        assert [one.pts_ns for one in rows[:last]] == pytest.approx(
            [tick * 1e9 / 30 for tick in ticks[:last]], abs=2
        )
        assert see(VideoFile(path), 17, 9) == rows[17:26]


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


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        *product(
            ("h264 in avi", "h264 with open groups", "hevc with B-frames"),
            ("mp4", "mkv", "ts", "mov"),
        ),
        *product(("mpeg4 packed in avi",), ("mp4", "mkv", "mov")),
    ],
)
def test_numbers_of_packets_are_not_taken_for_times(tmp_path: Path, name: str, ending: str) -> None:
    path = number_packets(write_clip(find_clip(name), tmp_path), tmp_path / f"copy.{ending}")
    rows = see(VideoFile(path, threads=2))
    assert [(one.status, one.number) for one in rows] == [(OK, n) for n in range(40)]
    times_ns = [one.pts_ns for one in rows]
    assert np.diff(times_ns) == pytest.approx([1e9 / 30] * 39, abs=1e6)
    assert see(VideoFile(path), 17, 9) == rows[17:26]
    assert see_shared(path, 3) == rows


@pytest.mark.parametrize(
    ("codec", "options", "ending"),
    [
        ("libx264", {"bf": "0"}, "mp4"),
        ("libx264", {"bf": "0"}, "avi"),
        ("libx265", {"x265-params": "log-level=none:bframes=0:keyint=10"}, "mkv"),
        ("mpeg4", {"bf": "0"}, "avi"),
    ],
)
def test_a_video_without_b_pictures_is_sought_by_its_times(
    tmp_path: Path, codec: str, options: dict[str, str], ending: str
) -> None:
    path = write_video(tmp_path / f"a.{ending}", codec=codec, options={"g": "10", **options})
    index = VideoFile(path).index
    assert index.by_time
    assert find_start(index, 25) > 0


def test_a_decoder_that_may_hold_back_does_not_make_b_pictures(tmp_path: Path) -> None:
    """MPEG-2 reserves the delay of B-frames, whether there are any or not."""
    options = {"bf": "0", "g": "10"}
    path = write_video(tmp_path / "a.mkv", codec="mpeg2video", options=options)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.has_b_frames
    assert VideoFile(path).index.by_time


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
