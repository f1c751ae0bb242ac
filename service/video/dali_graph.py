"""The nodes of DALI's pipelines, and what comes out of them.

Nodes read stretches of a video and make gray pictures and the inputs of models.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.pipeline import Pipeline

from service.bundle import InputSpec
from service.engine.cuda import Event, Stream
from service.engine.device import DeviceArray
from service.preprocess import CropRegion, content_size

Device = Literal["cpu", "gpu"]

PADDING = -1
"""Number of a frame that DALI adds to fill the last run of a stretch."""


def read_video(listed: Path, frames_a_run: int, device: Device) -> list[Any]:
    """Read a list of stretches, a line each: a file, a label, the first frame and the end.

    Returns:
        Pictures (F, H, W, 3) RGB, a label, numbers (F,) and times (F,) in s since the first frame
        of the file. What pads the last run of a stretch has the number `PADDING`.
    """
    nodes: Any = fn.experimental.readers.video(
        device=device,
        file_list=str(listed),
        file_list_format="frames",
        file_list_include_end=False,
        sequence_length=frames_a_run,
        pad_mode="constant",  # others drop the frames that fill no run
        enable_frame_num="sequence",
        enable_timestamps=True,
        image_type=types.RGB,
    )
    return list(nodes)


def to_gray(frames: Any) -> Any:
    """Turn (F, H, W, 3) RGB into (F, H, W, 1), the luma of BT.601."""
    return fn.color_space_conversion(frames, image_type=types.RGB, output_type=types.GRAY)


def make_input(frames: Any, spec: InputSpec, region: CropRegion) -> Any:
    """Do on the device what `to_model_input` does, to one gray level.

    Args:
        frames: (F, H, W, 3) RGB.
        spec: the input.
        region: part of the pictures that it shows.

    Returns:
        (F, h, w, C) of the input's size.
    """
    frames = cut_region(frames, region)
    if spec.color == "gray":
        frames = to_gray(frames)
    return pad_content(resize_content(frames, spec, region), spec, region)


def cut_region(pictures: Any, region: CropRegion) -> Any:
    """Return a part of pictures of any layout."""
    return fn.slice(
        pictures,
        start=(region.y_px, region.x_px),
        shape=(region.height_px, region.width_px),
        axis_names="HW",
    )


def resize_content(pictures: Any, spec: InputSpec, region: CropRegion) -> Any:
    """Resize pictures of a region to what they take of the input, as `resize` does."""
    width_px, height_px = content_size(region, spec)
    return fn.resize(
        pictures,
        resize_x=width_px,
        resize_y=height_px,
        interp_type=types.INTERP_LINEAR,
        antialias=False,
    )


def pad_content(pictures: Any, spec: InputSpec, region: CropRegion) -> Any:
    """Put black beside what does not fill the input."""
    if content_size(region, spec) == (spec.width_px, spec.height_px):
        return pictures
    return fn.pad(pictures, axis_names="HW", shape=(spec.height_px, spec.width_px), fill_value=0)


def run_on(stream: Stream, device: Device, pipeline: Pipeline, **fed: Any) -> tuple[Any, Event]:
    """Run a pipeline so that its outputs become ready on a stream; the mark is behind that."""
    made = pipeline.run(*([int(stream.handle)] if device == "gpu" else []), **fed)
    return made, stream.mark()


def view_samples(batch: Any, ready: Event) -> list[DeviceArray]:
    """Return the samples of a batch of uint8 where they are.

    They keep the batch, and so DALI leaves it alone.
    """
    return [
        DeviceArray(one.data_ptr(), tuple(one.shape()), np.dtype(np.uint8), ready, batch)
        for one in (batch[place] for place in range(len(batch)))
    ]
