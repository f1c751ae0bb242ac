"""What becomes of a call whose handler raises: its status, its text, its count, its trace."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import structlog
from prometheus_client import REGISTRY
from structlog.testing import LogCapture

from service.errors import InvalidRequest
from service.interceptors import CallInterceptor

SECRET = "/srv/mice/secret.mp4"
Status = grpc.StatusCode


class Handlers:
    """Methods of all four kinds, each of which fails as the request says."""

    async def one(self, request: bytes, context: Any) -> bytes:
        return await fail(request, context)

    async def many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        yield await fail(request, context)

    async def one_of_many(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return await fail(await anext(aiter(requests)), context)

    async def many_of_many(
        self, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        async for request in requests:
            yield await fail(request, context)


async def fail(how: bytes, context: Any) -> bytes:
    match how:
        case b"bug":
            raise FileNotFoundError(2, "No such file or directory", SECRET)
        case b"refuse":
            raise InvalidRequest("send another one")
        case b"abort":
            await context.abort(Status.ALREADY_EXISTS, "by the handler")
    return how


KINDS = {
    "one": ("unary_unary", grpc.unary_unary_rpc_method_handler),
    "many": ("unary_stream", grpc.unary_stream_rpc_method_handler),
    "one_of_many": ("stream_unary", grpc.stream_unary_rpc_method_handler),
    "many_of_many": ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


@asynccontextmanager
async def serving() -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    handlers = {name: build(getattr(Handlers(), name)) for name, (_, build) in KINDS.items()}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Calls", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(None)


async def ask(name: str, how: bytes) -> tuple[grpc.StatusCode, str]:
    """Make a call; return its status and the text that came with it."""
    kind, _ = KINDS[name]
    request = iter([how]) if kind.startswith("stream") else how
    async with serving() as channel:
        call = getattr(channel, kind)(f"/test.Calls/{name}")(request)
        try:
            if kind.endswith("stream"):
                async for _ in call:
                    pass
            else:
                await call
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
    return Status.OK, ""


def counted(name: str, status: str) -> float:
    labels = {"method": f"/test.Calls/{name}", "status": status}
    return REGISTRY.get_sample_value("ethostream_requests_total", labels) or 0.0


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    capture = LogCapture()
    kept = structlog.wrap_logger(structlog.PrintLogger(), processors=[capture])
    monkeypatch.setattr("service.interceptors.log", kept)
    return capture


@pytest.mark.parametrize("name", KINDS)
async def test_a_bug_ends_its_call_as_internal_says_nothing_of_the_server_and_is_logged(
    name, logged
):
    before = counted(name, "INTERNAL")
    status, text = await ask(name, b"bug")
    assert status is Status.INTERNAL
    assert SECRET not in text
    assert "its log has the trace as 'call failed'" in text
    assert counted(name, "INTERNAL") == before + 1
    (entry,) = (one for one in logged.entries if one["event"] == "call failed")
    assert entry["method"] == f"/test.Calls/{name}"
    assert entry["exc_info"]


@pytest.mark.parametrize("name", KINDS)
async def test_what_is_refused_is_told_and_counted(name):
    before = counted(name, "INVALID_ARGUMENT")
    assert await ask(name, b"refuse") == (Status.INVALID_ARGUMENT, "send another one")
    assert counted(name, "INVALID_ARGUMENT") == before + 1


@pytest.mark.parametrize("name", KINDS)
async def test_the_status_that_a_handler_gave_is_kept(name):
    before = counted(name, "INTERNAL")
    assert await ask(name, b"abort") == (Status.ALREADY_EXISTS, "by the handler")
    assert counted(name, "INTERNAL") == before


@pytest.mark.parametrize("name", KINDS)
async def test_what_is_answered_is_counted(name):
    before = counted(name, "OK")
    assert await ask(name, b"answer") == (Status.OK, "")
    assert counted(name, "OK") == before + 1
