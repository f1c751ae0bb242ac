"""One behavior bundle on one camera or video: flow, features and sequence, frame by frame.

Every frame is flowed once against the frame before it and its features are computed once from
the last F flows; the sequence graph carries its state from frame to frame. The three graphs of
consecutive frames overlap: frame n+1 is flowed while the features of frame n are computed. Live
streams and archives run this same code, so they give the same probabilities.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from service.behavior import present, probabilities
from service.bundle import BehaviorSpec
from service.errors import EthostreamError, FrameRateMismatch, InvalidRequest
from service.repository import LoadedBundle
from service.scheduler import Answer, Scheduler, Work
from service.values import BehaviorAnswer, BehaviorStatus

log = structlog.get_logger("ethostream.behavior")


def choose_stride(loaded: LoadedBundle, frame_rate_hz: float) -> int:
    """Say how many frames of the recording make one step of the bundle.

    Args:
        loaded: a behavior bundle.
        frame_rate_hz: rate of the recording; 0 takes the bundle's own.

    Raises:
        FrameRateMismatch: the rate is not a whole multiple of the bundle's within its tolerance.
    """
    spec = _spec(loaded)
    if not frame_rate_hz:
        return 1
    stride = max(1, round(frame_rate_hz / spec.frame_rate_hz))
    deviation = abs(frame_rate_hz / stride / spec.frame_rate_hz - 1.0)
    if deviation > spec.frame_rate_tolerance:
        raise FrameRateMismatch(
            f"the recording has {frame_rate_hz:g} frames/s, but {loaded.key} was trained at "
            f"{spec.frame_rate_hz:g} and takes whole multiples of that within "
            f"{spec.frame_rate_tolerance:.0%}; record at such a rate, or state the true rate as "
            "frame_rate_hz"
        )
    return stride


def choose_thresholds(loaded: LoadedBundle, wanted: dict[str, float]) -> NDArray[np.float32]:
    """Return the (C,) thresholds of a request: the bundle's own, replaced where `wanted` says.

    Raises:
        InvalidRequest: a behavior that the bundle does not have, or a value outside (0, 1).
    """
    spec = _spec(loaded)
    thresholds = np.array(spec.thresholds, np.float32)
    for name, value in wanted.items():
        if name not in spec.behaviors:
            raise InvalidRequest(
                f"{loaded.key} has no behavior {name!r}; it has {', '.join(spec.behaviors)}"
            )
        if not 0.0 < value < 1.0:
            raise InvalidRequest(f"the threshold of {name} is {value:g}; give one in (0, 1)")
        thresholds[spec.behaviors.index(name)] = value
    return thresholds


@dataclass(frozen=True, slots=True)
class _Step:
    """Where the sequence stands after a frame."""

    answer: BehaviorAnswer
    state: NDArray[np.float32]


class BehaviorStream:
    """Answers every frame that is pushed, in order; pushing never waits."""

    def __init__(
        self,
        loaded: LoadedBundle,
        scheduler: Scheduler,
        *,
        work: Work,
        stride: int = 1,
        thresholds: NDArray[np.float32] | None = None,
    ) -> None:
        self._loaded = loaded
        self._scheduler = scheduler
        self._work = work
        self._stride = stride
        self._spec = _spec(loaded)
        self._thresholds = thresholds
        self._tasks: set[asyncio.Task[_Step]] = set()
        self._due: int | None = None
        """Frame index of the next evaluated frame; None before the first."""
        self._reset()

    @property
    def loaded(self) -> LoadedBundle:
        """The bundle."""
        return self._loaded

    @property
    def stride(self) -> int:
        """Every how many-th frame is evaluated."""
        return self._stride

    @property
    def look_ahead(self) -> int:
        """Frames after an answered one that its answer waits for."""
        return self._spec.future_frames * self._stride

    @property
    def in_work(self) -> int:
        """Evaluated frames that have no answer yet."""
        return len(self._tasks)

    def push(self, frame_index: int, pixels: NDArray[np.uint8]) -> asyncio.Future[BehaviorAnswer]:
        """Take the next frame; the future answers for exactly this frame.

        Args:
            frame_index: greater than that of the frame before.
            pixels: (H, W, C) uint8 of the bundle's input; must stay unchanged.
        """
        if self._due is not None and frame_index < self._due:
            return self._answer(self._last, frame_index)
        if self._due is not None:
            missed = (frame_index - self._due) // self._stride
            if missed > self._spec.max_gap_frames:
                self._reset()
            elif self._pixels is not None:
                for step in range(missed):
                    self._evaluate(self._due + step * self._stride, self._pixels)
            self._due += (missed + 1) * self._stride
        else:
            self._due = frame_index + self._stride
        return self._evaluate(frame_index, pixels)

    def miss(self, frame_index: int) -> BehaviorAnswer:
        """Answer for a frame that has no pixels; the next pushed frame finds the gap."""
        return BehaviorAnswer(frame_index, BehaviorStatus.NO_FRAME, None, None)

    async def close(self) -> None:
        """Cancel what is still in work."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _reset(self) -> None:
        self._pixels: NDArray[np.uint8] | None = None
        self._flows: deque[asyncio.Future[Answer]] = deque(maxlen=self._spec.flow_frames)
        self._last: asyncio.Task[_Step] | None = None

    def _evaluate(
        self, frame_index: int, pixels: NDArray[np.uint8]
    ) -> asyncio.Future[BehaviorAnswer]:
        if self._pixels is not None:
            self._flows.append(self._submit_flow(np.stack([self._pixels, pixels])))
        self._pixels = pixels
        if len(self._flows) < self._spec.flow_frames:
            return self._answer(None, frame_index)
        step = self._step(frame_index, pixels, tuple(self._flows), self._last)
        self._last = asyncio.get_running_loop().create_task(step)
        self._tasks.add(self._last)
        self._last.add_done_callback(self._tasks.discard)
        return self._answer(self._last, frame_index)

    def _answer(
        self, step: asyncio.Task[_Step] | None, frame_index: int
    ) -> asyncio.Future[BehaviorAnswer]:
        """Answer `frame_index` with what `step` gives: its own answer, or one that is held."""
        future: asyncio.Future[BehaviorAnswer] = asyncio.get_running_loop().create_future()

        def forward(done: asyncio.Task[_Step]) -> None:
            if future.done():
                return
            if done.cancelled():
                future.cancel()
            elif (error := done.exception()) is not None:
                future.set_exception(error)
            else:
                future.set_result(_held(done.result().answer, frame_index))

        if step is None:
            answer = BehaviorAnswer(frame_index, BehaviorStatus.NO_CONTEXT, None, None)
            future.set_result(answer)
        else:
            step.add_done_callback(forward)
        return future

    def _submit_flow(self, pair: NDArray[np.uint8]) -> asyncio.Future[Answer]:
        try:
            return self._scheduler.submit(
                self._loaded.graphs["flow"], {"frames": pair}, work=self._work
            )
        except EthostreamError as error:  # each frame whose window holds this flow answers ERROR
            failed: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            failed.exception()
            return failed

    async def _step(
        self,
        frame_index: int,
        pixels: NDArray[np.uint8],
        flows: tuple[asyncio.Future[Answer], ...],
        before: asyncio.Task[_Step] | None,
    ) -> _Step:
        """Flows to features to logits; a failure answers ERROR and hands the state on."""
        state: NDArray[np.float32] = np.zeros(self._spec.state_size, np.float32)
        try:
            stack = np.stack([(await flow).outputs["flows"][0] for flow in flows])
            features = await self._submit("features", {"frames": pixels, "flows": stack})
            if before is not None:
                state = (await asyncio.shield(before)).state
            outputs = await self._submit(
                "sequence", {"features": features["features"][None], "state": state}
            )
        except EthostreamError as error:
            log.error("behavior failed", frame=frame_index, reason=str(error))
            if before is not None:
                state = (await asyncio.shield(before)).state
            return _Step(BehaviorAnswer(frame_index, BehaviorStatus.ERROR, None, None), state)
        values = probabilities(outputs["logits"], exclusive=self._spec.exclusive)
        shown = present(values, self._spec, thresholds=self._thresholds)
        answer = BehaviorAnswer(frame_index, BehaviorStatus.OK, values[0], shown[0])
        return _Step(answer, outputs["next_state"])

    async def _submit(self, graph: str, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        answer = await self._scheduler.submit(self._loaded.graphs[graph], inputs, work=self._work)
        return answer.outputs


def _held(answer: BehaviorAnswer, frame_index: int) -> BehaviorAnswer:
    """Return `answer` for its own frame, or marked HELD for one that the stride leaves out."""
    if answer.frame_index == frame_index:
        return answer
    status = BehaviorStatus.HELD if answer.status is BehaviorStatus.OK else answer.status
    return BehaviorAnswer(frame_index, status, answer.probabilities, answer.present)


def _spec(loaded: LoadedBundle) -> BehaviorSpec:
    spec = loaded.bundle.manifest.behavior
    if spec is None:
        raise InvalidRequest(f"{loaded.key} is a pose bundle; name a behavior bundle here")
    return spec
