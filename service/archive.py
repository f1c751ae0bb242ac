"""One video from a file to result chunks: decode, resize, the same graphs as live, columns.

Decoding runs ahead in a worker process, batches form in the scheduler from a bounded number of
frames in flight, and rows leave in the order of the file. Memory does not grow with its length.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from service import metrics
from service.archive_columns import DoneRow, to_chunk
from service.behavior_stream import BehaviorStream, choose_stride, choose_thresholds
from service.bout_tracker import BoutTracker, open_tracker
from service.bundle import InputSpec
from service.dynamic_crop import DynamicCrop, open_followers
from service.engine.device import Array
from service.errors import EthostreamError, InvalidRequest
from service.pose import poses_in_frame
from service.preprocess import CropRegion, Placement, place, to_model_input
from service.repository import LoadedBundle, Selection
from service.scheduler import Answer, Scheduler, Work
from service.setting_ranges import check_least
from service.values import (
    BehaviorAnswer,
    FrameStatus,
    Poses,
    ResultChunk,
    VideoFrame,
    VideoInfo,
)
from service.video import DecodeWorkers, VideoReader
from service.video.pictures import PictureList

log = structlog.get_logger("ethostream.archive")


class ArchiveConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How videos are analyzed."""

    frames_in_flight: int = 32
    """Frames of one video between decoding and the result chunk: four of the largest batches, so
    that the device never waits for one."""
    frames_per_chunk: int = 128
    """Rows of a result chunk where the request says nothing."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_least(self, "archive", frames_in_flight=1, frames_per_chunk=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOptions:
    """What to do with a video."""

    selections: tuple[Selection, ...]
    crop: CropRegion | None = None
    first_frame: int = 0
    resume_frame: int = 0
    """Rows before it are there from an earlier, interrupted run: the rows from it on are those that
    this run would have given. 0 begins at `first_frame`."""
    last_poses: tuple[tuple[int, Poses], ...] = ()
    """With `resume_frame` and `dynamic_crop`: the newest frame before it that has poses, and these,
    one for each pose bundle; empty where none has."""
    frame_limit: int = 0
    """0 takes all."""
    frames_per_chunk: int = 0
    """0 takes the default."""
    frame_rate_hz: float = 0.0
    """0 takes the container's."""
    dynamic_crop: DynamicCrop | None = None
    """Follow the animal, within `crop`. A frame's crop comes from the frame before, so that those
    of one video are computed one after the other; other videos fill the batches."""


