"""Every error that the service raises on purpose, each naming the gRPC status that it maps to.

EthostreamError
├── InvalidRequest (INVALID_ARGUMENT)
│   ├── InvalidFrame            a frame that cannot be read as what it says it is
│   ├── FrameOutOfOrder         a frame index that does not follow the one before
│   ├── InvalidVideo            a file or chunk that holds no decodable video
│   ├── InvalidConfig           a setting outside its range
│   └── FrameRateMismatch       a recording that the bundle's stride rule cannot meet
├── NotFound (NOT_FOUND)
│   ├── BundleNotFound
│   ├── VideoNotFound
│   ├── UploadNotFound
│   ├── SessionNotFound
│   └── JobNotFound
├── LimitExceeded (RESOURCE_EXHAUSTED)
│   ├── FrameTooLarge           more bytes or pixels than the server takes
│   └── Overloaded              a queue or the stream limit is full; try again later
├── NotAllowed (PERMISSION_DENIED)
│   ├── PathOutsideRoots
│   ├── ScopeMissing
│   └── SharedMemoryRefused     the server cannot or may not read the memory of a client
├── Unauthenticated (UNAUTHENTICATED)
├── BundleInvalid (FAILED_PRECONDITION)     wrong hash, missing file, unknown format
├── JobsUnavailable (FAILED_PRECONDITION)   the server has no folder for jobs
├── EngineUnavailable (FAILED_PRECONDITION) a run-time that is not installed here
├── EngineFailed (INTERNAL)
├── DecoderFailed (INTERNAL)                the decode worker died
├── ServerFailed (INTERNAL)                 a bug of ours met a frame or call; the log has the trace
├── RemoteFailed (UNAVAILABLE)              another server did not answer as it should
├── LeaseLost (ABORTED)                     another process works on the video now
└── ShuttingDown (UNAVAILABLE)

A message says what happened, the value, and what to do.
"""

from typing import ClassVar


class EthostreamError(Exception):
    """Base of all errors that a client may see; `status` is the name of a grpc.StatusCode."""

    status: ClassVar[str] = "UNKNOWN"


class InvalidRequest(EthostreamError):
    """The request cannot be served as it is; sending it again will not help."""

    status = "INVALID_ARGUMENT"


class InvalidFrame(InvalidRequest):
    """A frame's bytes do not match its declared encoding or size."""


class FrameDamaged(InvalidFrame):
    """An encoded picture is not whole."""


class FrameOutOfOrder(InvalidRequest):
    """A frame index is not greater than the one before it in the session."""


class InvalidVideo(InvalidRequest):
    """A file or an upload holds no video that can be decoded."""


class InvalidConfig(InvalidRequest):
    """A setting is unknown or outside its range."""


class FrameRateMismatch(InvalidRequest):
    """A recording's frame rate cannot be brought to the bundle's by a whole stride."""


class NotFound(EthostreamError):
    """Something named by the request does not exist."""

    status = "NOT_FOUND"


class BundleNotFound(NotFound):
    """No bundle of that name and version is loaded, or stored."""


class VideoNotFound(NotFound):
    """No file is at the path."""


class UploadNotFound(NotFound):
    """No finished upload has that id."""


class SessionNotFound(NotFound):
    """No session has that id, or it was closed after being idle."""


class JobNotFound(NotFound):
    """No job has that id."""


class LimitExceeded(EthostreamError):
    """A limit of the server is reached."""

    status = "RESOURCE_EXHAUSTED"


class FrameTooLarge(LimitExceeded):
    """A frame holds more bytes or pixels than the server's limit."""


class Overloaded(LimitExceeded):
    """The server has all the work that it can queue; try again after a moment."""


class NotAllowed(EthostreamError):
    """The caller may not do this."""

    status = "PERMISSION_DENIED"


class PathOutsideRoots(NotAllowed):
    """A path is not below any of the configured roots."""


class ScopeMissing(NotAllowed):
    """The token lacks the scope that the call needs."""


class SharedMemoryRefused(NotAllowed):
    """The server cannot or may not read the memory in which a client lays its frames."""


class Unauthenticated(EthostreamError):
    """No token was sent, or an unknown one."""

    status = "UNAUTHENTICATED"


class BundleInvalid(EthostreamError):
    """A bundle on disk is damaged, incomplete or of an unknown format."""

    status = "FAILED_PRECONDITION"


class JobsUnavailable(EthostreamError):
    """The server was started without a folder for jobs."""

    status = "FAILED_PRECONDITION"


class EngineUnavailable(EthostreamError):
    """A run-time library or device that was asked for is not on this machine."""

    status = "FAILED_PRECONDITION"


class EngineFailed(EthostreamError):
    """An engine raised while it computed a batch."""

    status = "INTERNAL"


class DecoderFailed(EthostreamError):
    """A decode worker died; the file it worked on is the suspect."""

    status = "INTERNAL"


class ServerFailed(EthostreamError):
    """A bug of the service met a frame or a call; the log has the trace, which may name its files.

    Args:
        what: it met.
        event: of the entry in the log.
    """

    status = "INTERNAL"

    def __init__(self, what: str, event: str) -> None:
        super().__init__(
            f"an error inside the server ended {what}; its log has the trace as {event!r}: ask the "
            "operator, and report it"
        )


class RemoteFailed(EthostreamError):
    """Another server, that was to compute, refused or failed."""

    status = "UNAVAILABLE"


class LeaseLost(EthostreamError):
    """Another process has taken over a video, since this one showed no sign of life."""

    status = "ABORTED"


class ShuttingDown(EthostreamError):
    """The server is draining and takes no new work."""

    status = "UNAVAILABLE"
