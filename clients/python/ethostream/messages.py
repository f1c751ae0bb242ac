"""The one place that turns protobuf messages into the client's values and back."""

import time
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ethostream.errors import InvalidRequest
from ethostream.v1 import (
    behavior_pb2,
    bundle_pb2,
    frame_pb2,
    inference_service_pb2,
    pose_pb2,
    trigger_pb2,
)
from ethostream.values import (
    BehaviorColumns,
    BehaviorModel,
    BehaviorResult,
    BehaviorStatus,
    BoutEvent,
    BundleInfo,
    Bundles,
    BundleSelection,
    BundleVersion,
    Crop,
    DynamicCrop,
    FrameFault,
    FrameOutcome,
    PoseColumns,
    PoseModel,
    PoseResult,
    ResultChunk,
    StageTimings,
    TriggerEvent,
    VideoFinished,
    VideoInfo,
    VideoStarted,
)

_BOUT_EVENTS: dict[int, Literal["onset", "offset"]] = {
    behavior_pb2.BOUT_EVENT_KIND_ONSET: "onset",
    behavior_pb2.BOUT_EVENT_KIND_OFFSET: "offset",
}
_TRIGGER_EVENTS: dict[int, Literal["on", "off"]] = {
    trigger_pb2.TRIGGER_EVENT_KIND_ON: "on",
    trigger_pb2.TRIGGER_EVENT_KIND_OFF: "off",
}
_SKIP = "SKIP_REASON_"
_ERROR = "FRAME_ERROR_CODE_"
_MAX_FRAME_RATE_HZ = 1_000_000


def frame_rate(rate_hz: float) -> float:
    """A frame rate for the wire.

    Raises:
        InvalidRequest: It is negative, no number, or more than the server takes.
    """
    if not 0 <= rate_hz <= _MAX_FRAME_RATE_HZ:
        raise InvalidRequest(
            f"frame_rate_hz is {rate_hz:g}; it is 0 or more, and at most {_MAX_FRAME_RATE_HZ}"
        )
    return rate_hz


def selections(bundles: Bundles) -> list[bundle_pb2.BundleSelection]:
    """The bundles of a request for the wire.

    Raises:
        InvalidRequest: None is given, or a version is not a number.
    """
    chosen = [bundles] if isinstance(bundles, (str, BundleSelection)) else list(bundles)
    if not chosen:
        raise InvalidRequest("no bundle is given; name at least one, such as 'openfield-mouse'")
    return [_selection(bundle) for bundle in chosen]


def reference(bundle: str, version: int = 0) -> bundle_pb2.BundleReference:
    """A bundle for the wire, from `name` or `name@version`.

    Raises:
        InvalidRequest: The version is not a whole number from 1.
    """
    name, at, number = bundle.partition("@")
    if at:
        if not number.isdecimal() or int(number) < 1 or version not in (0, int(number)):
            raise InvalidRequest(f"'{bundle}' names no version; write name or name@2, from 1")
        version = int(number)
    if version < 0:
        raise InvalidRequest(f"version {version} of '{name}'; versions count from 1, 0 = highest")
    return bundle_pb2.BundleReference(name=name, version=version)


def dynamic_crop(options: DynamicCrop) -> frame_pb2.DynamicCrop:
    """A dynamic crop for the wire; the server checks its values."""
    return frame_pb2.DynamicCrop(
        margin_px=options.margin_px,
        confidence_cutoff=options.confidence_cutoff,
        max_zoom=options.max_zoom,
    )


def _selection(bundle: str | BundleSelection) -> bundle_pb2.BundleSelection:
    if isinstance(bundle, str):
        return bundle_pb2.BundleSelection(bundle=reference(bundle))
    return bundle_pb2.BundleSelection(
        bundle=reference(bundle.name, bundle.version),
        thresholds=dict(bundle.thresholds),
        min_bout_frames=dict(bundle.min_bout_frames),
        bout_events=bundle.bout_events,
    )


