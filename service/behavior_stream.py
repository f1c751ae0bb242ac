"""One behavior bundle on one camera or video: one answer for every frame, in order.

Frames are cut into unbroken stretches: a short gap is bridged, a longer one ends the stretch, as
the end of the recording does. Live streams and archives run this same code, so they give the same
probabilities.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import numpy as np
import structlog
from numpy.typing import NDArray

from service.behavior import present, probabilities
from service.behavior_stretch import BehaviorStretch, FrameLogits, forward
from service.bundle import BehaviorSpec
from service.engine.device import Array, DeviceCopies
from service.errors import EngineFailed, FrameRateMismatch, InvalidRequest
from service.repository import LoadedBundle
from service.scheduler import Answer, Inputs, Scheduler, Work
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
        first_frame: int | None = None,
        on_answer: Callable[[], object] = lambda: None,
    ) -> None:
        """Take what to compute with.

        Args:
            loaded: a behavior bundle.
            scheduler: computes the graphs.
            work: class of work.
            stride: every how many-th frame is evaluated.
            thresholds: (C,) that replace the bundle's own.
            first_frame: index of the first frame that is evaluated; None takes the first pushed.
            on_answer: called when `in_work` became less, also by a picture that was held for a
                frame that was lost.
        """
        self._loaded = loaded
        self._scheduler = scheduler
        self._work = work
        self._stride = stride
        self._spec = _spec(loaded)
        self._thresholds = thresholds
        self._due = first_frame
        """Frame index of the next evaluated frame; None before the first."""
        self._uploads = DeviceCopies() if loaded.takes_device_rows else None
        self._pixels: Array | None = None
        """The newest frame of the stretch; None before its first."""
        self._last: asyncio.Future[BehaviorAnswer] | None = None
        """Answer of the newest evaluated frame of the stretch."""
        self._stretch = BehaviorStretch(self._spec, self._submit)
        self._ended: list[BehaviorStretch] = []
        self._unanswered: set[asyncio.Future[BehaviorAnswer]] = set()
        self._on_answer = on_answer

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
        return len(self._unanswered)

    def push(self, frame_index: int, pixels: Array) -> "asyncio.Future[BehaviorAnswer]":
        """Take the next frame; the future answers for exactly this frame.

        Args:
            frame_index: greater than that of the frame before.
            pixels: (H, W, C) uint8 of the bundle's input; must stay unchanged.
        """
        if self._due is not None and frame_index < self._due:
            return _hold(self._last, frame_index)
        if self._due is None:
            self._due = frame_index
        missed = (frame_index - self._due) // self._stride
        if missed > self._spec.max_gap_frames:
            self.finish()
        elif self._pixels is not None:
            for step in range(missed):
                self._evaluate(self._due + step * self._stride, self._pixels)
        self._due += (missed + 1) * self._stride
        return self._evaluate(frame_index, self._place(pixels))

    def is_background(self, answer: BehaviorAnswer) -> bool:
        """Whether none of the behaviors is present; False where it is not known."""
        if answer.present is None:
            return False
        return bool(answer.present[0] if self._spec.exclusive else not answer.present.any())

    def miss(self, frame_index: int) -> BehaviorAnswer:
        """Answer for a frame that has no pixels; enough of them end the stretch."""
        if self._due is not None:
            missed = (frame_index - self._due) // self._stride + 1
            if missed > self._spec.max_gap_frames:
                self.finish()
        return BehaviorAnswer(frame_index, BehaviorStatus.NO_FRAME, None, None)

    def finish(self) -> None:
        """End the stretch: what waits for later frames is answered; a next frame begins anew."""
        if self._pixels is None:
            return
        self._stretch.end()
        self._ended = [one for one in self._ended if one.in_work] + [self._stretch]
        self._stretch = BehaviorStretch(self._spec, self._submit)
        self._pixels = self._last = None

    async def close(self) -> None:
        """Cancel what is still in work."""
        for stretch in (*self._ended, self._stretch):
            await stretch.close()
        for answer in self._unanswered.copy():
            answer.cancel()
        self._unanswered.clear()

    def _place(self, pixels: Array) -> Array:
        """Bring a frame to the engines' GPU, once: several windows hold it."""
        if self._uploads is None or not isinstance(pixels, np.ndarray):
            return pixels
        try:
            (placed,) = self._uploads.copy([pixels])
        except EngineFailed as error:  # the GPU's memory is full; each batch has its own for them
            log.warning("frames go to the GPU with each window", reason=str(error))
            self._uploads = None
            return pixels
        return placed

    def _evaluate(self, frame_index: int, pixels: Array) -> "asyncio.Future[BehaviorAnswer]":
        self._pixels = pixels
        self._last = asyncio.get_running_loop().create_future()
        self._unanswered.add(self._last)
        self._last.add_done_callback(self._forget)
        forward(self._stretch.add(pixels), self._last, partial(self._decide, frame_index))
        return self._last

    def _forget(self, answer: "asyncio.Future[BehaviorAnswer]") -> None:
        self._unanswered.discard(answer)
        self._on_answer()

    def _decide(self, frame_index: int, found: FrameLogits) -> BehaviorAnswer:
        """Logits to probabilities and what is present."""
        if found.logits is None:
            return BehaviorAnswer(frame_index, found.status, None, None)
        values = probabilities(found.logits[None], exclusive=self._spec.exclusive)
        shown = present(values, self._spec, thresholds=self._thresholds)
        return BehaviorAnswer(frame_index, found.status, values[0], shown[0])

    def _submit(self, graph: str, inputs: Inputs) -> "asyncio.Future[Answer]":
        return self._scheduler.submit(self._loaded.graphs[graph], inputs, work=self._work)


def _hold(
    last: "asyncio.Future[BehaviorAnswer] | None", frame_index: int
) -> "asyncio.Future[BehaviorAnswer]":
    """Answer a frame that the stride leaves out with what the last evaluated one gets."""
    held: asyncio.Future[BehaviorAnswer] = asyncio.get_running_loop().create_future()
    if last is None:
        held.set_result(BehaviorAnswer(frame_index, BehaviorStatus.NO_CONTEXT, None, None))
    else:
        forward(last, held, partial(_held, frame_index))
    return held


def _held(frame_index: int, answer: BehaviorAnswer) -> BehaviorAnswer:
    status = BehaviorStatus.HELD if answer.status is BehaviorStatus.OK else answer.status
    return BehaviorAnswer(frame_index, status, answer.probabilities, answer.present)


def _spec(loaded: LoadedBundle) -> BehaviorSpec:
    spec = loaded.bundle.manifest.behavior
    if spec is None:
        raise InvalidRequest(f"{loaded.key} is a pose bundle; name a behavior bundle here")
    return spec
