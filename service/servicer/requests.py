"""Protobuf requests to the service's values."""

from collections.abc import Sequence

from ethostream.v1 import bundle_pb2, frame_pb2
from ethostream.v1 import inference_service_pb2 as inference_pb2
from ethostream.v1 import job_service_pb2 as job_pb2

from service.archive import VideoOptions
from service.dynamic_crop import DynamicCrop
from service.errors import InvalidRequest
from service.frames import RAW_CHANNELS, EncodedFrame, Encoding
from service.prediction import Prediction
from service.preprocess import CropRegion
from service.repository import Repository, Selection
from service.servicer.triggers import to_triggers
from service.session_options import Freshness, SessionOptions
from service.shared_memory import SharedPixels, SharedSegment
from service.video import ChunkCodec

_Request = inference_pb2.StreamStart | inference_pb2.AnalyzeVideoRequest | job_pb2.JobSpec
_MAX_FRAME_RATE_HZ = 1_000_000
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
        InvalidRequest: an unknown freshness policy, or a frame rate outside its range.
        BundleNotFound: a bundle is not loaded.
    """
    if message.freshness not in _FRESHNESS:
        raise InvalidRequest(
            f"freshness {message.freshness} is unknown; choose ALL, LATEST or DEADLINE"
        )
    return SessionOptions(
        selections=to_selections(message.bundles, repository),
        freshness=_FRESHNESS[message.freshness],
        max_age_seconds=message.max_age_ms / 1000,
        frames_in_flight=message.max_frames_in_flight,
        frame_rate_hz=to_frame_rate(message),
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
        InvalidRequest: a frame rate outside its range, or a dynamic crop that cannot go on.
    """
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
        frame_rate_hz=to_frame_rate(message),
        dynamic_crop=to_dynamic_crop(message),
    )


def to_frame_rate(message: _Request) -> float:
    """Read the frame rate of a request, Hz; 0 where none is given.

    Raises:
        InvalidRequest: it is negative, no number, or more than a camera gives.
    """
    rate_hz = message.frame_rate_hz
    if not 0 <= rate_hz <= _MAX_FRAME_RATE_HZ:
        raise InvalidRequest(
            f"frame_rate_hz is {rate_hz:g}; give 0 or a rate of at most {_MAX_FRAME_RATE_HZ}"
        )
    return rate_hz


def to_crop(message: frame_pb2.CropRegion) -> CropRegion:
    """Read a crop."""
    return CropRegion(message.x_px, message.y_px, message.width_px, message.height_px)


def to_dynamic_crop(message: _Request) -> DynamicCrop | None:
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