@dataclass(frozen=True, slots=True)
class VideoStarted:
    """The analysis begins."""

    info: VideoInfo
    bundles: tuple[LoadedBundle, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class VideoFinished:
    """The analysis is complete."""

    frames: dict[FrameStatus, int]
    """Rows sent, by status."""
    message: str
    total_seconds: float


_Input = tuple[Array, Placement]


@dataclass(slots=True, eq=False)
class _Row:
    frame_index: int
    pts_ns: int
    status: FrameStatus
    reason: str
    poses: list[tuple[asyncio.Future[Answer], Placement] | None]
    behaviors: list[asyncio.Future[BehaviorAnswer] | BehaviorAnswer]


class VideoAnalysis:
    """Analyzes one video; `run` is iterated once."""

    def __init__(
        self,
        options: VideoOptions,
        scheduler: Scheduler,
        workers: DecodeWorkers,
        config: ArchiveConfig,
        threads: Executor,
    ) -> None:
        if not options.selections:
            raise InvalidRequest("no bundle is named; name at least one, see `ethostream models`")
        self._options = options
        self._scheduler = scheduler
        self._workers = workers
        self._config = config
        self._threads = threads
        bundles = [one.loaded for one in options.selections]
        self._pose = [one for one in bundles if one.bundle.manifest.pose is not None]
        self._behavior = [one for one in options.selections if one.loaded not in self._pose]
        self._followers = open_followers(
            options.dynamic_crop, [one.bundle.manifest for one in self._pose]
        )
        shared = bundles if self._followers is None else [one.loaded for one in self._behavior]
        self._inputs = tuple({one.bundle.manifest.input: None for one in shared})
        self._on_device = all(one.takes_device_rows for one in bundles)
        self._first_row = max(options.first_frame, options.resume_frame)
        for follower, (frame_index, poses) in zip(
            self._followers or (), options.last_poses, strict=False
        ):
            follower.see(frame_index, poses)
        self._frames = Counter({status: 0 for status in FrameStatus})
        self._trackers: list[BoutTracker | None] = []
        if self._first_row > options.first_frame and any(one.bout_events for one in self._behavior):
            raise InvalidRequest(
                f"bouts cannot be told from frame {options.resume_frame} on, since one may have "
                "begun before; leave resume_frame out, or the bouts"
            )

    async def run(
        self, path: Path | PictureList
    ) -> AsyncIterator[VideoStarted | ResultChunk | VideoFinished]:
        """Yield the start, result chunks in order, and the end.

        Raises:
            VideoNotFound: no such file.
            InvalidVideo: no frame of it can be decoded.
            FrameRateMismatch: a behavior bundle cannot take its rate.
            DecoderFailed: the decode worker died on it.
            EngineFailed: a graph failed.
        """
        began = time.perf_counter()
        streams: list[BehaviorStream] = []
        rows: deque[_Row] = deque()
        metrics.VIDEOS_OPEN.inc()
        try:
            options = self._options
            begin = await self._choose_begin(path)
            async with self._open(path, begin) as reader:
                rate = options.frame_rate_hz or reader.info.frame_rate_hz
                streams.extend(self._open_stream(one, rate, begin) for one in self._behavior)
                self._trackers.extend(
                    open_tracker(one, stream.stride)
                    for one, stream in zip(self._behavior, streams, strict=True)
                )
                yield VideoStarted(
                    reader.info,
                    tuple(one.loaded for one in options.selections),
                    self._strides(streams),
                )
                done: list[DoneRow] = []
                size = options.frames_per_chunk or self._config.frames_per_chunk
                in_flight = self._config.frames_in_flight + max(
                    (stream.look_ahead for stream in streams), default=0
                )
                newest = None
                async for frame in reader:
                    if newest is not None:
                        await self._follow(newest)
                    newest = await self._begin(frame, streams)
                    rows.append(newest)
                    if len(rows) >= in_flight:
                        done += await self._complete(rows.popleft())
                    if len(done) == size:
                        yield to_chunk(done, self._pose, self._behavior, self._trackers)
                        done.clear()
                message = reader.message
            for stream in streams:
                stream.finish()
            while rows:
                done += await self._complete(rows.popleft())
                if len(done) == size:
                    yield to_chunk(done, self._pose, self._behavior, self._trackers)
                    done.clear()
            if done:
                yield to_chunk(done, self._pose, self._behavior, self._trackers)
            total = time.perf_counter() - began
            frames = dict(self._frames)
            failed = sum(count for status, count in frames.items() if not status.has_pixels)
            metrics.VIDEOS.labels("complete" if not failed else "damaged").inc()
            log.info(
                "video analyzed",
                **{status.name.lower(): count for status, count in frames.items()},
                decoder=reader.info.decoder,
                seconds=round(total, 3),
            )
            yield VideoFinished(frames, message, total)
        except EthostreamError:
            metrics.VIDEOS.labels("failed").inc()
            raise
        finally:
            metrics.VIDEOS_OPEN.dec()
            for row in rows:  # nobody waits for them any more
                for one in row.poses:
                    if one is not None:
                        one[0].cancel()
            for stream in streams:
                await stream.close()

    async def _choose_begin(self, path: Path | PictureList) -> int:
        """Return the first frame to decode: far enough before the first row that is wanted."""
        options = self._options
        if self._first_row == options.first_frame:
            return options.first_frame
        async with self._open(path, self._first_row - 1, frame_limit=1) as reader:
            rate = options.frame_rate_hz or reader.info.frame_rate_hz
        begin = self._first_row - 1  # where all rows are there already, one still tells the end
        for one in self._behavior:
            spec = one.loaded.bundle.manifest.behavior
            assert spec is not None
            if spec.memory_frames is None:
                return options.first_frame
            # A stretch may begin after a gap, and a frame may be held from the step before.
            steps = spec.memory_frames + spec.max_gap_frames + 2
            begin = min(begin, self._first_row - steps * choose_stride(one.loaded, rate))
        return max(options.first_frame, begin)

    def _open(
        self, path: Path | PictureList, first_frame: int, *, frame_limit: int = 0
    ) -> AbstractAsyncContextManager[VideoReader]:
        options = self._options
        if options.frame_limit and not frame_limit:
            frame_limit = max(1, options.first_frame + options.frame_limit - first_frame)
        return self._workers.open(
            path,
            color=None if self._followers is None else "rgb",
            inputs=self._inputs,
            crop=options.crop,
            first_frame=first_frame,
            frame_limit=frame_limit or None,
            on_device=self._on_device,
        )

    def _open_stream(
        self, selection: Selection, frame_rate_hz: float, begin: int
    ) -> BehaviorStream:
        stride = choose_stride(selection.loaded, frame_rate_hz)
        return BehaviorStream(
            selection.loaded,
            self._scheduler,
            work=Work.ARCHIVE,
            stride=stride,
            thresholds=choose_thresholds(selection.loaded, selection.thresholds),
            # The same frames as in a run from the first one on.
            first_frame=begin + (self._options.first_frame - begin) % stride,
        )

    def _strides(self, streams: list[BehaviorStream]) -> tuple[int, ...]:
        by_key = {stream.loaded.key: stream.stride for stream in streams}
        return tuple(by_key.get(one.loaded.key, 1) for one in self._options.selections)

    async def _begin(self, frame: VideoFrame, streams: list[BehaviorStream]) -> _Row:
        row = _Row(frame.frame_index, frame.pts_ns, frame.status, frame.reason, [], [])
        is_wanted = frame.frame_index >= self._first_row
        self._frames[frame.status] += is_wanted
        if not frame.status.has_pixels:
            row.poses = [None] * len(self._pose)
            row.behaviors = [stream.miss(frame.frame_index) for stream in streams]
            metrics.FRAMES.labels("archive", "error").inc(is_wanted)
            return row
        inputs = self._place(frame)
        followed: list[_Input] = []
        if self._followers is not None and is_wanted:
            followed = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._resize_followed, frame
            )
        for number, loaded in enumerate(self._pose if is_wanted else ()):
            pixels, placement = (
                followed[number] if followed else inputs[loaded.bundle.manifest.input]
            )
            answer = self._scheduler.submit(
                loaded.graphs["pose"], {"frames": pixels}, work=Work.ARCHIVE
            )
            row.poses.append((answer, placement))
        for stream in streams:
            pixels, _ = inputs[stream.loaded.bundle.manifest.input]
            row.behaviors.append(stream.push(frame.frame_index, pixels))
        metrics.FRAMES.labels("archive", "result").inc(is_wanted)
        return row

    async def _follow(self, row: _Row) -> None:
        """Wait until it is known where the animals of a row are."""
        for follower, one in zip(self._followers or (), row.poses, strict=False):
            if one is not None:
                answer, placement = one
                poses = poses_in_frame((await answer).outputs["keypoints"], placement)
                follower.see(row.frame_index, poses)

    def _place(self, frame: VideoFrame) -> dict[InputSpec, _Input]:
        """Inputs by specification."""
        size, crop = (frame.width_px, frame.height_px), self._options.crop
        return {
            spec: (pixels, place(*size, spec, crop))
            for spec, pixels in zip(self._inputs, frame.inputs, strict=True)
        }

    def _resize_followed(self, frame: VideoFrame) -> list[_Input]:
        """The input of each pose bundle, around its animals."""
        assert frame.pixels is not None
        size, crop = (frame.width_px, frame.height_px), self._options.crop
        return [
            _own_input(frame.pixels, loaded.bundle.manifest.input, one.crop(*size, crop))
            for loaded, one in zip(self._pose, self._followers or (), strict=True)
        ]

    async def _complete(self, row: _Row) -> list[DoneRow]:
        """Wait for the answers of a row; none comes of one before the first that is wanted."""
        poses: list[Poses | None] = []
        for one in row.poses:
            if one is None:
                poses.append(None)
            else:
                answer, placement = one
                poses.append(poses_in_frame((await answer).outputs["keypoints"], placement))
        behaviors = [one if isinstance(one, BehaviorAnswer) else await one for one in row.behaviors]
        if row.frame_index < self._first_row:
            return []
        return [DoneRow(row.frame_index, row.pts_ns, row.status, row.reason, poses, behaviors)]


def _own_input(pixels: NDArray[np.uint8], spec: InputSpec, crop: CropRegion | None) -> _Input:
    resized, placement = to_model_input(pixels, spec, crop)
    # The decoder's ring is written again soon; only a resized array is ours already.
    return (resized.copy() if np.shares_memory(resized, pixels) else resized), placement
