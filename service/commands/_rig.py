"""A rig made of a file: its frames go to a server one by one, at the pace of a camera."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from ethostream import AsyncClient, AsyncLiveStream, BehaviorResult, FrameOutcome

from service.demo.live_run import LiveRun
from service.results import AnsweredBundle
from service.values import (
    BehaviorColumns,
    BehaviorStatus,
    BundleVersion,
    PoseColumns,
    ResultChunk,
    VideoFrame,
)
from service.video.pyav import VideoFile


async def stream_recording(
    client: AsyncClient,
    video: VideoFile,
    bundles: Sequence[AnsweredBundle],
    *,
    frame_limit: int = 0,
    speed: float = 1.0,
    on_frame: Callable[[int], None] | None = None,
) -> LiveRun:
    """Stream a file's frames, raw RGB, and wait for every answer.

    Args:
        client: connected to the server.
        video: decoded here, in the same way as the server decodes files.
        bundles: to run.
        frame_limit: frames to send; 0 sends all.
        speed: 1: at the video's own times; 2: twice as fast; 0: as fast as answers allow.
        on_frame: called with the number of outcomes so far.
    """
    stream = client.stream(
        [str(one.key) for one in bundles],
        frame_rate_hz=video.info.frame_rate_hz,
        camera="demo",
        reconnect=False,  # a break is a failure here, not something to get over
    )
    sent: dict[int, tuple[int, int, int]] = {}  # frame: presentation time, status, sent at
    outcomes: list[FrameOutcome] = []
    behaviors: dict[BundleVersion, list[tuple[BehaviorResult, int]]] = {
        one.key: [] for one in bundles if one.behavior is not None
    }

    async def read() -> None:
        async for answer in stream:
            if isinstance(answer, BehaviorResult):
                key = BundleVersion(answer.bundle, answer.version)
                behaviors[key].append((answer, time.monotonic_ns()))
            elif isinstance(answer, FrameOutcome):
                outcomes.append(answer)
                if on_frame is not None:
                    on_frame(len(outcomes))

    began = time.perf_counter()
    async with stream:
        look_ahead = _look_ahead(stream)
        began = time.perf_counter()
        reading = asyncio.create_task(read())
        try:
            await _send(stream, video, frame_limit, speed, sent)
            await stream.finish()
            await reading
        finally:
            reading.cancel()
    seconds = time.perf_counter() - began
    return LiveRun(
        rows=_rows(sent, bundles, outcomes, behaviors),
        answers=sum(one.kind == "result" for one in outcomes),
        behavior_answers=sum(map(len, behaviors.values())),
        latency_ms=np.array([one.round_trip_ns / 1e6 for one in outcomes]),
        behavior_latency_ms=np.array(
            [
                (arrived_ns - sent[one.frame_index][2]) / 1e6
                for results in behaviors.values()
                for one, arrived_ns in results
                if one.frame_index in sent and one.probabilities is not None
            ]
        ),
        seconds=seconds,
        look_ahead_frames=look_ahead,
        problems=tuple(_problems(list(sent), outcomes, behaviors)),
    )


async def _send(
    stream: AsyncLiveStream,
    video: VideoFile,
    frame_limit: int,
    speed: float,
    sent: dict[int, tuple[int, int, int]],
) -> None:
    frames = _frames(video, frame_limit)
    began, first_pts_ns = time.perf_counter(), None
    while (frame := await asyncio.to_thread(next, frames, None)) is not None:
        if first_pts_ns is None:
            began, first_pts_ns = time.perf_counter(), frame.pts_ns
        if speed:
            due = began + (frame.pts_ns - first_pts_ns) / 1e9 / speed
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        assert frame.pixels is not None
        await stream.send(frame.pixels, frame_index=frame.frame_index)
        sent[frame.frame_index] = (frame.pts_ns, frame.status, time.monotonic_ns())


def _frames(video: VideoFile, frame_limit: int) -> Iterator[VideoFrame]:
    """Frames that a camera would have given: those with pixels."""
    for row in video.rows(frame_limit=frame_limit or None):
        if row.picture is not None:
            pixels = np.empty(video.shape, np.uint8)
            video.convert(row.picture, pixels)
            yield VideoFrame(row.frame_index, row.pts_ns, row.status, pixels)


def _look_ahead(stream: AsyncLiveStream) -> int:
    pairs = zip(stream.bundles, stream.strides, strict=True)
    return max(
        (one.behavior.future_frames * stride for one, stride in pairs if one.behavior), default=0
    )


def _rows(
    sent: dict[int, tuple[int, int, int]],
    bundles: Sequence[AnsweredBundle],
    outcomes: Sequence[FrameOutcome],
    behaviors: dict[BundleVersion, list[tuple[BehaviorResult, int]]],
) -> ResultChunk:
    by_frame = {one.frame_index: one for one in outcomes}
    pose_columns, behavior_columns = [], []
    for bundle in bundles:
        if bundle.pose is not None:
            found = {
                index: pose
                for index, one in by_frame.items()
                for pose in one.poses
                if (pose.bundle, pose.version) == (bundle.name, bundle.version)
            }
            shape = (len(sent), bundle.pose.max_animals, len(bundle.pose.keypoints))
            keypoints_xy = np.full((*shape, 2), np.nan, np.float32)
            confidence = np.full(shape, np.nan, np.float32)
            for row, index in enumerate(sent):
                if index in found:
                    keypoints_xy[row] = found[index].keypoints_xy
                    confidence[row] = found[index].confidence
            pose_columns.append(PoseColumns(bundle.key, keypoints_xy, confidence))
        if bundle.behavior is not None:
            answers = {one.frame_index: one for one, _ in behaviors[bundle.key]}
            width = len(bundle.behavior.behaviors)
            status = np.full(len(sent), BehaviorStatus.ERROR, np.uint8)
            probabilities = np.full((len(sent), width), np.nan, np.float32)
            present = np.zeros((len(sent), width), np.bool_)
            for row, index in enumerate(sent):
                answer = answers.get(index)
                if answer is not None:
                    status[row] = answer.status
                    if answer.probabilities is not None and answer.present is not None:
                        probabilities[row] = answer.probabilities
                        present[row] = answer.present
            behavior_columns.append(BehaviorColumns(bundle.key, status, probabilities, present))
    return ResultChunk(
        frame_index=np.array(list(sent), np.int64),
        pts_ns=np.array([pts_ns for pts_ns, _, _ in sent.values()], np.int64),
        status=np.array([status for _, status, _ in sent.values()], np.uint8),
        poses=tuple(pose_columns),
        behaviors=tuple(behavior_columns),
    )


def _problems(
    sent: Sequence[int],
    outcomes: Sequence[FrameOutcome],
    behaviors: dict[BundleVersion, list[tuple[BehaviorResult, int]]],
) -> Iterator[str]:
    if [one.frame_index for one in outcomes] != sent:
        yield (
            f"{len(sent)} frames were sent, but {len(outcomes)} outcomes came, of "
            f"{len({one.frame_index for one in outcomes})} frames, or not in the order of sending"
        )
    failed = [one for one in outcomes if one.kind != "result"]
    if failed:
        first = failed[0]
        yield (
            f"{len(failed)} frames have no result; the first is frame {first.frame_index}: "
            f"{first.kind} {first.reason} {first.message}".rstrip()
        )
    for key, results in behaviors.items():
        if [one.frame_index for one, _ in results] != sent:
            yield (
                f"{len(sent)} frames were sent, but {len(results)} answers of {key} came, or not "
                "in the order of sending"
            )
        wrong = [one for one, _ in results if int(one.status) == int(BehaviorStatus.ERROR)]
        if wrong:
            yield f"{len(wrong)} answers of {key} are errors, first of frame {wrong[0].frame_index}"
