"""Finds the units (NAL units) that packets of H.264 and HEVC are made of."""

from collections.abc import Iterator


def unit_starts(data: memoryview, codec: str, extradata: bytes | None) -> Iterator[int]:
    """Yield the begin of each unit of a packet.

    Args:
        data: of the packet.
        codec: h264 or hevc.
        extradata: of its stream; tells how the packet is cut into units.
    """
    # The first byte of avcC and hvcC is 1; a stream in Annex B form begins with zeros.
    if extradata and extradata[0] == 1:
        return _length_starts(data, (extradata[21 if codec == "hevc" else 4] & 3) + 1)
    return _annex_b_starts(bytes(data))


def _length_starts(data: memoryview, length_bytes: int) -> Iterator[int]:
    """Yield the begin of each unit; each stands behind its length."""
    place = 0
    while place + length_bytes < len(data):
        yield place + length_bytes
        place += length_bytes + int.from_bytes(data[place : place + length_bytes], "big")


def _annex_b_starts(data: bytes) -> Iterator[int]:
    """Yield the begin of each unit; each stands behind 0, 0, 1."""
    place = data.find(b"\x00\x00\x01")
    while 0 <= place < len(data) - 3:
        yield place + 3
        place = data.find(b"\x00\x00\x01", place + 3)
