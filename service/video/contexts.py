"""What turns the packets of a stream into pictures: PyAV, or a decoder that behaves like it."""

from collections.abc import Callable
from typing import Protocol

import av

from service.video.base import VideoLimits


class PacketDecoder(Protocol):
    """Turns packets into pictures as a codec context of PyAV does."""

    def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        """Return the pictures that a packet completes; None ends the stream.

        A picture's `opaque` is that of its packet; one that cannot be decoded raises
        `av.FFmpegError`.
        """
        ...


OpenContext = Callable[[av.VideoStream, VideoLimits, int], PacketDecoder]
"""Opens a decoder for a stream, with the limits of its pictures and a number of threads."""


def open_pyav(stream: av.VideoStream, limits: VideoLimits, threads: int) -> av.VideoCodecContext:
    """Return PyAV's own context of a stream."""
    context = stream.codec_context
    context.options = {"max_pixels": str(limits.max_pixels)}
    if threads > 1 or context.name == "mjpeg":
        # Several threads pass a picture on before they know whether it is damaged, and MJPEG passes
        # on whatever came of it. As an error, damage is always told.
        context.options |= {"err_detect": "explode"}
    context.thread_count = threads
    context.thread_type = "AUTO" if threads > 1 else "NONE"
    context.copy_opaque = True  # carries a packet's position to its picture
    return context
