"""Tells key frames that a decoder can begin at from those that later frames look back beyond.

Containers call both key frames: an I-frame with a recovery point (open groups of pictures, intra
refresh) clears nothing, and what is stored after it may refer to what was before.
"""

from service.video.units import unit_starts

# ITU-T H.264, table 7-1, and H.265, table 7-1: types of units that hold picture data.
_H264_SLICES = range(1, 6)
_H264_RESETS = (5,)  # IDR
_H264_MESSAGES = 6  # SEI
_HEVC_SLICES = range(32)
_HEVC_RESETS = range(16, 21)  # BLA and IDR
# ITU-T H.264, D.1: a message, and what ends a unit of them.
_RECOVERY_POINT, _TRAILING_BITS = 6, 0x80
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
    for start in unit_starts(data, codec, extradata):
        kind = data[start] >> 1 & 0x3F if is_hevc else data[start] & 0x1F
        if kind in slices:
            return kind in resets
    return False


def is_refresh(data: memoryview, codec: str, extradata: bytes | None) -> bool:
    """Return whether a key frame begins an intra refresh: frames after it complete its picture.

    Args:
        data: of the key frame's packet.
        codec: FFmpeg's name; only H.264 says so.
        extradata: of its stream; tells how the packet is cut into units.
    """
    if codec != "h264":
        return False
    for start in unit_starts(data, codec, extradata):
        kind = data[start] & 0x1F
        if kind in _H264_SLICES:
            return False
        if kind == _H264_MESSAGES and _is_recovered_later(bytes(data[start + 1 :])):
            return True
    return False


def _is_recovered_later(unit: bytes) -> bool:
    """Look for a recovery point (ITU-T H.264, D.1.8) that more than 0 frames lead to."""
    content = unit.replace(b"\x00\x00\x03", b"\x00\x00")  # against start codes
    place = 0
    while place < len(content) and content[place] != _TRAILING_BITS:
        kind, place = _read_sum(content, place)
        size, place = _read_sum(content, place)
        if kind == _RECOVERY_POINT and place < len(content):
            return content[place] < 0x80  # the number 0 is a single bit that is set
        place += size
    return False


def _read_sum(content: bytes, place: int) -> tuple[int, int]:
    """Return a number that is the sum of bytes up to the first below 255, and the place after."""
    end = place
    while content[end : end + 1] == b"\xff":
        end += 1
    return sum(content[place : end + 1]), end + 1
