"""InferenceService: live streams, unary sessions, uploads and videos; translates and delegates."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from ethostream.v1 import frame_pb2
from ethostream.v1 import inference_service_pb2 as pb2
from ethostream.v1 import inference_service_pb2_grpc as pb2_grpc

from service.archive import VideoStarted
from service.errors import (
    FrameOutOfOrder,
    InvalidRequest,
    Overloaded,
    SessionNotFound,
)
from service.frames import EncodedFrame, ReadFrame
from service.outcomes import (
    ChunkTaken,
    Draining,
    LiveAnswer,
    LiveBehavior,
    LiveTrigger,
    Outcome,
)
from service.paths import resolve_below_roots
from service.runtime import Runtime
from service.servicer.admission import Admission
from service.servicer.answers import (
    from_behavior,
    from_chunk,
    from_chunk_taken,
    from_outcome,
    from_started,
    from_video_finished,
    from_video_started,
)
from service.servicer.requests import to_codec, to_frame, to_session_options, to_video_options
from service.servicer.shared_memory import open_shared_memory
from service.servicer.triggers import from_trigger
from service.servicer.unary import UnarySession
from service.session import LiveSession
from service.uploads import UploadStore
from service.values import ResultChunk, VideoFrame
from service.video import ChunkDecoder

if TYPE_CHECKING:  # the class takes no parameters at run time
    Context = grpc.aio.ServicerContext[Any, Any]

log = structlog.get_logger("ethostream.inference")


class InferenceServicer(pb2_grpc.InferenceServiceServicer):
    """Owns what lives on the edge: open streams, unary sessions and uploads."""

    def __init__(self, runtime: Runtime, uploads: UploadStore, admission: Admission) -> None:
        self._runtime = runtime
        self._uploads = uploads
        self._admission = admission
        self._limits = runtime.config.server
        self._roots = [Path(root) for root in runtime.config.video.roots]
        self._videos = 0
        self._unary: dict[str, UnarySession] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def drain(self) -> None:
        """Take nothing new, tell the open streams to end, end unary sessions after their calls."""
        self._admission.draining.set()
        await asyncio.gather(*(self._drain_unary(one) for one in list(self._unary.values())))
        await asyncio.gather(*self._closing)

    async def StreamFrames(
        self,
        request_iterator: AsyncIterator[pb2.StreamFramesRequest],
        context: "Context",
    ) -> AsyncIterator[pb2.StreamFramesResponse]:
        """Run one live stream; what was accepted is answered even when a later message is bad."""
        first = await anext(aiter(request_iterator), None)
        if first is None or first.WhichOneof("request") != "start":
            raise InvalidRequest("a stream's first message must be `start`; send it before frames")
        async with self._open_session(first.start, context) as session:
            yield pb2.StreamFramesResponse(started=from_started(session))
            reader = asyncio.create_task(self._read(request_iterator, session))
            drain = asyncio.create_task(self._tell_of_drain(session))
            try:
                async with aclosing(session.answers()) as answers:
                    async for answer in answers:
                        yield _to_response(answer)
                await reader  # raises what ended the reading, after all answers are out
                ledger = session.ledger
                yield pb2.StreamFramesResponse(
                    ended=pb2.StreamEnded(
                        frames_accepted=ledger.accepted,
                        frames_result=ledger.result,
                        frames_skipped=ledger.skipped,
                        frames_error=ledger.error,
                    )
                )
            finally:
                reader.cancel()
                drain.cancel()
                await asyncio.gather(reader, drain, return_exceptions=True)

    async def AnalyzeFrame(
        self, request: pb2.AnalyzeFrameRequest, context: "Context"
    ) -> pb2.AnalyzeFrameResponse:
        """Answer one frame of a session that lives across calls."""
        is_new = not request.session_id
        unary = self._begin_unary(request.start, context) if is_new else self._find_unary(request)
        async with unary.lock:
            if unary.session.session_id not in self._unary:  # it ended while this call waited
                raise self._no_session(request.session_id)
            if unary.expiry is not None:
                unary.expiry.cancel()
            is_over = is_new  # without an answer the client never learns the id
            try:
                response = await self._answer(unary, request)
                is_over = request.end_session
            finally:
                if is_over:
                    await asyncio.shield(self._end_unary(unary))
                else:
                    self._await_next_call(unary)
        return response

    async def UploadVideo(
        self,
        request_iterator: AsyncIterator[pb2.UploadVideoRequest],
        context: "Context",
    ) -> pb2.UploadVideoResponse:
        """Take a file in pieces over one stream."""
        upload_id, offset_bytes = "", 0
        try:
            async for request in request_iterator:
                kind = request.WhichOneof("request")
                if (kind == "start") == bool(upload_id):
                    raise InvalidRequest("an upload's first message, and only that, is `start`")
                if kind == "start":
                    upload_id = self._begin_upload(request.start)
                else:
                    offset_bytes = await asyncio.to_thread(
                        self._uploads.append, upload_id, offset_bytes, request.data
                    )
            if not upload_id:
                raise InvalidRequest("the upload is empty; send `start`, then the file's bytes")
            size_bytes, sha256 = self._uploads.finish(upload_id)
        except BaseException:
            self._uploads.discard(upload_id)
            raise
        return pb2.UploadVideoResponse(upload_id=upload_id, size_bytes=size_bytes, sha256=sha256)

    async def UploadChunk(
        self, request: pb2.UploadChunkRequest, context: "Context"
    ) -> pb2.UploadChunkResponse:
        """Take one piece of a file."""
        upload_id = request.upload_id or self._begin_upload(request.start)
        try:
            size_bytes = await asyncio.to_thread(
                self._uploads.append, upload_id, request.offset_bytes, request.data
            )
        except BaseException:
            if not request.upload_id:  # nobody knows of it
                self._uploads.discard(upload_id)
            raise
        sha256 = ""
        if request.last:
            size_bytes, sha256 = self._uploads.finish(upload_id)
        return pb2.UploadChunkResponse(upload_id=upload_id, size_bytes=size_bytes, sha256=sha256)

    async def AnalyzeVideo(
        self, request: pb2.AnalyzeVideoRequest, context: "Context"
    ) -> AsyncIterator[pb2.AnalyzeVideoResponse]:
        """Analyze one video and stream its results in columns."""
        self._admission.refuse_while_draining()
        source = request.WhichOneof("source")
        if source == "upload_id":
            path = self._uploads.path(request.upload_id)
        elif source == "path":
            path = await asyncio.to_thread(resolve_below_roots, request.path, self._roots)
        else:
            raise InvalidRequest("no video is named; set upload_id or path")
        options = to_video_options(request, self._runtime.repository)
        if self._videos >= self._limits.max_videos:
            raise Overloaded(
                f"{self._videos} videos are being analyzed, which is this server's limit; "
                "try again when one is done"
            )
        self._videos += 1
        try:
            async for event in self._runtime.analyze(path, options):
                if isinstance(event, VideoStarted):
                    yield pb2.AnalyzeVideoResponse(started=from_video_started(event))
                elif isinstance(event, ResultChunk):
                    yield pb2.AnalyzeVideoResponse(chunk=from_chunk(event))
                else:
                    yield pb2.AnalyzeVideoResponse(finished=from_video_finished(event))
        finally:
            self._videos -= 1

    @asynccontextmanager
    async def _open_session(
        self, start: pb2.StreamStart, context: "Context"
    ) -> AsyncIterator[LiveSession]:
        session = self._create_session(start, context)
        try:
            yield session
        finally:
            await self._close_session(session)

    def _create_session(self, start: pb2.StreamStart, context: "Context") -> LiveSession:
        options = to_session_options(start, self._runtime.repository)
        if start.HasField("shared_memory"):
            memory = open_shared_memory(
                start.shared_memory, context.peer(), is_allowed=self._limits.shared_memory
            )
            options = replace(options, shared_memory=memory)
        session = self._runtime.live_session(secrets.token_hex(8), options)
        self._admission.enter()
        if start.resumes_session_id:
            log.info("resumes", session=session.session_id, before=start.resumes_session_id)
        session.start()
        return session

    async def _close_session(self, session: LiveSession) -> None:
        self._admission.leave()
        await session.close()

    async def _read(
        self,
        requests: AsyncIterator[pb2.StreamFramesRequest],
        session: LiveSession,
    ) -> None:
        """Offer all that the client sends; whatever ends the reading, the session is finished."""
        chunks = _ChunkReader(session, self._runtime.config.video.decoder)
        try:
            async for request in requests:
                kind = request.WhichOneof("request")
                if kind == "frame" and not chunks.used:
                    await session.offer(_to_frame(request.frame, session))
                elif kind == "chunk" and (chunks.used or not session.ledger.accepted):
                    await chunks.offer(request.chunk)
                else:
                    raise InvalidRequest(
                        f"a message of kind {kind} does not belong here; after `start`, send "
                        "frames or chunks, not both"
                    )
            await chunks.flush()
        finally:
            session.finish()
            await chunks.close()

    async def _tell_of_drain(self, session: LiveSession) -> None:
        await self._admission.draining.wait()
        session.tell(Draining(self._limits.drain_seconds))

    def _begin_unary(self, start: pb2.StreamStart, context: "Context") -> UnarySession:
        unary = UnarySession(self._create_session(start, context))
        self._unary[unary.session.session_id] = unary
        return unary

    def _find_unary(self, request: pb2.AnalyzeFrameRequest) -> UnarySession:
        if request.HasField("start"):
            raise InvalidRequest("`start` opens a session; leave session_id empty with it")
        unary = self._unary.get(request.session_id)
        if unary is None:
            raise self._no_session(request.session_id)
        return unary

    def _no_session(self, session_id: str) -> SessionNotFound:
        return SessionNotFound(
            f"there is no session {session_id!r}; it ended or was idle for "
            f"{self._runtime.config.session.idle_seconds:g} s: open a new one with `start`"
        )

    async def _answer(
        self, unary: UnarySession, request: pb2.AnalyzeFrameRequest
    ) -> pb2.AnalyzeFrameResponse:
        session = unary.session
        response = pb2.AnalyzeFrameResponse(session_id=session.session_id)
        if not request.session_id:
            response.started.CopyFrom(from_started(session))
        if request.HasField("frame"):
            self._admission.refuse_while_draining()
            outcome = await unary.analyze(_to_frame(request.frame, session))
            response.outcome.CopyFrom(from_outcome(outcome))
        if request.end_session:
            await unary.finish()
        for late in unary.take_late():
            if isinstance(late, LiveBehavior):
                response.behaviors.append(from_behavior(late))
            else:
                response.triggers.append(from_trigger(late))
        return response

    def _await_next_call(self, unary: UnarySession) -> None:
        unary.expiry = asyncio.get_running_loop().call_later(
            self._runtime.config.session.idle_seconds, self._end_unary, unary
        )

    def _end_unary(self, unary: UnarySession) -> asyncio.Task[None]:
        """Forget a session and close it in a task: whole, even when a call's end cuts in."""
        del self._unary[unary.session.session_id]
        closing = asyncio.create_task(self._close_unary(unary))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    async def _close_unary(self, unary: UnarySession) -> None:
        self._admission.leave()
        await unary.close()

    async def _drain_unary(self, unary: UnarySession) -> None:
        async with unary.lock:
            if unary.session.session_id in self._unary:
                if unary.expiry is not None:
                    unary.expiry.cancel()
                self._end_unary(unary)

    def _begin_upload(self, start: pb2.UploadStart) -> str:
        self._admission.refuse_while_draining()
        return self._uploads.begin(start.filename, start.size_bytes, start.sha256)


