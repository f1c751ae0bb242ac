"""Decodes an H.264, HEVC or MJPEG byte stream that comes in pieces of any size."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import av

from service.errors import InvalidFrame
from service.values import FrameStatus
from service.video.base import ChunkCodec, ModelInputs, StoredFormat, VideoLimits, Wanted
from service.video.contexts import PacketDecoder
from service.video.makers import FrameMaker
from service.video.pixels import PixelConverter, describe_picture
from service.video.slices import H264Pictures, PictureFacts

if TYPE_CHECKING:  # most streams are decoded on the CPU
    from service.video.dali_planes import DaliPlanes
    from service.video.nvcodec import DevicePicture

# Packets that may come between a packet and its picture; MJPEG holds none back.
_HELD_BACK = {"h264": 20, "hevc": 20, "mjpeg": 0}
# Pictures that are not trusted after a damaged one, unless a key frame comes before; streams
# that refresh the picture piece by piece have none.
_MAX_SUSPECT = 300
# A camera's stream that yields no frame in this many bytes is no video of that codec.
_MAX_PENDING_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class StreamFrame:
    """One picture of a stream before anything is made of it."""

    frame_index: int
    """Count of pictures so far, damaged ones among them."""
    pts_ns: int
    """Time that was given with the chunk in which its packet began."""
    status: FrameStatus
    reason: str
    size: tuple[int, int] = (0, 0)
    """Width and height, px; zeros without a picture."""
    picture: Any = None
    """For `maker`; None where the status has no pixels."""
    maker: FrameMaker | None = field(default=None, repr=False)
    """Makes what is wanted of it."""


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
        self, codec: ChunkCodec, wanted: Wanted, limits: VideoLimits, *, decoder: str = "pyav"
    ) -> None:
        """Take what comes and what to make of it.

        Args:
            codec: of all chunks.
            wanted: what `StreamFrame.maker` makes; a crop that is not inside a frame is left out.
            limits: the largest picture that is decoded.
            decoder: pyav, or nvcodec for streams without B-frames.
        """
        self._codec = codec
        self._wanted = wanted
        self._limits = limits
        self._parser = _open_pyav(codec, limits)
        self._decoder: PacketDecoder = self._parser
        self._wants_gpu = decoder == "nvcodec"
        self._maker: FrameMaker | None = None
        self._size = (0, 0)  # of the pictures that it takes
        self._on_gpu: _OnGpu | None = None
        self._frames = 0
        self._corrupt = 0
        self._message = ""
        self._has_begun = False
        self._pts_ns = 0  # of the chunk in which the next packet began
        self._pending_bytes = 0
        self._h264 = H264Pictures(None) if codec == "h264" else None
        self._packets = 0  # both fields of a picture count as one
        self._suspect = 0  # pictures that are still not trusted
        self._damaged = self._key = -1  # numbers of the last packet of each kind
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
        if not self._has_begun:
            self._has_begun, self._pts_ns = True, pts_ns
        # A packet is known to be whole when the next one begins, so it belongs to the chunk
        # before; one that both begins and ends here is found by the parser with the first byte.
        packets = self._parser.parse(data) if data else []
        if last:
            packets += self._parser.parse(None)
        for place, packet in enumerate(packets):
            facts = self._read_facts(packet)
            if not facts.is_second_field:
                self._waiting[self._packets] = self._pts_ns if place == 0 else pts_ns
                self._packets += 1
            if facts.follows_loss:
                self._note("pictures before it were lost", self._packets - 1)
            # A fresh object each: PyAV keeps it under its address until the packet is freed.
            packet.opaque = (self._packets - 1,)
            if self._wants_gpu and packet.is_keyframe:
                self._open_gpu(bytes(packet))
            yield from self._decode(packet)
            self._give_up(self._packets - _HELD_BACK[self._codec])
        if packets:
            self._pts_ns = pts_ns
        if last:
            yield from self._decode(None)
            self._give_up(self._packets)
        if self._pending_bytes > _MAX_PENDING_BYTES:
            self._pending_bytes = 0
            self._note(
                f"no {self._codec} packet in {_MAX_PENDING_BYTES >> 20} MiB; check the codec",
                self._packets - 1,
            )

    def take_report(self) -> FeedReport:
        """Return what was counted since the call before."""
        report = FeedReport(self._corrupt, self._message)
        self._corrupt, self._message = 0, ""
        return report

    def _open_gpu(self, key_frame: bytes) -> None:
        """Go over to the GPU, as soon as PyAV has shown what the pictures are like."""
        from service.video.ladder import stays_on_gpu
        from service.video.nvcodec import NvcodecContext

        look = _open_pyav(self._codec, self._limits)
        try:
            pictures = look.decode(av.Packet(key_frame)) + look.decode(None)
        except av.FFmpegError:
            return
        for picture in pictures[:1]:
            self._wants_gpu = False
            stored = describe_picture(picture)
            if self._wanted.inputs and stays_on_gpu(stored):
                self._on_gpu, self._maker = _OnGpu(stored), None
            self._decoder = NvcodecContext(
                self._codec,
                self._limits,
                pixel_format=stored.pixel_format,
                matrix=stored.matrix,
                color_range=stored.color_range,
                is_live=True,
                stream=self._on_gpu.stream if self._on_gpu else None,
            )

    def _read_facts(self, packet: av.Packet) -> PictureFacts:
        if self._h264 is None:
            return PictureFacts()
        return self._h264.read(memoryview(packet), is_key=packet.is_keyframe)

    def _decode(self, packet: av.Packet | None) -> Iterator[StreamFrame]:
        self._pending_bytes = 0
        try:
            pictures = self._decoder.decode(packet)
        except av.FFmpegError as error:
            self._waiting.pop(self._packets - 1, None)
            self._note(f"a packet cannot be decoded: {error.strerror}", self._packets - 1)
            return
        except RuntimeError as error:  # the session on the GPU is lost
            self._decoder = _open_pyav(self._codec, self._limits)
            self._on_gpu = self._maker = None
            self._waiting.clear()
            self._note(
                f"nvcodec failed ({error}); PyAV goes on from the next key frame",
                self._packets - 1,
            )
            return
        for picture in pictures:
            yield self._frame(picture)

    def _frame(self, picture: Any) -> StreamFrame:
        number = picture.opaque[0] if picture.opaque else -1
        index, pts_ns = self._frames, self._waiting.pop(number, self._pts_ns)
        self._frames += 1
        self._limits.check(f"frame {index} of the stream", picture.width, picture.height)
        is_whole_key = picture.key_frame and not picture.is_corrupt
        if picture.is_corrupt:
            self._note(f"frame {index} is damaged", number)
        elif is_whole_key:
            self._key = number
            if self._damaged < number:  # else the decoder told of later damage before it
                self._suspect = 0
        if self._suspect > 0 and not is_whole_key:
            self._suspect -= 1
            reason = "is damaged, or refers to a frame that is"
            return StreamFrame(index, pts_ns, FrameStatus.CORRUPT, reason)
        size = (picture.width, picture.height)
        if self._maker is None or size != self._size:
            self._maker, self._size = self._open_maker(size), size
        if self._on_gpu is not None:
            picture = self._on_gpu.make(picture)
        return StreamFrame(index, pts_ns, FrameStatus.OK, "", size, picture, self._maker)

    def _open_maker(self, size: tuple[int, int]) -> FrameMaker:
        wanted = self._wanted
        pixels = PixelConverter(wanted.color or "rgb", *size, 0)
        stream = self._on_gpu.stream if self._on_gpu and wanted.on_device else None
        try:
            maker = FrameMaker(pixels, wanted, stream)
        except InvalidFrame:  # whoever takes the frame says so
            wanted = replace(wanted, crop=None)
            maker = FrameMaker(pixels, wanted, stream)
        if self._on_gpu is not None:
            self._on_gpu.open(size, wanted)
        return maker

    def _give_up(self, end: int) -> None:
        for number in [one for one in self._waiting if one < end]:
            del self._waiting[number]
            self._note("no picture came from a packet", number)

    def _note(self, message: str, number: int) -> None:
        """Count the damage of a packet; what may refer to it is not trusted.

        What comes of a packet is missed long after it: a key frame behind it may be out already.
        """
        if number >= self._key:
            self._suspect, self._damaged = _MAX_SUSPECT, max(self._damaged, number)
        self._corrupt += 1
        self._message = self._message or message


class _OnGpu:
    """Makes inputs of pictures that a decoder left in the GPU's memory."""

    def __init__(self, stored: StoredFormat) -> None:
        from service.engine.cuda import Stream

        self._stored = stored
        self._planes: DaliPlanes | None = None
        self.stream = Stream()
        """On which pictures come and inputs become ready."""

    def open(self, size: tuple[int, int], wanted: Wanted) -> None:
        """Get ready for pictures of a size, in px."""
        from service.preprocess import CropRegion
        from service.video.dali_planes import DaliPlanes

        stored = replace(self._stored, width_px=size[0], height_px=size[1])
        region = wanted.crop or CropRegion(0, 0, *size)
        self._planes = DaliPlanes(stored, wanted.inputs, region, device="gpu", stream=self.stream)

    def make(self, picture: "DevicePicture") -> ModelInputs:
        assert self._planes is not None, "it is opened for the first picture"
        return self._planes.make([picture.nv12])[0]


def _open_pyav(codec: ChunkCodec, limits: VideoLimits) -> av.VideoCodecContext:
    context = av.CodecContext.create(codec, "r")
    context.options = {"max_pixels": str(limits.max_pixels)}
    context.thread_count = 1  # more threads would hold frames back
    context.copy_opaque = True
    return context
