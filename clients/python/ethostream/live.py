"""A live stream: frames or chunks in, one outcome a frame out, across broken connections."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING

import grpc

from ethostream import messages
from ethostream._answers import AnswerQueue
from ethostream._reconnect import Reconnect
from ethostream._settle import behavior_bundles, settle
from ethostream._shared_memory import open_frame_memory
from ethostream._signal import Signal
from ethostream._silence import Silence
from ethostream._status import StatusRecord
from ethostream.clock import ClockEstimator, ClockOffset
from ethostream.errors import (
    EthostreamError,
    InvalidFrame,
    InvalidRequest,
    PermissionDenied,
    ServerFailed,
    StreamClosed,
    Unavailable,
)
from ethostream.frames import Image, encode_chunk, encode_frame
from ethostream.ledger import Answer, Ledger, LedgerCounts
from ethostream.options import StreamOptions
from ethostream.v1 import inference_service_pb2 as pb
from ethostream.values import BundleInfo, ChunkCodec, Crop, Encoding

if TYPE_CHECKING:  # generic for the type checker only
    Call = grpc.aio.StreamStreamCall[pb.StreamFramesRequest, pb.StreamFramesResponse]

_START_SECONDS = 30.0  # for the server to agree to a stream
_SILENCE_SECONDS = 60.0  # without any answer while some are owed
_BROKE = "the connection broke before the answer"


class AsyncLiveStream:
    """One camera's frames in, answers out; made by `AsyncClient.stream`.

    Use it with `async with`: it connects on entry and finishes on exit. Sending and reading may go
    on in two tasks, or in turn. Every frame that `send` took gets exactly one `FrameOutcome`, and
    one `BehaviorResult` per behavior bundle, each kind in the order of the frames, also when the
    connection breaks: what the server owed arrives as error `lost`, behavior results as status
    ERROR. Encoded video goes by `send_chunk` instead.
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
        options.start("")  # a wrong option is told here, not when connecting
        self._memory = open_frame_memory(options.shared_memory, address)
        self._ledger = Ledger()
        self._answers = AnswerQueue(lambda: len(self._ledger))
        self._clock = ClockEstimator()
        self._changed = Signal()  # credits, connection or intention changed
        self._outbox: deque[pb.StreamFramesRequest] = deque()  # no longer than the credits
        self._next_index = 0  # of the next frame, or of the next chunk
        self._codec: ChunkCodec | None = None  # where chunks are sent
        self._run_task: asyncio.Task[None] | None = None
        self._failure: EthostreamError | None = None
        self._reconnect = Reconnect(options.reconnect_seconds)
        self._is_finishing = self._is_connected = self._is_draining = False
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
    def clock(self) -> ClockOffset | None:
        """How far the server's clock is ahead of this one; None before the first answer."""
        return self._clock.offset

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
            self._run_task.add_done_callback(lambda _: self._end())
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
            EthostreamError: The stream failed, was finished, or sends chunks.
        """
        if capture_time_ns is None:
            capture_time_ns = time.time_ns()
        if self._codec is not None:
            raise InvalidRequest("this stream sends chunks; open another one for frames")
        has_credit = await self._wait_for_credit(is_patient=self._options.freshness == "all")
        index = self._checked_index("frame", frame_index)
        if has_credit:
            frame = encode_frame(
                image,
                frame_index=index,
                capture_time_ns=capture_time_ns,
                encoding=encoding,
                color=self._options.color,
                crop=crop,
                max_message_bytes=self._options.max_message_bytes,
                memory=self._memory,
            )
            self._ledger.send(index, capture_time_ns)
            self._put(pb.StreamFramesRequest(frame=frame))
        else:
            self._answers.push(self._ledger.skip(index, capture_time_ns))
        self._next_index = index + 1
        # What was sent leaves before the caller works on, who must not keep the answers out either.
        await asyncio.sleep(0)
        return index

    async def send_chunk(
        self,
        data: bytes | bytearray | memoryview,
        *,
        codec: ChunkCodec,
        chunk_index: int | None = None,
        capture_time_ns: int | None = None,
    ) -> int:
        """Send a piece of encoded video and return its number.

        This waits while as many chunks as there are credits have no acknowledgement, whatever the
        freshness: later pictures rest on earlier ones. Each chunk gets one `ChunkAcknowledgement`,
        each frame decoded one `FrameOutcome`, numbered from 0 in the order of presentation. After
        a break, pictures come again with the next key frame.

        Args:
            data: Bytes in stream order, cut anywhere, usually one picture: Annex B for h264 and
                hevc, JPEGs in a row for mjpeg.
            codec: The same for all chunks.
            chunk_index: Number of the chunk, greater than the last one; by default one more.
            capture_time_ns: Time of capture of its first frame on the camera's clock; by default
                now, ns since 1970.

        Raises:
            InvalidFrame: The chunk cannot be sent, or its number does not follow the last one.
            AnswersUnread: Nobody read an answer for 10 s and the buffer for them is full.
            EthostreamError: The stream failed, was finished, or sends frames or another codec.
        """
        if capture_time_ns is None:
            capture_time_ns = time.time_ns()
        if self._next_index and self._codec != codec:
            sends = f"{self._codec} chunks" if self._codec else "frames"
            raise InvalidRequest(f"this stream sends {sends}; open another one for {codec} chunks")
        await self._wait_for_credit(is_patient=True)
        index = self._checked_index("chunk", chunk_index)
        chunk = encode_chunk(
            data,
            chunk_index=index,
            capture_time_ns=capture_time_ns,
            codec=codec,
            max_message_bytes=self._options.max_message_bytes,
        )
        self._codec = codec
        self._ledger.send_chunk(index, capture_time_ns)
        self._put(pb.StreamFramesRequest(chunk=chunk))
        self._next_index = index + 1
        await asyncio.sleep(0)  # as for frames
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
        answer = await self._answers.next()
        if answer is None:
            self._raise_failure()
            raise StopAsyncIteration
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
                if self._does_without_memory(error):
                    continue
                if not await self._may_reconnect(error):
                    return
        except EthostreamError as error:
            self._failure = error
        except Exception as error:  # such as an answer of a newer server
            self._failure = ServerFailed(f"an answer of {self._address} cannot be read: {error!r}")
            self._failure.__cause__ = error
        finally:
            self._is_connected = False
            if self._memory is not None:
                self._memory.close()
            self._answers.push(self._ledger.close("the stream was closed before the answer"))

    async def _talk(self) -> EthostreamError | None:
        """One connection from its start to its end."""
        self._outbox = deque()  # a new one: gRPC may still read requests for the last connection
        call = self._open_call(self._requests(self._outbox))
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
        is_owed = not self._ledger.counts.is_closed or self._is_finishing or self._is_draining
        return _SILENCE_SECONDS if is_owed else float("inf")

    async def _requests(
        self, outbox: deque[pb.StreamFramesRequest]
    ) -> AsyncIterator[pb.StreamFramesRequest]:
        first = self._options.start(self.session_id)
        if self._memory is not None:
            self._memory.release_all()  # of the last connection
            first.start.shared_memory.CopyFrom(self._memory.announcement())
        yield first
        while True:
            while outbox:
                yield outbox.popleft()
            if self._is_finishing or self._is_draining:
                return  # half-close: the server flushes what it owes
            await self._changed.wait()

    def _take(self, response: pb.StreamFramesResponse) -> None:
        kind = response.WhichOneof("response")
        if kind == "started":
            self._start(response.started)
        elif kind == "drain":
            self._is_draining = True
        elif kind != "ended":
            self._reconnect.works()
            if kind == "outcome" and self._memory is not None:
                self._memory.release(response.outcome.frame_index)
            self._answers.push(settle(response, self._ledger, self._clock))
        self._changed.notify()

    def _start(self, started: pb.StreamStarted) -> None:
        # Frames that were skipped while there was no connection are still owed behavior results.
        self._answers.push(self._ledger.close(_BROKE))
        self.reconnects += bool(self.session_id)
        self.session_id = started.session_id
        self.bundles = tuple(messages.bundle_info(bundle) for bundle in started.bundles)
        self.strides = tuple(started.strides)
        self.credits = started.credits
        self._ledger.set_behavior_bundles(behavior_bundles(self.bundles))
        self._is_connected = True

    def _does_without_memory(self, error: EthostreamError | None) -> bool:
        """Whether the server refused to read the memory that it was offered on the chance."""
        if not isinstance(error, PermissionDenied) or self._is_connected or self._memory is None:
            return False
        if self._options.shared_memory != "auto":
            return False
        self._memory.close()
        self._memory = None
        return True

    async def _may_reconnect(self, error: EthostreamError | None) -> bool:
        """Close the account of a connection that ended, and wait for the time of the next one.

        Raises:
            EthostreamError: There will be no next one.
        """
        was_connected, self._is_connected = self._is_connected, False
        was_drained = self._is_draining and error is None
        self._answers.push(self._ledger.close(_BROKE))
        if error is None and not was_drained and not self._is_finishing:
            error = Unavailable(f"the server at {self._address} ended the stream")
        is_retried = bool(self.session_id) and (
            error is None or self._reconnect.is_worth_it(error, was_connected=was_connected)
        )
        if error is not None and not is_retried:
            raise error
        if self._is_finishing:
            return False  # nothing is open any more; the ledger tells what was lost
        if not self._options.reconnect:
            raise error or Unavailable(f"the server at {self._address} is stopping")
        resumes_at = self._reconnect.resumes_at(error, was_connected=was_connected)
        while (remaining := resumes_at - time.monotonic()) > 0 and not self._is_finishing:
            await self._changed.wait_at_most(remaining)
        return not self._is_finishing

    async def _wait_for_credit(self, *, is_patient: bool) -> bool:
        """Connect, wait for room among the answers, where patient for credit; tell if there is."""
        if self._run_task is None:
            await self.open()
        await self._answers.wait_for_room()
        while is_patient and not self._has_credit():
            self._raise_if_over()
            await self._changed.wait()
        self._raise_if_over()
        return self._has_credit()

    def _has_credit(self) -> bool:
        is_open = self._is_connected and not self._is_draining
        in_flight = max(self._ledger.sent_in_flight, self._ledger.counts.chunks_in_flight)
        return is_open and in_flight < self.credits

    def _checked_index(self, kind: str, index: int | None) -> int:
        if index is not None and index < self._next_index:
            last = self._next_index - 1
            raise InvalidFrame(f"{kind} {index} after {kind} {last}; numbers only grow")
        return self._next_index if index is None else index

    def _put(self, request: pb.StreamFramesRequest) -> None:
        self._outbox.append(request)
        self._changed.notify()

    def _end(self) -> None:
        self._answers.close()
        self._changed.notify()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _raise_if_over(self) -> None:
        self._raise_failure()
        if self._is_finishing or (self._run_task is not None and self._run_task.done()):
            raise StreamClosed("the stream is finished and takes no more frames; open a new one")
