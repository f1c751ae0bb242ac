"""A live stream: frames in, one outcome for each out, across broken connections."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING

import grpc

from ethostream import messages
from ethostream._signal import Signal
from ethostream._silence import Silence
from ethostream._status import StatusRecord
from ethostream.backoff import Backoff
from ethostream.errors import (
    AnswersUnread,
    EthostreamError,
    InvalidFrame,
    ServerFailed,
    StreamClosed,
    Unavailable,
)
from ethostream.frames import Image, encode_frame
from ethostream.ledger import Answer, BehaviorBundle, Ledger, LedgerCounts
from ethostream.options import StreamOptions
from ethostream.v1 import inference_service_pb2 as pb
from ethostream.values import BundleInfo, BundleVersion, Crop, Encoding

if TYPE_CHECKING:  # generic for the type checker only
    Call = grpc.aio.StreamStreamCall[pb.StreamFramesRequest, pb.StreamFramesResponse]

_UNREAD_LIMIT = 16_384  # answers of a few hundred bytes each: some MB, minutes of a 100 Hz camera
_UNREAD_SECONDS = 10.0  # a slow reader is waited for; one that stands still this long is an error
_START_SECONDS = 30.0  # for the server to agree to a stream
_SILENCE_SECONDS = 60.0  # without any answer while some are owed
_BROKEN = ("UNAVAILABLE", "CANCELLED")  # what a stopped, killed or unreachable server looks like
# A server that just began may still load its bundles, or count the old stream as open.
_NOT_READY = ("NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED")


class AsyncLiveStream:
    """One camera's frames in, answers out; made by `AsyncClient.stream`.

    Use it with `async with`: it connects on entry and finishes on exit. Sending and reading may
    go on in two tasks, or in turn. Every frame that `send` took gets exactly one `FrameOutcome`,
    and one `BehaviorResult` per behavior bundle, each kind in the order of the frames, also when
    the connection breaks: what the server owed then arrives as error `lost`, and behavior results
    as status ERROR.
    """

    def __init__(
        self,
        open_call: Callable[[AsyncIterator[pb.StreamFramesRequest]], "Call"],
        options: StreamOptions,
        address: str,
    ) -> None:
        self._open_call = open_call
        self._options = options
        self._address = address
        self._first_request = options.start("")  # a wrong option is told here, not when connecting
        self._ledger = Ledger()
        self._answers: deque[Answer] = deque()
        self._answered = Signal()  # an answer is there, or the stream is over
        self._changed = Signal()  # credits, connection, room or intention changed
        self._outbox: deque[pb.StreamFramesRequest] = deque()  # no longer than the credits
        self._next_index = 0
        self._run_task: asyncio.Task[None] | None = None
        self._failure: EthostreamError | None = None
        self._backoff = Backoff()
        self._is_finishing = False
        self._is_connected = False
        self._is_draining = False
        self._disconnected_at = 0.0
        self.session_id = ""
        """Id of the session on the server; another one after each reconnect."""
        self.bundles: tuple[BundleInfo, ...] = ()
        """The bundles with resolved versions."""
        self.strides: tuple[int, ...] = ()
        """Behavior bundles: every how many-th frame is looked at, in the order of `bundles`."""
        self.credits = 0
        """Frames that may be in flight."""
        self.reconnects = 0
        """How often the connection was made again."""

    @property
    def ledger(self) -> LedgerCounts:
        """What was taken and what became of it; after a break it is closed."""
        return self._ledger.counts

    async def open(self) -> None:
        """Connect and wait until the server agrees.

        Raises:
            EthostreamError: The server is not there or refuses.
        """
        if self._run_task is None:
            self._run_task = asyncio.ensure_future(self._run())
            self._run_task.add_done_callback(lambda _: self._wake_all())
        while not self._is_connected and not self._run_task.done():
            await self._changed.wait()
        self._raise_failure()

    async def send(
        self,
        image: Image,
        *,
        frame_index: int | None = None,
        capture_time_ns: int | None = None,
        encoding: Encoding | None = None,
        crop: Crop | None = None,
    ) -> int:
        """Send a frame and return its number.

        With freshness "all" this waits until the server has room for the frame. Otherwise a frame
        that finds no room is answered as skipped (`no_credit`) at once; nothing piles up.

        Args:
            image: (H, W) or (H, W, 3) uint8, or the bytes of a JPEG or PNG file.
            frame_index: Number of the frame, greater than the last one; by default one more.
            capture_time_ns: Time of capture on the camera's clock; by default now, ns since 1970.
            encoding: How to read `image`; by default told by its shape or first bytes.
            crop: Part of the frame that the models look at, instead of the stream's.

        Raises:
            InvalidFrame: The image cannot be sent, or its number does not follow the last one.
            AnswersUnread: Nobody read an answer for 10 s and the buffer for them is full.
            EthostreamError: The stream failed, or was finished.
        """
        if capture_time_ns is None:
            capture_time_ns = time.time_ns()
        if self._run_task is None:
            await self.open()
        await self._wait_for_room()
        has_credit = self._has_credit()
        if self._options.freshness == "all":
            while not has_credit:
                self._raise_if_over()
                await self._changed.wait()
                has_credit = self._has_credit()
        self._raise_if_over()
        index = self._next_index if frame_index is None else frame_index
        if index < self._next_index:
            raise InvalidFrame(
                f"frame {index} after frame {self._next_index - 1}; numbers only grow"
            )
        if not has_credit:
            self._next_index = index + 1
            self._emit(self._ledger.skip(index, capture_time_ns))
            await asyncio.sleep(0)  # a caller that never waits must not keep the answers out
            return index
        frame = encode_frame(
            image,
            frame_index=index,
            capture_time_ns=capture_time_ns,
            encoding=encoding,
            color=self._options.color,
            crop=crop,
        )
        limit = self._options.max_message_bytes - 1024  # 1024: the fields around the pixels
        if len(frame.data) > limit:
            raise InvalidFrame(
                f"frame {index} holds {len(frame.data)} bytes, over the client's limit of {limit}; "
                "send JPEG, or raise max_message_bytes here and on the server"
            )
        self._next_index = index + 1
        self._ledger.send(index, capture_time_ns)
        self._outbox.append(pb.StreamFramesRequest(frame=frame))
        self._changed.notify()
        await asyncio.sleep(0)  # the frame leaves before the caller works on
        return index

    async def finish(self) -> LedgerCounts:
        """Tell the server that no more frames come, and wait until all are answered.

        Answers that were not read yet can still be read afterwards.

        Raises:
            EthostreamError: The stream had failed.
        """
        self._is_finishing = True
        self._changed.notify()
        if self._run_task is not None:
            await asyncio.wait([self._run_task])
        self._raise_failure()
        return self.ledger

    async def aclose(self) -> None:
        """End the stream now; frames in flight are closed as lost."""
        self._is_finishing = True
        if self._run_task is not None:
            self._run_task.cancel()
            await asyncio.wait([self._run_task])

    def __aiter__(self) -> AsyncIterator[Answer]:
        """Iterate over the answers until the stream is finished and all are read."""
        return self

    async def __anext__(self) -> Answer:
        """The next answer.

        Raises:
            EthostreamError: The stream failed; all answers before that were given.
        """
        if self._run_task is None:
            await self.open()
        while not self._answers:
            if self._is_over():
                self._raise_failure()
                raise StopAsyncIteration
            await self._answered.wait()
        answer = self._answers.popleft()
        if self._unread() == _UNREAD_LIMIT - 1:
            self._changed.notify()
        return answer

    async def __aenter__(self) -> "AsyncLiveStream":
        """Connect."""
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish; after an error, end at once."""
        if error is None and self._failure is None:
            await self.finish()
        else:
            await self.aclose()

    async def _run(self) -> None:
        """Connect, talk, and connect again until the stream is over."""
        try:
            while True:
                error = await self._talk()
                if not await self._may_reconnect(error):
                    return
        except EthostreamError as error:
            self._failure = error
        except Exception as error:  # such as an answer of a newer server
            self._failure = ServerFailed(f"an answer of {self._address} cannot be read: {error!r}")
            self._failure.__cause__ = error
        finally:
            self._is_connected = False
            self._outbox.clear()
            self._emit(self._ledger.close("the stream was closed before the answer"))

    async def _talk(self) -> EthostreamError | None:
        """One connection from its start to its end."""
        call = self._open_call(self._requests())
        record = StatusRecord(call, self._address)
        self._is_draining = False
        silence = Silence(call.cancel, self._patience)
        error: EthostreamError | None = None
        try:
            async for response in call:
                silence.heard()
                self._take(response)
        except grpc.aio.AioRpcError as rpc_error:
            error = await record.error(rpc_error)
        except asyncio.CancelledError:
            if not silence.broken_after:
                raise
            did = "answered nothing for" if self._is_connected else "did not open the stream within"
            error = Unavailable(f"{self._address} {did} {silence.broken_after:g} s")
        finally:
            silence.stop()
            call.cancel()
        return error

    def _patience(self) -> float:
        """Seconds that the server may be silent now."""
        if not self._is_connected:
            return _START_SECONDS
        is_owed = self._ledger.sent_in_flight or self._is_finishing or self._is_draining
        return _SILENCE_SECONDS if is_owed else float("inf")

    async def _requests(self) -> AsyncIterator[pb.StreamFramesRequest]:
        start = self._first_request
        yield self._options.start(self.session_id) if self.session_id else start
        while True:
            while self._outbox:
                yield self._outbox.popleft()
            if self._is_finishing or self._is_draining:
                return  # half-close: the server flushes what it owes
            await self._changed.wait()

    def _take(self, response: pb.StreamFramesResponse) -> None:
        kind = response.WhichOneof("response")
        if kind == "outcome":
            self._backoff.reset()
            round_trip_ns = self._ledger.round_trip_ns(response.outcome.frame_index)
            self._emit(self._ledger.settle(messages.outcome(response.outcome, round_trip_ns)))
            self._changed.notify()
        elif kind == "behavior":
            bundle = response.behavior.bundle
            names = self._ledger.behaviors_of(BundleVersion(bundle.name, bundle.version))
            result = messages.behavior(response.behavior, names)
            self._emit(self._ledger.settle_behavior(result))
        elif kind == "started":
            self._start(response.started)
        elif kind == "drain":
            self._is_draining = True
            self._changed.notify()

    def _start(self, started: pb.StreamStarted) -> None:
        # Frames that were skipped while there was no connection are still owed behavior results.
        self._emit(self._ledger.close("the connection broke before the answer"))
        self.reconnects += bool(self.session_id)
        self.session_id = started.session_id
        self.bundles = tuple(messages.bundle_info(bundle) for bundle in started.bundles)
        self.strides = tuple(started.strides)
        self.credits = started.credits
        self._ledger.set_behavior_bundles(
            BehaviorBundle(info.bundle, info.behavior.behaviors)
            for info in self.bundles
            if info.behavior is not None
        )
        self._is_connected = True
        self._changed.notify()

    async def _may_reconnect(self, error: EthostreamError | None) -> bool:
        """Close the account of a connection that ended, and wait for the time of the next one.

        Raises:
            EthostreamError: There will be no next one.
        """
        was_connected, self._is_connected = self._is_connected, False
        was_drained = self._is_draining and error is None
        self._outbox.clear()
        self._emit(self._ledger.close("the connection broke before the answer"))
        if error is None and not was_drained and not self._is_finishing:
            error = Unavailable(f"the server at {self._address} ended the stream")
        is_new = not self.session_id
        is_retried = (
            error is None
            or error.status in _BROKEN
            or (error.status in _NOT_READY and not was_connected)
        )
        if error is not None and (is_new or not is_retried):
            raise error
        if self._is_finishing:
            return False  # nothing is open any more; the ledger tells what was lost
        if not self._options.reconnect:
            raise error or Unavailable(f"the server at {self._address} is stopping")
        now = time.monotonic()
        if was_connected:
            self._disconnected_at = now
        gives_up_at = self._disconnected_at + self._options.reconnect_seconds
        resumes_at = now + self._backoff.next_seconds()
        if error is not None and resumes_at > gives_up_at:
            raise error
        while (remaining := resumes_at - time.monotonic()) > 0 and not self._is_finishing:
            await self._changed.wait_at_most(remaining)
        return not self._is_finishing

    def _has_credit(self) -> bool:
        is_open = self._is_connected and not self._is_draining
        return is_open and self._ledger.sent_in_flight < self.credits

    def _unread(self) -> int:
        return len(self._answers) + len(self._ledger)

    async def _wait_for_room(self) -> None:
        last_unread, since = self._unread(), time.monotonic()
        while (unread := self._unread()) >= _UNREAD_LIMIT and not self._is_over():
            now = time.monotonic()
            if unread < last_unread:
                last_unread, since = unread, now
            if now - since >= _UNREAD_SECONDS:
                raise AnswersUnread(
                    f"{unread} answers wait and none was read for {_UNREAD_SECONDS:.0f} s; "
                    "iterate over the stream while sending"
                )
            await self._changed.wait_at_most(since + _UNREAD_SECONDS - now)

    def _emit(self, answers: list[Answer]) -> None:
        if answers:
            self._answers.extend(answers)
            self._answered.notify()

    def _wake_all(self) -> None:
        self._changed.notify()
        self._answered.notify()

    def _is_over(self) -> bool:
        return self._run_task is not None and self._run_task.done()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _raise_if_over(self) -> None:
        self._raise_failure()
        if self._is_finishing or self._is_over():
            raise StreamClosed("the stream is finished and takes no more frames; open a new one")
