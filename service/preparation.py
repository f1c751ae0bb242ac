"""From a frame as it was sent to the inputs of a stream's models: read, crop, resize."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.bundle import InputSpec
from service.dynamic_crop import AnimalFollower
from service.engine.device import Array
from service.errors import InvalidFrame
from service.frames import RAW_CHANNELS, EncodedFrame, ReadFrame, read_frame
from service.preprocess import CropRegion, Placement, place, to_model_input
from service.video.base import VideoLimits, Wanted
from service.video.jpegs import JpegBatches, JpegJob
from service.video.still import read_size

INLINE_BYTES = 1 << 20
"""Raw frames up to this size are resized on the event loop: it takes about 0.3 ms, and a hop to
a thread and back costs nearly as much."""
_Key = tuple[InputSpec, CropRegion | None]
"""What a model takes, and the part of the frame that it looks at."""
_Made = dict[_Key, tuple[Array, Placement]]


@dataclass(frozen=True, slots=True)
class PreparedFrame:
    """The inputs of a frame, and when they were made."""

    inputs: tuple[tuple[Array, Placement], ...]
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
        jpegs: JpegBatches | None = None,
        on_device: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take what to make.

        Args:
            models: what each takes, and what follows its animal.
            crop: of frames that come without one.
            limits: of frames.
            threads: for frames that take long to read.
            jpegs: makes inputs of JPEG frames, in place of OpenCV.
            on_device: leave these on the GPU, if they are made there.
            clock: s.
        """
        self._models = models
        self._crop = crop
        self._limits = limits
        self._threads = threads
        self._jpegs = jpegs
        self._on_device = on_device
        self._clock = clock
        self._size: tuple[int, int] | None = None

    @property
    def wanted(self) -> Wanted:
        """What decoders of encoded streams make of each frame: inputs where all have one crop."""
        if any(follower is not None for _, follower in self._models):
            return Wanted()
        inputs = tuple({spec: None for spec, _ in self._models})
        return Wanted(None, inputs, self._crop, self._on_device)

    async def prepare(self, frame: EncodedFrame | ReadFrame) -> PreparedFrame:
        """Return the inputs of a frame.

        Raises:
            InvalidFrame, FrameDamaged, FrameTooLarge: as of `read_frame`; the crop is not inside
                the frame, or its size is another than that of the first one.
        """
        begun = self._clock()
        if isinstance(frame, ReadFrame) and frame.inputs:
            return self._take_inputs(frame, begun)
        inline = isinstance(frame, ReadFrame) or (
            frame.encoding in RAW_CHANNELS and frame.size_bytes <= INLINE_BYTES
        )
        if inline:
            return self._read_and_resize(frame, begun)
        if self._jpegs and isinstance(frame, EncodedFrame) and frame.encoding == "jpeg":
            return await self._prepare_jpeg(self._jpegs, frame, begun)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._read_and_resize, frame, begun)

    def _take_inputs(self, frame: ReadFrame, begun: float) -> PreparedFrame:
        crops = self._choose_crops(frame, frame.size)
        made = {
            (spec, crop): (array, place(*frame.size, spec, crop))
            for (spec, crop), array in zip(self._keys(crops), frame.inputs, strict=True)
        }
        return self._prepared(made, frame.size, crops, begun, begun)

    async def _prepare_jpeg(
        self, jpegs: JpegBatches, frame: EncodedFrame, begun: float
    ) -> PreparedFrame:
        with _named(frame):
            width_px, height_px, _ = read_size(frame.data, "jpeg")
            self._limits.check("the jpeg frame", width_px, height_px)
        size = (width_px, height_px)
        crops = self._choose_crops(frame, size)
        keys = self._keys(crops)
        whole = CropRegion(0, 0, *size)
        placements = [place(*size, spec, crop) for spec, crop in keys]
        wanted = tuple((spec, crop or whole) for spec, crop in keys)
        with _named(frame):
            arrays = await jpegs.make(JpegJob(frame.data, wanted, self._on_device))
        made = dict(zip(keys, zip(arrays, placements, strict=True), strict=True))
        return self._prepared(made, size, crops, begun, self._clock())

    def _read_and_resize(self, frame: EncodedFrame | ReadFrame, begun: float) -> PreparedFrame:
        pixels = read_frame(frame, self._limits)
        decoded = self._clock()
        size = (pixels.shape[1], pixels.shape[0])
        crops = self._choose_crops(frame, size)
        made: _Made = {}
        for spec, crop in self._keys(crops):
            array, placement = to_model_input(pixels, spec, crop)
            if isinstance(frame, EncodedFrame) and frame.shared is not None:
                array = _owned(array, pixels)
            made[spec, crop] = array, placement
        return self._prepared(made, size, crops, begun, decoded)

    def _choose_crops(
        self, frame: EncodedFrame | ReadFrame, size: tuple[int, int]
    ) -> tuple[CropRegion | None, ...]:
        """Say what each model looks at."""
        if self._size not in (None, size):
            raise InvalidFrame(
                f"frame {frame.frame_index} is {size[0]}x{size[1]} px, but the stream began with "
                f"{self._size[0]}x{self._size[1]}; open a stream of its own for another size"
            )
        asked = (frame.crop if isinstance(frame, EncodedFrame) else None) or self._crop
        return tuple(
            asked if follower is None else follower.crop(*size, asked)
            for _, follower in self._models
        )

    def _keys(self, crops: tuple[CropRegion | None, ...]) -> list[_Key]:
        """What is made of a frame: what several models take, once."""
        specs = (spec for spec, _ in self._models)
        return list(dict.fromkeys(zip(specs, crops, strict=True)))

    def _prepared(
        self,
        made: _Made,
        size: tuple[int, int],
        crops: tuple[CropRegion | None, ...],
        begun: float,
        decoded: float,
    ) -> PreparedFrame:
        self._size = size
        inputs = tuple(
            made[spec, crop] for (spec, _), crop in zip(self._models, crops, strict=True)
        )
        return PreparedFrame(inputs, crops, begun, decoded, self._clock())


@contextmanager
def _named(frame: EncodedFrame) -> Iterator[None]:
    """Name the frame in what is wrong with it."""
    try:
        yield
    except InvalidFrame as error:
        raise type(error)(f"frame {frame.frame_index}: {error}") from error


def _owned(made: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Copy an input that is the frame itself: the client writes there again after the outcome."""
    return made.copy() if np.may_share_memory(made, pixels) else made
