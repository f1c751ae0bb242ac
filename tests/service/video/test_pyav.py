import shutil
import struct
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from service.errors import FrameTooLarge, InvalidVideo, VideoNotFound
from service.values import FrameStatus
from service.video import VideoLimits
from service.video.packets import EMPTY, NO_TIME, PacketIndex
from service.video.pixels import is_mirrored
from service.video.pyav import VideoFile

OK, CORRUPT, MISSING = FrameStatus.OK, FrameStatus.CORRUPT, FrameStatus.MISSING

KINDS = {
    "h264 with B-frames": ("a.mp4", {"options": {"bf": "3", "g": "12"}}),
    "h264 with an open GOP": (
        "a.mkv",
        {"options": {"bf": "3", "g": "12", "x264-params": "open-gop=1:b-pyramid=normal"}},
    ),
    "h264 in a transport stream": ("a.ts", {"options": {"bf": "2", "g": "10"}}),
    "h264 with B-frames in AVI": ("a.avi", {"options": {"bf": "3", "g": "12"}}),
    "h264 without a container": ("a.h264", {"options": {"bf": "2", "g": "10"}}),
    "h264 10 bit": ("a.mp4", {"pix_fmt": "yuv420p10le"}),
    "h264 4:4:4, odd size": ("a.mp4", {"pix_fmt": "yuv444p", "size": (99, 71)}),
    "hevc": ("a.mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}),
    "mpeg-4 part 2": ("a.avi", {"codec": "mpeg4", "options": {"bf": "2", "qscale": "3"}}),
    "mjpeg": ("a.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "ffv1": ("a.mkv", {"codec": "ffv1"}),
    "ffv1 gray": ("a.mkv", {"codec": "ffv1", "pix_fmt": "gray"}),
    "ffv1 gray 16 bit, odd size": (
        "a.mkv",
        {"codec": "ffv1", "pix_fmt": "gray16le", "size": (97, 61)},
    ),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}}),
    "vp8 with hidden packets": (
        "a.webm",
        {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
    ),
    "raw BGR": ("a.avi", {"codec": "rawvideo", "pix_fmt": "bgr24"}),
    "variable rate": ("a.mp4", {"pts": [n + n // 3 * 4 for n in range(40)]}),
}

DAMAGED_KINDS = {
    "h264 with B-frames": ("a.mp4", {"options": {"bf": "2", "g": "6"}}),
    "hevc": (
        "a.mp4",
        {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=6:min-keyint=6"}},
    ),
    "mjpeg": KINDS["mjpeg"],
    "ffv1": ("a.mkv", {"codec": "ffv1", "options": {"slicecrc": "1", "level": "3", "g": "1"}}),
    "mpeg-4 part 2": (
        "a.avi",
        {"codec": "mpeg4", "options": {"bf": "2", "qscale": "3", "g": "6"}},
    ),
}


def read_all(video, read_number, first_frame=0, frame_limit=None):
    """[(frame_index, status, number shown)] of a file."""
    out = np.empty(video.shape, np.uint8)
    rows = []
    for row in video.rows(first_frame, frame_limit):
        number = None
        if row.picture is not None:
            video.convert(row.picture, out)
            number = read_number(out)
        rows.append((row.frame_index, row.status, number))
    return rows


def wrong_numbers(rows):
    """The rows that are OK and show another frame than theirs."""
    return [row for row in rows if row[1] == OK and row[2] != row[0]]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_has_its_own_index(tmp_path, make_video, read_number, kind, threads):
    name, settings = KINDS[kind]
    video = VideoFile(make_video(tmp_path / name, **settings), threads=threads)
    assert read_all(video, read_number) == [(n, OK, n) for n in range(40)]
    assert video.info.frame_rate_hz > 0
    assert video.info.decoder.startswith("pyav ")


@pytest.mark.parametrize("kind", ["h264 with an open GOP", "ffv1", "variable rate", "vp9"])
@pytest.mark.parametrize(("first", "limit"), [(1, 3), (25, 9), (38, None), (39, 9), (40, 1)])
def test_a_part_holds_exactly_the_frames_asked_for(
    tmp_path, make_video, read_number, kind, first, limit
):
    name, settings = KINDS[kind]
    video = VideoFile(make_video(tmp_path / name, **settings))
    last = min(40, first + (limit or 40))
    assert read_all(video, read_number, first, limit) == [(n, OK, n) for n in range(first, last)]


@pytest.mark.parametrize("kind", ["h264 with an open GOP", "h264 in a transport stream"])
def test_a_part_has_the_pixels_of_the_whole(tmp_path, make_video, kind):
    name, settings = KINDS[kind]
    video = VideoFile(make_video(tmp_path / name, **settings))

    def pixels(first):
        out = np.empty(video.shape, np.uint8)
        for row in video.rows(first, 1):
            video.convert(row.picture, out)
        return out

    whole = {}
    for row in video.rows():
        whole[row.frame_index] = np.empty(video.shape, np.uint8)
        video.convert(row.picture, whole[row.frame_index])
    for first in (11, 12, 13, 26, 39):
        assert np.array_equal(pixels(first), whole[first])


def test_presentation_times_are_those_of_the_file(tmp_path, make_video):
    pts = [0, 1, 5, 6, 20, 21]
    video = VideoFile(make_video(tmp_path / "a.mp4", frames=6, pts=pts))
    times_ns = [row.pts_ns for row in video.rows()]
    assert times_ns == pytest.approx([n * 1e9 / 30 for n in pts], abs=1e5)


def test_gray_is_luma_at_full_range(tmp_path, make_video):
    frame = av.VideoFrame.from_ndarray(np.full((64, 96), 235, np.uint8), "gray")
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        limited = av.VideoFrame(96, 64, "yuv420p")
        for plane, value in zip(limited.planes, (235, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        container.mux(stream.encode(limited))
        container.mux(stream.encode(None))
    video = VideoFile(path, color="gray")
    out = np.empty(video.shape, np.uint8)
    video.convert(next(video.rows()).picture, out)
    assert out.shape == (64, 96)
    assert out.min() >= 254  # 235 is white in limited range
    assert frame.width == 96


@pytest.mark.parametrize("angle", [90, 180, -90])
def test_rotation_of_the_container_is_applied(tmp_path, make_video, angle):
    plain = make_video(tmp_path / "plain.mp4", frames=3, size=(96, 64))
    turned = tmp_path / "turned.mp4"
    with av.open(str(plain)) as source, av.open(str(turned), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(angle)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    upright, video = VideoFile(plain), VideoFile(turned)
    expected, out = np.empty(upright.shape, np.uint8), np.empty(video.shape, np.uint8)
    upright.convert(next(upright.rows()).picture, expected)
    picture = next(video.rows()).picture
    video.convert(picture, out)
    assert (video.info.height_px, video.info.width_px) == video.shape[:2]
    assert picture.rotation % 360 == angle % 360
    assert np.array_equal(out, np.rot90(expected, picture.rotation // 90))


@pytest.mark.parametrize("mirror", [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0)])
def test_a_video_that_is_shown_mirrored_is_refused(tmp_path, make_video, mirror):
    plain = make_video(tmp_path / "plain.mp4", frames=3)
    data = plain.read_bytes()
    a, b, c, d = (struct.pack(">i", one << 16) for one in mirror)
    straight = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    mirrored = b"".join((a, b, bytes(4), c, d, bytes(12), straight[-4:]))
    track = data.index(b"tkhd")
    head, rest = data[:track], data[track:]
    path = tmp_path / "mirrored.mp4"
    path.write_bytes(head + rest.replace(straight, mirrored, 1))
    with pytest.raises(InvalidVideo, match=r"mirrored\.mp4 asks to be shown mirrored"):
        VideoFile(path)


def test_a_picture_whose_side_data_has_no_name_is_not_mirrored():
    class Picture:
        @property
        def side_data(self):
            raise ValueError("29 is not a valid Type")

    assert not is_mirrored(Picture())


def test_pixels_that_are_not_square_stay_as_they_are_stored(tmp_path, make_video):
    square = VideoFile(make_video(tmp_path / "square.mp4", frames=3, size=(96, 64)))
    path = tmp_path / "wide.mp4"
    with av.open(str(tmp_path / "square.mp4")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        stream.sample_aspect_ratio = Fraction(4, 3)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    video = VideoFile(path)
    assert (video.info.width_px, video.info.height_px) == (96, 64)
    for row, expected in zip(video.rows(), square.rows(), strict=True):
        assert np.array_equal(video.view(row.picture), square.view(expected.picture).copy())


def test_a_mp4_cut_at_its_tail_lists_what_is_missing(tmp_path, make_video, read_number):
    path = make_video(
        tmp_path / "a.mp4", frames=60, options={"bf": "2", "g": "10", "movflags": "faststart"}
    )
    whole = tmp_path / "faststart.mp4"
    with (
        av.open(str(path)) as source,
        av.open(str(whole), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    data = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 7 // 10])
    rows = read_all(VideoFile(cut, threads=2), read_number)
    assert [row[0] for row in rows] == list(range(60))
    assert wrong_numbers(rows) == []
    counts = Counter(status for _, status, _ in rows)
    assert counts[OK] >= 20
    assert counts[MISSING] >= 5
    assert rows[-1][1] == MISSING


def test_a_cut_avi_lists_what_is_missing(tmp_path, make_video, read_number):
    path = make_video(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p", frames=50)
    cut = tmp_path / "cut.avi"
    data = path.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    rows = read_all(VideoFile(cut), read_number)
    assert [row[0] for row in rows] == list(range(50))
    assert wrong_numbers(rows) == []
    assert rows[9][1] == OK
    assert rows[-1][1] == MISSING


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", DAMAGED_KINDS)
def test_flipped_bits_never_move_a_frame(tmp_path, make_video, read_number, kind, threads):
    name, settings = DAMAGED_KINDS[kind]
    path = make_video(tmp_path / name, size=(160, 120), **settings)
    with av.open(str(path)) as container:
        packets = [
            (p.pos, p.size, p.is_keyframe, p.pts) for p in container.demux(video=0) if p.size
        ]
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(5)
    hit = range(7, 40, 11)
    for position, size, _, _ in packets[7::11]:  # in the middle of a few packets
        for _ in range(6):
            data[position + size // 3 + int(random.integers(max(1, size // 3)))] ^= 0x5A
    path.write_bytes(data)
    # From a hit packet to the next key frame, and what is shown before that and stored after it.
    times = sorted(packet[3] for packet in packets)
    touched, is_touched, key_rank = set(), False, 0
    for place, (_, _, is_key, time) in enumerate(packets):
        rank = times.index(time)
        if is_key:
            key_rank, is_touched = rank if is_touched else 0, False
        is_touched |= place in hit
        if is_touched or rank < key_rank:
            touched.add(rank)
    video = VideoFile(path, threads=threads)
    rows = read_all(video, read_number)
    assert [row[0] for row in rows] == list(range(40))
    assert 3 <= len(touched) <= 20
    assert all(row[1:] == (OK, row[0]) for row in rows if row[0] not in touched)
    wrong = [row[0] for row in rows if row[1] == OK and row[2] != row[0]]
    if kind in ("h264 with B-frames", "mpeg-4 part 2"):
        assert wrong == []
        assert sum(row[1] == CORRUPT for row in rows) >= 3
    else:  # these decoders do not notice every flipped bit
        assert set(wrong) <= touched


def test_a_packet_of_noise_costs_one_row(tmp_path, make_video, read_number):
    path = make_video(
        tmp_path / "a.mkv", codec="ffv1", options={"slicecrc": "1", "level": "3", "g": "1"}
    )
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    position, size = packets[17]
    data[position + 8 : position + size] = bytes(size - 8)
    path.write_bytes(data)
    video = VideoFile(path, threads=2)
    rows = read_all(video, read_number)
    assert rows == [(n, OK, n) if n != 17 else (17, CORRUPT, None) for n in range(40)]
    row = next(video.rows(17, 1))
    assert row.reason


def test_a_frame_of_another_size_is_a_row_without_pixels(tmp_path, make_video):
    first = make_video(tmp_path / "a.h264", frames=5, size=(96, 64))
    second = make_video(tmp_path / "b.h264", frames=5, size=(64, 48))
    joined = tmp_path / "joined.h264"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    rows = list(VideoFile(joined).rows())
    assert [row.status for row in rows] == [OK] * 5 + [CORRUPT] * 5
    assert "64x48" in rows[-1].reason


def test_joined_recordings_whose_clock_starts_again_keep_their_order(
    tmp_path, make_video, read_number
):
    one = make_video(tmp_path / "a.ts", options={"bf": "2", "g": "10"}).read_bytes()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one + one)
    rows = read_all(VideoFile(joined), read_number)
    assert [row[0] for row in rows] == list(range(len(rows)))
    # Where the clock jumps, the demuxer says that bytes of the last packet are lost; frame 38 may
    # refer to it.
    assert {row[0] for row in rows if row[1] == CORRUPT} <= {38, 39}
    assert all(row[2] == row[0] % 40 for row in rows if row[1] == OK)
    assert len(rows) == 80


def test_a_file_without_video_is_refused(tmp_path, make_video):
    whole = make_video(tmp_path / "a.mp4").read_bytes()
    audio = tmp_path / "audio.wav"
    with av.open(str(audio), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    video_less = tmp_path / "audio.mkv"
    with av.open(str(video_less), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame.pts, frame.time_base = 0, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "random.mp4").write_bytes(np.random.default_rng(1).bytes(20_000))
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mp4").write_text("ffconcat version 1.0\nfile a.mp4\n")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n")
    for name, remedy in {
        "empty.mp4": "0 bytes",
        "random.mp4": "cannot be opened",
        "cut.mp4": "its index is lost",
        "text.mp4": "cannot be opened",
        "list.m3u8": "cannot be opened",
        "audio.wav": "cannot be opened",
        "audio.mkv": "only audio",
        ".": "not a regular file",
    }.items():
        with pytest.raises(InvalidVideo, match=remedy) as caught:
            VideoFile(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(VideoNotFound, match=r"no-such\.mp4"):
        VideoFile(tmp_path / "no-such.mp4")


def test_a_video_of_which_nothing_decodes_is_refused(tmp_path, make_video):
    path = make_video(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p", frames=5)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for position, size in packets:
        data[position + 8 : position + 8 + size] = b"\x11" * size
    path.write_bytes(data)
    with pytest.raises(InvalidVideo, match=r"none of the \d packets"):
        VideoFile(path)


def test_a_picture_over_the_limits_is_refused_before_it_is_decoded(tmp_path, make_video):
    path = make_video(tmp_path / "a.mp4", size=(320, 240), frames=3)
    with pytest.raises(FrameTooLarge, match=r"320x240 px, over the limit of 300x300"):
        VideoFile(path, limits=VideoLimits(300, 300))
    with pytest.raises(FrameTooLarge, match="76800 pixels, over the limit of 70000"):
        VideoFile(path, limits=VideoLimits(max_pixels=70_000))


def test_an_empty_packet_shows_the_frame_before_it_again(tmp_path, make_video, read_number):
    video = VideoFile(make_video(tmp_path / "a.mkv", codec="mjpeg", pix_fmt="yuvj420p", frames=6))
    index = video._index
    flags = index.flags.copy()
    flags[3] |= EMPTY  # no container that can be written here has such packets
    video._index = PacketIndex(index.pts, flags, index.shown, index.by_time, 0)
    rows = read_all(video, read_number)
    assert rows[3] == (3, FrameStatus.REPEATED, 2)
    assert [row[2] for row in rows] == [0, 1, 2, 2, 4, 5]
    assert NO_TIME not in index.pts


def test_a_file_that_grows_while_it_is_read_keeps_the_rows_it_had(
    tmp_path, make_video, read_number
):
    path = make_video(tmp_path / "a.h264", frames=10, options={"bf": "0"})
    video = VideoFile(path)
    longer = tmp_path / "longer.h264"
    shutil.copy(path, longer)
    path.write_bytes(longer.read_bytes() * 2)
    assert [row[0] for row in read_all(video, read_number)] == list(range(10))


@pytest.mark.real_data
def test_key_frames_that_later_frames_look_back_beyond_are_no_place_to_begin(shared_data: Path):
    folder = next((shared_data / "dlc-openfield").glob("*/videos"))
    video = VideoFile(folder / "m3v1mp4.mp4", threads=2)
    whole, sought = np.empty(video.shape, np.uint8), np.empty(video.shape, np.uint8)
    (row,) = video.rows(400, 1)
    assert row.status is OK
    video.convert(row.picture, sought)
    for other in video.rows(0, 401):
        last = other.picture
    video.convert(last, whole)
    assert (whole == sought).all()


@pytest.mark.real_data
def test_files_of_others_have_the_frames_that_ffmpeg_finds(shared_data: Path):
    folder = shared_data / "decode-vectors"
    lines = (folder / "manifest.csv").read_text().splitlines()
    # VVC: ffmpeg 5.1, which made the manifest, had no decoder for it. The cut files: ffmpeg shows
    # damaged pictures as whole ones, here they are CORRUPT, and what the index lists is MISSING.
    deviations = {
        "real/androidx_sample_vvc.mp4": {OK: 120},
        "derived/truncated.ts": {OK: 61, CORRUPT: 1},
        "derived/truncated_faststart.mp4": {OK: 44, CORRUPT: 1, MISSING: 46},
    }
    for line in lines[1:]:
        name, expected = line.split(",")[0], line.split(",")[9]
        try:
            video = VideoFile(folder / name, threads=2)
        except InvalidVideo:
            assert expected in ("", "0"), name
            continue
        rows = [(row.frame_index, row.status, row.pts_ns) for row in video.rows()]
        assert [row[0] for row in rows] == list(range(len(rows))), name
        assert all(a[2] < b[2] for a, b in pairwise(rows)), name
        counts = Counter(status for _, status, _ in rows)
        assert counts == deviations.get(name, {OK: int(expected or 0)}), name
