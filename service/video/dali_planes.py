"""Makes inputs of models from NV12 pictures with DALI, on the GPU that decoded them.

As `InputConverter` does on the host: luma and color are resized as they are stored, and RGB is made
of the small picture; of the whole one where planes of color would have to grow.
"""

from collections.abc import Sequence
from typing import Any

import av
import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.pipeline import Pipeline

from service.bundle import InputSpec
from service.engine.cuda import Stream
from service.engine.device import DeviceArray
from service.preprocess import CropRegion, region_of_color
from service.video.base import ModelInputs, StoredFormat
from service.video.dali_graph import (
    Device,
    cut_region,
    pad_content,
    resize_content,
    run_on,
    to_gray,
    view_samples,
)
from service.video.inputs import gray_table
from service.video.pixels import color_matrix, has_planes, luma_is_gray, make_sample

_MOST_AT_ONCE = 16
_MOST_BYTES = 256 << 20


class DaliPlanes:
    """Makes inputs of batches of pictures of one video; belongs to one thread."""

    def __init__(
        self,
        stored: StoredFormat,
        inputs: tuple[InputSpec, ...],
        region: CropRegion,
        *,
        device: Device,
        stream: Stream,
    ) -> None:
        """Take what to make of pictures that `takes_planes`.

        Args:
            stored: what the pictures are like.
            inputs: of models.
            region: part of the pictures that they show.
            device: cpu takes pictures in memory of the host.
            stream: of the GPU, on which pictures come and inputs become ready.
        """
        self.stream = stream
        picture_bytes = stored.width_px * stored.height_px * 3 // 2
        self.at_once = max(1, min(_MOST_AT_ONCE, _MOST_BYTES // picture_bytes))
        """Pictures that are taken together, at most."""
        self._device: Device = device
        self._pipeline = Pipeline(
            batch_size=self.at_once,
            num_threads=1,
            device_id=0 if device == "gpu" else None,
            prefetch_queue_depth=1,
            exec_dynamic=True,  # outputs are left alone while they are referred to
        )
        with self._pipeline:
            nv12 = fn.external_source(name="nv12", device=device, ndim=2, dtype=types.UINT8)
            made = (_make(nv12, stored, one, region) for one in inputs)
            filled = (pad_content(*one, region) for one in zip(made, inputs, strict=True))
            self._pipeline.set_outputs(*filled)
        self._pipeline.build()

    def make(self, pictures: Sequence[DeviceArray]) -> list[ModelInputs]:
        """Return the inputs of each picture, (1.5 H, W) uint8.

        Raises:
            RuntimeError: DALI cannot go on.
        """
        self._pipeline.feed_input("nv12", list(pictures), cuda_stream=int(self.stream.handle))
        made, ready = run_on(self.stream, self._device, self._pipeline)
        each = (view_samples(one, ready) for one in made)
        return [ModelInputs(arrays) for arrays in zip(*each, strict=True)]


def takes_planes(stored: StoredFormat) -> bool:
    """Whether inputs can be made of pictures that are stored like this."""
    return has_planes(make_sample(stored))


def _make(nv12: Any, stored: StoredFormat, spec: InputSpec, region: CropRegion) -> Any:
    """Return (h, w, C) of what the region takes of the input."""
    like = make_sample(stored)
    luma = fn.lookup_table(
        _cut(nv12, 0, region, stored.width_px, 1),
        keys=list(range(256)),
        values=gray_table(like).tolist(),
        dtype=types.UINT8,
    )
    if spec.color == "gray" and luma_is_gray(like):
        return resize_content(luma, spec, region)
    width_px, height_px = stored.width_px, stored.height_px
    of_color = region_of_color(region, spec, (height_px, width_px), (height_px // 2, width_px // 2))
    if of_color is not None:
        u_v = _cut(nv12, height_px, of_color, width_px // 2, 2)
        small = resize_content(luma, spec, region), resize_content(u_v, spec, region)
        return _to_color(*small, like, spec)
    u_v = _cut(nv12, height_px, CropRegion(0, 0, width_px // 2, height_px // 2), width_px // 2, 2)
    u_v = fn.resize(u_v, resize_x=width_px, resize_y=height_px, interp_type=types.INTERP_NN)
    whole = _to_color(luma, cut_region(u_v, region), like, spec)
    return resize_content(whole, spec, region)


def _cut(nv12: Any, first: int, region: CropRegion, width_px: int, channels: int) -> Any:
    """Return a region (h, w, C) of a plane that begins at a row; its rows hold C of each px."""
    first += region.y_px
    rows = nv12[first : first + region.height_px]
    rows = fn.reshape(rows, shape=(region.height_px, width_px, channels), layout="HWC")
    return cut_region(rows, CropRegion(region.x_px, 0, region.width_px, region.height_px))


def _to_color(luma: Any, u_v: Any, like: av.VideoFrame, spec: InputSpec) -> Any:
    """Return RGB (H, W, 3), or gray (H, W, 1), of levels of luma (H, W, 1) and color (H, W, 2)."""
    to_rgb = color_matrix(like).astype(np.float32)
    rgb = fn.coord_transform(
        fn.cat(luma, u_v, axis_name="C"),
        M=to_rgb[:, :3].ravel().tolist(),
        T=to_rgb[:, 3].tolist(),
        dtype=types.UINT8,
    )
    return to_gray(rgb) if spec.color == "gray" else rgb
