"""Reads in the headers of H.264 what decoders do not tell: fields, losses and B-pictures.

Camcorders code interlaced video field by field, and transport streams and bare ones have a packet
for each; decoders give one picture for both. Pictures that others refer to are numbered, so that
one that was lost whole leaves a gap; decoders go on with pictures that look whole and are not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from service.video.bits import BitReader
from service.video.units import unit_starts

# ITU-T H.264, table 7-1: units of pictures, and the two that tell how their headers are read.
_SLICES = (1, 2, 5)
_SEQUENCE, _PICTURE = 7, 8
# Table 7-6: slices of type B.
_B = (1, 6)
# 7.4.2: how many of these there are at most, and bits of a number; more is damage.
_SEQUENCES, _PICTURES, _MAX_NUMBER_BITS = 32, 256, 16
# 7.3.2.1.1: profiles whose headers tell how color is stored.
_PROFILES_WITH_COLOR = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
_FOUR_FOUR_FOUR = 3
# Bytes of a packet that hold the begin of its first slice as a rule, of a slice header that hold
# all that is read of it, and of a parameter set.
_PACKET_HEAD_BYTES, _SLICE_HEAD_BYTES, _HEADER_BYTES = 2048, 24, 512
# Share of pictures that may come behind a gap for gaps to be losses: some cameras never count as
# they should.
_MOST_GAPS = 0.25


class PictureFacts(NamedTuple):
    """What the first slice of a packet tells."""

    is_b: bool = False
    """A B-picture, which may refer to later ones."""
    is_second_field: bool = False
    """The second field of the picture whose first one the packet before holds."""
    follows_loss: bool = False
    """One at least that it may refer to was lost before it."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What a sequence parameter set says of the headers of slices."""

    number_bits: int
    has_planes: bool
    """Colors are pictures of their own."""
    has_gaps: bool
    """Numbers may be left out."""
    has_fields: bool


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    is_bottom: bool


class H264Pictures:
    """Follows the packets of one stream, in file order."""

    def __init__(self, extradata: bytes | None) -> None:
        """Take the `extradata` of the stream, which may hold headers of it."""
        self._extradata = extradata
        self._sequences: dict[int, _Sequence] = {}
        self._sequence_of: dict[int, int] = {}  # by the number of a picture parameter set
        self._first_field: _Field | None = None  # whose second one may come next
        self._number = -1  # of the last picture that others refer to
        self._was_key = False
        self._counted = self._gaps = 0
        for unit in _header_units(extradata or b""):
            self._take_header(unit)

    def read(self, data: memoryview, *, is_key: bool) -> PictureFacts:
        """Return what a packet tells; none may be left out.

        Args:
            data: of the packet.
            is_key: it is a key frame: what was lost before it does not matter.
        """
        for part in (data[:_PACKET_HEAD_BYTES], data):  # long messages may come first
            for start in unit_starts(part, "h264", self._extradata):
                kind = data[start] & 0x1F
                if kind in _SLICES:
                    return self._read_slice(bytes(data[start : start + _SLICE_HEAD_BYTES]), is_key)
                if kind in (_SEQUENCE, _PICTURE):
                    self._take_header(bytes(data[start : start + _HEADER_BYTES]))
        return PictureFacts()

    def _read_slice(self, head: bytes, is_key: bool) -> PictureFacts:
        """Read a slice header (7.3.3)."""
        reader = BitReader(head[1:].replace(b"\x00\x00\x03", b"\x00\x00"))
        reader.read_golomb()  # of its first macroblock
        is_b = reader.read_golomb() in _B
        sequence = self._sequences.get(self._sequence_of.get(reader.read_golomb(), -1))
        if sequence is None:
            return PictureFacts(is_b)
        if sequence.has_planes:
            reader.read(2)
        number = reader.read(sequence.number_bits)
        if sequence.has_fields and reader.read():
            if self._pair(_Field(number, bool(reader.read()))):
                return PictureFacts(is_b, is_second_field=True)
        else:
            self._first_field = None
        is_reference = head[0] >> 5 & 3 > 0
        is_gap = self._count(number, sequence, is_reference=is_reference, is_key=is_key)
        self._counted += 1
        self._gaps += is_gap
        follows_loss = is_gap and self._gaps <= _MOST_GAPS * self._counted
        return PictureFacts(is_b, follows_loss=follows_loss)

    def _pair(self, field: _Field) -> bool:
        """Return whether a field is a second one: of the same number (7.4.1.2.4)."""
        is_second = self._first_field == _Field(field.number, not field.is_bottom)
        self._first_field = None if is_second else field
        return is_second

    def _count(self, number: int, sequence: _Sequence, *, is_reference: bool, is_key: bool) -> bool:
        """Take the number of a picture; return whether some are missing before it (7.4.3)."""
        size = 1 << sequence.number_bits
        follows = number in (self._number, (self._number + 1) % size)
        # The operation that empties the memory (8.2.1) makes the number of its picture 0.
        is_restart = self._was_key and number == 1
        is_known = self._number >= 0 and not (is_key or sequence.has_gaps)
        if is_reference:
            self._number, self._was_key = number, is_key
        elif self._number < 0 or not (follows or is_restart):
            self._number = (number - 1) % size
        return is_known and not (follows or is_restart)

    def _take_header(self, unit: bytes) -> None:
        kind = unit[0] & 0x1F if unit else 0
        if kind == _SEQUENCE:
            number, sequence = _read_sequence(unit)
            self._sequences[number % _SEQUENCES] = sequence
        elif kind == _PICTURE:
            reader = BitReader(unit[1:12])
            number = reader.read_golomb()
            self._sequence_of[number % _PICTURES] = reader.read_golomb()


