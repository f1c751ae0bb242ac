"""Where the frames of `ethostream stream` come from: cameras, network streams, files, folders."""

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ethostream.errors import InvalidRequest, PartMissing, SourceLost

SourceColor = Literal["gray", "rgb"]

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
_COLORSPACE_601 = 5  # ITU601, taken where a stream names no matrix, as the server does
_NO_MATRIX = (0, 2)  # RGB, unspecified
_RANGE_FULL = 2
_PROTOCOLS = ("http", "https", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp")
_NETWORK_OPTIONS = {"rtsp_transport": "tcp"}  # UDP loses packets, and with them frames
_SILENCE_SECONDS = 10.0  # of a network stream, after which it is given up
# Pictures that are not trusted after damage, unless a key frame comes before, as on the server:
# streams that refresh the picture piece by piece have none.
_MAX_SUSPECT = 300


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """A frame of a source."""

    image: NDArray[np.uint8] | bytes
    """(H, W) gray or (H, W, 3) RGB, or the bytes of an image file."""
    capture_time_ns: int
    """Files: presentation time. Others: when the frame arrived here, ns since 1970."""


class Source(Protocol):
    """Gives frames, once."""

    frame_rate_hz: float
    """Rate of the recording or camera; 0 = it is not told, or not reliably."""
    is_live: bool
    """Frames come when they are captured, and need no pace."""
    damaged: int
    """Packets that could not be decoded so far, and pictures that were left out: damaged ones, and
    those after them up to the next key frame, in which decoders show parts of others."""

    def __iter__(self) -> Iterator[SourceFrame]:
        """The frames in order."""


def open_source(source: str, *, color: SourceColor = "rgb", rate_hz: float = 0.0) -> Source:
    """Open a camera (its index or device), a network stream, a video file or an image folder.

    Args:
        source: Camera index such as 0, device such as /dev/video0, address such as
            rtsp://camera/stream or http://camera/video.mjpg, or a path.
        color: What to decode video into.
        rate_hz: Cameras: rate to ask of the device; 0 = its default.

    Raises:
        InvalidRequest: There is nothing of that name, nothing in it, or a network stream does not
            begin within 10 s.
        PartMissing: A camera or video was asked for and PyAV is not installed.
    """
    if source.isdecimal() or source.startswith(("/dev/", "video=")):
        return Video(*_camera(source), color=color, is_live=True, rate_hz=rate_hz)
    protocol, is_address, _ = source.partition("://")
    if is_address:
        if protocol.lower() not in _PROTOCOLS:
            raise InvalidRequest(
                f"{protocol}:// is no protocol of a live stream; give one of "
                f"{', '.join(_PROTOCOLS)}, or a path"
            )
        return Video(source, None, color=color, is_live=True)
    path = Path(source)
    if path.is_dir():
        return ImageFolder(path)
    if not path.is_file():
        raise InvalidRequest(
            f"no camera, file or folder '{source}'; give a camera index such as 0, or a path"
        )
    return Video(source, None, color=color, is_live=False)


class ImageFolder:
    """The JPEG and PNG files of a folder in the order of their names, sent as they are."""

    def __init__(self, folder: Path) -> None:
        self.frame_rate_hz = 0.0
        self.is_live = False
        self.damaged = 0
        self.files = sorted(
            (path for path in folder.iterdir() if path.suffix.lower() in _IMAGE_ENDINGS),
            key=_natural,
        )
        if not self.files:
            raise InvalidRequest(f"no JPEG or PNG files in {folder}; choose a folder with some")

    def __iter__(self) -> Iterator[SourceFrame]:
        """The files."""
        for path in self.files:
            yield SourceFrame(path.read_bytes(), time.time_ns())


class Video:
    """A video file, a camera or a network stream, decoded by PyAV."""

    def __init__(
        self,
        name: str,
        container_format: str | None,
        *,
        color: SourceColor,
        is_live: bool,
        rate_hz: float = 0.0,
    ) -> None:
        self._av = require_av()
        self._color = color
        self.is_live = is_live
        self.damaged = 0
        self._name = _without_password(name)
        is_remote = "://" in name
        options = {"framerate": f"{rate_hz:g}"} if rate_hz else {}
        try:
            self._container: Any = self._av.open(
                name,
                format=container_format,
                options=options | (_NETWORK_OPTIONS if is_remote else {}),
                timeout=_SILENCE_SECONDS if is_remote else None,
            )
        except self._av.error.FFmpegError as error:
            raise InvalidRequest(f"cannot open '{self._name}': {self._reason(error)}") from None
        if not self._container.streams.video:
            raise InvalidRequest(f"'{self._name}' holds no video; choose another source")
        rate = self._container.streams.video[0].average_rate
        # What network streams tell is guessed from their first packets.
        self.frame_rate_hz = 0.0 if is_remote or not rate else float(rate)

    def __iter__(self) -> Iterator[SourceFrame]:
        """The frames that are whole; what is damaged is counted and left out.

        Raises:
            SourceLost: A network stream broke, or nothing came for 10 s; all frames before were
                given.
        """
        stream = self._container.streams.video[0]
        stream.thread_type = "NONE" if self.is_live else "AUTO"  # threads hold frames back
        suspect = 0
        with self._container:
            for packet in self._packets(stream):
                try:
                    frames = packet.decode()
                except self._av.error.FFmpegError:
                    self.damaged += 1
                    suspect = _MAX_SUSPECT
                    continue
                for frame in frames:
                    if frame.is_corrupt:
                        suspect = _MAX_SUSPECT
                    elif frame.key_frame:
                        suspect = 0
                    if suspect:
                        self.damaged += 1
                        suspect -= 1
                        continue
                    now = self.is_live or frame.time is None
                    capture_time_ns = time.time_ns() if now else round(frame.time * 1e9)
                    yield SourceFrame(picture(frame, self._color), capture_time_ns)

    def _packets(self, stream: Any) -> Iterator[Any]:
        try:
            yield from self._container.demux(stream)
        except self._av.error.FFmpegError as error:
            raise SourceLost(f"'{self._name}' broke off: {self._reason(error)}") from None

    def _reason(self, error: Any) -> str:
        if isinstance(error, self._av.error.ExitError):
            return f"nothing came for {_SILENCE_SECONDS:g} s"
        return _without_password(str(error))


def picture(frame: Any, color: SourceColor) -> NDArray[np.uint8]:
    """Pixels of a PyAV frame, upright: (H, W, 3) RGB or (H, W) full-range gray."""
    converted = frame.reformat(
        format="rgb24" if color == "rgb" else "gray",
        src_colorspace=_COLORSPACE_601 if frame.colorspace in _NO_MATRIX else None,
        dst_color_range=_RANGE_FULL,
    )
    pixels: NDArray[np.uint8] = converted.to_ndarray()
    turns = frame.rotation // 90 % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def require_av() -> Any:
    """PyAV.

    Raises:
        PartMissing: It is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise PartMissing(
            "video needs PyAV, which is not installed; run `pip install 'ethostream[video]'`"
        ) from error
    return av


def _without_password(text: str) -> str:
    """Leave user and password out of addresses, which end in logs."""
    return re.sub(r"://[^/@\s]+@", "://", text)


def _camera(source: str) -> tuple[str, str]:
    if sys.platform == "darwin":
        return source, "avfoundation"
    if sys.platform == "win32":
        if source.isdecimal():
            raise InvalidRequest(
                f"Windows knows cameras by name, not by index {source}; write 'video=NAME'"
            )
        return source, "dshow"
    return f"/dev/video{source}" if source.isdecimal() else source, "v4l2"


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts frame2.png before frame10.png."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
