"""A session of single calls, for programs that cannot stream both ways."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from ethostream import messages
from ethostream._settle import behavior_bundles
from ethostream.errors import EthostreamError, InvalidFrame, ServerFailed
from ethostream.frames import Image, encode_frame
from ethostream.options import StreamOptions
from ethostream.v1 import inference_service_pb2 as pb
from ethostream.values import (
    BehaviorResult,
    BundleInfo,
    BundleVersion,
    Crop,
    Encoding,
    FrameOutcome,
    TriggerEvent,
)


@dataclass(frozen=True, slots=True)
class FrameAnswers:
    """The answers to one frame of a session."""

    outcome: FrameOutcome
    behaviors: tuple[BehaviorResult, ...]
    """Behavior results that are ready by now, for this frame or for earlier ones."""
    triggers: tuple[TriggerEvent, ...] = ()
    """Triggers that have switched by now."""


class AsyncFrameSession:
    """Frames in, one call each; made by `AsyncClient.session`.

    Calls of one session are made one after the other. A session without a call for the server's
    limit, 60 s by default, ends by itself and later calls are refused with `NotFound`. With `async
    with` it ends on exit; call `end` where behavior results are still owed.
    """

    def __init__(
        self,
        call: Callable[[pb.AnalyzeFrameRequest], Awaitable[pb.AnalyzeFrameResponse]],
        options: StreamOptions,
    ) -> None:
        self._call = call
        self._options = options
        self._start = options.start("").start
        self._next_index = 0
        self._lock = asyncio.Lock()
        self.session_id = ""
        """Id of the session on the server; there after the first answer."""
        self.bundles: tuple[BundleInfo, ...] = ()
        """The bundles with resolved versions; there after the first answer."""
        self.strides: tuple[int, ...] = ()
        """Behavior bundles: every how many-th frame is looked at, in the order of `bundles`."""

    async def analyze(
        self,
        image: Image,
        *,
        frame_index: int | None = None,
        capture_time_ns: int | None = None,
        encoding: Encoding | None = None,
        crop: Crop | None = None,
    ) -> FrameAnswers:
        """Send a frame and wait for its answers; the first call opens the session.

        Args:
            image: (H, W) or (H, W, 3) uint8, or the bytes of a JPEG or PNG file.
            frame_index: Number of the frame, greater than the last one; by default one more.
            capture_time_ns: Time of capture on the camera's clock; by default now, ns since 1970.
            encoding: How to read `image`; by default told by its shape or first bytes.
            crop: Part of the frame that the models look at, instead of the session's.

        Raises:
            InvalidFrame: The image cannot be sent, or its number does not follow the last one.
            EthostreamError: The server refuses, or is not there.
        """
        index = self._next_index if frame_index is None else frame_index
        if index < self._next_index:
            last = self._next_index - 1
            raise InvalidFrame(f"frame {index} after frame {last}; numbers only grow")
        frame = encode_frame(
            image,
            frame_index=index,
            capture_time_ns=time.time_ns() if capture_time_ns is None else capture_time_ns,
            encoding=encoding,
            color=self._options.color,
            crop=crop,
            max_message_bytes=self._options.max_message_bytes,
        )
        self._next_index = index + 1
        async with self._lock:
            began_ns = time.monotonic_ns()
            response = await self._ask(pb.AnalyzeFrameRequest(frame=frame))
            round_trip_ns = time.monotonic_ns() - began_ns
        if not response.HasField("outcome"):
            raise ServerFailed(f"the server gave no outcome of frame {index}; report this")
        return FrameAnswers(
            messages.outcome(response.outcome, round_trip_ns),
            self._behaviors(response),
            tuple(messages.trigger_events(response.triggers)),
        )

    async def end(self) -> tuple[BehaviorResult, ...]:
        """End the session and return the behavior results that were still owed.

        Raises:
            EthostreamError: The session is gone, or the server.
        """
        async with self._lock:
            if not self.session_id:
                return ()
            response = await self._ask(pb.AnalyzeFrameRequest(end_session=True))
            self.session_id = ""
            return self._behaviors(response)

    async def __aenter__(self) -> "AsyncFrameSession":
        """Give the session itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the session; what was wrong before is not hidden by what this meets."""
        with suppress(*(() if error is None else (EthostreamError,))):
            await self.end()

    async def _ask(self, request: pb.AnalyzeFrameRequest) -> pb.AnalyzeFrameResponse:
        if self.session_id:
            request.session_id = self.session_id
        else:
            request.start.CopyFrom(self._start)
        response = await self._call(request)
        if response.HasField("started"):
            self.bundles = tuple(messages.bundle_info(one) for one in response.started.bundles)
            self.strides = tuple(response.started.strides)
        self.session_id = response.session_id
        return response

    def _behaviors(self, response: pb.AnalyzeFrameResponse) -> tuple[BehaviorResult, ...]:
        names = {one.bundle: one.behaviors for one in behavior_bundles(self.bundles)}
        return tuple(
            messages.behavior(
                one, names.get(BundleVersion(one.bundle.name, one.bundle.version), ())
            )
            for one in response.behaviors
        )
