"""The decoder of a file is chosen by what the file is and what is here, and never in silence."""

from pathlib import Path

import pytest

from service.bundle import InputSpec
from service.errors import InvalidVideo
from service.video import ladder
from service.video.base import Wanted
from service.video.guarded import GuardedFile
from service.video.ladder import open_file, refuse
from service.video.nvdec import Capability, find_nvdec
from service.video.pyav import VideoFile

SMALL_GROUPS = {"g": "10", "cpu-used": "8", "deadline": "realtime"}
MATRIX_709 = {"x264-params": "colormatrix=bt709"}
GRAY = InputSpec(width_px=64, height_px=64, color="gray", fit="stretch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ladder")


@pytest.fixture(scope="module")
def h264(folder, make_video) -> Path:
    return make_video(folder / "h264.mp4", size=(128, 96), options={"bf": "0", "g": "10"})


@pytest.fixture(scope="module")
def vp9(folder, make_video) -> Path:
    return make_video(folder / "vp9.webm", codec="libvpx-vp9", options=SMALL_GROUPS)


@pytest.fixture
def gpu(monkeypatch) -> None:
    """A machine with a GPU of which both libraries know, as far as choosing goes."""
    hopper = Capability(
        codec="h264",
        is_decoded=True,
        least_width_px=48,
        least_height_px=48,
        most_width_px=4096,
        most_height_px=4096,
        most_macroblocks=65536,
        units=7,
    )
    monkeypatch.setattr(ladder, "find_nvdec", lambda: "")
    monkeypatch.setattr(ladder, "is_installed", lambda name: True)
    monkeypatch.setattr(ladder, "find_capability", lambda codec: hopper)


@pytest.fixture
def bare(monkeypatch) -> None:
    """A machine with PyAV only."""
    monkeypatch.setattr(ladder, "is_installed", lambda name: False)


def test_pyav_decodes_where_nothing_else_is_installed(h264, bare):
    opened = open_file(h264, Wanted())
    assert isinstance(opened.video, VideoFile)
    assert opened.passed_over == {}


def test_pyav_that_was_asked_for_passes_nothing_over(h264, gpu):
    opened = open_file(h264, Wanted(), decoder="pyav")
    assert isinstance(opened.video, VideoFile)
    assert opened.passed_over == {}


@pytest.mark.parametrize("decoder", ["dali", "nvcodec"])
def test_a_decoder_that_is_not_installed_cannot_be_asked_for(h264, bare, decoder):
    with pytest.raises(InvalidVideo, match=f"^{decoder} does not decode .* run `uv sync"):
        open_file(h264, Wanted(), decoder=decoder)


@pytest.mark.skipif(not find_nvdec(), reason="there is a GPU")
def test_auto_leaves_files_to_pyav_where_there_is_no_gpu(vp9):
    opened = open_file(vp9, Wanted())
    assert opened.video.info.decoder.startswith("pyav")
    assert opened.passed_over == {}


@pytest.mark.skipif(not find_nvdec(), reason="there is a GPU")
def test_dali_without_a_gpu_takes_what_it_decodes_on_the_cpu(vp9, h264):
    pytest.importorskip("nvidia.dali", reason="DALI is not installed; run `uv sync --extra dali`")
    opened = open_file(vp9, Wanted(), decoder="dali")
    assert isinstance(opened.video, GuardedFile)
    assert opened.video.info.decoder.endswith("(cpu)")
    with pytest.raises(InvalidVideo, match=r"this is h264, and it decodes vp8, vp9, mjpeg here"):
        open_file(h264, Wanted(), decoder="dali")


def test_a_gpu_takes_what_its_hardware_decodes(h264, gpu):
    file = VideoFile(h264)
    assert refuse("dali", file, Wanted(), may_use_cpu=False) == ""
    assert refuse("nvcodec", file, Wanted(), may_use_cpu=False) == ""


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("ffv1.mkv", {"codec": "ffv1"}, "this is ffv1"),
        ("ten.mp4", {"pix_fmt": "yuv420p10le"}, "8 bits and 4:2:0, and this is yuv420p10le"),
        ("444.mp4", {"pix_fmt": "yuv444p"}, "this is yuv444p"),
        ("odd.webm", {"codec": "libvpx-vp9", "size": (127, 95)}, "127x95 px is not even"),
        ("tiny.mp4", {"size": (32, 32)}, "at least 48x48 px, and this is 32x32"),
        ("fields.mp4", {"options": {"x264-params": "tff=1"}}, "interlaced"),
    ],
)
def test_a_gpu_is_not_given_what_it_cannot_decode(folder, make_video, gpu, name, settings, reason):
    file = VideoFile(make_video(folder / name, frames=5, **settings))
    for decoder in ("dali", "nvcodec"):
        assert reason in refuse(decoder, file, Wanted(), may_use_cpu=False)


def test_dali_is_not_given_colors_that_it_would_convert_by_another_matrix(folder, make_video, gpu):
    video = make_video(folder / "709.mp4", frames=5, size=(128, 96), options=MATRIX_709)
    file = VideoFile(video)
    assert file.stored.matrix == 1
    assert "matrix 1" in refuse("dali", file, Wanted(), may_use_cpu=False)
    only_gray = Wanted(None, (GRAY,))
    assert refuse("dali", file, only_gray, may_use_cpu=False) == ""
    assert refuse("nvcodec", file, Wanted(), may_use_cpu=False) == ""


def test_a_file_whose_frames_packets_do_not_tell_is_pyav_s(folder, make_video, gpu):
    path = make_video(folder / "no_times.avi", size=(128, 96), options={"bf": "2"})
    opened = open_file(path, Wanted())
    assert isinstance(opened.video, VideoFile)
    assert set(opened.passed_over) == {"dali", "nvcodec"}
    assert all("no times" in reason for reason in opened.passed_over.values())


def test_frames_before_time_zero_are_not_given_to_dali(folder, make_video, gpu):
    path = make_video(folder / "early.mkv", size=(128, 96), options={"bf": "0"}, pts=range(40))
    file = VideoFile(path)
    file.index.pts.flags.writeable = True
    file.index.pts[:] -= 500
    assert "before the time 0" in refuse("dali", file, Wanted(), may_use_cpu=False)
    assert refuse("nvcodec", file, Wanted(), may_use_cpu=False) == ""


def test_hardware_that_lacks_a_codec_says_so():
    none = Capability("av1", False, 0, 0, 0, 0, 0, 7)
    assert none.refuse(640, 480) == "the GPU's hardware does not decode av1"
    some = Capability("h264", True, 48, 16, 4096, 4096, 8160, 7)
    assert some.refuse(1920, 1080) == ""
    assert "at most 8160 macroblocks" in some.refuse(4096, 2160)
    assert "at most 4096x4096 px" in some.refuse(8192, 64)
