"""Every error that the client raises on purpose, mapped from the server's gRPC status.

EthostreamError                 `status` is the name of the gRPC status, the text is the server's
├── InvalidRequest              the request cannot be served as it is
│   └── InvalidFrame            an image that cannot be sent, or a frame number out of order
├── NotFound                    no such bundle, video, upload or session
├── Overloaded                  a limit of the server is reached: a size, a queue, open streams
├── PermissionDenied            the token lacks a scope, or the path is outside the roots
├── Unauthenticated             no token, or an unknown one
├── FailedPrecondition          a damaged bundle, an engine that is not installed
├── Unavailable                 no server answers at the address, or it is stopping
│   └── StreamClosed            the stream was finished or closed and takes no more frames
├── DeadlineExceeded            no answer within the time allowed
├── ServerFailed                the server, its engine or its decoder failed
├── PartMissing                 an optional package that is not installed here
├── SourceLost                  a camera or network stream that broke off
└── AnswersUnread               the caller sends frames but reads no answers
"""

import grpc


class EthostreamError(Exception):
    """Base of all errors of the client.

    Args:
        message: What happened, the value, and what to do.
        status: Name of the gRPC status where it differs from the class's own.
    """

    status: str = "UNKNOWN"

    def __init__(self, message: str, *, status: str | None = None) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status


class InvalidRequest(EthostreamError):
    """The request cannot be served as it is; sending it again will not help."""

    status = "INVALID_ARGUMENT"


class InvalidFrame(InvalidRequest):
    """An image that no encoding fits, or a frame number that does not follow the last one."""


class NotFound(EthostreamError):
    """Something that the request names does not exist."""

    status = "NOT_FOUND"


class Overloaded(EthostreamError):
    """A limit of the server is reached; the message says which."""

    status = "RESOURCE_EXHAUSTED"


class PermissionDenied(EthostreamError):
    """The caller may not do this."""

    status = "PERMISSION_DENIED"


class Unauthenticated(EthostreamError):
    """No token was sent, or an unknown one."""

    status = "UNAUTHENTICATED"


class FailedPrecondition(EthostreamError):
    """The server is not in a state to do this, such as with a damaged bundle."""

    status = "FAILED_PRECONDITION"


class Unavailable(EthostreamError):
    """No server answers at the address, or it is stopping."""

    status = "UNAVAILABLE"


class StreamClosed(Unavailable):
    """The stream was finished or closed and takes no more frames."""


class DeadlineExceeded(EthostreamError):
    """No answer came within the time allowed."""

    status = "DEADLINE_EXCEEDED"


class ServerFailed(EthostreamError):
    """The server, its engine or its decoder failed."""

    status = "INTERNAL"


class PartMissing(EthostreamError):
    """An optional package is not installed; the message says how to install it."""

    status = "FAILED_PRECONDITION"


class SourceLost(EthostreamError):
    """A camera or network stream broke off; all frames before were sent."""

    status = "UNAVAILABLE"


class AnswersUnread(EthostreamError):
    """The caller sends frames but reads no answers, and the buffer for them is full."""

    status = "RESOURCE_EXHAUSTED"


_CLASSES: dict[grpc.StatusCode, type[EthostreamError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.ABORTED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.INTERNAL: ServerFailed,
    grpc.StatusCode.UNKNOWN: ServerFailed,
    grpc.StatusCode.DATA_LOSS: ServerFailed,
}


def from_rpc_error(error: grpc.aio.AioRpcError, address: str) -> EthostreamError:
    """The typed error of a failed call; it keeps the status and the server's message."""
    return from_status(error.code(), error.details() or "", address)


def from_status(code: grpc.StatusCode, details: str, address: str) -> EthostreamError:
    """The typed error of a status and the server's message."""
    message = details or f"the server at {address} gave no reason"
    if code is grpc.StatusCode.UNAVAILABLE:
        message = f"no server answers at {address}, or it is stopping ({message}); try again"
    return _CLASSES.get(code, EthostreamError)(message, status=code.name)
