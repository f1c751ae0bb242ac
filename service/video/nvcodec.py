"""NVIDIA's PyNvVideoCodec as a decoder of packets: on NVDEC, with the manners of PyAV's contexts.

It is fed by PyAV's demuxer and parser, so that each picture comes back with the number of its
packet, and everything that is built on PyAV's contexts works with it: files and live streams alike.
Pictures stay on the GPU where inputs of models are made of them there.
"""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain, islice
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from service.errors import DecoderFailed, EngineFailed
from service.video.base import VideoLimits
from service.video.guarded import Picture
from service.video.pyav import PictureRow, VideoFile
from service.video.stretches import Stretch

if TYPE_CHECKING:  # pictures that come to the host need no CUDA and no DALI
    from service.engine.cuda import Stream
    from service.engine.device import DeviceArray
    from service.video.dali_planes import DaliPlanes

CODECS = ("h264", "hevc", "vp8", "vp9")
"""What is decoded, by FFmpeg's names."""

_NAMES = {"h264": "H264", "hevc": "HEVC", "vp8": "VP8", "vp9": "VP9"}
# The range that the format says, by AVCOL_RANGE_ number; 0 where it says none.
_RANGE_OF = {"yuv420p": 0, "yuvj420p": 2}
# Packets after its own by which a picture is here, if it comes.
_LATEST = 64
# NVDEC reads start codes, and containers such as MP4 keep lengths in their place.
_FILTERS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}


class NvcodecSource:
    """One session on one file; other files use other decoder units of the GPU."""

    def __init__(
        self,
        truth: VideoFile,
        stretches: tuple[Stretch, ...],
        planes: "DaliPlanes | None" = None,
    ) -> None:
        """Take the file as PyAV has it open.

        Args:
            truth: the file.
            stretches: all of it.
            planes: makes inputs of models in place of whole pictures, which come to the host.
        """
        self._planes = planes
        self.decoder = f"nvcodec {version('pynvvideocodec')} (gpu)"
        self._file = truth.decoded_by(self._open_context)
        self._stored = truth.stored
        self._stretches = stretches
        self._origin_ns = truth.frame_time_ns(0)
        self._rows: Iterator[Any] = iter(())

    def restart(self, number: int) -> None:
        """See `PictureSource`."""
        rows = self._file.rows(self._stretches[number].first)
        try:
            self._rows = chain(list(islice(rows, 1)), rows)  # the first row opens the session
        except RuntimeError as error:
            raise DecoderFailed(f"could not begin: {error}") from error

    def pictures(self, number: int) -> Iterator[tuple[int, Picture]]:
        """See `PictureSource`."""
        rows = islice(self._rows, len(self._stretches[number]))
        at_once = 1 if self._planes is None else self._planes.at_once
        try:
            while some := list(islice(rows, at_once)):
                for row, picture in zip(some, self._finish(some), strict=True):
                    yield row.pts_ns - self._origin_ns, picture
        except RuntimeError as error:  # what the library raises, and DALI
            raise DecoderFailed(f"failed: {error}") from error

    def close(self) -> None:
        """See `PictureSource`."""
        self._rows = iter(())

    def _finish(self, rows: list[PictureRow]) -> Sequence[Any]:
        pictures = []
        for row in rows:
            if row.picture is None:
                raise DecoderFailed(f"gave no picture of frame {row.frame_index}: {row.reason}")
            pictures.append(row.picture)
        return pictures if self._planes is None else self._planes.make([p.nv12 for p in pictures])

    def _open_context(
        self, stream: av.VideoStream, limits: VideoLimits, threads: int
    ) -> "NvcodecContext":
        codec = stream.codec_context.codec.canonical_name
        name = _FILTERS.get(codec)
        return NvcodecContext(
            codec,
            limits,
            to_start_codes=BitStreamFilterContext(name, stream) if name else None,
            pixel_format=self._stored.pixel_format,
            matrix=self._stored.matrix,
            color_range=self._stored.color_range,
            stream=self._planes.stream if self._planes else None,
        )


@dataclass(slots=True)
class DevicePicture:
    """A picture in the GPU's memory, with what is asked of pictures of PyAV."""

    width: int
    height: int
    nv12: "DeviceArray"
    """(1.5 H, W) uint8: luma, then u and v side by side."""
    opaque: tuple[Any, ...] | None = None
    key_frame: bool = False
    is_corrupt = False


class _Filter(Protocol):
    def filter(self, packet: av.Packet) -> list[av.Packet]: ...


