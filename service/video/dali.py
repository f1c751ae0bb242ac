"""Reads stretches of a video file with NVIDIA DALI: on NVDEC, or on the CPU without a GPU.

On the CPU DALI decodes VP8, VP9 and MJPEG only; the same pipelines run on both.
"""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nvidia.dali.pipeline import Pipeline

from service.bundle import InputSpec
from service.engine.cuda import Stream
from service.errors import DecoderFailed
from service.preprocess import CropRegion
from service.video.base import Color, ModelInputs
from service.video.dali_graph import (
    PADDING,
    Device,
    make_input,
    read_video,
    run_on,
    to_gray,
    view_samples,
)
from service.video.stretches import Stretch

# What waits in one pipeline. More lets pipelines run ahead of each other: they work on stretches in
# turn, and only the one whose turn it is is emptied.
_WAITING_BYTES = {"cpu": 64 << 20, "gpu": 256 << 20}
_MOST_FRAMES_A_RUN = 16
_LEAST_RUNS_AHEAD = 2


class DaliSource:
    """Several pipelines side by side, since each uses one of the GPU's decoder units.

    Pipeline k of n decodes stretches k, k + n, k + 2n, ... from where it was started.
    """

    def __init__(
        self,
        path: Path,
        stretches: tuple[Stretch, ...],
        region: CropRegion,
        *,
        color: Color,
        inputs: tuple[InputSpec, ...] = (),
        device: Device,
        pipelines: int,
        hand_over: Stream | None = None,
    ) -> None:
        """Take the file; nothing is opened before `restart`.

        Args:
            path: a regular file.
            stretches: all of it.
            region: all of a picture, or the part that `inputs` show.
            color: of whole pictures.
            inputs: of models, made on the device in place of whole pictures.
            device: where it is decoded.
            pipelines: side by side.
            hand_over: stream of the GPU on which `inputs` become ready; they then stay in its
                memory. None brings them to the host.
        """
        self._stretches = stretches
        self._region = region
        self._color: Color = color
        self._inputs = inputs
        self._device: Device = device
        self._pipelines = pipelines
        self._stream = hand_over
        picture_bytes = 3 * region.width_px * region.height_px
        waiting = _WAITING_BYTES[device] // picture_bytes
        self._frames_a_run = max(1, min(_MOST_FRAMES_A_RUN, waiting // _LEAST_RUNS_AHEAD))
        made_bytes = sum(one.width_px * one.height_px * one.channels for one in inputs)
        waiting = _WAITING_BYTES[device] // (made_bytes or picture_bytes)
        longest = max(map(len, stretches))
        self._runs_ahead = max(_LEAST_RUNS_AHEAD, min(longest, waiting) // self._frames_a_run)
        self.decoder = f"dali {version('nvidia-dali-cuda130')} ({device})"
        self._path = path.absolute()
        self._folder: TemporaryDirectory[str] | None = None
        self._running: list[Pipeline] = []
        self._first = 0

    def restart(self, number: int) -> None:
        """See `PictureSource`."""
        self.close()
        self._folder = TemporaryDirectory(prefix="ethostream-dali-")
        # DALI keeps the index of a file under its name for the life of the process, and its lists
        # of files are split at spaces: under this name it finds this file only.
        link = Path(self._folder.name) / "video"
        link.symlink_to(self._path)
        self._first = number
        count = min(self._pipelines, len(self._stretches) - number)
        try:
            self._running = [self._start(link, place, count) for place in range(count)]
        except RuntimeError as error:
            raise DecoderFailed(f"could not begin: {_shorten(error)}") from error

    def pictures(self, number: int) -> Iterator[tuple[int, NDArray[np.uint8] | ModelInputs]]:
        """See `PictureSource`."""
        stretch = self._stretches[number]
        pipeline = self._running[(number - self._first) % len(self._running)]
        for first in range(stretch.first, stretch.end, self._frames_a_run):
            try:
                made, numbers, times_s = self._run(pipeline)
            except RuntimeError as error:
                raise DecoderFailed(f"failed: {_shorten(error)}") from error
            last = min(stretch.end, first + self._frames_a_run)
            expected = np.full(self._frames_a_run, PADDING)
            expected[: last - first] = np.arange(first, last)
            if not np.array_equal(numbers, expected):
                raise DecoderFailed(f"gave frames {numbers.tolist()} for {first} to {last - 1}")
            for place in range(last - first):
                yield round(times_s[place] * 1e9), self._picture(made, place)

    def close(self) -> None:
        """See `PictureSource`."""
        self._running = []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self, link: Path, place: int, count: int) -> Pipeline:
        """Build and start the pipeline of the stretches that are `place` places after the first."""
        listed = link.with_name(f"stretches-{place}")
        own = self._stretches[self._first + place :: count]
        # Pipelines run ahead beyond the end, too: what they find there is to cost one frame a run.
        beyond = [Stretch(own[-1].first, own[-1].first + 1)] * self._runs_ahead
        lines = (f"{link} 0 {one.first} {one.end}\n" for one in (*own, *beyond))
        listed.write_text("".join(lines))
        pipeline = Pipeline(
            batch_size=1,
            num_threads=1,
            device_id=0 if self._device == "gpu" else None,
            prefetch_queue_depth=self._runs_ahead,
            exec_dynamic=True,  # outputs are left alone while they are referred to
        )
        with pipeline:
            frames, *told = read_video(listed, self._frames_a_run, self._device)
            made = [make_input(frames, spec, self._region) for spec in self._inputs]
            whole = to_gray(frames) if self._color == "gray" else frames
            pipeline.set_outputs(*told, *(made or [whole]))
        pipeline.build()
        return pipeline

    def _run(self, pipeline: Pipeline) -> tuple[list[Any], NDArray[Any], NDArray[Any]]:
        """Return what a run made, for each input an array of pictures or a list, and what of."""
        if self._stream is None:
            _, numbers, times_s, *made = (_to_host(one) for one in pipeline.run())
            return made, numbers, times_s
        (_, numbers, times_s, *made), ready = run_on(self._stream, self._device, pipeline)
        pictures = [view_samples(one, ready)[0].split() for one in made]
        return pictures, _to_host(numbers), _to_host(times_s)

    def _picture(self, made: list[Any], place: int) -> Any:
        if self._inputs:
            return ModelInputs(tuple(one[place] for one in made))
        whole = made[0][place]
        return whole[..., 0] if self._color == "gray" else whole


def _to_host(batch: Any) -> NDArray[Any]:
    """Return the one sample of a batch in memory of the host; the host waits for the GPU here."""
    return np.asarray(batch.as_cpu()[0])


def _shorten(error: RuntimeError) -> str:
    """Return what DALI says without its stack traces."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line.startswith(("Assert on", "Error when", "CUDA", "NV"))]
    return (told or [line for line in lines if line][:1] or ["no reason given"])[0]
