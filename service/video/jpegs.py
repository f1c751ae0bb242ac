"""JPEG pictures of several live streams, decoded together by DALI.

A batch is what waits when the one before is done, so a lone picture waits for nothing.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from service.errors import EthostreamError, FrameFailed, InvalidConfig
from service.video.base import VideoLimits
from service.video.ladder import is_installed
from service.video.nvdec import find_nvdec

if TYPE_CHECKING:  # it is loaded only where it was asked for
    from service.video.dali_jpeg import DaliJpegs

Pixels = NDArray[np.uint8]

MOST_AT_ONCE = 32
"""Pictures of a batch."""


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

    return JpegBatches(DaliJpegs("cpu" if find_nvdec() else "gpu", limits))


class JpegBatches:
    """Takes JPEGs from many tasks, and decodes those that wait together."""

    def __init__(self, decoder: "DaliJpegs") -> None:
        self._decoder = decoder
        self._waiting: deque[tuple[bytes, asyncio.Future[Pixels]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ethostream-jpeg")
        self._task: asyncio.Task[None] | None = None

    async def decode(self, data: bytes) -> Pixels:
        """Return (H, W, 3) RGB or (H, W) gray pixels.

        Raises:
            InvalidFrame: the bytes are no whole JPEG.
            FrameTooLarge: it has more pixels than the limits.
        """
        future: asyncio.Future[Pixels] = asyncio.get_running_loop().create_future()
        self._waiting.append((data, future))
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
                    self._thread, self._decoder.decode, [data for data, _ in batch]
                )
            except Exception as error:  # a bug must not leave the others waiting
                answers = [FrameFailed(f"the jpeg decoder failed: {error!r}")] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, EthostreamError):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
