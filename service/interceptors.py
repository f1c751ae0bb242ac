"""Cross-cutting parts of every call: who may, which status an error has, what is counted."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import msgspec
import structlog

from service import metrics
from service.errors import (
    EthostreamError,
    InvalidConfig,
    ScopeMissing,
    ServerFailed,
    Unauthenticated,
)
from service.toml_files import read_toml

log = structlog.get_logger("ethostream.calls")

if TYPE_CHECKING:  # the class takes no parameters at run time
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
else:
    Handler = grpc.RpcMethodHandler
    Context = grpc.aio.ServicerContext

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]

_OPEN_SERVICES = ("grpc.health.v1.Health",)
_OPEN_METHODS = ("ServerLive", "ServerReady", "ModelReady")
"""Of the Open Inference Protocol: they tell what the health service tells."""
_MODEL_CHANGES = ("LoadModel", "UnloadModel", "RepositoryModelLoad", "RepositoryModelUnload")


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the token file."""

    token: str
    scopes: tuple[str, ...]
    """Any of infer, models, jobs."""


def read_tokens(path: Path) -> dict[str, Token]:
    """Read the token file: TOML, one table per holder with `token` and `scopes`.

    Raises:
        InvalidConfig: it cannot be read, names nobody, a token is shorter than 16 characters, or a
            scope is unknown.
    """
    tokens = read_toml(path, dict[str, Token], "the token file")
    if not tokens:
        raise InvalidConfig(
            f"the token file {path} holds no token; add one, or leave out the token file where "
            "everybody may do everything"
        )
    for holder, entry in tokens.items():
        unknown = set(entry.scopes) - {"infer", "models", "jobs"}
        if unknown:
            raise InvalidConfig(
                f"{path}: {holder} has the scope {', '.join(sorted(unknown))}; choose of infer, "
                "models, jobs"
            )
        if len(entry.token) < 16:
            raise InvalidConfig(f"{path}: the token of {holder} is too short; use 16 or more")
    return tokens


def scope_of(method: str) -> str:
    """Return the scope that a method, such as /ethostream.v1.ModelService/LoadModel, needs."""
    service, _, name = method.strip("/").partition("/")
    if service in _OPEN_SERVICES or name in _OPEN_METHODS:
        return ""
    if name in _MODEL_CHANGES:
        return "models"
    return "jobs" if service.endswith("JobService") else "infer"


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Lets a call through only with a token whose scopes cover it."""

    def __init__(self, tokens: dict[str, Token]) -> None:
        self._tokens = tokens

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Check the `authorization: Bearer …` header."""
        scope = scope_of(handler_call_details.method)
        if scope:
            refusal = self._refuse(handler_call_details, scope)
            if refusal is not None:
                return _wrap(await continuation(handler_call_details), _raising(refusal))
        return await continuation(handler_call_details)

    def _refuse(self, details: grpc.HandlerCallDetails, scope: str) -> EthostreamError | None:
        headers = dict(details.invocation_metadata or ())
        sent = str(headers.get("authorization", ""))
        if not sent:
            return Unauthenticated(
                "this server needs a token; send the header `authorization: Bearer TOKEN`"
            )
        held = [
            entry
            for entry in self._tokens.values()
            if hmac.compare_digest(sent.encode(), f"Bearer {entry.token}".encode())
        ]
        if not held:
            return Unauthenticated("the token is not known here; ask the operator for one")
        if scope not in held[0].scopes:
            return ScopeMissing(
                f"the token has the scopes {', '.join(held[0].scopes) or 'none'}, but "
                f"{details.method} needs {scope}; ask the operator"
            )
        return None


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Maps the service's errors to status codes, and counts and logs every call."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the method's handler."""
        method = handler_call_details.method
        return _wrap(await continuation(handler_call_details), _reporting(method))


Behavior = Callable[..., Any]
"""What answers a call: named here, since the wrappers below are made anew for each."""
Wrapper = Callable[[Behavior, bool], Behavior]


def _wrap(handler: Handler | None, wrapper: Wrapper) -> Handler | None:
    """Rebuild `handler` with its behavior wrapped, whichever of the four kinds it is."""
    if handler is None:
        return None
    kinds: tuple[tuple[Any, Behavior, bool], ...] = (
        (handler.unary_unary, grpc.unary_unary_rpc_method_handler, False),
        (handler.unary_stream, grpc.unary_stream_rpc_method_handler, True),
        (handler.stream_unary, grpc.stream_unary_rpc_method_handler, False),
        (handler.stream_stream, grpc.stream_stream_rpc_method_handler, True),
    )
    for behavior, build, streams in kinds:
        if behavior is not None:
            rebuilt: Handler = build(
                wrapper(behavior, streams),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
            return rebuilt
    return handler


def _raising(error: EthostreamError) -> Wrapper:
    def wrap(behavior: Behavior, streams: bool) -> Behavior:
        async def answer(request: Any, context: Context) -> Any:
            raise error

        async def stream(request: Any, context: Context) -> Any:
            raise error
            yield

        return stream if streams else answer

    return wrap


def _reporting(method: str) -> Wrapper:
    def wrap(behavior: Behavior, streams: bool) -> Behavior:
        async def answer(request: Any, context: Context) -> Any:
            async with _reported(method, context):
                return await behavior(request, context)

        async def stream(request: Any, context: Context) -> Any:
            async with _reported(method, context), aclosing(behavior(request, context)) as answers:
                async for response in answers:
                    yield response

        return stream if streams else answer

    return wrap


@asynccontextmanager
async def _reported(method: str, context: Context) -> AsyncIterator[None]:
    """Count a call; give what it raises a status, and what nobody foresaw a trace in the log."""
    try:
        yield
    except EthostreamError as error:
        log.info("call refused", method=method, status=error.status, reason=str(error))
        await _abort(method, error, context)
    except grpc.aio.AbortError:  # the handler gave the call its status
        raise
    except Exception:  # its text is Python's, and may name files of the server
        log.exception("call failed", method=method)
        await _abort(method, ServerFailed("this call", "call failed"), context)
    metrics.REQUESTS.labels(method, "OK").inc()


async def _abort(method: str, error: EthostreamError, context: Context) -> None:
    metrics.REQUESTS.labels(method, error.status).inc()
    trailing = (("grpc-retry-pushback-ms", "500"),) if error.status == "RESOURCE_EXHAUSTED" else ()
    await context.abort(grpc.StatusCode[error.status], str(error), trailing)
