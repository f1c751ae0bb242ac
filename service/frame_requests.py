"""Answers frames that come without a session: a batch of single frames, or one short clip.

A pose bundle looks at each frame alone, so that the frames of a request need no order. A behavior
bundle looks at the frames around one, so that the frames of a request are a recording of their
own: before the first and after the last one there is nothing. Both take the scheduler, the
resizing and the limits of a session.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service import metrics
from service.behavior_stream import BehaviorStream
from service.errors import EthostreamError, InvalidFrame, InvalidRequest
from service.pose import poses_in_frame
from service.preparation import INLINE_BYTES
from service.preprocess import Placement, to_model_input
from service.repository import LoadedBundle
from service.scheduler import Scheduler, Work
from service.session_options import SessionConfig
from service.values import BehaviorAnswer, Poses

_Inputs = list[tuple[NDArray[np.uint8], Placement]]


@dataclass(frozen=True, slots=True)
class RequestTimings:
    """Where the time of a request went, seconds."""

    preprocess: float
    queue: float
    """Of the frame that the engine took longest for; 0 for a clip, which waits many times."""
    engine: float
    """Of the same frame; for a clip all the time until its last frame was answered."""
    postprocess: float
    batches: tuple[tuple[int, float], ...] = ()
    """Of each frame: size of its batch, and the time that the engine took for it."""


class FrameRequests:
    """Computes requests beside the live streams, in the same batches."""

    def __init__(
        self,
        scheduler: Scheduler,
        config: SessionConfig,
        threads: Executor,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._scheduler = scheduler
        self._config = config
        self._threads = threads
        self._clock = clock

    @property
    def max_frames(self) -> int:
        """Most frames of a request: as many as a stream may have in flight."""
        return self._config.max_frames_in_flight

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse frames of which the shape (B, H, W, C) tells that they are not taken.

        Raises:
            InvalidRequest, InvalidFrame, FrameTooLarge: as `poses`.
        """
        count, height_px, width_px, channels = shape
        if not 1 <= count <= self.max_frames:
            raise InvalidRequest(
                f"the request has {count} frames; send 1 to {self.max_frames}, and longer "
                "recordings over StreamFrames or AnalyzeVideo"
            )
        if channels not in (1, 3) or not width_px or not height_px:
            raise InvalidFrame(
                f"the frames are {width_px}x{height_px} px with {channels} channels; send pixels "
                "with 1 (gray) or 3 (red, green, blue)"
            )
        self._config.limits.check("a frame", width_px, height_px)

    async def poses(
        self, loaded: LoadedBundle, frames: NDArray[np.uint8]
    ) -> tuple[list[Poses], RequestTimings]:
        """Find the poses of each frame by itself.

        Args:
            loaded: a pose bundle.
            frames: (B, H, W, 3) RGB or (B, H, W, 1) gray, of any size; must stay unchanged.

        Raises:
            InvalidRequest: no frame, or more than `max_frames`.
            InvalidFrame: a frame has no pixels, or neither 1 nor 3 channels.
            FrameTooLarge: more pixels than the server takes.
            Overloaded, ShuttingDown, EngineFailed: as of every batch.
        """
        begun = self._clock()
        self.check(frames.shape)
        inputs = await self._resize(loaded, frames)
        resized = self._clock()
        futures = []
        try:
            for pixels, _ in inputs:
                graph = loaded.graphs["pose"]
                futures.append(self._scheduler.submit(graph, {"frames": pixels}, work=Work.LIVE))
            answers = [await one for one in futures]
        except EthostreamError:
            self._count("error", begun, len(frames))
            raise
        finally:
            for one in futures:  # the others of a batch that failed or that nobody waits for
                one.cancel()
        answered = self._clock()
        poses = [
            poses_in_frame(answer.outputs["keypoints"], placement)
            for answer, (_, placement) in zip(answers, inputs, strict=True)
        ]
        slowest = max(answers, key=lambda one: one.engine_seconds)
        timings = RequestTimings(
            preprocess=resized - begun,
            queue=slowest.queued_seconds,
            engine=slowest.engine_seconds,
            postprocess=self._clock() - answered,
            batches=tuple((one.batch_size, one.engine_seconds) for one in answers),
        )
        self._count("result", begun, len(frames))
        return poses, timings

    async def behavior(
        self, loaded: LoadedBundle, frames: NDArray[np.uint8]
    ) -> tuple[list[BehaviorAnswer], RequestTimings]:
        """Answer each frame of a clip with what surrounds it there.

        Args:
            loaded: a behavior bundle.
            frames: (T, H, W, 3) RGB or (T, H, W, 1) gray, consecutive at the bundle's own frame
                rate, of any size; must stay unchanged.

        Raises:
            InvalidRequest, InvalidFrame, FrameTooLarge: as `poses`.
        """
        begun = self._clock()
        self.check(frames.shape)
        inputs = await self._resize(loaded, frames)
        resized = self._clock()
        stream = BehaviorStream(loaded, self._scheduler, work=Work.LIVE)
        try:
            futures = [stream.push(index, pixels) for index, (pixels, _) in enumerate(inputs)]
            stream.finish()
            answers = [await one for one in futures]
        finally:
            await stream.close()
        engine = self._clock() - resized
        self._count("result", begun, len(frames))
        return answers, RequestTimings(resized - begun, 0.0, engine, 0.0)

    async def _resize(self, loaded: LoadedBundle, frames: NDArray[np.uint8]) -> _Inputs:
        spec = loaded.bundle.manifest.input

        def resize() -> _Inputs:
            return [to_model_input(one, spec) for one in frames]

        if frames.nbytes <= INLINE_BYTES:
            return resize()
        return await asyncio.get_running_loop().run_in_executor(self._threads, resize)

    def _count(self, outcome: str, begun: float, frames: int) -> None:
        metrics.FRAMES.labels("live", outcome).inc(frames)
        seconds = self._clock() - begun
        for _ in range(frames):
            metrics.FRAME_SECONDS.labels(outcome).observe(seconds)
