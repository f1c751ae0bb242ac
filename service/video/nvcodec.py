"""NVIDIA's PyNvVideoCodec as a decoder of packets: on NVDEC, with the manners of PyAV's contexts.

It is fed by PyAV's demuxer and parser, so that each picture comes back with the number of its
packet, and everything that is built on PyAV's contexts works with it: files and live streams alike.
"""

import ctypes
from collections.abc import Iterator
from importlib.metadata import version
from itertools import chain, islice
from typing import Any, Protocol

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from service.errors import DecoderFailed
from service.video.base import VideoLimits
from service.video.guarded import Picture
from service.video.pyav import VideoFile
from service.video.stretches import Stretch

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

    def __init__(self, truth: VideoFile, stretches: tuple[Stretch, ...]) -> None:
        """Take the file as PyAV has it open."""
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
        try:
            for row in islice(self._rows, len(self._stretches[number])):
                if row.picture is None:
                    raise DecoderFailed(f"gave no picture of frame {row.frame_index}: {row.reason}")
                yield row.pts_ns - self._origin_ns, row.picture
        except RuntimeError as error:  # what the library raises
            raise DecoderFailed(f"failed: {error}") from error

    def close(self) -> None:
        """See `PictureSource`."""
        self._rows = iter(())

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
        )


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
        try:
            import PyNvVideoCodec

            self._library = PyNvVideoCodec
            latency = self._library.DisplayDecodeLatencyType
            self._decoder = self._library.CreateDecoder(
                gpuid=0,
                codec=getattr(self._library.cudaVideoCodec, _NAMES[codec]),
                usedevicememory=False,
                latency=latency.LOW if is_live else latency.NATIVE,
            )
        except (ImportError, RuntimeError) as error:
            raise DecoderFailed(f"cannot begin: {str(error).splitlines()[0]}") from error

    def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        """See `PacketDecoder`.

        Raises:
            RuntimeError: the library cannot go on.
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

    def _take(self, packet: Any) -> list[av.VideoFrame]:
        return [self._picture(frame) for frame in self._decoder.Decode(packet)]

    def _picture(self, frame: Any) -> av.VideoFrame:
        """Copy a picture, which the library writes over in its next call."""
        if frame.format != self._library.Pixel_Format.NV12:
            raise RuntimeError(f"pictures are {frame.format}, not NV12")
        height_px, width_px = self._decoder.GetHeight(), self._decoder.GetWidth()
        self._limits.check("a picture", width_px, height_px)
        memory = (ctypes.c_uint8 * frame.framesize()).from_address(frame.GetPtrToPlane(0))
        pixels = np.frombuffer(memory, np.uint8).reshape(height_px * 3 // 2, width_px)
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