class _ChunkReader:
    """Decodes a chunked stream and offers its frames, numbered from 0 in presentation order."""

    def __init__(self, session: LiveSession, decoder: str) -> None:
        self._session = session
        self._name = decoder
        self._decoder: ChunkDecoder | None = None
        self._codec = ""
        self._last_chunk = -1
        self._frames = 0

    @property
    def used(self) -> bool:
        """True once a chunk came."""
        return self._decoder is not None

    async def offer(self, chunk: frame_pb2.VideoChunk) -> None:
        """Decode a chunk, offer its frames, acknowledge it."""
        codec = to_codec(chunk)
        if self._decoder is None:
            self._codec = codec
            self._decoder = ChunkDecoder(codec, wanted=self._session.wanted, decoder=self._name)
        if codec != self._codec:
            raise InvalidRequest(
                f"chunk {chunk.chunk_index} is {codec}, but the stream began with {self._codec}; "
                "open a stream of its own for another codec"
            )
        if chunk.chunk_index <= self._last_chunk:
            raise FrameOutOfOrder(
                f"chunk {chunk.chunk_index} came after chunk {self._last_chunk}; send chunks with "
                "increasing chunk_index"
            )
        self._last_chunk = chunk.chunk_index
        decoded = await self._decoder.feed(chunk.data, pts_ns=chunk.capture_time_ns)
        await self._offer(decoded.frames)
        self._session.tell(
            ChunkTaken(
                chunk.chunk_index, len(decoded.frames), decoded.packets_corrupt, decoded.message
            )
        )

    async def flush(self) -> None:
        """Offer the frames that the decoder held back."""
        if self._decoder is not None:
            await self._offer((await self._decoder.flush()).frames)

    async def close(self) -> None:
        """End the decoder."""
        if self._decoder is not None:
            await self._decoder.close()

    async def _offer(self, frames: list[VideoFrame]) -> None:
        for frame in frames:
            # Its time is that of the chunk in which it began: a byte stream has none of its own.
            size = (frame.width_px, frame.height_px)
            await self._session.offer(
                ReadFrame(self._frames, frame.pts_ns, 0, frame.pixels, frame.inputs, size)
            )
            self._frames += 1


def _to_frame(message: frame_pb2.Frame, session: LiveSession) -> EncodedFrame:
    return to_frame(message, session.options.shared_memory)


def _to_response(answer: LiveAnswer) -> pb2.StreamFramesResponse:
    match answer:
        case Outcome():
            return pb2.StreamFramesResponse(outcome=from_outcome(answer))
        case LiveBehavior():
            return pb2.StreamFramesResponse(behavior=from_behavior(answer))
        case LiveTrigger():
            return pb2.StreamFramesResponse(trigger=from_trigger(answer))
        case ChunkTaken():
            return pb2.StreamFramesResponse(chunk=from_chunk_taken(answer))
        case Draining():
            drain = pb2.DrainNotice(grace_ms=round(answer.grace_seconds * 1000))
            return pb2.StreamFramesResponse(drain=drain)
