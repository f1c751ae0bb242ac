"""What Xvid and DivX put into AVI files and FFmpeg's MPEG-4 encoder does not."""

from collections.abc import Callable, Container
from pathlib import Path

import av

_VOP, _USER_DATA = b"\x00\x00\x01\xb6", b"\x00\x00\x01\xb2"
_B_VOP = 2


def drop_frames(source: Path, target: Path, dropped: Container[int]) -> None:
    """Replace frames by headers that say that the frame before is shown again."""

    def change(packets: list[bytes]) -> list[bytes]:
        return [
            _not_coded(place) if place in dropped else packet
            for place, packet in enumerate(packets)
        ]

    _rewrite(source, target, change)


def pack(source: Path, target: Path) -> None:
    """Put each B-frame into the packet of the frame before it, and a header without a frame after.

    The "packed bitstream" of DivX, for programs that expect one picture of every packet.
    """

    def change(packets: list[bytes]) -> list[bytes]:
        packed: list[bytes] = []
        for packet in packets:
            if packet[packet.index(_VOP) + 4] >> 6 == _B_VOP:
                packed[-1] += packet
                packed.append(_not_coded(0))
            else:
                packed.append(packet)
        place = packed[0].index(_VOP)
        # FFmpeg's own name goes; the letter p is how decoders know.
        head = packed[0][:place].split(_USER_DATA)[0] + _USER_DATA + b"DivX503b1393p"
        return [head + packed[0][place:], *packed[1:]]

    _rewrite(source, target, change)


def _not_coded(number: int) -> bytes:
    """Return a P-VOP whose `vop_coded` is 0; 5 bits hold its time, as at 30 frames a second."""
    bits = f"0101{number % 30:05b}100"
    bits += "1" * (-len(bits) % 8)
    return _VOP + int(bits, 2).to_bytes(len(bits) // 8, "big")


def _rewrite(source: Path, target: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        packets = [packet for packet in read.demux(video=0) if packet.size]
        contents = change([bytes(packet) for packet in packets])
        for content, packet in zip(contents, packets, strict=True):
            copy = av.Packet(content)
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe = packet.is_keyframe
            copy.stream = stream
            write.mux(copy)
