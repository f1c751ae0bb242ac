"""Files of many GiB, made in seconds: silence between the frames takes no room on a disk."""

import io
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.service.video.barcode import draw_barcode

_SOUND_HZ = 192_000
_SOUND_BYTES = 64 << 20
# 16 bit, one channel; a frame for each piece of sound, as a time-lapse.
TICK_S = Fraction(_SOUND_BYTES // 2, _SOUND_HZ)


class _SparseFile(io.RawIOBase):
    """Writes holes where the bytes are zero."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb+")

    def write(self, data: object) -> int:
        """Write, or skip what is zero."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        if np.frombuffer(view, np.uint8).any():
            return self._file.write(view)
        self._file.seek(len(view), io.SEEK_CUR)
        return len(view)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move."""
        return self._file.seek(offset, whence)

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def seekable(self) -> bool:
        """Tell that the header can be completed."""
        return True

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def close(self) -> None:
        """Give the file its full length."""
        if not self._file.closed:
            end = self._file.seek(0, io.SEEK_END)
            self._file.truncate(end)
            self._file.close()
        super().close()


def write_sparse(
    path: Path, frames: int, *, codec: str, pix_fmt: str, options: Mapping[str, str]
) -> None:
    """Write frames that show 0, 1, 2, ..., one each `TICK_S`, and 64 MiB of silence between."""
    silence = bytes(_SOUND_BYTES)
    with (
        _SparseFile(path) as file,
        av.open(file, "w", format={"mkv": "matroska"}.get(path.suffix[1:], path.suffix[1:])) as out,
    ):
        video = out.add_stream(codec, rate=30, options=dict(options))
        video.width, video.height, video.pix_fmt = 96, 64, pix_fmt
        video.codec_context.time_base = TICK_S
        sound = out.add_stream("pcm_s16le", rate=_SOUND_HZ, layout="mono")
        packets = []
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(draw_barcode(number, 96, 64), "rgb24")
            frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = number, TICK_S
            packets += video.encode(frame)
        packets += video.encode(None)
        for place, packet in enumerate(packets):
            out.mux(packet)
            piece = av.Packet(silence)
            piece.stream, piece.time_base = sound, Fraction(1, _SOUND_HZ)
            piece.pts = piece.dts = place * (_SOUND_BYTES // 2)
            piece.duration = _SOUND_BYTES // 2
            piece.is_keyframe = True
            out.mux(piece)
