"""What the server and a decode worker say to each other, and the socket that carries it."""

import socket
import struct
from collections import deque

import msgspec

from service.bundle import InputSpec
from service.values import VideoInfo
from service.video.base import ChunkCodec, Color, VideoLimits
from service.video.ring import Shapes

_LENGTH = struct.Struct("<I")
_DESCRIPTOR = struct.Struct("@i")
_READ_BYTES = 1 << 18


class OpenFile(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the worker: read a file."""

    path: str
    color: Color | None
    """None where only `inputs` are wanted."""
    first_frame: int
    frame_limit: int | None
    limits: VideoLimits
    threads: int
    inputs: tuple[InputSpec, ...] = ()
    """Made after the full pixels, from `crop`."""
    crop: tuple[int, int, int, int] | None = None
    """x, y, width, height in px; None takes all of a frame."""
    pictures: tuple[str, ...] = ()
    """Paths of the pictures to read instead, where `path` is their folder."""
    decoder: str = "auto"
    """One of `DECODER_CHOICES`."""
    on_device: bool = False
    """Inputs may stay on the GPU if they are made there."""


class OpenChunks(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the worker: decode chunks of a live stream until `Stop`."""

    codec: ChunkCodec
    color: Color | None
    """None where only `inputs` are wanted."""
    limits: VideoLimits
    decoder: str = "pyav"
    """pyav or nvcodec."""
    inputs: tuple[InputSpec, ...] = ()
    """Made after the full pixels, from `crop`."""
    crop: tuple[int, int, int, int] | None = None
    """x, y, width, height in px; None takes all of a frame."""
    on_device: bool = False
    """Inputs may stay on the GPU if they are made there."""


class Ring(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the worker: frames go here; the file descriptor travels beside this message."""

    slots: int
    slot_bytes: int
    on_device: bool = False
    """The memory is the GPU's."""


class Begin(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the worker: send the rows of the file that is open, or a share of them."""

    share: int
    shares: int
    """Workers that read the file; each takes every so many-th stretch, from number `share` on."""


class FreeSlots(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the worker: the frames in these slots are not needed any more."""

    slots: list[int]


class Feed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the worker: bytes of a live stream; answered by `Fed`."""

    data: bytes
    pts_ns: int
    last: bool
    """The stream ends here; frames that are held back come out."""


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the worker: leave the job; answered by `Stopped`."""


class Opened(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the server: the file can be read; answered by `Begin`."""

    info: VideoInfo
    stretches: int = 1
    """So many workers can share the file; 1 where it must be read in one go."""
    stretch_frames: int = 0
    """Of the longest stretch."""
    passed_over: dict[str, str] = {}
    """Decoders of this machine that come before this one, and why each does not take the file."""


class NeedRing(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the server: frames of these arrays come; answered by `Ring`."""

    shapes: Shapes
    on_device: bool = False
    """They are on the GPU, and memory of it would save their way to the host and back."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One frame, or the news that there is none."""

    frame_index: int
    pts_ns: int
    status: int
    slot: int
    """-1 without pixels."""
    size: tuple[int, int]
    """Width and height of the whole frame, px; zeros without pixels."""
    reason: str


class Rows(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the server: the next frames, several at once since a message costs more than a frame."""

    rows: list[Row]


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the server: the job goes on, nothing to show yet."""


class Fed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the server: a `Feed` is done; its frames came before this."""

    packets_corrupt: int
    message: str


class Done(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the server: the file has no more rows; the worker is free."""

    note: str = ""
    """What PyAV decoded in place of the file's decoder, and why."""


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the server: the job cannot go on; the worker is free."""

    error: str
    """Name of a class of service.errors."""
    message: str


class Stopped(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the server: the job was left; the worker is free."""


ToWorker = OpenFile | Begin | OpenChunks | Ring | FreeSlots | Feed | Stop
ToServer = Opened | NeedRing | Rows | Beat | Fed | Done | Failed | Stopped

_encoder = msgspec.msgpack.Encoder()
_to_worker = msgspec.msgpack.Decoder(ToWorker)
_to_server = msgspec.msgpack.Decoder(ToServer)


def pack(message: ToWorker | ToServer) -> bytes:
    """Return a message as it travels: length, then msgpack."""
    data = _encoder.encode(message)
    return _LENGTH.pack(len(data)) + data


class _Inbox:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, data: bytes) -> list[bytes]:
        """Take bytes; return the messages that they complete."""
        self._bytes += data
        messages: list[bytes] = []
        start = 0
        while len(self._bytes) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._bytes, start)
            end = start + _LENGTH.size + length
            if len(self._bytes) < end:
                break
            messages.append(bytes(self._bytes[start + _LENGTH.size : end]))
            start = end
        del self._bytes[:start]
        return messages


class ServerEnd:
    """The server's end of the socket; never blocks."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end
        self._inbox = _Inbox()

    def send(self, message: ToWorker, descriptor: int | None = None) -> None:
        """Send a small message, with a file descriptor beside it or without.

        Raises:
            OSError: the worker is gone.
        """
        if descriptor is None:
            self.socket.sendall(pack(message))
        else:
            socket.send_fds(self.socket, [pack(message)], [descriptor])

    def receive(self) -> list[ToServer]:
        """Return the messages that are there.

        Raises:
            EOFError: the worker is gone.
            BlockingIOError: there are none.
        """
        try:
            data = self.socket.recv(_READ_BYTES)
        except ConnectionError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        return [_to_server.decode(message) for message in self._inbox.add(data)]


class ServerGone(Exception):
    """The server has closed its end of the socket."""


class WorkerEnd:
    """The worker's end of the socket; all of it raises `ServerGone`.

    Not OSError or EOFError: the errors of FFmpeg and of files are such, too.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(True)
        self._socket = end
        self._inbox = _Inbox()
        self._messages: deque[ToWorker] = deque()
        self._descriptors: deque[int] = deque()

    def send(self, message: ToServer) -> None:
        """Send a message; waits while the server does not read."""
        try:
            self._socket.sendall(pack(message))
        except OSError as error:
            raise ServerGone from error

    def receive(self) -> ToWorker:
        """Wait for the next message."""
        while not self._messages:
            self._read(0)
        return self._messages.popleft()

    def receive_waiting(self) -> ToWorker | None:
        """Return the next message if one is there."""
        if not self._messages:
            try:
                self._read(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
        return self._messages.popleft() if self._messages else None

    def take_descriptor(self) -> int:
        """Return the file descriptor that came beside the last message that has one."""
        return self._descriptors.popleft()

    def _read(self, flags: int) -> None:
        # Not socket.recv_fds: in Python 3.11 it leaves the flags out.
        try:
            data, ancillary, _, _ = self._socket.recvmsg(
                _READ_BYTES, socket.CMSG_LEN(_DESCRIPTOR.size), flags
            )
        except BlockingIOError:
            raise
        except OSError as error:
            raise ServerGone from error
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._descriptors.extend(_DESCRIPTOR.unpack(content))
        if not data:
            raise ServerGone
        self._messages.extend(_to_worker.decode(message) for message in self._inbox.add(data))
