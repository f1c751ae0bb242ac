"""One camera's live stream, from the first frame to the last answer.

A frame's way: `offer` accepts it into a bounded queue; the pump takes the next one that the
freshness policy lets through, reads and resizes it, and hands it to the scheduler and to the
behavior streams; its outcome leaves in the order of acceptance. Every accepted frame gets exactly
one `Outcome` and one `BehaviorAnswer` per behavior bundle, whatever happens to it.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from service import metrics
from service.behavior_stream import BehaviorStream, choose_stride, choose_thresholds
from service.behavior_stretch import forward, unchanged
from service.bout_tracker import open_tracker
from service.dynamic_crop import open_followers
from service.errors import (
    EthostreamError,
    FrameOutOfOrder,
    InvalidRequest,
    ServerFailed,
)
from service.frames import EncodedFrame, ReadFrame
from service.outcomes import (
    Ledger,
    LiveAnswer,
    LiveBehavior,
    LiveTrigger,
    Notice,
    Outcome,
    Timings,
)
from service.pose import poses_in_frame
from service.prediction import open_predictors
from service.preparation import FramePreparer, PreparedFrame
from service.preprocess import CropRegion
from service.scheduler import Answer, Scheduler, Work
from service.session_options import SessionConfig, SessionOptions
from service.triggers import TriggerWatch
from service.values import BehaviorAnswer, BundleVersion, Poses
from service.video.jpegs import JpegBatches

log = structlog.get_logger("ethostream.session")


@dataclass(slots=True, eq=False)
class _Accepted:
    frame: EncodedFrame | ReadFrame
    arrived: float
    arrival_time_ns: int
    behaviors: list[asyncio.Future[BehaviorAnswer]]
    outcome: Outcome | None = None


class LiveSession:
    """Runs one stream; `offer` frames on one task, iterate `answers` on another."""

    def __init__(
        self,
        session_id: str,
        options: SessionOptions,
        scheduler: Scheduler,
        config: SessionConfig,
        threads: Executor,
        *,
        jpegs: JpegBatches | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not options.selections:
            raise InvalidRequest("no bundle is named; name at least one, see `ethostream models`")
        names = [one.loaded.key for one in options.selections]
        if len(set(names)) != len(names):
            raise InvalidRequest(f"a bundle is named twice: {', '.join(map(str, names))}")
        if options.freshness == "deadline" and options.max_age_seconds <= 0:
            raise InvalidRequest("freshness DEADLINE needs max_age_ms of at least 1")
        self.session_id = session_id
        self.options = options
        self.credits = min(
            options.frames_in_flight or config.default_frames_in_flight, config.max_frames_in_flight
        )
        self._scheduler = scheduler
        self._clock = clock
        self._pose = [
            (position, one.loaded)
            for position, one in enumerate(options.selections)
            if one.loaded.bundle.manifest.pose is not None
        ]
        self._followers = open_followers(
            options.dynamic_crop, [loaded.bundle.manifest for _, loaded in self._pose]
        )
        followers = dict(zip((at for at, _ in self._pose), self._followers or (), strict=False))
        self._preparer = FramePreparer(
            [
                (one.loaded.bundle.manifest.input, followers.get(position))
                for position, one in enumerate(options.selections)
            ],
            options.crop,
            config.limits,
            threads,
            jpegs=jpegs,
            on_device=all(one.loaded.takes_device_rows for one in options.selections),
            clock=clock,
        )
        self.wanted = self._preparer.wanted
        """What is to be made of each frame of an encoded stream."""
        self._wake = asyncio.Event()
        self._behavior = [
            (
                position,
                BehaviorStream(
                    one.loaded,
                    scheduler,
                    work=Work.LIVE,
                    stride=choose_stride(one.loaded, options.frame_rate_hz),
                    thresholds=choose_thresholds(one.loaded, one.thresholds),
                    on_answer=self._wake.set,
                ),
            )
            for position, one in enumerate(options.selections)
            if one.loaded.bundle.manifest.behavior is not None
        ]
        self._trackers = [
            open_tracker(options.selections[position], stream.stride)
            for position, stream in self._behavior
        ]
        self._watch = TriggerWatch(options.triggers, options.selections)
        self._predictors = open_predictors(options.prediction, [one for _, one in self._pose])
        self._has_capture_times: bool | None = None
        # Freshness needs short queues: one frame in work, the newest one waiting.
        self._max_in_work = self.credits if options.freshness == "all" else 1
        self._in_work = 0
        self._unanswered = 0
        self._waiting: deque[_Accepted] = deque()
        self._is_preparing = False
        self._replaced: list[_Accepted] = []  # behind the frame in preparation; within the credits
        self._room = asyncio.Condition()
        self._finishing = self._ended = False
        self._last_index = -1
        self._counts = {"accepted": 0, "result": 0, "skipped": 0, "error": 0}
        # Both are bounded by the credits: nothing is accepted that has none.
        self._open: deque[_Accepted] = deque()  # without outcome, or behind such a frame
        self._ordered: list[asyncio.Queue[_Accepted | None]] = [
            asyncio.Queue() for _ in self._behavior
        ]
        self._computing: set[asyncio.Future[Answer]] = set()
        self._answers: asyncio.Queue[LiveAnswer | None] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._log = log.bind(session=session_id, camera=options.camera)

    @property
    def strides(self) -> tuple[int, ...]:
        """Every how many-th frame is looked at, per selection; 1 for pose bundles."""
        strides = [1] * len(self.options.selections)
        for position, stream in self._behavior:
            strides[position] = stream.stride
        return tuple(strides)

    @property
    def ledger(self) -> Ledger:
        """What became of the frames so far."""
        return Ledger(**self._counts)

    def start(self) -> None:
        """Begin to work; every started session is ended by `close`."""
        metrics.STREAMS_OPEN.inc()
        self._log.info(
            "session opened", bundles=[str(one.loaded.key) for one in self.options.selections]
        )
        create = asyncio.get_running_loop().create_task
        self._tasks.append(create(self._pump()))
        for place, (_, stream) in enumerate(self._behavior):
            self._tasks.append(create(self._emit_behaviors(place, stream)))

    async def offer(self, frame: EncodedFrame | ReadFrame) -> None:
        """Accept a frame; waits while as many frames are unanswered as there are credits.

        Raises:
            FrameOutOfOrder: its index is not greater than the one before; it is not accepted.
        """
        if frame.frame_index <= self._last_index:
            raise FrameOutOfOrder(
                f"frame {frame.frame_index} came after frame {self._last_index}; send frames with "
                "increasing frame_index"
            )
        arrived, arrival_time_ns = self._clock(), time.time_ns()
        if self._unanswered >= self.credits:
            async with self._room:
                await self._room.wait_for(lambda: self._unanswered < self.credits)
        loop = asyncio.get_running_loop()
        accepted = _Accepted(
            frame,
            arrived,
            arrival_time_ns,
            [loop.create_future() for _ in self._behavior],
        )
        self._last_index = frame.frame_index
        self._watch.begin(frame.frame_index, self._time_s(accepted))
        self._counts["accepted"] += 1
        self._unanswered += 1
        self._open.append(accepted)
        for queue in self._ordered:
            queue.put_nowait(accepted)
        if self.options.freshness == "latest":
            for older in self._waiting:
                self._skip(older, "replaced")
            self._waiting.clear()
        self._waiting.append(accepted)
        self._wake.set()

    def finish(self) -> None:
        """Accept no more; `answers` ends when all that was accepted is answered."""
        self._finishing = True
        for queue in self._ordered:
            queue.put_nowait(None)
        self._emit_outcomes()
        self._wake.set()

    def tell(self, notice: Notice) -> None:
        """Give the client something to know between the answers."""
        self._answers.put_nowait(notice)

    async def answers(self) -> AsyncGenerator[LiveAnswer, None]:
        """Yield outcomes and behavior answers, each kind in the order of the frames.

        A trigger that switches comes before the answer that made it.
        """
        for _ in range(1 + len(self._ordered)):
            while (answer := await self._answers.get()) is not None:
                yield answer
                if isinstance(answer, Outcome):  # it is on its way: its credit is free again
                    self._unanswered -= 1
                    async with self._room:
                        self._room.notify()

    async def close(self) -> None:
        """Drop what is still in work, for example because the client left."""
        for task in self._tasks:
            task.cancel()
        for computing in list(self._computing):
            computing.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _, stream in self._behavior:
            await stream.close()
        if self.options.shared_memory is not None:
            self.options.shared_memory.close()
        metrics.STREAMS_OPEN.dec()
        self._log.info("session closed", **self._counts)

    async def _pump(self) -> None:
        """Take the next frame, read and resize it, hand it on: one at a time, in order."""
        while (accepted := await self._next()) is not None:
            self._in_work += 1
            self._is_preparing = True
            try:
                prepared = await self._preparer.prepare(accepted.frame)
            except EthostreamError as error:
                self._fail(accepted, error)
            except Exception:  # a bug must cost this frame alone, not hang the stream
                index = accepted.frame.frame_index
                self._log.exception("frame failed", frame=index)
                self._fail(accepted, ServerFailed(f"frame {index}", "frame failed"))
            else:
                self._begin(accepted, prepared)
            self._is_preparing = False
            for newer in self._replaced:
                self._miss_behaviors(newer)
            self._replaced.clear()
        for _, stream in self._behavior:
            stream.finish()

    async def _next(self) -> _Accepted | None:
        while True:
            if self._in_work < self._max_in_work and self._behaviors_keep_up():
                while self._waiting:
                    accepted = self._waiting.popleft()
                    age = self._clock() - accepted.arrived
                    if self.options.freshness != "deadline" or age <= self.options.max_age_seconds:
                        return accepted
                    self._skip(accepted, "too_old")
                if self._finishing:
                    return None
            self._wake.clear()
            await self._wake.wait()

    def _behaviors_keep_up(self) -> bool:
        """True while no behavior stream lags by more frames than may be in work."""
        return all(
            stream.in_work < self._max_in_work + stream.look_ahead for _, stream in self._behavior
        )

    def _begin(self, accepted: _Accepted, prepared: PreparedFrame) -> None:
        """Submit the frame to every pose graph and push it to every behavior stream."""
        index = accepted.frame.frame_index
        try:
            poses = [
                self._scheduler.submit(
                    loaded.graphs["pose"],
                    {"frames": prepared.inputs[position][0]},
                    work=Work.LIVE,
                )
                for position, loaded in self._pose
            ]
        except EthostreamError as error:
            self._fail(accepted, error)
            return
        for place, (position, stream) in enumerate(self._behavior):
            answer = stream.push(index, prepared.inputs[position][0])
            forward(answer, accepted.behaviors[place], unchanged)
        if not poses:
            self._complete(accepted, prepared, [])
            return

        def answered(one: asyncio.Future[Answer]) -> None:  # no task: this is every frame's way
            self._computing.discard(one)
            if accepted.outcome is None and all(pose.done() for pose in poses):
                self._complete(accepted, prepared, poses)

        self._computing.update(poses)
        for one in poses:
            one.add_done_callback(answered)

    def _complete(
        self, accepted: _Accepted, prepared: PreparedFrame, poses: list[asyncio.Future[Answer]]
    ) -> None:
        if any(one.cancelled() for one in poses):
            return  # the session is closed
        try:
            answers = [one.result() for one in poses]
        except EthostreamError as error:
            self._fail(accepted, error, behaviors=False)
            return
        answered = self._clock()
        found = tuple(
            (
                loaded.key,
                poses_in_frame(answer.outputs["keypoints"], prepared.inputs[position][1]),
            )
            for (position, loaded), answer in zip(self._pose, answers, strict=True)
        )
        for follower, (_, one) in zip(self._followers or (), found, strict=False):
            follower.see(accepted.frame.frame_index, one)
        now = self._clock()
        slowest = max(answers, key=lambda one: one.engine_seconds, default=None)
        timings = Timings(
            queue=prepared.begun - accepted.arrived,
            decode=prepared.decoded - prepared.begun,
            preprocess=prepared.ready - prepared.decoded,
            batch_wait=slowest.queued_seconds if slowest else 0.0,
            engine=slowest.engine_seconds if slowest else 0.0,
            postprocess=now - answered,
            total=now - accepted.arrived,
            batch_size=slowest.batch_size if slowest else 0,
        )
        crops = tuple(prepared.crops[position] for position, _ in self._pose)
        self._settle(accepted, "result", poses=found, timings=timings, crops=crops)

    def _skip(self, accepted: _Accepted, reason: str) -> None:
        if self._is_preparing:  # behavior streams see that older frame first
            self._replaced.append(accepted)
        else:
            self._miss_behaviors(accepted)
        self._settle(accepted, "skipped", reason=reason, in_work=False)

    def _fail(self, accepted: _Accepted, error: EthostreamError, *, behaviors: bool = True) -> None:
        if behaviors:
            self._miss_behaviors(accepted)
        self._settle(accepted, "error", reason=str(error), error=error)

    def _miss_behaviors(self, accepted: _Accepted) -> None:
        for (_, stream), future in zip(self._behavior, accepted.behaviors, strict=True):
            future.set_result(stream.miss(accepted.frame.frame_index))

    def _settle(
        self,
        accepted: _Accepted,
        kind: Literal["result", "skipped", "error"],
        *,
        poses: tuple[tuple[BundleVersion, Poses], ...] = (),
        reason: str = "",
        error: EthostreamError | None = None,
        timings: Timings | None = None,
        crops: tuple[CropRegion | None, ...] = (),
        in_work: bool = True,
    ) -> None:
        frame = accepted.frame
        accepted.outcome = Outcome(
            frame_index=frame.frame_index,
            capture_time_ns=frame.capture_time_ns,
            arrival_time_ns=accepted.arrival_time_ns,
            pts_ns=frame.pts_ns if isinstance(frame, ReadFrame) else 0,
            kind=kind,
            poses=poses,
            reason=reason,
            error=error,
            timings=timings,
            crops=crops,
        )
        if in_work:
            self._in_work -= 1
        self._emit_outcomes()
        self._wake.set()  # after the answers: the next frame is prepared when they are sent

    def _emit_outcomes(self) -> None:
        """Let go of the outcomes that wait for no frame before theirs."""
        while self._open and (settled := self._open[0].outcome) is not None:
            accepted = self._open.popleft()
            outcome = self._predict(accepted, settled)
            found = dict(outcome.poses)
            for _, loaded in self._pose:
                self._tell_triggers(accepted, loaded.key, found.get(loaded.key))
            self._answers.put_nowait(outcome)
            self._counts[outcome.kind] += 1
            seconds = self._clock() - accepted.arrived
            # Behind the task that sends the answer.
            asyncio.get_running_loop().call_soon(_measure, outcome, seconds)
        if self._finishing and not self._open and not self._ended:
            self._ended = True
            self._answers.put_nowait(None)

    async def _emit_behaviors(self, place: int, stream: BehaviorStream) -> None:
        tracker = self._trackers[place]
        while (accepted := await self._ordered[place].get()) is not None:
            answer = await accepted.behaviors[place]
            latency = self._clock() - accepted.arrived
            key, capture = stream.loaded.key, accepted.frame.capture_time_ns
            bouts = tracker.add(answer) if tracker is not None else ()
            self._tell_triggers(accepted, key, answer)
            self._answers.put_nowait(
                LiveBehavior(key, answer, capture, latency, stream.is_background(answer), bouts)
            )
        self._answers.put_nowait(None)

    def _predict(self, accepted: _Accepted, outcome: Outcome) -> Outcome:
        """Add where the keypoints are expected, where that was asked for."""
        if self._predictors is None or not outcome.poses:
            return outcome
        time_s = self._time_s(accepted)
        poses = tuple(
            (key, predictor.see(time_s, found))
            for predictor, (key, found) in zip(self._predictors, outcome.poses, strict=True)
        )
        return replace(outcome, poses=poses)

    def _tell_triggers(
        self, accepted: _Accepted, bundle: BundleVersion, answer: Poses | BehaviorAnswer | None
    ) -> None:
        for event in self._watch.tell(accepted.frame.frame_index, bundle, answer):
            latency = self._clock() - accepted.arrived
            capture = accepted.frame.capture_time_ns
            self._answers.put_nowait(LiveTrigger(event, capture, latency))

    def _time_s(self, accepted: _Accepted) -> float:
        """When a frame was captured; where the camera does not tell, when it arrived."""
        capture_time_ns = accepted.frame.capture_time_ns
        if self._has_capture_times is None:
            self._has_capture_times = bool(capture_time_ns)
        return capture_time_ns / 1e9 if self._has_capture_times else accepted.arrived


def _measure(outcome: Outcome, seconds: float) -> None:
    metrics.FRAMES.labels("live", outcome.kind).inc()
    metrics.FRAME_SECONDS.labels(outcome.kind).observe(seconds)
    if (timings := outcome.timings) is not None:
        metrics.STAGES["queue"].observe(timings.queue)
        metrics.STAGES["decode"].observe(timings.decode)
        metrics.STAGES["preprocess"].observe(timings.preprocess)
        metrics.STAGES["postprocess"].observe(timings.postprocess)
