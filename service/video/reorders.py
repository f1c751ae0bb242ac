"""Tells pictures that may refer to later ones (B-pictures), which are stored behind these."""

from collections.abc import Callable

# ISO/IEC 14496-2, 6.3.5: a coded picture, and the type of one of type B.
_MPEG4_PICTURE, _MPEG4_B = b"\x00\x00\x01\xb6", 2
# ITU-T H.262, 6.2.3: the same; the type stands behind a number of 10 bits.
_MPEG2_PICTURE, _MPEG2_B = b"\x00\x00\x01\x00", 3

HasBPicture = Callable[[memoryview], bool]
"""Whether one of the pictures of a packet is a B-picture."""


def find_b_test(codec: str) -> HasBPicture | None:
    """Return what tells B-pictures of a codec, FFmpeg's name; None where it is not known here.

    Those of H.264 are told by `service.video.slices`.
    """
    return {"mpeg4": _has_mpeg4_b, "mpeg1video": _has_mpeg2_b, "mpeg2video": _has_mpeg2_b}.get(
        codec
    )


def _has_mpeg4_b(data: memoryview) -> bool:
    # A packed bitstream has the B-picture behind the one that it refers to.
    return any(part[:1] and part[0] >> 6 == _MPEG4_B for part in _behind(data, _MPEG4_PICTURE))


def _has_mpeg2_b(data: memoryview) -> bool:
    parts = _behind(data, _MPEG2_PICTURE)
    return any(part[1:2] and part[1] >> 3 & 7 == _MPEG2_B for part in parts)


def _behind(data: memoryview, mark: bytes) -> list[bytes]:
    return bytes(data).split(mark)[1:]
