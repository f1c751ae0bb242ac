"""Chooses the decoder of each file.

| decoder | takes | needs |
| --- | --- | --- |
| `dali` | H.264, HEVC, AV1, MPEG-4 on a GPU; VP8, VP9, MJPEG on any machine | DALI (Linux) |
| `nvcodec` | H.264, HEVC, VP8, VP9 on a GPU | PyNvVideoCodec |
| `pyav` | all that FFmpeg decodes | nothing more |

The first two take files of 8 bits and 4:2:0 (MJPEG on the CPU: any), of even size, not interlaced,
of a size that the GPU's hardware decodes, and whose frames can be counted by their packets' times:
no edit list, no two packets of one time, a key frame at the begin (`service.video.stretches`).
`dali` converts colors by BT.601, so that files that name another matrix are not its own.

`auto` takes the first of this list that takes the file, `dali` only on a GPU. Damage inside packets
PyAV sees as it decodes, the others only where they fail: `service.video.guarded`. Live streams are
PyAV's, but where the settings name `nvcodec` (chunks of H.264 and HEVC without B-frames) or `dali`
(JPEG frames).
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from service.decoder_names import AUTO_ORDER
from service.errors import InvalidVideo
from service.video.base import StoredFormat, VideoLimits, Wanted
from service.video.nvdec import find_capability, find_nvdec
from service.video.packets import Progress
from service.video.pyav import VideoFile
from service.video.stretches import Stretch, plan_stretches, refuse_index

if TYPE_CHECKING:  # files that PyAV decodes do without them
    from service.engine.cuda import Stream
    from service.video.guarded import GuardedFile, PictureSource
    from service.video.inputs import InputConverter

DALI_CPU_CODECS = ("vp8", "vp9", "mjpeg")
_GPU_CODECS = {
    "dali": ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mjpeg"),
    "nvcodec": ("h264", "hevc", "vp8", "vp9"),
}
_INSTALL = "run `uv sync --extra gpu`"
_BT_601_OR_NONE = (2, 5, 6)
_FOUR_TWO_ZERO = ("yuv420p", "yuvj420p")
_LEAST_FRAMES = 96
"""Of a stretch: enough that beginning it costs little, few enough that all of it may wait."""
_MOST_STRETCHES = 256
"""A reader of DALI opens the file once a stretch, before it reads anything."""


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file with its decoder."""

    video: "VideoFile | GuardedFile"
    passed_over: dict[str, str]
    """Decoders of this machine that come before it, and why each does not take the file."""
    hand_over: "Stream | None" = None
    """Stream of the GPU on which inputs become ready in its memory; None where they come to the
    host."""


def open_file(
    path: Path,
    wanted: Wanted,
    *,
    decoder: str = "auto",
    limits: VideoLimits | None = None,
    threads: int = 1,
    progress: Progress = lambda: None,
) -> OpenedFile:
    """Open a file with the decoder that was asked for, or the best that takes it.

    Args:
        path: a regular file.
        wanted: what is to be made of its pictures.
        decoder: auto, or one of `AUTO_ORDER`.
        limits: the largest picture that is decoded.
        threads: of PyAV, and DALI's pipelines side by side.
        progress: called between packets; may raise to leave the job.

    Raises:
        VideoNotFound: nothing is at `path`.
        InvalidVideo: it holds no video of which a frame can be decoded, or the decoder that was
            asked for does not take it.
        FrameTooLarge: its pictures are over the limits.
    """
    color = wanted.color or "rgb"
    file = VideoFile(path, color=color, limits=limits, threads=threads, progress=progress)
    passed_over: dict[str, str] = {}
    for name in AUTO_ORDER if decoder == "auto" else (decoder,):
        if name == "pyav" or (decoder == "auto" and refuse_machine(name)):
            continue
        reason = refuse(name, file, wanted, may_use_cpu=decoder != "auto")
        if not reason:
            from service.video.guarded import GuardedFile

            stretches = plan_stretches(file.index, _LEAST_FRAMES, _MOST_STRETCHES)
            source, converter, stream = _open_source(name, path, file, wanted, stretches, threads)
            is_required = decoder != "auto"
            guarded = GuardedFile(
                file, source, stretches, converter, is_required=is_required, progress=progress
            )
            return OpenedFile(guarded, passed_over, stream)
        passed_over[name] = reason
    if decoder not in ("auto", "pyav"):
        raise InvalidVideo(
            f"{decoder} does not decode {path}: {passed_over[decoder]}; or ask for the decoder auto"
        )
    return OpenedFile(file, passed_over)


