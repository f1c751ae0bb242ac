"""Asks what the GPU's video decoder (NVDEC) takes; loads no decoder where there is no GPU."""

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from service.errors import EngineUnavailable

_LIBRARY = "nvcuvid.dll" if sys.platform == "win32" else "libnvcuvid.so.1"
_NAMES = {
    "h264": "H264",
    "hevc": "HEVC",
    "vp8": "VP8",
    "vp9": "VP9",
    "av1": "AV1",
    "mpeg4": "MPEG4",
    "mjpeg": "JPEG",
}


@dataclass(frozen=True, slots=True)
class Capability:
    """What one GPU decodes of one codec in 8 bits and 4:2:0."""

    codec: str
    is_decoded: bool
    least_width_px: int
    least_height_px: int
    most_width_px: int
    most_height_px: int
    most_macroblocks: int
    """Of 16 x 16 px."""
    units: int
    """Decoders that work at the same time."""

    def refuse(self, width_px: int, height_px: int) -> str:
        """Say why a size is not decoded; empty where it is."""
        if not self.is_decoded:
            return f"the GPU's hardware does not decode {self.codec}"
        limit = ""
        if width_px < self.least_width_px or height_px < self.least_height_px:
            limit = f"at least {self.least_width_px}x{self.least_height_px} px"
        elif width_px > self.most_width_px or height_px > self.most_height_px:
            limit = f"at most {self.most_width_px}x{self.most_height_px} px"
        elif width_px * height_px > 256 * self.most_macroblocks:
            limit = f"at most {self.most_macroblocks} macroblocks"
        if limit:
            return f"the GPU decodes {self.codec} of {limit}, and this is {width_px}x{height_px} px"
        return ""


@cache
def find_nvdec() -> str:
    """Say why this process has no hardware decoder; empty where it has one."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return (
            f"there is no {_LIBRARY}: install an NVIDIA driver, or start the container with "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
        )
    from service.engine.cuda import find_gpu  # most files are decoded without a GPU

    try:
        find_gpu()
    except EngineUnavailable as error:
        return str(error)
    return ""


@cache
def find_capability(codec: str) -> Capability | None:
    """Return what the GPU decodes of a codec (by FFmpeg's name), as PyNvVideoCodec says.

    None where it is not installed, or cannot ask; then trying shows.
    """
    if find_spec("PyNvVideoCodec") is None:
        return None
    try:
        import PyNvVideoCodec

        codecs = PyNvVideoCodec.cudaVideoCodec
        found = PyNvVideoCodec.GetDecoderCaps(codec=getattr(codecs, _NAMES[codec]))
    except (ImportError, RuntimeError):
        return None
    return Capability(
        codec=codec,
        is_decoded=bool(found.get("supported", found["width_max"])),
        least_width_px=found["width_min"],
        least_height_px=found["height_min"],
        most_width_px=found["width_max"],
        most_height_px=found["height_max"],
        most_macroblocks=found["mb_num_max"],
        units=found["num_decoder_engines"],
    )
