"""PyNvVideoCodec behind the contract of the decoders.

It needs a driver even to be imported, so what is around it runs here on an emulated library, and
the real one where there is a GPU.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from service.bundle import InputSpec
from service.engine.cuda import Stream
from service.errors import DecoderFailed, FrameTooLarge
from service.values import FrameStatus
from service.video import ChunkDecoder
from service.video.base import VideoLimits, Wanted
from service.video.guarded import GuardedFile
from service.video.ladder import open_file
from service.video.nvcodec import NvcodecContext, NvcodecSource
from service.video.nvdec import find_nvdec
from service.video.pyav import VideoFile
from service.video.stream import StreamDecoder, StreamFrame
from service.video.stretches import plan_stretches
from tests.service.video.emulated_worker.PyNvVideoCodec import Library

FRAMES = 60
GRAY = InputSpec(width_px=64, height_px=48, color="gray", fit="stretch")
CODECS = {
    "h264.mp4": {"codec": "libx264", "options": {"bf": "3", "g": "12"}},
    "h264.ts": {"codec": "libx264", "options": {"bf": "2", "g": "12"}},
    "hevc.mkv": {"codec": "libx265", "options": {"x265-params": "keyint=12:log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "12", "deadline": "realtime"}},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory, make_video) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("nvcodec")
    return {
        name: make_video(folder / name, frames=FRAMES, size=(128, 96), **settings)
        for name, settings in CODECS.items()
    }


@pytest.fixture
def emulate(monkeypatch):
    """Install an emulated library."""

    def install(**faults) -> Library:
        library = Library(**faults)
        monkeypatch.setitem(sys.modules, "PyNvVideoCodec", library)
        monkeypatch.setattr("service.video.nvcodec.version", lambda name: "0.0")
        return library

    return install


def open_emulated(path: Path, color: str = "rgb") -> GuardedFile:
    truth = VideoFile(path, color=color)
    stretches = plan_stretches(truth.index, 12)
    source = NvcodecSource(truth, stretches)
    return GuardedFile(truth, source, stretches, None, is_required=True)


def open_context(codec: str, limits: VideoLimits) -> NvcodecContext:
    return NvcodecContext(codec, limits, pixel_format="yuv420p", matrix=2, color_range=0)


def numbers(video, read_number, first: int = 0, limit: int | None = None) -> list[tuple[int, int]]:
    pixels = np.empty(video.shape, np.uint8)
    seen = []
    for row in video.rows(first, limit):
        assert row.status is FrameStatus.OK
        video.convert(row.picture, pixels)
        seen.append((row.frame_index, read_number(pixels)))
    return seen


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_pictures_come_under_the_numbers_of_their_packets(files, read_number, emulate, name, color):
    library = emulate()
    video = open_emulated(files[name], color)
    assert numbers(video, read_number) == [(frame, frame) for frame in range(FRAMES)]
    assert video.note == ""
    assert library.sessions == 1
    assert video.info.decoder == "nvcodec 0.0 (gpu)"


@pytest.mark.parametrize(("first", "limit"), [(0, 3), (29, 9), (59, None)])
def test_a_part_of_a_file_is_decoded_from_a_key_frame(files, read_number, emulate, first, limit):
    emulate()
    video = open_emulated(files["h264.mp4"])
    expected = [(frame, frame) for frame in range(first, first + (limit or 1))]
    assert numbers(video, read_number, first, limit) == expected
    assert video.note == ""


def test_colors_and_times_are_those_of_pyav(files, emulate):
    emulate()
    truth, video = VideoFile(files["h264.mp4"]), open_emulated(files["h264.mp4"])
    ours, theirs = np.empty(video.shape, np.uint8), np.empty(video.shape, np.uint8)
    for row, expected in zip(video.rows(), truth.rows(), strict=True):
        assert row.pts_ns == expected.pts_ns
        video.convert(row.picture, ours)
        truth.convert(expected.picture, theirs)
        assert np.abs(ours.astype(int) - theirs).max() <= 3


def test_pyav_takes_over_where_a_session_ends(files, read_number, emulate):
    library = emulate(fails_at=30)
    video = open_emulated(files["h264.mp4"])
    assert numbers(video, read_number) == [(frame, frame) for frame in range(FRAMES)]
    assert library.sessions == 2
    assert 0 < video.taken_over <= 24
    assert "Decoder not initialized" in video.note


def test_full_memory_of_the_gpu_ends_the_session(files, emulate, emulate_gpu, monkeypatch):
    """So PyAV takes over, as where the library fails."""
    emulate()
    emulate_gpu()
    from cuda.bindings import runtime

    full = SimpleNamespace(name="cudaErrorMemoryAllocation")
    monkeypatch.setattr(runtime, "cudaMalloc", lambda size: (full, None), raising=False)
    context = NvcodecContext(
        "vp9",
        VideoLimits(),
        pixel_format="yuv420p",
        matrix=2,
        color_range=0,
        stream=Stream(),
    )
    with av.open(str(files["vp9.webm"])) as container:
        packet = next(container.demux(video=0))
    with pytest.raises(RuntimeError, match="cudaErrorMemoryAllocation"):
        context.decode(packet)


def test_limits_hold_for_the_pictures_of_the_gpu(files, emulate):
    emulate()
    context = open_context("vp9", VideoLimits(max_width_px=64))
    with av.open(str(files["vp9.webm"])) as container:
        packet = next(container.demux(video=0))
    with pytest.raises(FrameTooLarge, match="over the limit"):
        context.decode(packet)


@pytest.fixture(scope="module")
def camera(tmp_path_factory, make_video) -> bytes:
    """A camera's stream at full range, without B-frames."""
    path = tmp_path_factory.mktemp("camera") / "stream.h264"
    options = {"bf": "0", "g": "12", "tune": "zerolatency"}
    make_video(path, frames=FRAMES, pix_fmt="yuvj420p", options=options, format="h264")
    return path.read_bytes()