def bundle_info(message: bundle_pb2.BundleInfo) -> BundleInfo:
    """A bundle as the server describes it."""
    is_pose = message.HasField("pose")
    return BundleInfo(
        bundle=_version(message.bundle),
        task="pose" if is_pose else "behavior",
        description=message.description,
        state=_name(bundle_pb2.BundleState.Name(message.state), "BUNDLE_STATE_"),
        reason=message.reason,
        input_width_px=message.input_width_px,
        input_height_px=message.input_height_px,
        engine=message.engine,
        precision=message.precision,
        pose=_pose_model(message.pose) if is_pose else None,
        behavior=None if is_pose else _behavior_model(message.behavior),
        metrics=dict(message.metrics),
        manifest_sha256=message.manifest_sha256,
        card=message.card,
        parity_json=message.parity_json,
    )


def outcome(message: inference_service_pb2.FrameOutcome, round_trip_ns: int) -> FrameOutcome:
    """The answer to a frame."""
    poses: tuple[PoseResult, ...] = ()
    reason = text = ""
    kind = message.WhichOneof("outcome")
    if kind == "result":
        poses = tuple(_pose(pose) for pose in message.result.poses)
    elif kind == "skipped":
        reason = _name(inference_service_pb2.SkipReason.Name(message.skipped.reason), _SKIP)
    else:
        reason = _name(inference_service_pb2.FrameErrorCode.Name(message.error.code), _ERROR)
        text = message.error.message
    return FrameOutcome(
        frame_index=message.frame_index,
        capture_time_ns=message.capture_time_ns,
        kind=kind or "error",
        poses=poses,
        reason=reason,
        message=text,
        timings=_timings(message.timings),
        arrival_time_ns=message.arrival_time_ns,
        round_trip_ns=round_trip_ns,
        age_ns=time.time_ns() - message.capture_time_ns,
    )


def behavior(message: behavior_pb2.BehaviorResult, behaviors: tuple[str, ...]) -> BehaviorResult:
    """What a behavior bundle says of a frame."""
    has_answer = len(message.probabilities) > 0
    return BehaviorResult(
        frame_index=message.frame_index,
        capture_time_ns=message.capture_time_ns,
        bundle=message.bundle.name,
        version=message.bundle.version,
        behaviors=behaviors,
        status=BehaviorStatus(message.status),
        probabilities=_floats(message.probabilities) if has_answer else None,
        present=np.array(message.present, dtype=np.bool_) if has_answer else None,
        latency_ns=message.latency_ns,
        background=message.background,
        bouts=_bouts(message.bouts),
    )


def video_started(message: inference_service_pb2.VideoStarted) -> VideoStarted:
    """The beginning of an analysis."""
    video = message.video
    return VideoStarted(
        info=VideoInfo(
            width_px=video.width_px,
            height_px=video.height_px,
            frame_rate_hz=video.frame_rate_hz,
            claimed_frames=video.claimed_frames,
            codec=video.codec,
            decoder=video.decoder,
        ),
        bundles=tuple(bundle_info(bundle) for bundle in message.bundles),
        strides=tuple(message.strides),
    )


def video_finished(message: inference_service_pb2.VideoFinished) -> VideoFinished:
    """The end of an analysis."""
    return VideoFinished(
        frames=message.frames,
        frames_ok=message.frames_ok,
        frames_failed=message.frames_failed,
        message=message.message,
        total_ns=message.total_ns,
        frames_repeated=message.frames_repeated,
        frames_missing=message.frames_missing,
        frames_corrupt=message.frames_corrupt,
    )


def result_chunk(message: inference_service_pb2.ResultChunk) -> ResultChunk:
    """Results of T frames."""
    frames = len(message.frame_index)
    return ResultChunk(
        frame_index=np.array(message.frame_index, dtype=np.int64),
        pts_ns=np.array(message.pts_ns, dtype=np.int64),
        status=np.array(message.status, dtype=np.uint8),
        poses=tuple(_pose_columns(columns, frames) for columns in message.poses),
        behaviors=tuple(_behavior_columns(columns, frames) for columns in message.behaviors),
        faults=tuple(FrameFault(one.frame_index, one.status, one.reason) for one in message.faults),
    )


def _pose_columns(message: inference_service_pb2.PoseColumns, frames: int) -> PoseColumns:
    shape = (frames, message.animals, message.keypoints)
    xy = (_floats(message.x_px).reshape(shape), _floats(message.y_px).reshape(shape))
    return PoseColumns(
        bundle=_version(message.bundle),
        keypoints_xy=np.stack(xy, axis=-1),
        confidence=_floats(message.confidence).reshape(shape),
    )


