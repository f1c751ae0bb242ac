"""Decodes batches of JPEG pictures with DALI: on the GPU's own decoder, or on the CPU."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from nvidia.dali import fn, types
from nvidia.dali.pipeline import Pipeline

from service.errors import EthostreamError
from service.video.base import VideoLimits
from service.video.dali_graph import Device
from service.video.jpegs import MOST_AT_ONCE
from service.video.still import decode_still, read_size

Pixels = NDArray[np.uint8]


class DaliJpegs:
    """Decodes batches of JPEGs; belongs to one thread."""

    def __init__(self, device: Device, limits: VideoLimits) -> None:
        """Take where to decode, and the largest picture that is decoded."""
        self._device = device
        self._limits = limits
        self._pipeline: Pipeline | None = None

    def decode(self, pictures: Sequence[bytes]) -> list[Pixels | EthostreamError]:
        """Return (H, W, 3) RGB, or (H, W) gray of a gray JPEG; or why there are no pixels.

        Orientation tags are ignored: pixels are the stored grid.

        Args:
            pictures: at most `MOST_AT_ONCE` files.
        """
        sizes = [self._read_size(data) for data in pictures]
        sound = [
            data for data, size in zip(pictures, sizes, strict=True) if isinstance(size, tuple)
        ]
        found = iter(self._decode(sound) if sound else [])
        answers: list[Pixels | EthostreamError] = []
        for size in sizes:
            if isinstance(size, EthostreamError):
                answers.append(size)
                continue
            pixels = next(found)
            is_gray = isinstance(pixels, np.ndarray) and size[2] == 1 and pixels.ndim == 3
            answers.append(pixels[..., 0].copy() if is_gray else pixels)  # type: ignore[index]
        return answers

    def _read_size(self, data: bytes) -> tuple[int, int, int] | EthostreamError:
        try:
            width_px, height_px, channels = read_size(data, "jpeg")
            self._limits.check("the jpeg frame", width_px, height_px)
        except EthostreamError as error:
            return error
        return width_px, height_px, channels

    def _decode(self, pictures: list[bytes]) -> Sequence[Pixels | EthostreamError]:
        if self._pipeline is None:
            self._pipeline = _build(self._device)
        try:
            fed = [np.frombuffer(data, np.uint8) for data in pictures]
            (decoded,) = self._pipeline.run(jpegs=fed)
            on_host = decoded.as_cpu()
            return [np.array(on_host[place]) for place in range(len(pictures))]
        except RuntimeError:
            # One bad picture fails the batch and the pipeline. It alone is to be the one without
            # pixels, and OpenCV says of each what it is.
            self._pipeline = None
            return [self._decode_alone(data) for data in pictures]

    def _decode_alone(self, data: bytes) -> Pixels | EthostreamError:
        try:
            return decode_still(data, "jpeg", self._limits)
        except EthostreamError as error:
            return error


def _build(device: Device) -> Pipeline:
    pipeline = Pipeline(
        batch_size=MOST_AT_ONCE,
        num_threads=1 if device == "gpu" else 2,
        device_id=0 if device == "gpu" else None,
        prefetch_queue_depth=1,
    )
    with pipeline:
        encoded = fn.external_source(name="jpegs", ndim=1, dtype=types.UINT8)
        pipeline.set_outputs(
            fn.decoders.image(
                encoded,
                device="mixed" if device == "gpu" else "cpu",
                output_type=types.RGB,
                adjust_orientation=False,
            )
        )
    pipeline.build()
    return pipeline
