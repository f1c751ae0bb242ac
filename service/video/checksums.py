"""Checksums that some codecs keep with their pictures, and that FFmpeg checks without telling."""

import zlib

# FFV1 stores the most significant bit first, zlib the least: the bits of every byte turned round.
_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FOOTER_BYTES = 8
"""Of a slice of FFV1: its size without this, 24 bit; a status byte; the checksum, 32 bit."""


def is_ffv1_intact(packet: memoryview) -> bool:
    """Return whether the checksums of all slices of an FFV1 packet are there and right.

    They are there in version 3 (RFC 9043, 4.9), unless the encoder was told to leave them out.
    """
    end = len(packet)
    while end > _FOOTER_BYTES:
        size = int.from_bytes(packet[end - _FOOTER_BYTES : end - _FOOTER_BYTES + 3], "big")
        begin = end - _FOOTER_BYTES - size
        if begin < 0:
            return False
        turned = bytes(packet[begin:end]).translate(_TURNED)
        if zlib.crc32(turned, 0xFFFFFFFF) != 0xFFFFFFFF:
            return False
        end = begin
    return end == 0
