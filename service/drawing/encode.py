"""Writes pictures as a video file, frame by frame."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from service.encoders import Encoder, find_encoder
from service.results.atomic import replacing

_CLOCK = Fraction(1, 90_000)  # fine enough for any frame rate, and MP4's usual one


def suffix_of(codec: str) -> str:
    """Ending of the files of a codec, such as .mp4.

    Raises:
        InvalidConfig: an unknown codec.
    """
    return _find(codec).suffix


class VideoWriter:
    """Takes (H, W, 3) pictures of one size; see `open_video`."""

    def __init__(
        self, container: av.container.OutputContainer, codec: Encoder, rate: Fraction
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
                self._codec.name, rate=self._rate, options=self._codec.options
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
        codec: one of `service.encoders.CODEC_NAMES`.
        frame_rate_hz: rate that the file names; pictures keep their own times.

    Raises:
        InvalidConfig: an unknown codec.
    """
    chosen = _find(codec)
    rate = Fraction(frame_rate_hz or 30.0).limit_denominator(1001)
    with (
        replacing(path) as unfinished,
        av.open(str(unfinished), "w", format=chosen.container) as container,
    ):
        writer = VideoWriter(container, chosen, rate)
        yield writer
        writer.finish()


def _find(codec: str) -> Encoder:
    encoder = find_encoder(codec)
    if encoder.container == "avi":  # which knows no times but those of an even rate
        return replace(encoder, container="matroska", suffix=".mkv")
    return encoder
