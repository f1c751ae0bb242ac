"""The packet index of a file: which frames it should have, in which order they are shown.

Packets are read without decoding. Every decoder is checked against this index, so a frame that
a decoder drops is known by its own number and never moves the frames after it.
"""

from array import array
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidVideo
from service.video.checksums import is_ffv1_intact
from service.video.lengths import is_cut_off
from service.video.reorders import find_b_test
from service.video.resets import is_refresh, is_reset
from service.video.slices import H264Pictures

NO_TIME = np.iinfo(np.int64).min
"""Stands for a time that the container does not give."""

KEY = 1
DISCARD = 2
"""Cut off by an edit list: decoded for the sake of others, not shown."""
HIDDEN = 4
"""Holds no picture that is shown (VP8 and VP9 have such packets)."""
DAMAGED = 8
"""Bytes of it are missing, or pictures that it may refer to."""
EMPTY = 16
"""Zero bytes: the picture before it is shown again."""
DISPOSABLE = 32
"""No other picture refers to it."""
LOST = 64
"""Listed by the container, but not found where it says: the demuxer gives no such packet."""
NOT_CODED = 128
"""Says that the picture before it is shown again (MPEG-4 part 2), unless one comes of it."""
RESET = 256
"""A key frame that no frame shown after it looks back beyond: decoders can begin there."""
REFRESH = 512
"""A key frame whose picture is whole only with those after it (intra refresh)."""
FIELD = 1024
"""Holds the second field of the picture whose first one the packet before holds."""

# A codec holds back 16 frames at most; a time stamp that moves a packet by more is not a time.
_MAX_REORDER = 32
_CHUNK_HEADER_BYTES = 8
_MAX_B_FRAMES = 4  # in a row, as encoders for AVI make them
_MAX_NOT_CODED_BYTES = 32
# Read errors in a row after which the rest of a file is given up.
_MAX_READ_ERRORS = 100

Progress = Callable[[], None]


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """P packets of a video stream in file order, of which S are shown."""

    pts: NDArray[np.int64]
    """(P,) in units of the stream's time base; `NO_TIME` where not given."""
    flags: NDArray[np.uint16]
    """(P,) KEY, DISCARD, HIDDEN, DAMAGED, EMPTY, DISPOSABLE, LOST, NOT_CODED, RESET, REFRESH,
    FIELD bits."""
    shown: NDArray[np.int32]
    """(S,) file positions of packets that are shown, in presentation order (by time), or in
    file order where `by_time` is false."""
    by_time: bool
    """False where times do not give the order: the decoder's order is the presentation order."""
    missing: int
    """Frames that the container lists after the end of the file's data."""
    can_seek: bool = True
    """False where the container's own index is wrong: every reading starts at the first packet."""
    is_cut_off: bool = False
    """The file ends before its container says; how many frames are lost is not always known."""

    @property
    def times(self) -> NDArray[np.int64]:
        """(S,) presentation times, rising, in units of the time base; empty where not all have one.

        Without presentation times, the packets' times in rising order are those of the frames.
        """
        times = np.sort(self.pts[self.shown])
        return np.empty(0, np.int64) if len(times) and times[0] == NO_TIME else times

    @property
    def ranks(self) -> NDArray[np.int32]:
        """(P,) place of each packet in presentation order; -1 where it is not shown."""
        ranks = np.full(len(self.pts), -1, np.int32)
        ranks[self.shown] = np.arange(len(self.shown))
        return ranks