def refuse(name: str, file: VideoFile, wanted: Wanted, *, may_use_cpu: bool) -> str:
    """Say why a decoder does not take a file; empty where it does.

    Args:
        name: dali or nvcodec.
        file: open in PyAV.
        wanted: what is to be made of its pictures.
        may_use_cpu: allow DALI on the CPU.
    """
    no_gpu = refuse_machine(name)
    on_cpu = bool(no_gpu) and name == "dali" and is_installed(name) and may_use_cpu
    if no_gpu and not on_cpu:
        return no_gpu
    stored, codec = file.stored, file.info.codec
    taken = DALI_CPU_CODECS if on_cpu else _GPU_CODECS[name]
    if codec not in taken:
        where = f" here, where {no_gpu}" if on_cpu else ""
        return f"this is {codec}, and it decodes {', '.join(taken)}{where}"
    if stored.pixel_format not in _FOUR_TWO_ZERO and not (on_cpu and codec == "mjpeg"):
        return f"it decodes 8 bits and 4:2:0, and this is {stored.pixel_format}"
    if stored.is_interlaced:
        return "the pictures are interlaced"
    if name == "dali" and wanted.has_color and stored.matrix not in _BT_601_OR_NONE:
        return f"it converts colors by BT.601, and the file names matrix {stored.matrix}"
    reason = refuse_index(file.index)
    if not reason and name == "dali" and file.index.pts.min() < 0:
        reason = "it leaves out frames before the time 0"
    return reason or ("" if on_cpu else _refuse_size(codec, stored.width_px, stored.height_px))


def refuse_machine(name: str) -> str:
    """Say why a decoder does not work on this machine's GPU; empty where it does."""
    return find_nvdec() if is_installed(name) else f"it is not installed, {_INSTALL}"


@cache
def is_installed(name: str) -> bool:
    """Whether the package of a decoder is here; it is not imported."""
    module = {"dali": "nvidia.dali", "nvcodec": "PyNvVideoCodec"}[name]
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


def _refuse_size(codec: str, width_px: int, height_px: int) -> str:
    if width_px % 2 or height_px % 2:
        return f"{width_px}x{height_px} px is not even"
    capability = find_capability(codec)
    return capability.refuse(width_px, height_px) if capability else ""


def _open_source(
    name: str,
    path: Path,
    file: VideoFile,
    wanted: Wanted,
    stretches: tuple[Stretch, ...],
    pipelines: int,
) -> "tuple[PictureSource, InputConverter | None, Stream | None]":
    """Return a decoder, and what makes of PyAV's pictures what it makes, if not whole pictures.

    The third is the stream on which inputs become ready, where they stay on the GPU.
    """
    from service.engine.cuda import Stream
    from service.preprocess import CropRegion
    from service.video.inputs import InputConverter

    # Whole pictures are turned on the host, and so inputs are made there where they are turned.
    inputs = wanted.inputs if wanted.color is None and not file.quarter_turns else ()
    converter = InputConverter(file, inputs, wanted.crop) if inputs else None
    whole = CropRegion(0, 0, file.stored.width_px, file.stored.height_px)
    region = (wanted.crop if inputs else None) or whole
    if name == "nvcodec":
        from service.video.nvcodec import NvcodecSource

        if not inputs or not stays_on_gpu(file.stored):
            return NvcodecSource(file, stretches), None, None
        from service.video.dali_planes import DaliPlanes

        planes = DaliPlanes(file.stored, inputs, region, device="gpu", stream=Stream())
        hand_over = planes.stream if wanted.on_device else None
        return NvcodecSource(file, stretches, planes), converter, hand_over
    from service.video.dali import DaliSource

    has_gpu = not find_nvdec()
    stream = Stream() if wanted.on_device and inputs and has_gpu else None
    source = DaliSource(
        path,
        stretches,
        region,
        color=wanted.color or "rgb",
        inputs=inputs,
        device="gpu" if has_gpu else "cpu",
        pipelines=pipelines,
        hand_over=stream,
    )
    return source, converter, stream


def stays_on_gpu(stored: StoredFormat) -> bool:
    """Whether inputs of models are made on the GPU of what `nvcodec` decodes: by DALI."""
    if find_nvdec() or not is_installed("dali"):
        return False
    from service.video.dali_planes import takes_planes

    return takes_planes(stored)
