"""Makes inputs of models from batches of JPEG pictures with DALI: on the GPU, or on the CPU."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from nvidia.dali import fn, types
from nvidia.dali.pipeline import Pipeline

from service.bundle import InputSpec
from service.engine.cuda import Stream
from service.engine.device import Array, DeviceArray
from service.errors import EthostreamError
from service.preprocess import CropRegion, content_size, to_model_input
from service.video.base import Color, VideoLimits
from service.video.dali_graph import Device, run_on, to_gray, view_samples
from service.video.jpegs import MOST_AT_ONCE, JpegJob
from service.video.still import decode_still

_Wanted: TypeAlias = tuple[int, InputSpec, CropRegion]
"""One input of one picture, which is named by its place."""


class DaliJpegs:
    """Makes inputs of batches of JPEGs; belongs to one thread."""

    def __init__(self, device: Device, limits: VideoLimits, hand_over: Stream | None) -> None:
        """Take where to decode.

        Args:
            device: where pictures are decoded and resized.
            limits: the largest picture that is decoded.
            hand_over: stream of the GPU on which inputs become ready, for those that stay there.
        """
        self._device: Device = device
        self._limits = limits
        self._stream = hand_over
        self._pipelines: dict[Color, Pipeline] = {}

    def make(self, jobs: Sequence[JpegJob]) -> list[tuple[Array, ...] | EthostreamError]:
        """Return the inputs of each picture, uint8 (h, w, C); or why there are none.

        Orientation tags are ignored: pixels are the stored grid.
        """
        wanted = [(place, *one) for place, job in enumerate(jobs) for one in job.wanted]
        made: dict[_Wanted, Array] = {}
        try:
            for color in ("rgb", "gray"):
                own = [one for one in wanted if one[1].color == color]
                for first in range(0, len(own), MOST_AT_ONCE):
                    part = own[first : first + MOST_AT_ONCE]
                    made.update(zip(part, self._run(color, jobs, part), strict=True))
        except RuntimeError:
            # One bad picture fails the batch and the pipeline. It alone is to be the one without
            # inputs, and OpenCV says of each what it is.
            self._pipelines.clear()
            return [self._make_alone(job) for job in jobs]
        return [
            tuple(_bring(made[place, *one], job) for one in job.wanted)
            for place, job in enumerate(jobs)
        ]

    def _run(self, color: Color, jobs: Sequence[JpegJob], wanted: Sequence[_Wanted]) -> list[Array]:
        if color not in self._pipelines:
            self._pipelines[color] = _build(self._device, color)
        pipeline = self._pipelines[color]
        fed = _feed(jobs, wanted)
        if self._stream is None:
            (made,) = pipeline.run(**fed)
            on_host = made.as_cpu()
            return [np.array(on_host[place]) for place in range(len(wanted))]
        (made,), ready = run_on(self._stream, self._device, pipeline, **fed)
        return list(view_samples(made, ready))

    def _make_alone(self, job: JpegJob) -> tuple[Array, ...] | EthostreamError:
        try:
            pixels = decode_still(job.data, "jpeg", self._limits)
        except EthostreamError as error:
            return error
        return tuple(to_model_input(pixels, spec, region)[0] for spec, region in job.wanted)


def _bring(array: Array, job: JpegJob) -> Array:
    return array.to_host() if isinstance(array, DeviceArray) and not job.on_device else array


def _feed(jobs: Sequence[JpegJob], wanted: Sequence[_Wanted]) -> dict[str, list[NDArray[Any]]]:
    """Return what the sources of a pipeline take, one for each input."""
    contents = [content_size(region, spec) for _, spec, region in wanted]
    return {
        "pictures": [np.frombuffer(jobs[place].data, np.uint8) for place, _, _ in wanted],
        "corners": [np.array([part.y_px, part.x_px], np.int32) for _, _, part in wanted],
        "regions": [np.array([part.height_px, part.width_px], np.int32) for _, _, part in wanted],
        "contents": [np.array([height, width], np.float32) for width, height in contents],
        "inputs": [np.array([spec.height_px, spec.width_px], np.int32) for _, spec, _ in wanted],
    }


def _build(device: Device, color: Color) -> Pipeline:
    """Do on the device what `to_model_input` does, to one gray level; sizes are each input's."""
    pipeline = Pipeline(
        batch_size=MOST_AT_ONCE,
        num_threads=1 if device == "gpu" else 2,
        device_id=0 if device == "gpu" else None,
        prefetch_queue_depth=1,
        exec_dynamic=True,  # outputs are left alone while they are referred to
    )
    with pipeline:
        pictures = fn.external_source(name="pictures", ndim=1, dtype=types.UINT8)
        corners, regions, inputs = (
            fn.external_source(name=name, ndim=1, dtype=types.INT32)
            for name in ("corners", "regions", "inputs")
        )
        contents = fn.external_source(name="contents", ndim=1, dtype=types.FLOAT)
        made = fn.decoders.image(
            pictures,
            device="mixed" if device == "gpu" else "cpu",
            output_type=types.RGB,
            adjust_orientation=False,
        )
        made = fn.slice(made, corners, regions, axes=(0, 1))
        if color == "gray":
            made = to_gray(made)
        made = fn.resize(made, size=contents, interp_type=types.INTERP_LINEAR, antialias=False)
        pipeline.set_outputs(fn.pad(made, axes=(0, 1), shape=inputs, fill_value=0))
    pipeline.build()
    return pipeline
