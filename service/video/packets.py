"""The packet index of a file: which frames it should have, in which order they are shown.

Packets are read without decoding. Every decoder is checked against this index, so a frame that
a decoder drops is known by its own number and never moves the frames after it.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidVideo

NO_TIME = np.iinfo(np.int64).min
"""Stands for a time that the container does not give."""

KEY = 1
DISCARD = 2
"""Cut off by an edit list: decoded for the sake of others, not shown."""
HIDDEN = 4
"""Holds no picture that is shown (VP8 and VP9 have such packets)."""
DAMAGED = 8
"""The demuxer says that bytes of it are missing."""
EMPTY = 16
"""Zero bytes: the picture before it is shown again."""
DISPOSABLE = 32
"""No other picture refers to it."""

# A codec holds back 16 frames at most; a time stamp that moves a packet by more is not a time.
_MAX_REORDER = 32
# Read errors in a row after which the rest of a file is given up.
_MAX_READ_ERRORS = 100

Progress = Callable[[], None]


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """P packets of a video stream in file order, of which S are shown."""

    pts: NDArray[np.int64]
    """(P,) in units of the stream's time base; `NO_TIME` where not given."""
    flags: NDArray[np.uint8]
    """(P,) KEY, DISCARD, HIDDEN, DAMAGED, EMPTY, DISPOSABLE bits."""
    shown: NDArray[np.int64]
    """(S,) file positions of packets that are shown, in presentation order (by time), or in
    file order where `by_time` is false."""
    by_time: bool
    """False where times do not give the order: the decoder's order is the presentation order."""
    missing: int
    """Frames that the container lists after the end of the file's data."""

    @property
    def ranks(self) -> NDArray[np.int64]:
        """(P,) place of each packet in presentation order; -1 where it is not shown."""
        ranks = np.full(len(self.pts), -1, np.int64)
        ranks[self.shown] = np.arange(len(self.shown))
        return ranks


def read_packets(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.Packet]:
    """Yield the packets of a stream in file order; steps over read errors, ends at the last."""
    errors = 0
    while errors < _MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                if packet.size == 0 and packet.pts is None and packet.dts is None:
                    return  # the flush packet that ends a demuxer's run
                errors = 0
                yield packet
        except av.FFmpegError:
            errors += 1


def index_packets(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path, progress: Progress
) -> PacketIndex:
    """Read all packets of a stream, without decoding.

    Raises:
        InvalidVideo: there are none.
    """
    pts, flags = array("q"), bytearray()
    codec = stream.codec_context.codec.canonical_name
    size_bytes = path.stat().st_size
    for packet in read_packets(container, stream):
        time = packet.pts if packet.pts is not None else packet.dts
        pts.append(NO_TIME if time is None else time)
        flags.append(_flags(packet, codec))
        if len(pts) % 64 == 0:
            progress()
        if len(pts) > size_bytes:
            raise InvalidVideo(
                f"{path} gives more packets than it has bytes ({size_bytes}); it is damaged, "
                "record or convert it again"
            )
    if not pts:
        raise InvalidVideo(
            f"{path} has a video stream ({codec}) without a single packet; it was cut off or "
            "never written to, record it again"
        )
    times = np.frombuffer(pts, np.int64)
    bits = np.frombuffer(bytes(flags), np.uint8)
    kept = np.flatnonzero(bits & (DISCARD | HIDDEN) == 0)
    by_time = _times_give_order(container, stream, times[kept])
    order = np.argsort(times[kept], kind="stable") if by_time else np.arange(len(kept))
    return PacketIndex(
        times, bits, kept[order], by_time, _count_missing(container, stream, path, len(pts))
    )


def _flags(packet: av.Packet, codec: str) -> int:
    hidden = packet.size > 0 and codec in ("vp8", "vp9") and _is_hidden(packet, codec)
    bits = (
        (KEY, packet.is_keyframe),
        (DISCARD, packet.is_discard),
        (HIDDEN, hidden),
        (DAMAGED, packet.is_corrupt),
        (EMPTY, packet.size == 0),
        (DISPOSABLE, packet.is_disposable),
    )
    return sum(bit for bit, is_set in bits if is_set)


def _is_hidden(packet: av.Packet, codec: str) -> bool:
    """Whether the frame header says that the picture is only a reference (RFC 6386, 9.1; VP9, 6.2).

    A VP9 superframe, known by its last byte, always ends in a shown frame.
    """
    data = memoryview(packet)
    if codec == "vp8":
        return not data[0] & 0x10
    if data[-1] & 0xE0 == 0xC0:
        return False
    bits = f"{data[0]:08b}{data[min(1, len(data) - 1)]:08b}"
    header = bits[5:] if bits[2:4] == "11" else bits[4:]
    show_existing, show_frame = header[0] == "1", header[2] == "1"
    return not show_existing and not show_frame


def _times_give_order(
    container: av.container.InputContainer, stream: av.VideoStream, times: NDArray[np.int64]
) -> bool:
    if not len(times) or times.min() == NO_TIME:
        return False
    rising = bool(np.all(np.diff(times) > 0))
    if container.format.name == "avi" and rising and stream.codec_context.has_b_frames:
        return False  # AVI has no presentation times: these are only the packets' numbers
    order = np.argsort(times, kind="stable")
    return int(np.abs(order - np.arange(len(order))).max()) <= _MAX_REORDER


def _count_missing(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path, packets: int
) -> int:
    """Count frames that a cut file lists and does not hold; claims of whole files are not used.

    MP4 and MOV list every sample. AVI claims a number that is often wrong; it counts only where
    the file is shorter than its own header says.
    """
    if "mov" in container.format.name:
        entries = stream.index_entries
        return sum(not entries[place].is_discard for place in range(packets, len(entries)))
    if container.format.name == "avi":
        with path.open("rb") as file:
            header = file.read(8)
        claimed_bytes = int.from_bytes(header[4:8], "little") + 8
        # 8: the size of a RIFF chunk does not count its own header and padding.
        if header[:4] == b"RIFF" and claimed_bytes > path.stat().st_size + 8:
            return max(0, int(stream.frames) - packets)
    return 0