def _behavior_columns(
    message: inference_service_pb2.BehaviorColumns, frames: int
) -> BehaviorColumns:
    shape = (frames, message.behaviors)
    return BehaviorColumns(
        bundle=_version(message.bundle),
        status=np.array(message.status, dtype=np.uint8),
        probabilities=_floats(message.probabilities).reshape(shape),
        present=np.array(message.present, dtype=np.bool_).reshape(shape),
        bouts=_bouts(message.bouts),
    )


def _bouts(messages: Iterable[behavior_pb2.BoutEvent]) -> tuple[BoutEvent, ...]:
    return tuple(
        BoutEvent(one.behavior, _BOUT_EVENTS[one.kind], one.frame_index)
        for one in messages
        if one.kind in _BOUT_EVENTS  # a newer server may tell more
    )


def trigger_events(messages: Iterable[trigger_pb2.TriggerEvent]) -> list[TriggerEvent]:
    """What triggers did."""
    return [
        TriggerEvent(
            one.trigger,
            _TRIGGER_EVENTS[one.kind],
            one.frame_index,
            one.capture_time_ns,
            one.latency_ns,
        )
        for one in messages
        if one.kind in _TRIGGER_EVENTS  # a newer server may tell more
    ]


def _pose(message: pose_pb2.PoseResult) -> PoseResult:
    keypoints_xy, confidence = _places(message.poses)
    region = message.crop
    crop = None
    if message.HasField("crop"):
        crop = Crop(region.x_px, region.y_px, region.width_px, region.height_px)
    predicted_xy = _places(message.predicted)[0] if message.predicted else None
    return PoseResult(
        message.bundle.name, message.bundle.version, keypoints_xy, confidence, crop, predicted_xy
    )


def _places(poses: Sequence[pose_pb2.Pose]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N, K, 2) positions and (N, K) confidences of N animals."""
    keypoints = len(poses[0].x_px) if poses else 0
    keypoints_xy = np.empty((len(poses), keypoints, 2), dtype=np.float32)
    confidence = np.empty((len(poses), keypoints), dtype=np.float32)
    for row, pose in enumerate(poses):
        keypoints_xy[row, :, 0] = pose.x_px
        keypoints_xy[row, :, 1] = pose.y_px
        confidence[row] = pose.confidence
    return keypoints_xy, confidence


def _pose_model(message: bundle_pb2.PoseModel) -> PoseModel:
    return PoseModel(
        keypoints=tuple(message.keypoints),
        skeleton=tuple((pair.first, pair.second) for pair in message.skeleton),
        left_right=tuple((pair.first, pair.second) for pair in message.left_right),
        max_animals=message.max_animals,
        unique_keypoints=tuple(message.unique_keypoints),
        confidence_cutoff=message.confidence_cutoff,
    )


def _behavior_model(message: bundle_pb2.BehaviorModel) -> BehaviorModel:
    return BehaviorModel(
        behaviors=tuple(message.behaviors),
        exclusive=message.exclusive,
        thresholds=tuple(message.thresholds),
        min_bout_frames=tuple(message.min_bout_frames),
        frame_rate_hz=message.frame_rate_hz,
        frame_rate_tolerance=message.frame_rate_tolerance,
        past_frames=message.past_frames,
        future_frames=message.future_frames,
        max_gap_frames=message.max_gap_frames,
    )


def _timings(message: inference_service_pb2.StageTimings) -> StageTimings:
    return StageTimings(
        queue_ns=message.queue_ns,
        decode_ns=message.decode_ns,
        preprocess_ns=message.preprocess_ns,
        batch_wait_ns=message.batch_wait_ns,
        engine_ns=message.engine_ns,
        postprocess_ns=message.postprocess_ns,
        total_ns=message.total_ns,
        batch_size=message.batch_size,
    )


def _version(message: bundle_pb2.BundleReference) -> BundleVersion:
    return BundleVersion(message.name, message.version)


def _floats(values: Iterable[float]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def _name(value: str, prefix: str) -> str:
    return value.removeprefix(prefix).lower()
