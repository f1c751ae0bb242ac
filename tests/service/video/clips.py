"""The clips of the barcode corpus: what labs record, and what else a container may hold."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.service.video.corpus import RATE_HZ, Clip, remux
from tests.service.video.xvid import pack

_B_FRAMES = {"bf": "3", "g": "12", "sc_threshold": "0"}
_MS = Fraction(1, 1000)


def _clip(name: str, **settings: Any) -> Clip:
    return Clip(name=name, **settings)


def _hevc(name: str, x265: str = "", **settings: Any) -> Clip:
    options = {"x265-params": f"log-level=none:keyint=12:min-keyint=12:scenecut=0{x265}"}
    return Clip(name=name, encoder="libx265", codec="hevc", options=options, **settings)


def _intra(name: str, codec: str, pix_fmt: str, **settings: Any) -> Clip:
    return Clip(name=name, ending="avi", encoder=codec, codec=codec, pix_fmt=pix_fmt, **settings)


def _cut(source: Path, target: Path) -> None:
    """As `ffmpeg -ss -c copy`: packets from the key frame before, an edit list hides them."""
    remux(source, target, first_packet=12, shift_ticks=-19, muxer=_KEEP_TIMES)


def _cut_tail(source: Path, target: Path) -> None:
    """An editor's cut of the end: the data stays, the edit list ends at frame 30."""
    data = bytearray(source.read_bytes())
    entry = data.index(b"elst") + 12
    duration = int.from_bytes(data[entry : entry + 4], "big")
    data[entry : entry + 4] = (duration * 30 // 40).to_bytes(4, "big")
    target.write_bytes(data)


def _near_clock_end(source: Path, target: Path) -> None:
    """The 33 bit clock of a transport stream starts again after 26.5 h, here in the middle."""
    remux(source, target, shift_ticks=2**33 // 90_000 * RATE_HZ + 10, muxer=_KEEP_TIMES)


_KEEP_TIMES = {"avoid_negative_ts": "disabled"}
_MPEG4: Mapping[str, Any] = {
    "encoder": "mpeg4",
    "codec": "mpeg4",
    "options": {"bf": "2", "qscale": "3", "g": "12"},
}
_MPEG2: Mapping[str, Any] = {
    "encoder": "mpeg2video",
    "codec": "mpeg2video",
    "options": {"bf": "2", "g": "12", "b": "2M"},
    "shifts_times": True,
}
_VPX = {
    "g": "12",
    "auto-alt-ref": "1",
    "lag-in-frames": "16",
    "deadline": "good",
    "cpu-used": "5",
    "b": "1M",
}
_MKV: Mapping[str, Any] = {"ending": "mkv", "clock_s": _MS}
_WEBM: Mapping[str, Any] = {"ending": "webm", "clock_s": _MS}
_OPEN_GROUPS = {**_B_FRAMES, "x264-params": "open-gop=1:b-pyramid=normal"}


def find_clip(name: str) -> Clip:
    """Return the clip of a name."""
    return next(clip for clip in CLIPS if clip.name == name)


CLIPS = (
    # H.264 in MP4: rates and times
    _clip("h264 constant rate", options={"bf": "0", "g": "12"}),
    _clip("h264 with B-frames", options=_B_FRAMES),
    _clip("h264 with open groups", options=_OPEN_GROUPS),
    _clip("h264 with one long group", frames=150, options={"bf": "3", "g": "999"}),
    _clip("h264 intra refresh", options={"g": "20", "x264-params": "intra-refresh=1"}),
    _clip("h264 variable rate", options=_B_FRAMES, ticks=tuple(n + n // 3 * 4 for n in range(40))),
    _clip("h264 with a gap", options=_B_FRAMES, ticks=tuple(n + 60 * (n > 20) for n in range(40))),
    _clip("h264 at 2000 Hz", options=_B_FRAMES, tick_s=Fraction(1, 2000)),
    # edit lists and layouts of MP4
    _clip("h264 that begins late", options=_B_FRAMES, ticks=tuple(n + 15 for n in range(40))),
    _clip(
        "h264 that begins before zero",
        options=_B_FRAMES,
        ticks=tuple(n - 5 for n in range(40)),
        shown=range(5, 40),
    ),
    _clip(
        "h264 cut between key frames",
        options=_B_FRAMES,
        change=_cut,
        shown=range(19, 40),
        shift_ticks=-19,
    ),
    _clip("h264 with its end cut off", options=_B_FRAMES, change=_cut_tail, shown=range(30)),
    _clip("h264 negative offsets", options=_B_FRAMES, muxer={"movflags": "negative_cts_offsets"}),
    _clip("h264 index in front", options=_B_FRAMES, muxer={"movflags": "faststart"}),
    _clip(
        "h264 in fragments",
        options=_B_FRAMES,
        muxer={"movflags": "frag_keyframe+empty_moov+default_base_moof"},
        shifts_times=True,
    ),
    # pixels
    _clip("h264 10 bit", pix_fmt="yuv420p10le"),
    _clip("h264 gray", pix_fmt="gray"),
    _clip("h264 full range", pix_fmt="yuvj420p"),
    _clip("h264 4:2:2", pix_fmt="yuv422p"),
    _clip("h264 4:2:2 10 bit", pix_fmt="yuv422p10le"),
    _clip("h264 4:4:4 odd size", pix_fmt="yuv444p", size_px=(99, 71)),
    _clip("h264 not a multiple of 16", size_px=(102, 74)),
    _clip("h264 rgb", encoder="libx264rgb", pix_fmt="rgb24", **_MKV),
    _clip("h264 interlaced", options={"flags": "+ildct+ilme", "x264-params": "tff=1"}),
    # rotation
    _clip("h264 rotated by 90", options=_B_FRAMES, rotation_deg=90),
    _clip("h264 rotated by 180", options=_B_FRAMES, rotation_deg=180),
    _clip("h264 rotated by 270 mov", ending="mov", options=_B_FRAMES, rotation_deg=270),
    _clip("h264 rotated by 90 mkv", options=_B_FRAMES, rotation_deg=90, **_MKV),
    # H.264 elsewhere
    _clip("h264 in mkv", options=_OPEN_GROUPS, **_MKV),
    _clip("h264 in mkv at 2000 Hz", options=_B_FRAMES, tick_s=Fraction(1, 2000), **_MKV),
    _clip("h264 in avi", ending="avi", options=_B_FRAMES, shifts_times=True),
    _clip("h264 in ts", ending="ts", options=_B_FRAMES, shifts_times=True),
    _clip(
        "h264 in ts whose clock starts again",
        ending="ts",
        options=_B_FRAMES,
        change=_near_clock_end,
        shifts_times=True,
    ),
    _clip("h264 in nut", ending="nut", options=_B_FRAMES, shifts_times=True),
    _clip("h264 in flv", ending="flv", options=_B_FRAMES, clock_s=_MS, shifts_times=True),
    _clip("h264 without a container", ending="h264", options=_B_FRAMES, clock_s=None),
    # HEVC
    _hevc("hevc with B-frames", ":bframes=3"),
    _hevc("hevc with open groups", ":open-gop=1:bframes=3"),
    _hevc("hevc 10 bit", pix_fmt="yuv420p10le"),
    _hevc("hevc 4:4:4 12 bit", pix_fmt="yuv444p12le"),
    _hevc("hevc in mkv", **_MKV),
    _hevc("hevc in ts", ending="ts", shifts_times=True),
    _hevc("hevc without a container", ending="hevc", clock_s=None),
    # MPEG-1, 2, 4, H.263
    _clip("mpeg4 in avi", ending="avi", shifts_times=True, **_MPEG4),
    _clip(
        "mpeg4 packed in avi",
        ending="avi",
        change=pack,
        shifts_times=True,
        **{**_MPEG4, "options": {**_MPEG4["options"], "bf": "1"}},
    ),
    _clip("mpeg4 in mp4", **_MPEG4),
    _clip("mpeg4 without a container", ending="m4v", **_MPEG4),
    _clip("mpeg2 in ts", ending="ts", **_MPEG2),
    _clip(
        "mpeg2 interlaced in a program stream",
        ending="mpg",
        **{**_MPEG2, "options": {**_MPEG2["options"], "flags": "+ildct+ilme"}},
    ),
    _clip(
        "mpeg1",
        ending="mpg",
        **{**_MPEG2, "encoder": "mpeg1video", "codec": "mpeg1video"},
    ),
    _clip("h263", ending="3gp", encoder="h263", codec="h263", size_px=(128, 96)),
    _clip("wmv2", ending="asf", encoder="wmv2", codec="wmv2", clock_s=_MS),
    # VP8, VP9, AV1: packets that hold no picture of their own
    _clip("vp8", encoder="libvpx", codec="vp8", options=_VPX, **_WEBM),
    _clip("vp9", encoder="libvpx-vp9", codec="vp9", options=_VPX, **_WEBM),
    _clip("vp9 in mp4", encoder="libvpx-vp9", codec="vp9", options=_VPX),
    _clip(
        "vp9 4:4:4 odd size",
        encoder="libvpx-vp9",
        codec="vp9",
        options=_VPX,
        pix_fmt="yuv444p",
        size_px=(99, 71),
        **_WEBM,
    ),
    _clip(
        "av1",
        encoder="libsvtav1",
        codec="av1",
        options={"preset": "10", "crf": "12", "g": "12"},
        **_WEBM,
    ),
    _clip(
        "av1 10 bit in mp4",
        encoder="libsvtav1",
        codec="av1",
        pix_fmt="yuv420p10le",
        options={"preset": "10", "crf": "12", "g": "12"},
    ),
    # every frame by itself
    _intra("mjpeg", "mjpeg", "yuvj420p"),
    _intra("mjpeg 4:2:2 odd size", "mjpeg", "yuvj422p", size_px=(99, 71)),
    _intra(
        "mjpeg with dropped frames",
        "mjpeg",
        "yuvj420p",
        ticks=tuple(n + 5 * (n > 20) for n in range(40)),
    ),
    _clip(
        "mjpeg in mkv at 2000 Hz",
        encoder="mjpeg",
        codec="mjpeg",
        pix_fmt="yuvj420p",
        tick_s=Fraction(1, 2000),
        **_MKV,
    ),
    _intra("ffv1", "ffv1", "yuv420p"),
    _clip(
        "ffv1 with checksums",
        encoder="ffv1",
        codec="ffv1",
        options={"level": "3", "slices": "4"},
        **_MKV,
    ),
    _clip(
        "ffv1 gray 16 bit odd size",
        encoder="ffv1",
        codec="ffv1",
        pix_fmt="gray16le",
        size_px=(97, 61),
        **_MKV,
    ),
    _intra("huffyuv", "huffyuv", "yuv422p"),
    _intra("utvideo", "utvideo", "yuv420p"),
    _intra("raw bgr odd size", "rawvideo", "bgr24", size_px=(97, 61)),
    _intra("raw gray", "rawvideo", "gray"),
    _intra("raw yuyv", "rawvideo", "yuyv422"),
    _clip("prores", ending="mov", encoder="prores_ks", codec="prores", pix_fmt="yuv422p10le"),
    _clip("png in mov", ending="mov", encoder="png", codec="png", pix_fmt="rgb24"),
)
