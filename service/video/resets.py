"""Tells key frames that a decoder can begin at from those that later frames look back beyond.

Containers call both key frames: an I-frame with a recovery point (open groups of pictures, intra
refresh) clears nothing, and what is stored after it may refer to what was before.
"""

from collections.abc import Iterator

# ITU-T H.264, table 7-1, and H.265, table 7-1: types of units that hold picture data.
_H264_SLICES = range(1, 6)
_H264_RESETS = (5,)  # IDR
_HEVC_SLICES = range(32)
_HEVC_RESETS = range(16, 21)  # BLA and IDR
_KEYS_RESET = (
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
    "vp8",
    "vp9",
    "mjpeg",
    "ffv1",
    "huffyuv",
    "ffvhuff",
    "rawvideo",
    "png",
)


def is_reset(data: memoryview, codec: str, extradata: bytes | None) -> bool:
    """Return whether no frame shown after a key frame refers to one stored before it.

    Args:
        data: of the key frame's packet.
        codec: FFmpeg's name; of one that is not known here (AV1 has key frames that are shown
            later), none is taken for such a frame.
        extradata: of its stream; tells how the packet is cut into units.
    """
    if codec not in ("h264", "hevc"):
        return codec in _KEYS_RESET
    is_hevc = codec == "hevc"
    slices, resets = (_HEVC_SLICES, _HEVC_RESETS) if is_hevc else (_H264_SLICES, _H264_RESETS)
    # The first byte of avcC and hvcC is 1; a stream in Annex B form begins with zeros.
    if extradata and extradata[0] == 1:
        place = 21 if is_hevc else 4
        starts = _length_starts(data, (extradata[place] & 3) + 1)
    else:
        starts = _annex_b_starts(bytes(data))
    for start in starts:
        kind = data[start] >> 1 & 0x3F if is_hevc else data[start] & 0x1F
        if kind in slices:
            return kind in resets
    return False


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