def _header_units(extradata: bytes) -> Iterator[bytes]:
    """Yield the units of an avcC box (ISO/IEC 14496-15, 5.3.3), or of a begin in Annex B form."""
    if extradata[:1] != b"\x01":
        for start in unit_starts(memoryview(extradata), "h264", None):
            yield extradata[start:]
        return
    place = 5
    for mask in (0x1F, 0xFF):  # sequence parameter sets, then those of pictures
        count = extradata[place] & mask if place < len(extradata) else 0
        place += 1
        for _ in range(count):
            size = int.from_bytes(extradata[place : place + 2], "big")
            yield extradata[place + 2 : place + 2 + size]
            place += 2 + size


def _read_sequence(unit: bytes) -> tuple[int, _Sequence]:
    """Read a sequence parameter set (7.3.2.1.1) as far as it is needed; return its number, too."""
    reader = BitReader(unit[1:].replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = reader.read(8)
    reader.read(16)  # constraints, level
    number, has_planes = reader.read_golomb(), False
    if profile in _PROFILES_WITH_COLOR:
        chroma = reader.read_golomb()
        has_planes = chroma == _FOUR_FOUR_FOUR and bool(reader.read())
        reader.read_golomb()  # bits of gray levels
        reader.read_golomb()  # and of colors
        reader.read()
        if reader.read():
            for matrix in range(12 if chroma == _FOUR_FOUR_FOUR else 8):
                _skip_matrix(reader, 16 if matrix < 6 else 64)
    number_bits = min(reader.read_golomb() + 4, _MAX_NUMBER_BITS)
    _skip_order(reader)
    reader.read_golomb()  # pictures that are referred to
    has_gaps = bool(reader.read())
    reader.read_golomb()  # width
    reader.read_golomb()  # height
    return number, _Sequence(number_bits, has_planes, has_gaps, has_fields=not reader.read())


def _skip_matrix(reader: BitReader, numbers: int) -> None:
    """Go behind a scaling list (7.3.2.1.1.1), if there is one."""
    if not reader.read():
        return
    last = following = 8
    for _ in range(numbers):
        if following:
            following = (last + reader.read_signed_golomb()) % 256
        last = following or last


def _skip_order(reader: BitReader) -> None:
    """Go behind what tells how pictures are put in order."""
    kind = reader.read_golomb()
    if kind == 0:
        reader.read_golomb()
    elif kind == 1:
        reader.read()
        reader.read_golomb()
        reader.read_golomb()
        for _ in range(min(reader.read_golomb(), 255)):
            reader.read_golomb()
