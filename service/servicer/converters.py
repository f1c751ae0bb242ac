"""Between protobuf messages and the service's values; the one place that knows both."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from ethostream.v1 import (
    behavior_pb2,
    bundle_pb2,
    frame_pb2,
    pose_pb2,
)
from ethostream.v1 import (
    inference_service_pb2 as inference_pb2,
)
from ethostream.v1 import (
    job_service_pb2 as job_pb2,
)
from numpy.typing import NDArray

from service.archive import VideoFinished, VideoOptions, VideoStarted
from service.bundle import Manifest
from service.dynamic_crop import DynamicCrop
from service.errors import (
    EngineFailed,
    EthostreamError,
    FrameDamaged,
    FrameTooLarge,
    InvalidFrame,
    InvalidRequest,
)
from service.frames import RAW_CHANNELS, EncodedFrame, Encoding
from service.outcomes import ChunkTaken, LiveBehavior, Outcome, Timings
from service.prediction import Prediction
from service.preprocess import CropRegion
from service.repository import BundleStatus, LoadedBundle, Repository, Selection
from service.servicer.triggers import to_triggers
from service.session import LiveSession
from service.session_options import Freshness, SessionOptions
from service.shared_memory import SharedPixels, SharedSegment
from service.values import (
    BoutEvent,
    BundleVersion,
    FrameStatus,
    Poses,
    ResultChunk,
    VideoInfo,
)
from service.video import ChunkCodec

_ENCODINGS: dict[int, Encoding] = {
    frame_pb2.FRAME_ENCODING_GRAY8: "gray8",
    frame_pb2.FRAME_ENCODING_RGB24: "rgb24",
    frame_pb2.FRAME_ENCODING_BGR24: "bgr24",
    frame_pb2.FRAME_ENCODING_JPEG: "jpeg",
    frame_pb2.FRAME_ENCODING_PNG: "png",
}
_CODECS: dict[int, ChunkCodec] = {
    frame_pb2.VIDEO_CODEC_H264: "h264",
    frame_pb2.VIDEO_CODEC_HEVC: "hevc",
    frame_pb2.VIDEO_CODEC_MJPEG: "mjpeg",
}
_FRESHNESS: dict[int, Freshness] = {
    inference_pb2.FRESHNESS_POLICY_UNSPECIFIED: "all",
    inference_pb2.FRESHNESS_POLICY_ALL: "all",
    inference_pb2.FRESHNESS_POLICY_LATEST: "latest",
    inference_pb2.FRESHNESS_POLICY_DEADLINE: "deadline",
}
_BOUT_EVENTS = {
    "onset": behavior_pb2.BOUT_EVENT_KIND_ONSET,
    "offset": behavior_pb2.BOUT_EVENT_KIND_OFFSET,
}
_SKIP_REASONS = {
    "replaced": inference_pb2.SKIP_REASON_REPLACED,
    "too_old": inference_pb2.SKIP_REASON_TOO_OLD,
}


def to_selections(
    messages: Sequence[bundle_pb2.BundleSelection], repository: Repository
) -> tuple[Selection, ...]:
    """Resolve the bundles of a request.

    Raises:
        BundleNotFound: one is not loaded.
        InvalidRequest: a pose bundle is given thresholds.
    """
    selections = []
    for message in messages:
        loaded = repository.get(message.bundle.name, message.bundle.version)
        thresholds, shortest = dict(message.thresholds), dict(message.min_bout_frames)
        asked = bool(thresholds or shortest or message.bout_events)
        if asked and loaded.bundle.manifest.behavior is None:
            raise InvalidRequest(
                f"{loaded.key} is a pose bundle and takes no thresholds, shortest bouts or bout "
                "events; leave them out"
            )
        selections.append(Selection(loaded, thresholds, shortest, message.bout_events))
    return tuple(selections)


def to_session_options(
    message: inference_pb2.StreamStart, repository: Repository
) -> SessionOptions:
    """Read a StreamStart.

    Raises:
        InvalidRequest: an unknown freshness policy or a negative frame rate.
        BundleNotFound: a bundle is not loaded.
    """
    if message.freshness not in _FRESHNESS:
        raise InvalidRequest(
            f"freshness {message.freshness} is unknown; choose ALL, LATEST or DEADLINE"
        )
    if message.frame_rate_hz < 0:
        raise InvalidRequest(f"frame_rate_hz is {message.frame_rate_hz}; give 0 or a positive rate")
    return SessionOptions(
        selections=to_selections(message.bundles, repository),
        freshness=_FRESHNESS[message.freshness],
        max_age_seconds=message.max_age_ms / 1000,
        frames_in_flight=message.max_frames_in_flight,
        frame_rate_hz=message.frame_rate_hz,
        crop=to_crop(message.crop) if message.HasField("crop") else None,
        camera=message.camera,
        dynamic_crop=to_dynamic_crop(message),
        triggers=to_triggers(message.triggers),
        prediction=_to_prediction(message.prediction) if message.HasField("prediction") else None,
    )


def _to_prediction(message: inference_pb2.ForwardPrediction) -> Prediction:
    given = {
        name: getattr(message, name)
        for name in ("measurement_sd_px", "acceleration_sd_px_s2", "acceleration_time_s")
        if message.HasField(name)
    }
    return Prediction(ahead_s=message.ahead_ms / 1e3, **given)


def to_video_options(
    message: inference_pb2.AnalyzeVideoRequest, repository: Repository
) -> VideoOptions:
    """Read what an AnalyzeVideoRequest says besides its source.

    Raises:
        BundleNotFound: a bundle is not loaded.
        InvalidRequest: a negative frame rate, or a dynamic crop that cannot go on.
    """
    if message.frame_rate_hz < 0:
        raise InvalidRequest(f"frame_rate_hz is {message.frame_rate_hz}; give 0 or a positive rate")
    if message.resume_frame and message.HasField("dynamic_crop"):
        raise InvalidRequest(
            f"a dynamic crop cannot go on at frame {message.resume_frame}, since it depends on all "
            "frames before; leave resume_frame out"
        )
    return VideoOptions(
        selections=to_selections(message.bundles, repository),
        crop=to_crop(message.crop) if message.HasField("crop") else None,
        first_frame=message.first_frame,
        resume_frame=message.resume_frame,
        frame_limit=message.frame_limit,
        frames_per_chunk=message.frames_per_chunk,
        frame_rate_hz=message.frame_rate_hz,
        dynamic_crop=to_dynamic_crop(message),
    )


def to_crop(message: frame_pb2.CropRegion) -> CropRegion:
    """Read a crop."""
    return CropRegion(message.x_px, message.y_px, message.width_px, message.height_px)


def to_dynamic_crop(
    message: inference_pb2.StreamStart | inference_pb2.AnalyzeVideoRequest | job_pb2.JobSpec,
) -> DynamicCrop | None:
    """Read the dynamic crop of a request; what is not set takes its default.

    Raises:
        InvalidRequest: a value is outside its range.
    """
    if not message.HasField("dynamic_crop"):
        return None
    return DynamicCrop(**{field.name: value for field, value in message.dynamic_crop.ListFields()})


def to_frame(message: frame_pb2.Frame, memory: SharedSegment | None = None) -> EncodedFrame:
    """Read a frame; its bytes are not looked at yet, whether they came along or lie in `memory`.

    Raises:
        InvalidRequest: the encoding is not one of the protocol's, or the frame is said to lie in
            shared memory and cannot.
    """
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        raise InvalidRequest(
            f"frame {message.frame_index} has encoding {message.encoding}; choose GRAY8, RGB24, "
            "BGR24, JPEG or PNG"
        )
    return EncodedFrame(
        frame_index=message.frame_index,
        capture_time_ns=message.capture_time_ns,
        encoding=encoding,
        width_px=message.width_px,
        height_px=message.height_px,
        crop=to_crop(message.crop) if message.HasField("crop") else None,
        data=message.data,
        shared=_to_shared(message, encoding, memory),
    )


def _to_shared(
    message: frame_pb2.Frame, encoding: Encoding, memory: SharedSegment | None
) -> SharedPixels | None:
    if not message.HasField("shared_offset_bytes"):
        return None
    if memory is None:
        raise InvalidRequest(
            f"frame {message.frame_index} lies in shared memory, but the stream began without; "
            "name it in StreamStart.shared_memory"
        )
    if encoding not in RAW_CHANNELS or message.data:
        raise InvalidRequest(
            f"frame {message.frame_index} in shared memory is {encoding} with "
            f"{len(message.data)} bytes of data; only raw pixels lie there, and nothing in data"
        )
    return SharedPixels(memory, message.shared_offset_bytes)


def to_codec(message: frame_pb2.VideoChunk) -> ChunkCodec:
    """Read the codec of a chunk: h264, hevc or mjpeg.

    Raises:
        InvalidRequest: the codec is not one of the protocol's.
    """
    codec = _CODECS.get(message.codec)
    if codec is None:
        raise InvalidRequest(
            f"chunk {message.chunk_index} has codec {message.codec}; choose H264, HEVC or MJPEG"
        )
    return codec


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


def from_key(key: BundleVersion) -> bundle_pb2.BundleReference:
    """Write a BundleReference."""
    return bundle_pb2.BundleReference(name=key.name, version=key.version)


def from_loaded(loaded: LoadedBundle) -> bundle_pb2.BundleInfo:
    """Write the BundleInfo of a loaded bundle, without its documents."""
    message = _from_manifest(loaded.bundle.manifest)
    message.state = bundle_pb2.BUNDLE_STATE_READY
    message.engine = loaded.engine
    message.precision = loaded.precision
    message.manifest_sha256 = loaded.manifest_sha256
    return message


def from_status(status: BundleStatus, *, documents: bool = False) -> bundle_pb2.BundleInfo:
    """Write a BundleInfo; `documents` adds the card and the parity report."""
    if status.loaded is not None:
        message = from_loaded(status.loaded)
    elif status.bundle is not None:
        message = _from_manifest(status.bundle.manifest)
    else:
        message = bundle_pb2.BundleInfo(bundle=from_key(status.key))
    message.state = bundle_pb2.BundleState.ValueType(status.state)
    message.reason = status.reason
    if documents and status.bundle is not None:
        message.card = status.bundle.document("card")
        message.parity_json = status.bundle.document("parity")
    return message


def _from_manifest(manifest: Manifest) -> bundle_pb2.BundleInfo:
    message = bundle_pb2.BundleInfo(
        bundle=bundle_pb2.BundleReference(name=manifest.name, version=manifest.version),
        task=bundle_pb2.TASK_POSE if manifest.task == "pose" else bundle_pb2.TASK_BEHAVIOR,
        description=manifest.description,
        input_width_px=manifest.input.width_px,
        input_height_px=manifest.input.height_px,
        metrics=manifest.provenance.metrics,
    )
    if (pose := manifest.pose) is not None:
        message.pose.CopyFrom(
            bundle_pb2.PoseModel(
                keypoints=pose.keypoints,
                skeleton=[_pair(*one) for one in pose.skeleton],
                left_right=[_pair(*one) for one in pose.left_right],
                max_animals=pose.max_animals,
                unique_keypoints=pose.unique_keypoints,
                confidence_cutoff=pose.confidence_cutoff,
            )
        )
    if (behavior := manifest.behavior) is not None:
        message.behavior.CopyFrom(
            bundle_pb2.BehaviorModel(
                behaviors=behavior.behaviors,
                exclusive=behavior.exclusive,
                thresholds=behavior.thresholds,
                min_bout_frames=behavior.min_bout_frames,
                frame_rate_hz=behavior.frame_rate_hz,
                frame_rate_tolerance=behavior.frame_rate_tolerance,
                past_frames=behavior.context_frames,
                future_frames=behavior.future_frames,
                max_gap_frames=behavior.max_gap_frames,
            )
        )
    return message


def _from_bouts(events: Sequence[BoutEvent]) -> list[behavior_pb2.BoutEvent]:
    return [
        behavior_pb2.BoutEvent(
            behavior=one.behavior, kind=_BOUT_EVENTS[one.kind], frame_index=one.frame_index
        )
        for one in events
    ]


def _pair(first: str, second: str) -> bundle_pb2.KeypointPair:
    return bundle_pb2.KeypointPair(first=first, second=second)


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
