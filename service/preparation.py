"""From a frame as it was sent to the inputs of a stream's models: read, crop, resize."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.bundle import InputSpec
from service.dynamic_crop import AnimalFollower
from service.errors import InvalidFrame
from service.frames import RAW_CHANNELS, EncodedFrame, ReadFrame, read_frame
from service.preprocess import CropRegion, Placement, to_model_input
from service.video.base import VideoLimits

DecodeJpeg = Callable[[bytes], Awaitable[NDArray[np.uint8]]]
"""Returns the pixels of a JPEG; raises `InvalidFrame` or `FrameTooLarge`."""
INLINE_BYTES = 1 << 20
"""Raw frames up to this size are resized on the event loop: it takes about 0.3 ms, and a hop to
a thread and back costs nearly as much."""


@dataclass(frozen=True, slots=True)
class PreparedFrame:
    """The inputs of a frame, and when they were made."""

    inputs: tuple[tuple[NDArray[np.uint8], Placement], ...]
    """One per model."""
    crops: tuple[CropRegion | None, ...]
    """What each model looks at; None: all of the frame."""
    begun: float
    decoded: float
    ready: float


class FramePreparer:
    """Prepares the frames of one stream, one at a time and in order: all have the first's size."""

    def __init__(
        self,
        models: Sequence[tuple[InputSpec, AnimalFollower | None]],
        crop: CropRegion | None,
        limits: VideoLimits,
        threads: Executor,
        *,
        decode_jpeg: DecodeJpeg | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take what to make.

        Args:
            models: what each takes, and what follows its animal.
            crop: of frames that come without one.
            limits: of frames.
            threads: for frames that take long to read.
            decode_jpeg: of JPEG frames, in place of OpenCV.
            clock: s.
        """
        self._models = models
        self._crop = crop
        self._limits = limits
        self._threads = threads
        self._decode_jpeg = decode_jpeg
        self._clock = clock
        self._size: tuple[int, int] | None = None

    async def prepare(self, frame: EncodedFrame | ReadFrame) -> PreparedFrame:
        """Return the inputs of a frame.

        Raises:
            InvalidFrame, FrameDamaged, FrameTooLarge: as of `read_frame`; the crop is not inside
                the frame, or its size is another than that of the first one.
        """
        begun = self._clock()
        inline = isinstance(frame, ReadFrame) or (
            frame.encoding in RAW_CHANNELS and frame.size_bytes <= INLINE_BYTES
        )
        if inline:
            return self._read_and_resize(frame, begun, None)
        pixels = None
        if self._decode_jpeg and isinstance(frame, EncodedFrame) and frame.encoding == "jpeg":
            try:
                pixels = await self._decode_jpeg(frame.data)
            except InvalidFrame as error:
                raise type(error)(f"frame {frame.frame_index}: {error}") from error
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, self._read_and_resize, frame, begun, pixels
        )

    def _read_and_resize(
        self, frame: EncodedFrame | ReadFrame, begun: float, pixels: NDArray[np.uint8] | None
    ) -> PreparedFrame:
        if pixels is None:
            pixels = read_frame(frame, self._limits)
        size = (pixels.shape[1], pixels.shape[0])
        if self._size is None:
            self._size = size
        elif size != self._size:
            raise InvalidFrame(
                f"frame {frame.frame_index} is {size[0]}x{size[1]} px, but the stream began with "
                f"{self._size[0]}x{self._size[1]}; open a stream of its own for another size"
            )
        decoded = self._clock()
        asked = (frame.crop if isinstance(frame, EncodedFrame) else None) or self._crop
        crops = tuple(
            asked if follower is None else follower.crop(*size, asked)
            for _, follower in self._models
        )
        made: dict[tuple[InputSpec, CropRegion | None], tuple[NDArray[np.uint8], Placement]] = {}
        for (spec, _), crop in zip(self._models, crops, strict=True):
            if (spec, crop) not in made:
                made[spec, crop] = to_model_input(pixels, spec, crop)
        if isinstance(frame, EncodedFrame) and frame.shared is not None:
            made = {key: (_owned(one, pixels), at) for key, (one, at) in made.items()}
        inputs = tuple(
            made[spec, crop] for (spec, _), crop in zip(self._models, crops, strict=True)
        )
        return PreparedFrame(inputs, crops, begun, decoded, self._clock())


def _owned(made: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Copy an input that is the frame itself: the client writes there again after the outcome."""
    return made.copy() if np.may_share_memory(made, pixels) else made
