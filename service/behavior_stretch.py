"""An unbroken stretch of one recording: each frame's way from pixels to flow, features, logits.

Positions count the frames of the stretch from 0. Features of a position look at the frames of its
window, and a windowed sequence at the features around it, so that a position is answered once
enough frames came after it or the stretch ends. The graphs of neighboring frames overlap: frame
n + 1 is flowed while the features of frame n are computed.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from service.bundle import BehaviorSpec
from service.engine.device import Array, Rows, rows_of
from service.errors import EthostreamError
from service.scheduler import Answer, Inputs
from service.values import BehaviorStatus

log = structlog.get_logger("ethostream.behavior")

A = TypeVar("A")
B = TypeVar("B")
Submit = Callable[[str, Inputs], "asyncio.Future[Answer]"]
"""Hands the inputs of one sample to a graph (flow, features, sequence)."""


@dataclass(frozen=True, slots=True)
class FrameLogits:
    """What became of one frame of a stretch."""

    status: BehaviorStatus
    """OK; ERROR where a graph failed; NO_CONTEXT where its window is not full."""
    logits: NDArray[np.float32] | None = None
    """(C,), where OK."""


@dataclass(frozen=True, slots=True)
class _Features:
    features: NDArray[np.float32]
    logits: NDArray[np.float32]


_FAILED = FrameLogits(BehaviorStatus.ERROR)
_NO_CONTEXT = FrameLogits(BehaviorStatus.NO_CONTEXT)


class BehaviorStretch:
    """Gives every added frame its logits; adding never waits.

    Args:
        spec: of the bundle.
        submit: computes one sample on a graph.
    """

    def __init__(self, spec: BehaviorSpec, submit: Submit) -> None:
        self._spec = spec
        self._submit = submit
        self._count = 0
        self._next_features = 0
        self._next_answer = 0
        # What later positions still look at, by position.
        self._frames: dict[int, Array] = {}
        self._flows: dict[int, asyncio.Future[Answer]] = {}
        self._features: dict[int, asyncio.Task[_Features | None]] = {}
        self._state: asyncio.Future[NDArray[np.float32]] | None = None
        self._waiting: dict[int, asyncio.Future[FrameLogits]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def in_work(self) -> bool:
        """Whether a frame has no answer yet."""
        return bool(self._tasks)

    def add(self, pixels: Array) -> "asyncio.Future[FrameLogits]":
        """Take the next frame, (H, W, C) uint8 of the bundle's input; it must stay unchanged.

        It may lie in the GPU's memory where the engines are there.
        """
        position = self._count
        self._frames[position] = pixels
        self._count += 1
        answer: asyncio.Future[FrameLogits] = asyncio.get_running_loop().create_future()
        if position < self._spec.context_frames:
            answer.set_result(_NO_CONTEXT)
        else:
            self._waiting[position] = answer
        self._compute_features_before(self._count - self._spec.feature_future_frames)
        self._answer_before(self._next_features - self._spec.sequence_future_frames)
        return answer

    def end(self) -> None:
        """No frame follows: answer those that wait for later ones."""
        if self._spec.window_fill:
            self._compute_features_before(self._count)
        self._answer_before(self._next_features)
        for waiting in self._waiting.values():
            waiting.set_result(_NO_CONTEXT)
        self._waiting.clear()

    async def close(self) -> None:
        """Cancel what is still in work."""
        for waiting in self._waiting.values():
            waiting.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _compute_features_before(self, end: int) -> None:
        spec = self._spec
        for position in range(self._next_features, end):
            if position >= spec.context_frames:
                self._features[position] = self._begin(self._compute_features(position))
            self._frames.pop(position - spec.past_frames, None)
            self._flows.pop(position - spec.past_frames, None)
            self._next_features = position + 1

    def _answer_before(self, end: int) -> None:
        for position in range(self._next_answer, end):
            if position in self._features:
                forward(
                    self._begin(self._classify(position)), self._waiting.pop(position), unchanged
                )
            self._features.pop(position - self._spec.sequence_past_frames, None)
            self._next_answer = position + 1

    def _compute_features(self, position: int) -> Coroutine[Any, Any, _Features | None]:
        """Pick frames and flows of the window now, since they are let go soon."""
        spec = self._spec
        window = range(position - spec.past_frames, position + spec.feature_future_frames + 1)
        frames = [self._frame(one) for one in window]
        if spec.flow_input_frames == 2:
            flows = [self._flow(one) for one in window[:-1]]
        else:
            flows = [self._submit_flow(frames)]
        pixels = Rows(frames) if spec.feature_input_frames > 1 else frames[spec.past_frames]
        return self._await_features(pixels, flows)

    async def _await_features(
        self, pixels: Array | Rows, flows: list["asyncio.Future[Answer]"]
    ) -> _Features | None:
        try:
            found = [(await flow).outputs["flows"] for flow in flows]
            inputs = {"frames": pixels, "flows": _one_behind_another(found)}
            answer = await self._submit("features", inputs)
        except EthostreamError as error:
            log.error("features failed", reason=str(error))
            return None
        return _Features(answer.outputs["features"], answer.outputs["logits"])

    def _flow(self, position: int) -> "asyncio.Future[Answer]":
        """The flow from `position` to the next one; computed once."""
        if position not in self._flows:
            self._flows[position] = self._submit_flow(
                [self._frame(position), self._frame(position + 1)]
            )
        return self._flows[position]

    def _submit_flow(self, frames: list[Array]) -> "asyncio.Future[Answer]":
        try:
            return self._submit("flow", {"frames": Rows(frames)})
        except EthostreamError as error:  # each frame whose window holds this flow fails
            failed: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            failed.exception()
            return failed

    def _frame(self, position: int) -> Array:
        if 0 <= position < self._count:
            return self._frames[position]
        fill = np.empty(self._frames[self._count - 1].shape, np.uint8)
        fill[:] = self._spec.window_fill
        return fill

    def _classify(self, position: int) -> Coroutine[Any, Any, FrameLogits]:
        """Pick the features now, since they are let go soon."""
        spec = self._spec
        if spec.sequence == "none":
            return self._classify_features(self._features[position])
        if spec.sequence == "window":
            first = position - spec.sequence_past_frames
            end = position + spec.sequence_future_frames + 1
            return self._classify_window([self._features.get(one) for one in range(first, end)])
        before, self._state = self._state, asyncio.get_running_loop().create_future()
        return self._classify_next(self._features[position], before, self._state)

    async def _classify_features(self, features: "asyncio.Task[_Features | None]") -> FrameLogits:
        found = await asyncio.shield(features)
        return FrameLogits(BehaviorStatus.OK, found.logits) if found else _FAILED

    async def _classify_window(
        self, window: list["asyncio.Task[_Features | None] | None"]
    ) -> FrameLogits:
        """Classify the frame at `sequence_past_frames` of the window."""
        spec = self._spec
        for one in window:  # nearly all are done long since
            if one is not None and not one.done():
                await asyncio.shield(one)
        found = [one.result() if one is not None else None for one in window]
        if found[spec.sequence_past_frames] is None:
            return _FAILED
        # A frame that failed is left out for its neighbors, too.
        nothing = np.zeros(spec.feature_size, np.float32)
        rows = [nothing if one is None else one.features for one in found]
        features = np.concatenate(rows).reshape(len(rows), -1)  # cheaper than `np.stack`
        valid = np.array([one is not None for one in found], np.float32)
        try:
            answer = await self._submit("sequence", {"features": features, "valid": valid})
        except EthostreamError as error:
            log.error("sequence failed", reason=str(error))
            return _FAILED
        return FrameLogits(BehaviorStatus.OK, answer.outputs["logits"][spec.sequence_past_frames])

    async def _classify_next(
        self,
        features: "asyncio.Task[_Features | None]",
        before: "asyncio.Future[NDArray[np.float32]] | None",
        after: "asyncio.Future[NDArray[np.float32]]",
    ) -> FrameLogits:
        """Classify from the state before the frame; a failure hands that state on."""
        state: NDArray[np.float32] = np.zeros(self._spec.state_size, np.float32)
        try:
            found = await asyncio.shield(features)
            if before is not None:
                state = await before
            if found is None:
                return _FAILED
            inputs = {"features": found.features[None], "state": state}
            outputs = (await self._submit("sequence", inputs)).outputs
            state = outputs["next_state"]
            return FrameLogits(BehaviorStatus.OK, outputs["logits"][0])
        except EthostreamError as error:
            log.error("sequence failed", reason=str(error))
            return _FAILED
        finally:
            if not after.done():
                after.set_result(state)

    def _begin(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _one_behind_another(flows: list[Array]) -> Array | Rows:
    """Return the flows of a window, of which each array holds some."""
    if len(flows) == 1:
        return flows[0]
    return Rows([row for one in flows for row in rows_of(one)])


def forward(
    source: "asyncio.Future[A]", target: "asyncio.Future[B]", turn: Callable[[A], B]
) -> None:
    """Answer `target` with what `turn` makes of the result of `source`, or as that failed."""

    def copy(done: "asyncio.Future[A]") -> None:
        if target.done():
            return
        if done.cancelled():
            target.cancel()
        elif (error := done.exception()) is not None:
            target.set_exception(error)
        else:
            target.set_result(turn(done.result()))

    source.add_done_callback(copy)


def unchanged(value: A) -> A:
    """Return `value`."""
    return value
