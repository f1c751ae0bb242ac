"""The blocking client: the asynchronous one, run on an event loop of its own thread."""

import asyncio
import functools
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from ethostream.analysis import AsyncAnalysis
from ethostream.channel import TlsOptions
from ethostream.client import AsyncClient
from ethostream.clock import ClockOffset
from ethostream.frames import MAX_MESSAGE_BYTES
from ethostream.jobs import AsyncJobs, Job
from ethostream.ledger import Answer, LedgerCounts
from ethostream.live import AsyncLiveStream
from ethostream.session import AsyncFrameSession
from ethostream.values import BundleInfo, ResultChunk, VideoFinished, VideoStarted

_P = ParamSpec("_P")
_T = TypeVar("_T")
_W = TypeVar("_W")
_Inner = TypeVar("_Inner")


class LoopThread:
    """An event loop on a daemon thread, for as long as its owner lives."""

    def __init__(self, owner: object) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_handle_exception)
        thread = threading.Thread(target=self._loop.run_forever, name="ethostream", daemon=True)
        thread.start()
        self._stop = weakref.finalize(owner, _stop, self._loop, thread)

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run this on the loop and wait for it; an interruption of the wait cancels it."""
        if not self._stop.alive:
            work.close()
            raise RuntimeError("the client is closed; make a new one")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    @property
    def is_alive(self) -> bool:
        """False once stopped."""
        return self._stop.alive

    def stop(self) -> None:
        """Cancel what still runs and end the thread."""
        self._stop()


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(timeout=10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=10)
    loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _handle_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # With gRPC on several event loops of a process, each wakes for the others' events and finds
    # nothing to read (https://github.com/grpc/grpc/issues/25364), or that the other loop, whose
    # client was closed with calls in flight, is gone.
    error = context.get("exception")
    is_gone = isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
    if not is_gone and not isinstance(error, BlockingIOError):
        loop.default_exception_handler(context)


class _Blocking(Generic[_Inner]):
    """An asynchronous object and the thread that it runs on."""

    def __init__(self, inner: _Inner, thread: LoopThread) -> None:
        self._inner = inner
        self._thread = thread


def _blocking(
    method: Callable[Concatenate[_Inner, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[_Blocking[_Inner], _P], _T]:
    """The blocking form of an asynchronous method, with its arguments and documentation."""

    @functools.wraps(method)
    def call(self: _Blocking[_Inner], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self._thread.run(method(self._inner, *args, **kwargs))

    return call


class LiveStream(_Blocking[AsyncLiveStream]):
    """A live stream that blocks; `AsyncLiveStream` says more.

    Use it with `with`. One thread may send while another reads, or one does both in turn.
    """

    open = _blocking(AsyncLiveStream.open)
    send = _blocking(AsyncLiveStream.send)
    send_chunk = _blocking(AsyncLiveStream.send_chunk)
    finish = _blocking(AsyncLiveStream.finish)
    close = _blocking(AsyncLiveStream.aclose)

    @property
    def ledger(self) -> LedgerCounts:
        """What was taken and what became of it; after a break it is closed."""
        return self._inner.ledger

    @property
    def session_id(self) -> str:
        """Id of the session on the server; another one after each reconnect."""
        return self._inner.session_id

    @property
    def bundles(self) -> tuple[BundleInfo, ...]:
        """The bundles with resolved versions."""
        return self._inner.bundles

    @property
    def strides(self) -> tuple[int, ...]:
        """Behavior bundles: every how many-th frame is looked at, in the order of `bundles`."""
        return self._inner.strides

    @property
    def credits(self) -> int:
        """Frames that may be in flight."""
        return self._inner.credits

    @property
    def clock(self) -> ClockOffset | None:
        """How far the server's clock is ahead of this one; None before the first answer."""
        return self._inner.clock

    @property
    def reconnects(self) -> int:
        """How often the connection was made again."""
        return self._inner.reconnects

    def __iter__(self) -> Iterator[Answer]:
        """Iterate over the answers until the stream is finished and all are read."""
        while (answer := self._thread.run(_next(self._inner))) is not None:
            yield answer

    def __enter__(self) -> "LiveStream":
        """Connect."""
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish; after an error, end at once."""
        self._thread.run(self._inner.__aexit__(kind, error, traceback))


class FrameSession(_Blocking[AsyncFrameSession]):
    """A session of single calls that blocks; `AsyncFrameSession` says more."""

    analyze = _blocking(AsyncFrameSession.analyze)
    end = _blocking(AsyncFrameSession.end)

    @property
    def session_id(self) -> str:
        """Id of the session on the server; there after the first answer."""
        return self._inner.session_id

    @property
    def bundles(self) -> tuple[BundleInfo, ...]:
        """The bundles with resolved versions; there after the first answer."""
        return self._inner.bundles

    @property
    def strides(self) -> tuple[int, ...]:
        """Behavior bundles: every how many-th frame is looked at, in the order of `bundles`."""
        return self._inner.strides

    def __enter__(self) -> "FrameSession":
        """Give the session itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the session."""
        self._thread.run(self._inner.__aexit__(kind, error, traceback))


class Analysis(_Blocking[AsyncAnalysis]):
    """The analysis of one video; iterate over its chunks. `AsyncAnalysis` says more."""

    open = _blocking(AsyncAnalysis.open)
    close = _blocking(AsyncAnalysis.aclose)

    @property
    def started(self) -> VideoStarted | None:
        """The video and the resolved bundles; there after `open` or the first chunk."""
        return self._inner.started

    @property
    def finished(self) -> VideoFinished | None:
        """Counts and what was wrong with the file; there after the last chunk."""
        return self._inner.finished

    def __iter__(self) -> Iterator[ResultChunk]:
        """Iterate over the result chunks; leaving early stops the analysis."""
        try:
            while (chunk := self._thread.run(_next(self._inner))) is not None:
                yield chunk
        finally:
            self.close()


class Jobs(_Blocking[AsyncJobs]):
    """The archive jobs of a server; `AsyncJobs` says more."""

    submit = _blocking(AsyncJobs.submit)
    get = _blocking(AsyncJobs.get)
    list = _blocking(AsyncJobs.list)
    cancel = _blocking(AsyncJobs.cancel)
    retry = _blocking(AsyncJobs.retry)

    def watch(self, job_id: str, *, reconnect_seconds: float = 60.0) -> Iterator[Job]:
        """A job as it is now, then whenever it has changed, until it is over."""
        return _iterate(
            self._inner.watch(job_id, reconnect_seconds=reconnect_seconds), self._thread
        )


class Client(_Blocking[AsyncClient]):
    """A connection to a server that blocks; `AsyncClient` says more.

    Use it with `with`, or call `close` at the end. It may be shared by threads.

    Args:
        address: HOST:PORT of the server, or unix:PATH of its socket.
        token: Sent with every call as `authorization: Bearer ...`; give `tls` too on a network.
        tls: How to reach a server over TLS; None = without.
        max_message_bytes: Largest message in either direction.
        keepalive_seconds: A dead connection is noticed this long after the last traffic, plus
            10 s; 0 = leave it to TCP.
        timeout_seconds: Longest wait for the answer of a single call; streams are not limited.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        token: str | None = None,
        tls: TlsOptions | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        keepalive_seconds: float = 30.0,
        timeout_seconds: float = 60.0,
    ) -> None:
        client = AsyncClient(
            address,
            token=token,
            tls=tls,
            max_message_bytes=max_message_bytes,
            keepalive_seconds=keepalive_seconds,
            timeout_seconds=timeout_seconds,
        )
        super().__init__(client, LoopThread(self))

    analyze_all = _blocking(AsyncClient.analyze_all)
    upload = _blocking(AsyncClient.upload)
    models = _blocking(AsyncClient.models)
    model = _blocking(AsyncClient.model)
    load = _blocking(AsyncClient.load)
    unload = _blocking(AsyncClient.unload)

    @staticmethod
    def _wrapped(
        method: Callable[Concatenate[AsyncClient, _P], _T],
        wrapper: Callable[[_T, LoopThread], _W],
    ) -> Callable[Concatenate["Client", _P], _W]:
        @functools.wraps(method)
        def call(self: "Client", /, *args: _P.args, **kwargs: _P.kwargs) -> _W:
            return wrapper(method(self._inner, *args, **kwargs), self._thread)

        return call

    stream = _wrapped(AsyncClient.stream, LiveStream)
    session = _wrapped(AsyncClient.session, FrameSession)
    analyze = _wrapped(AsyncClient.analyze, Analysis)

    def watch(self) -> Iterator[BundleInfo]:
        """Every bundle as it is now, then each change, until the caller stops iterating."""
        return _iterate(self._inner.watch(), self._thread)

    @property
    def jobs(self) -> Jobs:
        """The archive jobs of the server."""
        return Jobs(self._inner.jobs, self._thread)

    def close(self) -> None:
        """Close the connection and end the thread; streams that still run are broken."""
        if self._thread.is_alive:
            self._thread.run(self._inner.close())
            self._thread.stop()

    def __enter__(self) -> "Client":
        """Give the client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()


def _iterate(items: AsyncGenerator[_T, None], thread: LoopThread) -> Iterator[_T]:
    """Iterate on another thread's loop; leaving early ends what gives the items."""
    try:
        while (item := thread.run(_next(items))) is not None:
            yield item
    finally:
        thread.run(items.aclose())


async def _next(items: AsyncIterator[_T]) -> _T | None:
    """The next item; None at the end, since an exception would end the future's iteration."""
    async for item in items:
        return item
    return None
