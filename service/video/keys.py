"""Decodes single key frames of a file, to be compared with what another decoder makes of them."""

from pathlib import Path

import av

from service.video.base import VideoLimits
from service.video.containers import find_video, open_container
from service.video.contexts import open_pyav


class KeyPictures:
    """A file that is open for its key frames; closed by `close`."""

    def __init__(self, path: Path, limits: VideoLimits) -> None:
        self._container = open_container(path, limits)
        self._stream = find_video(self._container, path)
        self._context = open_pyav(self._stream, limits, 1)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def picture(self, pts: int) -> av.VideoFrame | None:
        """Return the picture of the key frame with this time, in units of the stream's time base.

        None where it cannot be found or decoded on its own.
        """
        try:
            self._container.seek(pts, stream=self._stream)
            self._context.flush_buffers()
            for packet in self._container.demux(self._stream):
                if packet.pts == pts:
                    pictures = [*self._context.decode(packet), *self._context.decode(None)]
                    return next((one for one in pictures if not one.is_corrupt), None)
                if packet.pts is None or packet.pts > pts:
                    return None
        except av.FFmpegError:
            return None
        return None
