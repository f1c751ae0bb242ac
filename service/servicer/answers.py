"""The service's answers about frames and videos, as protobuf messages."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from ethostream.v1 import behavior_pb2, frame_pb2, pose_pb2
from ethostream.v1 import inference_service_pb2 as inference_pb2
from numpy.typing import NDArray

from service.archive import VideoFinished, VideoStarted
from service.errors import (
    EngineFailed,
    EthostreamError,
    FrameDamaged,
    FrameTooLarge,
    InvalidFrame,
)
from service.outcomes import ChunkTaken, LiveBehavior, Outcome, Timings
from service.preprocess import CropRegion
from service.servicer.bundle_info import from_key, from_loaded
from service.session import LiveSession
from service.values import BoutEvent, BundleVersion, FrameStatus, Poses, ResultChunk, VideoInfo

_BOUT_EVENTS = {
    "onset": behavior_pb2.BOUT_EVENT_KIND_ONSET,
    "offset": behavior_pb2.BOUT_EVENT_KIND_OFFSET,
}
_SKIP_REASONS = {
    "replaced": inference_pb2.SKIP_REASON_REPLACED,
    "too_old": inference_pb2.SKIP_REASON_TOO_OLD,
}


def from_started(session: LiveSession) -> inference_pb2.StreamStarted:
    """Write a StreamStarted."""
    return inference_pb2.StreamStarted(
        session_id=session.session_id,
        bundles=[from_loaded(one.loaded) for one in session.options.selections],
        credits=session.credits,
        strides=session.strides,
    )


def from_outcome(outcome: Outcome) -> inference_pb2.FrameOutcome:
    """Write a FrameOutcome."""
    message = inference_pb2.FrameOutcome(
        frame_index=outcome.frame_index,
        capture_time_ns=outcome.capture_time_ns,
        arrival_time_ns=outcome.arrival_time_ns,
        pts_ns=outcome.pts_ns,
    )
    if outcome.timings is not None:
        message.timings.CopyFrom(_from_timings(outcome.timings))
    if outcome.kind == "result":
        message.result.SetInParent()
        for (key, poses), crop in zip(outcome.poses, outcome.crops, strict=True):
            message.result.poses.append(_from_poses(key, poses, crop))
    elif outcome.kind == "skipped":
        message.skipped.reason = _SKIP_REASONS[outcome.reason]
    else:
        message.error.code = _error_code(outcome.error)
        message.error.message = outcome.reason
    return message


def from_chunk_taken(taken: ChunkTaken) -> inference_pb2.ChunkAcknowledgement:
    """Write a ChunkAcknowledgement."""
    return inference_pb2.ChunkAcknowledgement(
        chunk_index=taken.chunk_index,
        frames_decoded=taken.frames_decoded,
        packets_corrupt=taken.packets_corrupt,
        message=taken.message,
    )


def from_behavior(behavior: LiveBehavior) -> behavior_pb2.BehaviorResult:
    """Write a BehaviorResult."""
    answer = behavior.answer
    return behavior_pb2.BehaviorResult(
        bundle=from_key(behavior.bundle),
        frame_index=answer.frame_index,
        capture_time_ns=behavior.capture_time_ns,
        status=behavior_pb2.BehaviorStatus.ValueType(answer.status),
        probabilities=None if answer.probabilities is None else answer.probabilities.tolist(),
        present=None if answer.present is None else answer.present.tolist(),
        latency_ns=_ns(behavior.latency_seconds),
        background=behavior.is_background,
        bouts=_from_bouts(behavior.bouts),
    )


def from_video_started(started: VideoStarted) -> inference_pb2.VideoStarted:
    """Write a VideoStarted."""
    return inference_pb2.VideoStarted(
        video=_from_info(started.info),
        bundles=[from_loaded(one) for one in started.bundles],
        strides=started.strides,
    )


def from_chunk(chunk: ResultChunk) -> inference_pb2.ResultChunk:
    """Write a ResultChunk."""
    message = inference_pb2.ResultChunk(
        frame_index=chunk.frame_index.tolist(),
        pts_ns=chunk.pts_ns.tolist(),
        status=chunk.status.tolist(),
    )
    for poses in chunk.poses:
        message.poses.append(
            inference_pb2.PoseColumns(
                bundle=from_key(poses.bundle),
                animals=poses.confidence.shape[1],
                keypoints=poses.confidence.shape[2],
                x_px=poses.keypoints_xy[..., 0].ravel().tolist(),
                y_px=poses.keypoints_xy[..., 1].ravel().tolist(),
                confidence=poses.confidence.ravel().tolist(),
            )
        )
    for behaviors in chunk.behaviors:
        message.behaviors.append(
            inference_pb2.BehaviorColumns(
                bundle=from_key(behaviors.bundle),
                behaviors=behaviors.probabilities.shape[1],
                status=behaviors.status.tolist(),
                probabilities=behaviors.probabilities.ravel().tolist(),
                present=behaviors.present.ravel().tolist(),
                bouts=_from_bouts(behaviors.bouts),
            )
        )
    for fault in chunk.faults:
        message.faults.add(
            frame_index=fault.frame_index,
            status=inference_pb2.FrameStatus.ValueType(fault.status),
            reason=fault.reason,
        )
    return message


def from_video_finished(finished: VideoFinished) -> inference_pb2.VideoFinished:
    """Write a VideoFinished."""
    frames = finished.frames
    missing, corrupt = frames[FrameStatus.MISSING], frames[FrameStatus.CORRUPT]
    total = sum(frames.values())
    return inference_pb2.VideoFinished(
        frames=total,
        frames_ok=total - missing - corrupt,
        frames_failed=missing + corrupt,
        frames_repeated=frames[FrameStatus.REPEATED],
        frames_missing=missing,
        frames_corrupt=corrupt,
        message=finished.message,
        total_ns=_ns(finished.total_seconds),
    )


def _from_bouts(events: Sequence[BoutEvent]) -> list[behavior_pb2.BoutEvent]:
    return [
        behavior_pb2.BoutEvent(
            behavior=one.behavior, kind=_BOUT_EVENTS[one.kind], frame_index=one.frame_index
        )
        for one in events
    ]


def _from_poses(key: BundleVersion, poses: Poses, crop: CropRegion | None) -> pose_pb2.PoseResult:
    return pose_pb2.PoseResult(
        crop=frame_pb2.CropRegion(**dataclasses.asdict(crop)) if crop else None,
        bundle=from_key(key),
        poses=_from_places(poses.keypoints_xy, poses.confidence),
        predicted=None
        if poses.predicted_xy is None
        else _from_places(poses.predicted_xy, poses.confidence),
    )


def _from_places(
    keypoints_xy: NDArray[np.float32], confidences: NDArray[np.float32]
) -> list[pose_pb2.Pose]:
    x_px, y_px = keypoints_xy[..., 0].tolist(), keypoints_xy[..., 1].tolist()
    return [
        pose_pb2.Pose(x_px=x, y_px=y, confidence=confidence)
        for x, y, confidence in zip(x_px, y_px, confidences.tolist(), strict=True)
    ]


def _from_timings(timings: Timings) -> inference_pb2.StageTimings:
    return inference_pb2.StageTimings(
        queue_ns=_ns(timings.queue),
        decode_ns=_ns(timings.decode),
        preprocess_ns=_ns(timings.preprocess),
        batch_wait_ns=_ns(timings.batch_wait),
        engine_ns=_ns(timings.engine),
        postprocess_ns=_ns(timings.postprocess),
        total_ns=_ns(timings.total),
        batch_size=timings.batch_size,
    )


def _from_info(info: VideoInfo) -> inference_pb2.VideoInfo:
    return inference_pb2.VideoInfo(
        width_px=info.width_px,
        height_px=info.height_px,
        frame_rate_hz=info.frame_rate_hz,
        claimed_frames=info.claimed_frames,
        codec=info.codec,
        decoder=info.decoder,
    )


def _error_code(error: EthostreamError | None) -> inference_pb2.FrameErrorCode.ValueType:
    if isinstance(error, FrameTooLarge):
        return inference_pb2.FRAME_ERROR_CODE_TOO_LARGE
    if isinstance(error, FrameDamaged):
        return inference_pb2.FRAME_ERROR_CODE_DECODE_FAILED
    if isinstance(error, InvalidFrame):
        return inference_pb2.FRAME_ERROR_CODE_INVALID_FRAME
    if isinstance(error, EngineFailed):
        return inference_pb2.FRAME_ERROR_CODE_ENGINE_FAILED
    return inference_pb2.FRAME_ERROR_CODE_UNSPECIFIED


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
