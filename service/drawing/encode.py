"""Writes pictures as a video file, frame by frame."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidConfig
from service.results.atomic import replacing

_CLOCK = Fraction(1, 90_000)  # fine enough for any frame rate, and MP4's usual one


@dataclass(frozen=True, slots=True)
class _Codec:
    encoder: str
    container: str
    suffix: str
    pixel_format: str
    options: dict[str, str]


_CODECS = {
    "h264": _Codec("libx264", "mp4", ".mp4", "yuv420p", {"crf": "20", "preset": "veryfast"}),
    "hevc": _Codec(
        "libx265",
        "mp4",
        ".mp4",
        "yuv420p",
        {"crf": "22", "preset": "veryfast", "tag": "hvc1", "x265-params": "log-level=error"},
    ),
    "vp9": _Codec(
        "libvpx-vp9",
        "webm",
        ".webm",
        "yuv420p",
        {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"},
    ),
    "mjpeg": _Codec("mjpeg", "matroska", ".mkv", "yuvj420p", {"q:v": "3"}),
    "ffv1": _Codec("ffv1", "matroska", ".mkv", "bgr0", {"level": "3"}),
}
CODEC_NAMES = tuple(_CODECS)


def suffix_of(codec: str) -> str:
    """Ending of the files of a codec, such as .mp4.

    Raises:
        InvalidConfig: an unknown codec.
    """
    if codec not in _CODECS:
        raise InvalidConfig(f"unknown codec {codec!r}; choose one of {', '.join(CODEC_NAMES)}")
    return _CODECS[codec].suffix


class VideoWriter:
    """Takes (H, W, 3) pictures of one size; see `open_video`."""

    def __init__(
        self, container: av.container.OutputContainer, codec: _Codec, rate: Fraction
    ) -> None:
        self._container = container
        self._codec = codec
        self._rate = rate
        self._stream: av.VideoStream | None = None
        self._last_tick = -1

    def write(self, pixels: NDArray[np.uint8], time_s: float) -> None:
        """Add a picture to be shown at `time_s`; an odd last row or column is doubled."""
        height, width = pixels.shape[:2]
        if height % 2 or width % 2:
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = self._container.add_stream(
                self._codec.encoder, rate=self._rate, options=self._codec.options
            )
            self._stream.width, self._stream.height = pixels.shape[1], pixels.shape[0]
            self._stream.pix_fmt = self._codec.pixel_format
            self._stream.codec_context.time_base = _CLOCK
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        # Damaged files repeat times; a video's times must rise.
        self._last_tick = max(self._last_tick + 1, round(time_s / _CLOCK))
        frame.pts, frame.time_base = self._last_tick, _CLOCK
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))


@contextmanager
def open_video(path: Path, codec: str, frame_rate_hz: float) -> Iterator[VideoWriter]:
    """Open a video to write; the file appears only when it is whole.

    Args:
        path: file to write; its ending should be that of `suffix_of`.
        codec: one of `CODEC_NAMES`.
        frame_rate_hz: rate that the file names; pictures keep their own times.

    Raises:
        InvalidConfig: an unknown codec.
    """
    suffix_of(codec)
    chosen = _CODECS[codec]
    rate = Fraction(frame_rate_hz or 30.0).limit_denominator(1001)
    with (
        replacing(path) as unfinished,
        av.open(str(unfinished), "w", format=chosen.container) as container,
    ):
        writer = VideoWriter(container, chosen, rate)
        yield writer
        writer.finish()