def read_packets(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.Packet]:
    """Yield the packets of a stream in file order; steps over read errors, ends at the last."""
    for other in container.streams:
        if other is not stream:
            other.discard = av.stream.Discard.all  # sound is not even read
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
    pts, flags, places = array("q"), array("H"), array("q")
    intact = bytearray()  # of FFV1, whose packets have checksums
    is_avi = container.format.name == "avi"
    codec = stream.codec_context.codec.canonical_name
    extradata = stream.codec_context.extradata
    has_b_picture = find_b_test(codec)
    h264 = H264Pictures(extradata) if codec == "h264" else None
    is_known = has_b_picture is not None or h264 is not None
    is_reordered = not is_known and bool(stream.codec_context.has_b_frames)
    size_bytes = path.stat().st_size
    for packet in read_packets(container, stream):
        time = packet.pts if packet.pts is not None else packet.dts
        pts.append(NO_TIME if time is None else time)
        of_packet = _flags(packet, codec, extradata)
        if h264 is not None:
            facts = h264.read(memoryview(packet), is_key=packet.is_keyframe)
            is_reordered |= facts.is_b
            if facts.follows_loss:  # and so do those that refer to others
                of_packet = of_packet & ~DISPOSABLE | DAMAGED
            if facts.is_second_field:
                of_packet = of_packet & DAMAGED | FIELD
        elif has_b_picture is not None and not is_reordered:
            is_reordered = has_b_picture(memoryview(packet))
        flags.append(of_packet)
        if is_avi:
            places.append(packet.pos)
        if codec == "ffv1":
            intact.append(is_ffv1_intact(memoryview(packet)))
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
    bits = np.frombuffer(flags, np.uint16)
    if any(intact):  # else the encoder left the checksums out
        bits[np.frombuffer(intact, np.uint8) == 0] |= DAMAGED
    seconds = np.flatnonzero(bits & FIELD)
    bits[seconds - 1] |= bits[seconds] & DAMAGED  # one picture comes of both
    can_seek = True
    if is_avi and not _is_listed(stream, places):
        found = np.frombuffer(places, np.int64)
        times, bits, can_seek = _reconcile(stream, times, bits, found, size_bytes)
    if "mov" in container.format.name:
        times, bits = _fill_holes(stream, times, bits)
    kept = np.flatnonzero(bits & (DISCARD | HIDDEN | FIELD) == 0)
    # B-pictures are stored behind later ones. Where times rise all the same, they are only the
    # packets' numbers: AVI has no others, and copies of it into other containers keep them.
    are_numbers = is_reordered and bool(np.all(np.diff(times) > 0))
    by_time = not are_numbers and _times_give_order(times[kept])
    order = np.argsort(times[kept], kind="stable") if by_time else np.arange(len(kept))
    is_cut = is_cut_off(path, container.format.name)
    missing = _count_missing(container, stream, len(times), is_cut=is_cut)
    shown = kept[order].astype(np.int32)
    return PacketIndex(times, bits, shown, by_time, missing, can_seek, is_cut or missing > 0)


def find_rate_hz(stream: av.VideoStream, times: NDArray[np.int64]) -> float:
    """Return the average frame rate, Hz; 0 where nothing tells it.

    It is the container's word, but where that would make frames come faster than they do (some
    name the rate of their clock), it is that of the frames.

    Args:
        stream: whose container tells a rate.
        times: (S,) of the frames, rising, in units of its time base.
    """
    claimed = stream.average_rate or stream.guessed_rate
    if len(times) > 1 and claimed and stream.time_base:
        shortest = int(np.diff(times).min())
        if 1 / (claimed * stream.time_base) < shortest - 1:
            return float((len(times) - 1) / (int(times[-1] - times[0]) * stream.time_base))
    return float(claimed) if claimed else 0.0


def _is_listed(stream: av.VideoStream, places: Collection[int]) -> bool:
    """Whether the index of an AVI file lists exactly the packets that were found."""
    entries = stream.index_entries
    return len(entries) == len(places) and all(
        entry.pos + _CHUNK_HEADER_BYTES == place
        for entry, place in zip(entries, places, strict=True)
    )


def _reconcile(
    stream: av.VideoStream,
    times: NDArray[np.int64],
    bits: NDArray[np.uint16],
    places: NDArray[np.int64],
    size_bytes: int,
) -> tuple[NDArray[np.int64], NDArray[np.uint16], bool]:
    """Return times and flags with those packets that the index of an AVI file lists in addition.

    Where the header of a chunk is damaged, the demuxer goes on at the next one that it finds, and
    counts on from there: all frames after it would come under wrong numbers. Where the index
    itself is damaged, what is sought by it comes under wrong numbers: the third value is False.
    """
    numbers = (
        number
        for entry in stream.index_entries
        if entry.size
        for number in (entry.pos + _CHUNK_HEADER_BYTES, entry.timestamp)
    )
    listed = np.fromiter(numbers, np.int64).reshape(-1, 2)
    absent = ~np.isin(listed[:, 0], places)
    lost = listed[absent & (listed[:, 0] < size_bytes)]
    if not len(lost) or len(lost) == len(listed) or times.min() == NO_TIME:
        return times, bits, np.array_equal(listed[:, 0], places)
    order = np.argsort(np.append(places, lost[:, 0]), kind="stable")
    marked = np.append(bits, np.full(len(lost), LOST | DAMAGED, np.uint16))[order]
    is_lost = marked & LOST != 0
    # AVI counts frames, so those that were lost have the numbers that are left.
    counted = np.append(times, np.zeros(len(lost), np.int64))[order] + np.cumsum(is_lost)
    free = set(range(int(counted.min()), int(counted.max()) + len(lost) + 1))
    free.difference_update(counted[~is_lost].tolist())
    begin = listed[listed[:, 0] == places[0], 1]
    delay = int(times[0] - begin[0]) if len(begin) else 0
    lost_times = lost[np.argsort(lost[:, 0], kind="stable"), 1] + delay
    for position, expected in zip(np.flatnonzero(is_lost), lost_times.tolist(), strict=True):
        counted[position] = min(free, key=lambda time: abs(time - expected))
        free.remove(int(counted[position]))
        if stream.codec_context.has_b_frames:
            # Times are guessed from the packets around, so that those before it may be moved, too.
            marked[max(0, position - _MAX_B_FRAMES) : position] |= DAMAGED
    return counted, marked, False


