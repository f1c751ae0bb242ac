"""JPEG pictures of several live streams, made into inputs of models together by DALI.

A batch is what waits when the one before is done, so a lone picture waits for nothing.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from service.bundle import InputSpec
from service.engine.cuda import Stream
from service.engine.device import Array
from service.errors import EthostreamError, InvalidConfig, ServerFailed
from service.preprocess import CropRegion
from service.video.base import VideoLimits
from service.video.ladder import is_installed
from service.video.nvdec import find_nvdec

if TYPE_CHECKING:  # it is loaded only where it was asked for
    from service.video.dali_jpeg import DaliJpegs

log = structlog.get_logger("ethostream.video")

MOST_AT_ONCE = 32
"""Pictures of a batch."""


@dataclass(frozen=True, slots=True)
class JpegJob:
    """What is to be made of a picture."""

    data: bytes
    wanted: tuple[tuple[InputSpec, CropRegion], ...]
    """Inputs of models, and the parts of the picture that they show; these lie inside."""
    on_device: bool = False
    """Leave them on the GPU, if they are made there."""


def open_jpegs(limits: VideoLimits) -> "JpegBatches":
    """Open DALI for JPEGs: on the GPU where there is one, else on the CPU.

    Raises:
        InvalidConfig: DALI is not installed.
    """
    if not is_installed("dali"):
        raise InvalidConfig(
            'video.decoder is "dali", which is not installed; run `uv sync --extra gpu`, or set '
            'decoder = "auto"'
        )
    from service.video.dali_jpeg import DaliJpegs

    if find_nvdec():
        return JpegBatches(DaliJpegs("cpu", limits, None))
    return JpegBatches(DaliJpegs("gpu", limits, Stream()))


class JpegBatches:
    """Takes JPEGs from many tasks, and has those that wait decoded together."""

    def __init__(self, decoder: "DaliJpegs") -> None:
        self._decoder = decoder
        self._waiting: deque[tuple[JpegJob, asyncio.Future[tuple[Array, ...]]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ethostream-jpeg")
        self._task: asyncio.Task[None] | None = None

    async def make(self, job: JpegJob) -> tuple[Array, ...]:
        """Return the inputs that a job asks for, uint8 (h, w, C).

        Raises:
            FrameDamaged: the picture is not whole.
            FrameTooLarge: it has more pixels than the limits.
        """
        future: asyncio.Future[tuple[Array, ...]] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await future

    async def close(self) -> None:
        """Refuse what waits, and end the thread."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        await asyncio.to_thread(self._thread.shutdown)

    async def _work(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_AT_ONCE))]
            loop = asyncio.get_running_loop()
            try:
                answers: Sequence[Any] = await loop.run_in_executor(
                    self._thread, self._decoder.make, [job for job, _ in batch]
                )
            except Exception:  # a bug must not leave the others waiting
                log.exception("jpeg decoder failed", frames=len(batch))
                answers = [ServerFailed("a JPEG frame", "jpeg decoder failed")] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, EthostreamError):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