class NvcodecContext:
    """Decodes packets that begin with start codes, or are made to."""

    def __init__(
        self,
        codec: str,
        limits: VideoLimits,
        *,
        pixel_format: str,
        matrix: int,
        color_range: int,
        to_start_codes: _Filter | None = None,
        is_live: bool = False,
        stream: "Stream | None" = None,
    ) -> None:
        """Open a session on the GPU.

        Args:
            codec: one of `CODECS`.
            limits: the largest picture.
            pixel_format: of the pictures, by FFmpeg's name; yuv420p or yuvj420p.
            matrix: AVCOL_SPC_ number of the pictures.
            color_range: AVCOL_RANGE_ number of the pictures.
            to_start_codes: what to pass packets through; None where they have start codes.
            is_live: give each picture with its packet; for streams without B-frames only.
            stream: leave pictures in the GPU's memory, ready on this stream.

        Raises:
            DecoderFailed: PyNvVideoCodec cannot be loaded, or has no session for this.
        """
        if codec not in _NAMES or pixel_format not in _RANGE_OF:
            raise DecoderFailed(
                f"nvcodec does not decode {codec} of {pixel_format}, only {', '.join(CODECS)} of "
                "8 bits and 4:2:0; ask for the decoder pyav"
            )
        self._filter = to_start_codes
        self._matrix = matrix
        self._range = _RANGE_OF[pixel_format] or color_range
        self._limits = limits
        self._waiting: dict[int, tuple[tuple[int, ...], bool]] = {}
        self._fed = 0
        self._stream = stream
        try:
            import PyNvVideoCodec

            self._library = PyNvVideoCodec
            latency = self._library.DisplayDecodeLatencyType
            self._decoder = self._library.CreateDecoder(
                gpuid=0,
                codec=getattr(self._library.cudaVideoCodec, _NAMES[codec]),
                latency=latency.LOW if is_live else latency.NATIVE,
                **_memory_settings(stream),
            )
        except (ImportError, RuntimeError) as error:
            raise DecoderFailed(f"cannot begin: {str(error).splitlines()[0]}") from error

    def decode(self, packet: av.Packet | None) -> list[Any]:
        """See `PacketDecoder`; where pictures stay on the GPU, they are `DevicePicture`.

        Raises:
            RuntimeError: the library cannot go on, or the GPU's memory is full.
        """
        if packet is None:
            return self._take(self._library.PacketData())
        pictures = []
        told = packet.opaque, packet.is_keyframe  # a filter takes all that is in a packet
        for one in self._filter.filter(packet) if self._filter else [packet]:
            # The parser hands a packet's time on to its picture, whatever is in it.
            self._waiting[self._fed] = told
            data = np.frombuffer(one, np.uint8)
            fed = self._library.PacketData()
            fed.bsl_data, fed.bsl, fed.pts = data.ctypes.data, len(data), self._fed
            self._fed += 1
            pictures += self._take(fed)
        return pictures

    def _take(self, packet: Any) -> list[Any]:
        try:
            return [self._picture(frame) for frame in self._decoder.Decode(packet)]
        except EngineFailed as error:
            raise RuntimeError(str(error)) from error

    def _picture(self, frame: Any) -> Any:
        """Copy a picture, which the library writes over in its next call."""
        if frame.format != self._library.Pixel_Format.NV12:
            raise RuntimeError(f"pictures are {frame.format}, not NV12")
        height_px, width_px = self._decoder.GetHeight(), self._decoder.GetWidth()
        self._limits.check("a picture", width_px, height_px)
        address, shape = frame.GetPtrToPlane(0), (height_px * 3 // 2, width_px)
        if self._stream is not None:
            nv12 = _keep(address, shape, self._stream)
            picture: Any = DevicePicture(width_px, height_px, nv12)
        else:
            memory = (ctypes.c_uint8 * frame.framesize()).from_address(address)
            pixels = np.frombuffer(memory, np.uint8).reshape(shape)
            picture = av.VideoFrame.from_ndarray(pixels, "nv12")
            picture.colorspace, picture.color_range = self._matrix, self._range
        number = frame.getPTS()
        if number in self._waiting:
            opaque, picture.key_frame = self._waiting.pop(number)
            # A fresh object: PyAV keeps it under its address, until a packet with it is freed.
            picture.opaque = (*opaque,)
        # Pictures that were dropped leave their numbers; none comes so late.
        for old in [one for one in self._waiting if one < number - _LATEST]:
            del self._waiting[old]
        return picture


def _memory_settings(stream: "Stream | None") -> dict[str, Any]:
    """Say where pictures go: the library writes and overwrites them in the order of the stream."""
    if stream is None:
        return {"usedevicememory": False}
    from cuda.bindings import driver

    from service.engine.cuda import call

    return {
        "usedevicememory": True,
        "cudacontext": int(call(driver.cuCtxGetCurrent)),
        "cudastream": int(stream.handle),
    }


def _keep(address: int, shape: tuple[int, ...], stream: "Stream") -> "DeviceArray":
    """Copy a picture within the GPU's memory, in the order of the stream."""
    from service.engine.cuda import copy_on_device
    from service.engine.device import DeviceArray
    from service.engine.gpu_memory import Block

    size_bytes = prod(shape)
    block = Block(size_bytes)
    copy_on_device(block.address, address, size_bytes, stream)
    return DeviceArray(block.address, shape, np.dtype(np.uint8), stream.mark(), block)
