"""PyNvVideoCodec as `service.video.nvcodec` calls it, with FFmpeg in place of the GPU.

As there, packets come as addresses and must begin with start codes, pictures are NV12 in memory
that the next call takes again, and a picture has the time of its packet. On the emulated GPU they
are written, and written over, in the order of the stream that was given.
"""

import ctypes
import enum
import os
from collections.abc import Callable
from types import SimpleNamespace

import av
import numpy as np


class cudaVideoCodec(enum.IntEnum):
    H264 = 4
    JPEG = 5
    HEVC = 8
    VP8 = 9
    VP9 = 10


class Pixel_Format(enum.IntEnum):
    NV12 = 3


class DisplayDecodeLatencyType(enum.IntEnum):
    NATIVE = 0
    LOW = 1


class PacketData:
    def __init__(self) -> None:
        self.bsl, self.bsl_data, self.pts = 0, 0, 0


class Decoder:
    def __init__(
        self, codec: cudaVideoCodec, library: "Library", write: Callable[[Callable], None]
    ) -> None:
        name = codec.name.lower()
        self._needs_start_codes = name in ("h264", "hevc")
        self._context = av.CodecContext.create(name, "r")
        self._context.copy_opaque = True
        self._context.thread_count = 1
        self._library = library
        self._write = write
        self._buffers: list[np.ndarray] = []
        self._size = (0, 0)

    def Decode(self, packet: PacketData) -> list[SimpleNamespace]:
        for buffer in self._buffers:
            self._write(lambda gone=buffer: gone.fill(77))  # what was given before is no more
        self._buffers = []
        if not packet.bsl:
            return [self._frame(picture) for picture in self._context.decode(None)]
        if packet.pts == self._library.fails_at:
            self._library.fails_at = -1
            raise RuntimeError("HandlePictureDecode : Decoder not initialized")
        data = ctypes.string_at(packet.bsl_data, packet.bsl)
        assert not self._needs_start_codes or data.startswith((b"\0\0\1", b"\0\0\0\1"))
        fed = av.Packet(data)
        fed.opaque = (packet.pts,)
        return [self._frame(picture) for picture in self._context.decode(fed)]

    def GetWidth(self) -> int:
        return self._size[0]

    def GetHeight(self) -> int:
        return self._size[1]

    def _frame(self, picture: av.VideoFrame) -> SimpleNamespace:
        self._size = (picture.width, picture.height)
        picture = picture.reformat(
            format="nv12", src_color_range=2, dst_color_range=2, src_colorspace=5, dst_colorspace=5
        )
        shown = np.ascontiguousarray(picture.to_ndarray()).reshape(-1)
        memory = np.full_like(shown, 77)
        self._write(lambda: np.copyto(memory, shown))
        self._buffers.append(memory)
        number = picture.opaque[0]
        return SimpleNamespace(
            format=Pixel_Format.NV12,
            framesize=lambda: memory.nbytes,
            GetPtrToPlane=lambda plane: memory.ctypes.data,
            getPTS=lambda: number,
        )


class Library:
    """The module; a session ends on packet number `fails_at`, once."""

    __name__ = "PyNvVideoCodec"
    __version__ = "emulated"
    cudaVideoCodec = cudaVideoCodec
    Pixel_Format = Pixel_Format
    DisplayDecodeLatencyType = DisplayDecodeLatencyType
    PacketData = PacketData

    def __init__(self, *, fails_at: int = -1) -> None:
        self.sessions = 0
        self.fails_at = fails_at

    def CreateDecoder(
        self, *, gpuid, codec, usedevicememory, latency, cudacontext=0, cudastream=0
    ) -> Decoder:
        assert gpuid == 0
        assert latency in DisplayDecodeLatencyType
        assert bool(cudastream) == bool(cudacontext) == usedevicememory
        self.sessions += 1
        return Decoder(codec, self, _on_stream(cudastream) if cudastream else lambda work: work())


CreateDecoder = Library(fails_at=int(os.environ.get("EMULATED_NVCODEC_FAILS_AT", -1))).CreateDecoder


def GetDecoderCaps(codec: cudaVideoCodec) -> dict[str, int]:
    return {
        "width_min": 48,
        "height_min": 16,
        "width_max": 4096,
        "height_max": 4096,
        "mb_num_max": 65536,
        "num_decoder_engines": 1,
    }


def _on_stream(handle: int) -> Callable[[Callable], None]:
    from cuda.bindings import runtime

    return lambda work: runtime.put(handle, work)
