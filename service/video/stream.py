"""Decodes an H.264, HEVC or MJPEG byte stream that comes in pieces of any size."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import av
import numpy as np
from numpy.typing import NDArray

from service.values import FrameStatus
from service.video.base import ChunkCodec, Color, VideoLimits
from service.video.contexts import PacketDecoder
from service.video.pixels import PixelConverter

# Packets that may come between a packet and its picture; MJPEG holds none back.
_HELD_BACK = {"h264": 20, "hevc": 20, "mjpeg": 0}
# Pictures that are not trusted after a damaged one, unless a key frame comes before; streams
# that refresh the picture piece by piece have none.
_MAX_SUSPECT = 300
# A camera's stream that yields no frame in this many bytes is no video of that codec.
_MAX_PENDING_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class StreamFrame:
    """One picture of a stream before its pixels are converted."""

    frame_index: int
    """Count of pictures so far, damaged ones among them."""
    pts_ns: int
    """Time that was given with the chunk in which its packet began."""
    status: FrameStatus
    reason: str
    picture: av.VideoFrame | None
    converter: PixelConverter | None = field(repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 3) or (H, W) after conversion."""
        assert self.converter is not None
        return self.converter.shape

    def convert(self, out: NDArray[np.uint8]) -> None:
        """Write the pixels into `out`, uint8 of `shape`."""
        assert self.converter is not None
        self.converter.convert(self.picture, out)


@dataclass(frozen=True, slots=True)
class FeedReport:
    """What happened since the report before."""

    packets_corrupt: int
    message: str


class StreamDecoder:
    """One camera's stream; a damaged packet is counted and the stream goes on.

    Pictures after a damaged one are CORRUPT until the next key frame: a decoder conceals, and shows
    parts of other pictures.
    """

    def __init__(
        self, codec: ChunkCodec, color: Color, limits: VideoLimits, *, decoder: str = "pyav"
    ) -> None:
        """Take what comes, and what decodes it: pyav, or nvcodec for streams without B-frames."""
        self._codec = codec
        self._color: Color = color
        self._limits = limits
        self._parser = _open_pyav(codec, limits)
        self._decoder: PacketDecoder = self._parser
        self._wants_gpu = decoder == "nvcodec"
        self._converter: PixelConverter | None = None
        self._frames = 0
        self._corrupt = 0
        self._message = ""
        self._pts_ns = 0
        self._pending_bytes = 0
        self._packets = 0
        self._suspect = 0  # pictures that are still not trusted
        self._waiting: dict[int, int] = {}  # time by number of a packet that has no picture yet

    def feed(self, data: bytes, pts_ns: int, *, last: bool) -> Iterator[StreamFrame]:
        """Yield the pictures that these bytes complete, in presentation order.

        Args:
            data: the next bytes of the stream, cut anywhere.
            pts_ns: handed on with the pictures whose packets begin here.
            last: the stream ends; the pictures that were held back come out.

        Raises:
            FrameTooLarge: a picture is over the limits.
            DecoderFailed: nvcodec was asked for, and has no session for this stream.
        """
        self._pending_bytes += len(data)
        # A packet is known to be whole when the next one begins, so it belongs to the chunk
        # before; one that both begins and ends here is found by the parser with the first byte.
        packets = self._parser.parse(data) if data else []
        if last:
            packets += self._parser.parse(None)
        for place, packet in enumerate(packets):
            self._waiting[self._packets] = self._pts_ns if place == 0 else pts_ns
            # A fresh object each: PyAV keeps it under its address until the packet is freed.
            packet.opaque = (self._packets,)
            self._packets += 1
            if self._wants_gpu and packet.is_keyframe:
                self._open_gpu(bytes(packet))
            yield from self._decode(packet)
            self._give_up(self._packets - _HELD_BACK[self._codec])
        if packets or not self._pts_ns:
            self._pts_ns = pts_ns
        if last:
            yield from self._decode(None)
            self._give_up(self._packets)
        if self._pending_bytes > _MAX_PENDING_BYTES:
            self._pending_bytes = 0
            self._note(
                f"no {self._codec} packet in {_MAX_PENDING_BYTES >> 20} MiB; check the codec"
            )

    def take_report(self) -> FeedReport:
        """Return what was counted since the call before."""
        report = FeedReport(self._corrupt, self._message)
        self._corrupt, self._message = 0, ""
        return report

    def _open_gpu(self, key_frame: bytes) -> None:
        """Go over to the GPU, as soon as PyAV has shown what the pictures are like."""
        from service.video.nvcodec import NvcodecContext

        look = _open_pyav(self._codec, self._limits)
        try:
            pictures = look.decode(av.Packet(key_frame)) + look.decode(None)
        except av.FFmpegError:
            return
        for picture in pictures[:1]:
            self._wants_gpu = False
            self._decoder = NvcodecContext(
                self._codec,
                self._limits,
                pixel_format=picture.format.name,
                matrix=picture.colorspace,
                color_range=picture.color_range,
                is_live=True,
            )

    def _decode(self, packet: av.Packet | None) -> Iterator[StreamFrame]:
        self._pending_bytes = 0
        try:
            pictures = self._decoder.decode(packet)
        except av.FFmpegError as error:
            self._waiting.pop(self._packets - 1, None)
            self._note(f"a packet cannot be decoded: {error.strerror}")
            return
        except RuntimeError as error:  # the session on the GPU is lost
            self._decoder = _open_pyav(self._codec, self._limits)
            self._waiting.clear()
            self._note(f"nvcodec failed ({error}); PyAV goes on from the next key frame")
            return
        for picture in pictures:
            yield self._frame(picture)

    def _frame(self, picture: av.VideoFrame) -> StreamFrame:
        number = picture.opaque[0] if picture.opaque else -1
        index, pts_ns = self._frames, self._waiting.pop(number, self._pts_ns)
        self._frames += 1
        self._limits.check(f"frame {index} of the stream", picture.width, picture.height)
        if picture.is_corrupt:
            self._note(f"frame {index} is damaged")
        elif picture.key_frame:
            self._suspect = 0
        if self._suspect > 0:
            self._suspect -= 1
            reason = "is damaged, or refers to a frame that is"
            return StreamFrame(index, pts_ns, FrameStatus.CORRUPT, reason, None, None)
        if self._converter is None or not self._converter.takes(picture):
            self._converter = PixelConverter(self._color, picture.width, picture.height, 0)
        return StreamFrame(index, pts_ns, FrameStatus.OK, "", picture, self._converter)

    def _give_up(self, end: int) -> None:
        for number in [one for one in self._waiting if one < end]:
            del self._waiting[number]
            self._note("no picture came from a packet")

    def _note(self, message: str) -> None:
        """Count damage; what may refer to it is not trusted."""
        self._suspect = _MAX_SUSPECT
        self._corrupt += 1
        self._message = self._message or message


def _open_pyav(codec: ChunkCodec, limits: VideoLimits) -> av.VideoCodecContext:
    context = av.CodecContext.create(codec, "r")
    context.options = {"max_pixels": str(limits.max_pixels)}
    context.thread_count = 1  # more threads would hold frames back
    context.copy_opaque = True
    return context
