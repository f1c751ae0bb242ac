"""DALI's pipelines, run for real on the CPU, where DALI has VP8, VP9 and MJPEG.

Where there is a GPU, the same tests run on it, with H.264 and HEVC besides.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from service.bundle import InputSpec
from service.errors import DecoderFailed
from service.preprocess import CropRegion, to_model_input
from service.values import FrameStatus
from service.video.base import Wanted
from service.video.guarded import GuardedFile
from service.video.ladder import open_file
from service.video.pyav import VideoFile
from service.video.stretches import Stretch, plan_stretches
from tests.service.video.damage import damage_packet

pytest.importorskip("nvidia.dali", reason="DALI is not installed; run `uv sync --extra dali`")

FRAMES = 70
SMALL_GROUPS = {"g": "10", "cpu-used": "8", "deadline": "realtime"}
CODECS = {
    "vp9.webm": {"codec": "libvpx-vp9", "options": SMALL_GROUPS},
    "vp8.webm": {"codec": "libvpx", "options": SMALL_GROUPS},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mjpeg 422.mkv": {"codec": "mjpeg", "pix_fmt": "yuvj422p"},
}
GPU_CODECS = {
    "h264.mp4": {"codec": "libx264", "options": {"bf": "3", "g": "12"}},
    "open.mp4": {
        "codec": "libx264",
        "options": {"bf": "3", "g": "12", "x264-params": "open-gop=1"},
    },
    "hevc.mkv": {"codec": "libx265", "options": {"x265-params": "keyint=12:log-level=none"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"g": "12"}},
}
GPU = pytest.mark.needs_gpu


@pytest.fixture(scope="module")
def files(tmp_path_factory, make_video) -> dict[str, Path]:
    """A video of each codec; their folder has a space in its name."""
    folder = tmp_path_factory.mktemp("of the lab")
    return {
        name: make_video(folder / name, frames=FRAMES, size=(128, 96), **settings)
        for name, settings in {**CODECS, **GPU_CODECS}.items()
    }


def open_dali(path: Path, wanted: Wanted | None = None, *, pipelines: int = 3) -> GuardedFile:
    opened = open_file(path, wanted or Wanted(), decoder="dali", threads=pipelines)
    assert isinstance(opened.video, GuardedFile)
    assert opened.video.info.decoder.startswith("dali 2.")
    return opened.video


def numbers(video, read_number, first: int = 0, limit: int | None = None) -> list[tuple[int, int]]:
    pixels = np.empty(video.shape, np.uint8)
    seen = []
    for row in video.rows(first, limit):
        assert row.status is FrameStatus.OK
        video.convert(row.picture, pixels)
        seen.append((row.frame_index, read_number(pixels)))
    return seen


@pytest.mark.parametrize("name", [*CODECS, *(pytest.param(one, marks=GPU) for one in GPU_CODECS)])
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_every_frame_comes_under_its_own_number(files, read_number, name, color):
    video = open_dali(files[name], Wanted(color))
    assert numbers(video, read_number) == [(frame, frame) for frame in range(FRAMES)]
    assert video.note == ""


@pytest.mark.parametrize("name", CODECS)
def test_times_and_colors_are_those_of_pyav(files, name):
    truth, video = VideoFile(files[name]), open_dali(files[name])
    ours, theirs = np.empty(video.shape, np.uint8), np.empty(video.shape, np.uint8)
    for row, expected in zip(video.rows(), truth.rows(), strict=True):
        assert (row.frame_index, row.pts_ns) == (expected.frame_index, expected.pts_ns)
        video.convert(row.picture, ours)
        truth.convert(expected.picture, theirs)
        difference = np.abs(ours.astype(int) - theirs)
        assert difference.mean() < 1
        assert difference.max() <= 4


@pytest.mark.parametrize("pipelines", [1, 2, 5])
@pytest.mark.parametrize(("first", "limit"), [(0, None), (0, 7), (33, 20), (69, 1)])
def test_any_number_of_pipelines_gives_the_frames_in_order(
    files, read_number, monkeypatch, pipelines, first, limit
):
    monkeypatch.setattr("service.video.ladder._LEAST_FRAMES", 10)
    video = open_dali(files["vp9.webm"], pipelines=pipelines)
    end = min(FRAMES, first + (limit or FRAMES))
    expected = [(frame, frame) for frame in range(first, end)]
    assert numbers(video, read_number, first, limit) == expected
    assert numbers(video, read_number, first, limit) == expected, "a file can be read again"
    assert video.note == ""


def test_the_frames_that_fill_no_run_are_not_lost(make_video, tmp_path, read_number):
    path = make_video(tmp_path / "short.avi", frames=3, codec="mjpeg", pix_fmt="yuvj420p")
    assert numbers(open_dali(path), read_number) == [(0, 0), (1, 1), (2, 2)]


def test_a_variable_rate_keeps_its_times(make_video, tmp_path, read_number):
    pts = [frame * 2 + (40 if frame > 20 else frame % 2) for frame in range(40)]
    path = make_video(
        tmp_path / "gap.mkv", codec="libvpx-vp9", options=SMALL_GROUPS, pts=pts, frames=40
    )
    video = open_dali(path)
    assert numbers(video, read_number) == [(frame, frame) for frame in range(40)]
    times = [row.pts_ns for row in video.rows()]
    assert times == [row.pts_ns for row in VideoFile(path).rows()]
    assert video.note == ""


def test_another_file_under_the_same_name_is_read_as_it_is(make_video, tmp_path, read_number):
    """DALI keeps the index of a file under its name for as long as the process runs."""
    path = tmp_path / "camera.avi"
    for frames in (30, 18):
        make_video(path, frames=frames, codec="mjpeg", pix_fmt="yuvj420p")
        assert len(numbers(open_dali(path), read_number)) == frames


SPECS = {
    "stretched": (InputSpec(width_px=64, height_px=80, color="rgb", fit="stretch"), None),
    "letterbox": (InputSpec(width_px=64, height_px=64, color="rgb", fit="letterbox"), None),
    "gray": (InputSpec(width_px=160, height_px=160, color="gray", fit="letterbox"), None),
    "crop": (
        InputSpec(width_px=48, height_px=64, color="rgb", fit="stretch"),
        CropRegion(31, 17, 70, 61),
    ),
    "as stored": (InputSpec(width_px=128, height_px=96, color="gray", fit="stretch"), None),
}


@pytest.mark.parametrize("name", ["vp9.webm", "mjpeg.avi"])
def test_inputs_made_on_the_device_are_those_of_the_host_to_one_gray_level(files, name):
    whole = open_dali(files[name])
    pixels = np.empty(whole.shape, np.uint8)
    for spec, crop in SPECS.values():
        video = open_dali(files[name], Wanted(None, (spec,), crop))
        for row, made in zip(whole.rows(0, 20), video.rows(0, 20), strict=True):
            whole.convert(row.picture, pixels)
            expected, _ = to_model_input(pixels, spec, crop)
            (got,) = made.picture.arrays
            assert got.shape == expected.shape
            assert np.abs(got.astype(int) - expected).max() <= 1
        assert video.note == ""


def test_several_inputs_of_one_picture_are_made_at_once(files, read_number):
    specs = (SPECS["gray"][0], SPECS["stretched"][0])
    video = open_dali(files["vp9.webm"], Wanted(None, specs))
    for frame, row in enumerate(video.rows()):
        gray, rgb = row.picture.arrays
        assert gray.shape == (160, 160, 1)
        assert read_number(gray[:120, :, 0]) == read_number(rgb) == frame


@pytest.mark.parametrize(
    ("name", "frame"), [("mjpeg.avi", 25), ("mjpeg.avi", 69), ("mjpeg 422.mkv", 40)]
)
def test_a_damaged_stretch_is_pyav_s_and_what_follows_is_exact(
    files, tmp_path, read_number, name, frame, monkeypatch
):
    monkeypatch.setattr("service.video.ladder._LEAST_FRAMES", 10)
    path = damage_packet(files[name], tmp_path / name, frame)
    truth = [(row.frame_index, row.status) for row in VideoFile(path).rows()]
    assert (frame, FrameStatus.CORRUPT) in truth
    video = open_dali(path)
    pixels = np.empty(video.shape, np.uint8)
    seen = []
    for row in video.rows():
        seen.append((row.frame_index, row.status))
        if row.status is FrameStatus.OK:
            video.convert(row.picture, pixels)
            assert read_number(pixels) == row.frame_index
        else:
            assert row.reason
    assert seen == truth
    assert f"{video.taken_over} frames were decoded by PyAV: dali" in video.note
    assert video.taken_over <= 20


def test_an_error_of_dali_is_told_without_its_stack(files, tmp_path):
    from service.video.dali import DaliSource

    video = VideoFile(files["h264.mp4"])
    whole = CropRegion(0, 0, 128, 96)
    stretches = plan_stretches(video.index, 96)
    source = DaliSource(files["h264.mp4"], stretches, whole, color="rgb", device="cpu", pipelines=1)

    def read() -> None:
        source.restart(0)
        list(source.pictures(0))

    with (
        closing(source),
        pytest.raises(DecoderFailed, match=r"^(could not begin|failed): .{10,300}$"),
    ):
        read()


@pytest.fixture
def source(files) -> Iterator:
    """Two pipelines on runs of one picture: pictures are larger than what may wait."""
    from service.video.dali import DaliSource

    whole = CropRegion(0, 0, 128, 96)
    made = DaliSource(
        files["mjpeg.avi"],
        (Stretch(0, 30), Stretch(30, FRAMES)),
        whole,
        color="gray",
        device="cpu",
        pipelines=2,
    )
    yield made
    made.close()


def test_a_source_can_begin_at_any_stretch_and_again(source, read_number):
    for number in (1, 0, 1):
        source.restart(number)
        stretch = (Stretch(0, 30), Stretch(30, FRAMES))[number]
        seen = [read_number(pixels) for _, pixels in source.pictures(number)]
        assert seen == list(range(stretch.first, stretch.end))
