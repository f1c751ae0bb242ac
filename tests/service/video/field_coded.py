"""Codes barcode frames as camcorders do, field by field: no encoder of PyAV's wheel can.

Pictures are stored raw inside H.264 (I_PCM macroblocks), in groups of eight whose second, fourth
and sixth are B-pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.service.video.barcode import draw_barcode

WIDTH_PX, HEIGHT_PX = 96, 64
_GROUP = (0, 2, 1, 4, 3, 6, 5, 7)  # as stored
_B_PICTURES = (1, 3, 5)
_FRAME_NUMBER_BITS, _ORDER_BITS = 4, 8
# ITU-T H.264, 7.4.3 and tables 7-11, 7-13, 7-14: of slices, and of raw macroblocks in them.
_I, _P, _B = 7, 5, 6
_RAW_MACROBLOCK = {_I: 25, _P: 30, _B: 48}


class _Bits:
    def __init__(self) -> None:
        self._bits: list[int] = []

    def number(self, value: int, bits: int = 1) -> None:
        self._bits += [value >> (bits - 1 - place) & 1 for place in range(bits)]

    def golomb(self, *values: int) -> None:
        for value in values:
            self.number(value + 1, 2 * (value + 1).bit_length() - 1)

    def raw(self, samples: NDArray[np.uint8]) -> None:
        self.number(0, -len(self._bits) % 8)
        self._bits += np.unpackbits(np.ascontiguousarray(samples).ravel()).tolist()

    def unit(self, kind: int, *, is_reference: bool = True) -> bytes:
        """Return a unit in Annex B form, with what keeps start codes out of it."""
        self.number(1)
        self.number(0, -len(self._bits) % 8)
        payload, zeros = bytearray([is_reference << 5 | kind]), 0
        for byte in np.packbits(np.array(self._bits, np.uint8)).tolist():
            if zeros == 2 and byte <= 3:
                payload.append(3)
                zeros = 0
            payload.append(byte)
            zeros = 0 if byte else zeros + 1
        return b"\x00\x00\x00\x01" + bytes(payload)


@dataclass(frozen=True, slots=True)
class CodedField:
    """One field of a stream."""

    frame: int
    """Place of its frame in presentation order."""
    is_bottom: bool
    is_key: bool
    data: bytes


def code_fields(frames: int, *, number_step: int = 1) -> list[CodedField]:
    """Return both fields of every frame in the order in which they are stored.

    Args:
        frames: of the recording.
        number_step: from one picture that others refer to to the next; 1 is as it should be.
    """
    stored = [begin + one for begin in range(0, frames, len(_GROUP)) for one in _GROUP]
    fields, frame_number = [], 0
    for frame in stored:
        place = frame % len(_GROUP)
        frame_number = 0 if place == 0 else frame_number
        planes = _planes(frame)
        for is_bottom in (False, True):
            is_key = place == 0 and not is_bottom
            data = b"\x00\x00\x00\x01\x09\x10" + (_headers() if is_key else b"")
            half = [plane[is_bottom::2] for plane in planes]
            data += _code_field(half, place, frame_number, is_bottom)
            fields.append(CodedField(frame, is_bottom, is_key, data))
        if place not in _B_PICTURES:
            frame_number = (frame_number + number_step) % (1 << _FRAME_NUMBER_BITS)
    return fields


def mux_fields(path: Path, fields: Sequence[CodedField], *, join: bool = False) -> Path:
    """Write 25 frames/s; `join` puts both fields of a frame into one packet."""
    data = b"".join(one.data for one in fields)
    if path.suffix == ".h264":
        path.write_bytes(data)
        return path
    bare = path.with_suffix(".h264")
    bare.write_bytes(data)
    with av.open(str(bare)) as template, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(template.streams.video[0])
        packets = [one for one in fields if not (join and one.is_bottom)]
        for place, one in enumerate(packets):
            second = next((b for b in fields if b.frame == one.frame and b.is_bottom), None)
            packet = av.Packet(one.data + (second.data if join and second else b""))
            packet.pts = 2 * one.frame + one.is_bottom + 4
            packet.duration = 2 if join else 1
            packet.dts = packet.duration * place
            packet.time_base, packet.is_keyframe = Fraction(1, 50), one.is_key
            packet.stream = stream
            container.mux(packet)
    bare.unlink()
    return path


def _planes(frame: int) -> list[NDArray[np.uint8]]:
    image = av.VideoFrame.from_ndarray(draw_barcode(frame, WIDTH_PX, HEIGHT_PX), "rgb24")
    stacked = image.reformat(format="yuv420p").to_ndarray().clip(1, 254)
    luma, chroma = stacked[:HEIGHT_PX], stacked[HEIGHT_PX:].reshape(2, HEIGHT_PX // 2, -1)
    return [luma, *chroma]


def _code_field(
    planes: Sequence[NDArray[np.uint8]], place: int, frame_number: int, is_bottom: bool
) -> bytes:
    is_b, is_reset = place in _B_PICTURES, place == 0 and not is_bottom
    kind = _I if is_reset else _B if is_b else _P
    bits = _Bits()
    bits.golomb(0, kind, 0)
    bits.number(frame_number, _FRAME_NUMBER_BITS)
    bits.number(1)  # a field
    bits.number(is_bottom)
    if is_reset:
        bits.golomb(0)
    bits.number(2 * place + is_bottom, _ORDER_BITS)
    bits.number(0, {_I: 2, _P: 3, _B: 4}[kind])  # references as usual
    bits.golomb(0, 1)  # quantization as in the headers; edges stay as they are
    for row in range(len(planes[0]) // 16):
        for column in range(WIDTH_PX // 16):
            bits.golomb(*([] if kind == _I else [0]), _RAW_MACROBLOCK[kind])
            for plane, size in zip(planes, (16, 8, 8), strict=True):
                rows = plane[row * size : (row + 1) * size]
                bits.raw(rows[:, column * size : (column + 1) * size])
    return bits.unit(5 if is_reset else 1, is_reference=not is_b)


def _headers() -> bytes:
    sequence = _Bits()
    sequence.number(77, 8)  # Main profile
    sequence.number(0, 8)
    sequence.number(30, 8)
    sequence.golomb(0, _FRAME_NUMBER_BITS - 4, 0, _ORDER_BITS - 4, 4)
    sequence.number(0)
    sequence.golomb(WIDTH_PX // 16 - 1, HEIGHT_PX // 32 - 1)
    sequence.number(0b00101, 5)  # fields, 8x8 prediction, no crop; more follows
    sequence.number(0b0000000011, 10)
    sequence.golomb(0, 0, 10, 10, 1, 4)  # one picture is held back, four are kept
    picture = _Bits()
    picture.golomb(0, 0)
    picture.number(0, 2)
    picture.golomb(0, 0, 0)
    picture.number(0, 3)
    picture.golomb(0, 0, 0)
    picture.number(0b100, 3)
    return sequence.unit(7) + picture.unit(8)
