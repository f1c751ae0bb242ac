import io
import os
import signal
from collections import Counter

import av
import cv2
import numpy as np
import pytest

from service.bundle import InputSpec
from service.errors import DecoderFailed, FrameTooLarge
from service.preprocess import CropRegion
from service.values import FrameStatus
from service.video import ChunkDecoder, DecodeWorkers, VideoLimits
from service.video.base import Wanted
from tests.service.video.reading import decode_stream

SETTINGS = {
    "h264": {"codec": "libx264", "options": {"tune": "zerolatency", "g": "10"}},
    "hevc": {
        "codec": "libx265",
        "options": {"tune": "zerolatency", "x265-params": "log-level=none:keyint=10"},
    },
    "mjpeg": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


@pytest.fixture(scope="module")
def streams(tmp_path_factory, make_video):
    """Byte streams of 30 frames by codec."""
    folder = tmp_path_factory.mktemp("streams")
    return {
        codec: make_video(folder / f"a.{codec}", frames=30, format=codec, **settings).read_bytes()
        for codec, settings in SETTINGS.items()
    }


@pytest.mark.parametrize("chunk_bytes", [700, 1_000_000])
@pytest.mark.parametrize("codec", SETTINGS)
async def test_a_stream_cut_anywhere_gives_all_its_frames(streams, read_number, codec, chunk_bytes):
    async with DecodeWorkers(1) as workers:
        decoder = ChunkDecoder(codec, workers=workers)
        frames, corrupt = await decode_stream(decoder, streams[codec], chunk_bytes)
    assert corrupt == 0
    assert [(one.frame_index, read_number(one.pixels)) for one in frames] == [
        (n, n) for n in range(30)
    ]
    assert all(one.pixels.shape == (64, 96, 3) for one in frames)
    times_ns = [one.pts_ns for one in frames]
    assert times_ns == sorted(times_ns)


@pytest.mark.parametrize("first_ns", [0, 1000])
@pytest.mark.parametrize("chunk_bytes", [200, 1_000_000])
@pytest.mark.parametrize("codec", SETTINGS)
async def test_the_first_picture_has_the_time_of_the_first_chunk(
    streams, codec, chunk_bytes, first_ns
):
    decoder = ChunkDecoder(codec)
    frames = []
    for start in range(0, 6000, chunk_bytes):
        chunk = streams[codec][start : start + chunk_bytes]
        frames += (await decoder.feed(chunk, pts_ns=first_ns + start)).frames
    frames += (await decoder.flush()).frames
    assert frames[0].pts_ns == first_ns


async def test_a_damaged_stream_goes_on(streams, read_number):
    data = bytearray(streams["h264"])
    starts = [place for place in range(len(data) - 4) if data[place : place + 3] == b"\0\0\1"]
    sizes = np.diff([*starts, len(data)])
    target = starts[int(np.argmax(sizes[8:-8])) + 8]  # the largest unit but for the first picture
    data[target + 6 : target + 40] = bytes(range(100, 134))
    decoder = ChunkDecoder("h264")
    frames, corrupt = await decode_stream(decoder, bytes(data), 900)
    assert corrupt >= 1
    shown = [read_number(one.pixels) for one in frames if one.status == FrameStatus.OK]
    assert shown == sorted(shown)
    assert shown[-1] == 29
    assert len(shown) >= 15
    assert Counter(one.pixels is None for one in frames if not one.status.has_pixels)[False] == 0


@pytest.fixture(scope="module")
def long_groups(tmp_path_factory, make_video):
    """Packets of 120 frames by codec, a key frame every 40."""
    x265 = "log-level=none:keyint=40:min-keyint=40:bframes=0:scenecut=0"
    settings = {
        "h264": ("libx264", {"bf": "2", "g": "40", "sc_threshold": "0"}),
        "hevc": ("libx265", {"x265-params": x265}),
    }
    folder = tmp_path_factory.mktemp("groups")
    packets = {}
    for name, (codec, options) in settings.items():
        path = folder / f"a.{name}"
        make_video(path, frames=120, format=name, codec=codec, options=options)
        with av.open(str(path)) as container:
            packets[name] = [bytes(one) for one in container.demux(video=0) if one.size]
    return packets


async def numbers_shown(codec, packets, read_number):
    """What the OK frames of a damaged stream show."""
    frames, corrupt = await decode_stream(ChunkDecoder(codec), b"".join(packets), 900)
    assert corrupt > 0
    return [read_number(one.pixels) for one in frames if one.status == FrameStatus.OK]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("lost", [range(6), range(31, 32)], ids=["joined late", "one lost"])
async def test_packets_that_were_lost_cost_nothing_behind_the_next_key_frame(
    long_groups, read_number, lost, codec
):
    packets = long_groups[codec]
    shown = await numbers_shown(codec, packets[: lost.start] + packets[lost.stop :], read_number)
    assert shown[-80:] == [*range(40, 120)]
    assert set(shown[:-80]) <= {*range(lost.start)}


async def test_losses_on_both_sides_of_a_key_frame_are_noticed(make_video, tmp_path, read_number):
    options = {"bf": "0", "g": "20", "sc_threshold": "0"}
    path = make_video(tmp_path / "a.h264", frames=60, format="h264", options=options)
    with av.open(str(path)) as container:
        packets = [bytes(one) for one in container.demux(video=0) if one.size]
    kept = [one for place, one in enumerate(packets) if place not in (18, 23)]
    shown = await numbers_shown("h264", kept, read_number)
    assert shown == [*range(18), 20, 21, 22, *range(40, 60)]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
async def test_a_lost_key_frame_costs_its_group(long_groups, read_number, codec):
    packets = long_groups[codec]
    shown = await numbers_shown(codec, packets[:40] + packets[41:], read_number)
    assert shown[-40:] == [*range(80, 120)]
    assert not set(shown) & {*range(40, 80)}
    assert set(shown) >= {*range(37)}


@pytest.mark.parametrize(
    ("damaged", "kept"),
    [(40, [*range(80, 120)]), (41, [40, *range(80, 120)]), (42, [40, *range(80, 120)])],
)
async def test_damage_beside_a_key_frame_ends_at_the_next(long_groups, read_number, damaged, kept):
    """A decoder refuses a packet before it gives the pictures that it held back."""
    packets = list(long_groups["h264"])
    head = packets[damaged].rindex(b"\0\0\1") + 4
    packets[damaged] = packets[damaged][:head] + b"\xff" * (len(packets[damaged]) - head)
    shown = await numbers_shown("h264", packets, read_number)
    assert shown[-40:] == [*range(80, 120)]
    assert not set(shown) & {*range(45, 80)}
    assert set(shown) >= {*range(36), *kept}


async def test_a_stream_that_changes_size_is_followed(streams, make_video, tmp_path, read_number):
    larger = make_video(tmp_path / "b.h264", frames=8, size=(128, 96), **SETTINGS["h264"])
    decoder = ChunkDecoder("h264", wanted=Wanted("gray"))
    frames, _ = await decode_stream(decoder, streams["h264"] + larger.read_bytes(), 5000)
    assert [one.pixels.shape for one in frames] == [(64, 96)] * 30 + [(96, 128)] * 8
    assert [read_number(one.pixels) for one in frames] == [*range(30), *range(8)]


GRAY = InputSpec(width_px=64, height_px=48, color="gray", fit="stretch")
COLOR = InputSpec(width_px=40, height_px=32, color="rgb", fit="letterbox")


@pytest.mark.parametrize("crop", [None, CropRegion(10, 8, 80, 50), CropRegion(11, 3, 45, 40)])
@pytest.mark.parametrize("codec", SETTINGS)
async def test_inputs_of_models_are_those_of_the_same_video_in_a_file(
    make_video, tmp_path, codec, crop
):
    path = make_video(tmp_path / "a.mkv", frames=12, **SETTINGS[codec])
    async with DecodeWorkers(1) as workers:
        wanted = Wanted(None, (GRAY, COLOR), crop)
        decoder = ChunkDecoder(codec, wanted=wanted, workers=workers)
        frames, corrupt = await decode_stream(decoder, read_stream(path, codec), 600)
        reader = workers.open(path, color=None, inputs=(GRAY, COLOR), crop=crop)
        async with reader as rows:
            expected = [tuple(one.copy() for one in row.inputs) async for row in rows]
    assert corrupt == 0
    assert len(frames) == len(expected) == 12
    for frame, others in zip(frames, expected, strict=True):
        assert (frame.pixels, frame.width_px, frame.height_px) == (None, 96, 64)
        for one, other in zip(frame.inputs, others, strict=True):
            assert np.array_equal(one, other)


def read_stream(path, codec: str) -> bytes:
    """Return the packets of a file as a camera sends them."""
    with av.open(str(path)) as container:
        packets = [one for one in container.demux(video=0) if one.size]
        if codec != "mjpeg":
            change = av.BitStreamFilterContext(f"{codec}_mp4toannexb", container.streams.video[0])
            packets = [one for packet in packets for one in change.filter(packet)]
        return b"".join(map(bytes, packets))


async def test_frames_of_another_size_do_not_write_over_each_other(
    streams, make_video, tmp_path, read_number
):
    """What the server gives back of the memory before says nothing of the new one."""
    larger = make_video(tmp_path / "b.h264", frames=120, size=(128, 96), **SETTINGS["h264"])
    data = streams["h264"] + larger.read_bytes()
    async with DecodeWorkers(1, slots=5) as workers:
        decoder = ChunkDecoder("h264", workers=workers)
        frames, corrupt = await decode_stream(decoder, data, len(data))
    assert corrupt == 0
    assert [read_number(one.pixels) for one in frames] == [*range(30), *range(120)]


async def test_inputs_belong_to_the_caller(streams, read_number):
    decoder = ChunkDecoder("mjpeg", wanted=Wanted(None, (GRAY,)))
    frames, _ = await decode_stream(decoder, streams["mjpeg"], 3000)
    assert [read_number(one.inputs[0][..., 0]) for one in frames] == list(range(30))


async def test_inputs_of_a_stream_that_changes_size_are_as_large_and_say_so(
    streams, make_video, tmp_path, read_number
):
    larger = make_video(tmp_path / "b.h264", frames=8, size=(128, 96), **SETTINGS["h264"])
    decoder = ChunkDecoder("h264", wanted=Wanted(None, (GRAY,)))
    frames, _ = await decode_stream(decoder, streams["h264"] + larger.read_bytes(), 5000)
    assert [(one.width_px, one.height_px) for one in frames] == [(96, 64)] * 30 + [(128, 96)] * 8
    assert {one.inputs[0].shape for one in frames} == {(48, 64, 1)}
    assert [read_number(one.inputs[0][..., 0]) for one in frames] == [*range(30), *range(8)]


async def test_a_crop_outside_the_pictures_is_left_to_whoever_takes_them(streams):
    wanted = Wanted(None, (GRAY,), CropRegion(90, 0, 20, 20))
    frames, corrupt = await decode_stream(
        ChunkDecoder("h264", wanted=wanted), streams["h264"], 5000
    )
    assert (len(frames), corrupt) == (30, 0)
    assert {(one.status, one.width_px) for one in frames} == {(FrameStatus.OK, 96)}


async def test_a_damaged_jpeg_costs_no_other_picture(streams, read_number):
    pictures = [b"\xff\xd8" + part for part in streams["mjpeg"].split(b"\xff\xd8")[1:]]
    assert len(pictures) == 30
    tables, mark, scan = pictures[4].partition(b"\xff\xda")
    pictures[4] = tables + mark + scan[:12] + b"\x11\xee" * (len(scan) // 2) + b"\xff\xd9"
    frames, _ = await decode_stream(ChunkDecoder("mjpeg"), b"".join(pictures), 4000)
    shown = [read_number(one.pixels) for one in frames if one.status == FrameStatus.OK]
    # JPEG has no checksums: whether the decoder notices is its own affair.
    assert shown[:4] + shown[-25:] == [n for n in range(30) if n != 4]


async def test_noise_before_a_stream_costs_nothing(streams):
    noise = np.random.default_rng(4).bytes(3000).replace(b"\xff", b"\0")
    frames, _ = await decode_stream(ChunkDecoder("mjpeg"), noise + streams["mjpeg"], 4000)
    assert len([one for one in frames if one.status == FrameStatus.OK]) == 30


async def test_pixels_belong_to_the_caller(streams):
    decoder = ChunkDecoder("mjpeg")
    decoded = await decoder.feed(streams["mjpeg"])
    copies = [one.pixels.copy() for one in decoded.frames]
    await decoder.flush()
    assert len(copies) >= 29
    assert all(np.array_equal(a, b.pixels) for a, b in zip(copies, decoded.frames, strict=True))


async def test_a_picture_over_the_limits_ends_the_stream(streams):
    decoder = ChunkDecoder("h264", limits=VideoLimits(64, 64))
    with pytest.raises(FrameTooLarge, match="96x64 px"):
        await decode_stream(decoder, streams["h264"], 1_000_000)
    with pytest.raises(DecoderFailed, match="closed"):
        await decoder.feed(b"\0")


async def test_a_killed_worker_is_reported_and_the_pool_recovers(streams):
    async with DecodeWorkers(1) as workers:
        decoder = ChunkDecoder("h264", workers=workers)
        await decoder.feed(streams["h264"][:2000])
        os.kill(workers.process_ids[0], signal.SIGKILL)
        with pytest.raises(DecoderFailed, match="signal 9"):
            await decode_stream(decoder, streams["h264"][2000:], 1000)
        await decoder.close()
        frames, _ = await decode_stream(
            ChunkDecoder("h264", workers=workers), streams["h264"], 4000
        )
        assert len(frames) == 30


async def test_closing_is_possible_at_any_time(streams):
    untouched = ChunkDecoder("hevc")
    assert (await untouched.flush()).frames == []
    await untouched.close()
    begun = ChunkDecoder("hevc")
    await begun.feed(streams["hevc"][:1500])
    await begun.close()
    await begun.close()


async def test_a_chunk_larger_than_a_socket_holds_is_taken(read_number):
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    buffer = io.BytesIO()
    for _ in range(20):
        buffer.write(cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    assert len(buffer.getvalue()) > 4_000_000
    decoder = ChunkDecoder("mjpeg")
    frames, corrupt = await decode_stream(decoder, buffer.getvalue(), 1 << 30)
    assert (len(frames), corrupt) == (20, 0)