def feed(decoder: StreamDecoder, data: bytes) -> list[StreamFrame]:
    chunks = [data[place : place + 500] for place in range(0, len(data), 500)]
    seen = [frame for chunk in chunks for frame in decoder.feed(chunk, 5, last=False)]
    return [*seen, *decoder.feed(b"", 5, last=True)]


def make(frame: StreamFrame) -> np.ndarray:
    (shape,) = frame.maker.shapes
    pixels = np.empty(shape, np.uint8)
    frame.maker.make(frame.picture, (pixels,))
    return pixels


def test_a_live_stream_is_decoded_as_pyav_does(camera, emulate, read_number):
    library = emulate()
    ours = feed(StreamDecoder("h264", Wanted(), VideoLimits(), decoder="nvcodec"), camera)
    theirs = feed(StreamDecoder("h264", Wanted(), VideoLimits()), camera)
    assert library.sessions == 1
    assert [frame.frame_index for frame in ours] == list(range(FRAMES))
    for our, their in zip(ours, theirs, strict=True):
        assert (our.status, our.pts_ns) == (FrameStatus.OK, their.pts_ns)
        assert our.picture.format.name == "nv12"
        assert our.size == their.size
        pixels = make(our), make(their)
        assert read_number(pixels[0]) == our.frame_index
        assert np.abs(pixels[0].astype(int) - pixels[1]).max() <= 3


def test_pyav_goes_on_from_the_next_key_frame_where_a_live_session_ends(
    camera, emulate, read_number
):
    emulate(fails_at=20)
    decoder = StreamDecoder("h264", Wanted("gray"), VideoLimits(), decoder="nvcodec")
    shown = []
    for frame in feed(decoder, camera):
        if frame.status is FrameStatus.OK:
            shown.append(read_number(make(frame)))
    assert shown[-36:] == list(range(24, FRAMES))
    assert shown[:-36] == list(range(len(shown) - 36)), "what the session held is lost with it"
    assert len(shown) > 36 + 10
    assert "PyAV goes on from the next key frame" in decoder.take_report().message


def test_a_live_stream_that_it_cannot_decode_is_an_error(emulate):
    emulate()
    with pytest.raises(DecoderFailed, match="does not decode mjpeg of yuvj420p"):
        NvcodecContext("mjpeg", VideoLimits(), pixel_format="yuvj420p", matrix=2, color_range=0)


def test_a_session_that_cannot_begin_is_an_error_where_it_was_asked_for(
    files, emulate, monkeypatch
):
    library = emulate()

    def refuse(**settings):
        raise RuntimeError("CUDA_ERROR_NOT_SUPPORTED")

    monkeypatch.setattr(library, "CreateDecoder", refuse)
    with pytest.raises(DecoderFailed, match="CUDA_ERROR_NOT_SUPPORTED; ask for another decoder"):
        list(open_emulated(files["h264.mp4"]).rows())


@pytest.mark.skipif(
    find_spec("PyNvVideoCodec") is None,
    reason="PyNvVideoCodec is not installed; run `uv sync --inexact --extra gpu`",
)
def test_without_a_driver_it_says_so(monkeypatch):
    if not find_nvdec():
        pytest.skip("there is a GPU")
    with pytest.raises(DecoderFailed, match=r"cannot begin: .*libnvidia-encode"):
        open_context("h264", VideoLimits())


@pytest.mark.needs_gpu
@pytest.mark.parametrize("name", CODECS)
def test_the_gpu_gives_every_frame_under_its_own_number(files, read_number, name):
    opened = open_file(files[name], Wanted(), decoder="nvcodec")
    assert numbers(opened.video, read_number) == [(frame, frame) for frame in range(FRAMES)]
    assert opened.video.note == ""


@pytest.mark.skipif(not find_nvdec(), reason="there is a GPU")
@pytest.mark.parametrize("inputs", [(), (GRAY,)])
async def test_a_live_stream_for_which_it_was_asked_in_vain_is_an_error(camera, inputs):
    wanted = Wanted(None if inputs else "rgb", inputs, on_device=True)
    decoder = ChunkDecoder("h264", wanted=wanted, decoder="nvcodec")
    with pytest.raises(DecoderFailed, match="cannot begin"):
        await decoder.feed(camera)
    await decoder.close()


async def test_a_stream_of_jpegs_is_pyav_s_whatever_was_asked_for(tmp_path, make_video):
    path = make_video(
        tmp_path / "camera.mjpeg", frames=5, codec="mjpeg", pix_fmt="yuvj420p", format="mjpeg"
    )
    decoder = ChunkDecoder("mjpeg", decoder="nvcodec")
    frames = (await decoder.feed(path.read_bytes())).frames + (await decoder.flush()).frames
    assert [frame.status for frame in frames] == [FrameStatus.OK] * 5