def _fill_holes(
    stream: av.VideoStream, times: NDArray[np.int64], bits: NDArray[np.uint16]
) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """Return times and flags with those lost packets that are shown before others that are there.

    A file that was cut within a group of B-frames holds pictures that are shown after some that it
    lost. MP4 and MOV list when each packet is decoded, and these times are those of the frames, the
    same number of packets later. Where a time shows that they are not, nothing is filled.
    """
    entries = stream.index_entries
    if len(entries) <= max(1, len(times)) or np.any(bits & DISCARD):
        return times, bits
    decoded = np.array([entry.timestamp for entry in entries], np.int64)
    shown = np.sort(times)
    delay = int(np.searchsorted(decoded, shown[0]))
    # Of the last frames no packet is left to tell the times; an even rate goes on.
    beyond = decoded[-1] + (decoded[-1] - decoded[-2]) * np.arange(1, delay + 1)
    expected = np.append(decoded, beyond)[delay:]
    holes = np.setdiff1d(expected[: np.searchsorted(expected, shown[-1])], shown)
    first_moved = shown[max(0, len(shown) - 1 - _MAX_REORDER)]
    is_known = np.isin(shown, expected).all() and np.all(np.diff(shown) > 0)
    if not is_known or np.any(holes < first_moved):
        return times, bits
    lost = np.full(len(holes), LOST | DAMAGED, np.uint16)
    return np.append(times, holes), np.append(bits, lost)


def _flags(packet: av.Packet, codec: str, extradata: bytes | None) -> int:
    hidden = packet.size > 0 and codec in ("vp8", "vp9") and _is_hidden(packet, codec)
    bits = (
        (KEY, packet.is_keyframe),
        (DISCARD, packet.is_discard),
        (HIDDEN, hidden),
        (DAMAGED, packet.is_corrupt),
        (EMPTY, packet.size == 0),
        (DISPOSABLE, packet.is_disposable),
        (NOT_CODED, codec == "mpeg4" and _is_not_coded(packet)),
        (RESET, packet.is_keyframe and is_reset(memoryview(packet), codec, extradata)),
        (REFRESH, packet.is_keyframe and is_refresh(memoryview(packet), codec, extradata)),
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


def _is_not_coded(packet: av.Packet) -> bool:
    """Whether an MPEG-4 packet is the header of a P-VOP with nothing behind it.

    Recorders write one where a frame was dropped (ISO/IEC 14496-2, 6.2.5: vop_coded is 0).
    """
    if packet.size > _MAX_NOT_CODED_BYTES:
        return False
    data = bytes(packet)
    begin = data.rfind(b"\x00\x00\x01\xb6") + 4
    return 4 <= begin < len(data) <= begin + 4 and data[begin] >> 6 == 1


def _times_give_order(times: NDArray[np.int64]) -> bool:
    if not len(times) or times.min() == NO_TIME:
        return False
    order = np.argsort(times, kind="stable")
    moves = np.abs(order - np.arange(len(order)))
    if moves.any() and np.any(np.diff(times[order]) == 0):
        return False  # reordered, and the container's clock is too coarse to tell how
    return int(moves.max()) <= _MAX_REORDER


def _count_missing(
    container: av.container.InputContainer, stream: av.VideoStream, packets: int, *, is_cut: bool
) -> int:
    """Count frames that a cut file lists and does not hold; claims of whole files are not used.

    MP4 and MOV list every sample. AVI claims a number that is often wrong; it counts only where
    the file is cut off.
    """
    if "mov" in container.format.name:
        entries = stream.index_entries
        return sum(not entries[place].is_discard for place in range(packets, len(entries)))
    if container.format.name == "avi" and is_cut:
        return max(0, int(stream.frames) - packets)
    return 0
