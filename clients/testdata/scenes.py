"""What the test vectors ask: small frames whose answers can be worked out by hand."""

import io

import av
import cv2
import numpy as np
from ethostream.v1 import bundle_pb2, frame_pb2
from ethostream.v1 import inference_service_pb2 as pb
from ethostream.v1 import model_service_pb2 as model_pb
from google.protobuf.message import Message
from numpy.typing import NDArray

from clients.testdata.record import BEHAVIOR, POSE, SESSION, UPLOAD, Scene

WIDTH_PX, HEIGHT_PX = 64, 48

_INFERENCE, _MODELS = "ethostream.v1.InferenceService", "ethostream.v1.ModelService"
_GRAY = frame_pb2.FRAME_ENCODING_GRAY8


def scenes() -> list[Scene]:
    """Name, method and requests of each case, in the order in which a server is asked."""
    live = f"{_INFERENCE}/StreamFrames"
    both = [_selection(POSE), _selection(BEHAVIOR)]
    pose_thresholds = bundle_pb2.BundleSelection(bundle=both[0].bundle, thresholds={"bright": 0.5})
    unknown_behavior = bundle_pb2.BundleSelection(
        bundle=both[1].bundle, thresholds={"digging": 0.5}
    )
    with_bouts = bundle_pb2.BundleSelection(bundle=both[1].bundle, bout_events=True)
    video = pb.AnalyzeVideoRequest(
        upload_id=UPLOAD, bundles=[both[0], with_bouts], frames_per_chunk=5
    )
    lost = pb.AnalyzeVideoRequest(upload_id="0" * 32, bundles=both)
    gone = pb.AnalyzeFrameRequest(session_id="0" * 16, frame=_frame(0))
    return [
        ("models", f"{_MODELS}/ListModels", [model_pb.ListModelsRequest()]),
        ("model", f"{_MODELS}/GetModel", [model_pb.GetModelRequest(bundle=both[1].bundle)]),
        ("stream", live, _stream()),
        ("session", f"{_INFERENCE}/AnalyzeFrame", _session()),
        ("upload", f"{_INFERENCE}/UploadVideo", _upload()),
        ("video", f"{_INFERENCE}/AnalyzeVideo", [video]),
        ("refused-no-start", live, [pb.StreamFramesRequest(frame=_frame(0))]),
        ("refused-no-bundle", live, [_start()]),
        ("refused-unknown-bundle", live, [_start(_selection("cat"))]),
        ("refused-bundle-twice", live, [_start(both[0], both[0])]),
        ("refused-pose-thresholds", live, [_start(pose_thresholds)]),
        ("refused-unknown-behavior", live, [_start(unknown_behavior)]),
        ("refused-frame-rate", live, [_start(both[1], frame_rate_hz=20.0)]),
        ("refused-unknown-session", f"{_INFERENCE}/AnalyzeFrame", [gone]),
        ("refused-unknown-upload", f"{_INFERENCE}/AnalyzeVideo", [lost]),
        (
            "refused-unknown-model",
            f"{_MODELS}/GetModel",
            [model_pb.GetModelRequest(bundle=bundle_pb2.BundleReference(name="cat"))],
        ),
    ]


def picture(number: int) -> NDArray[np.uint8]:
    """(48, 64) gray levels: two bright and two dark points on a ground that pulses."""
    ground = (34, 40, 46, 58, 70, 82, 88, 90, 90, 80, 60, 44)[number % 12]
    image = np.full((HEIGHT_PX, WIDTH_PX), ground, np.uint8)
    for level, x_px, y_px in (
        (200 + number, 4 + 2 * number, 10),
        (180, 50, 2 + number),
        (10, 30, 40 - number),
        (20, 60 - 2 * number, 24),
    ):
        # 2 x 2 px at even places: the resize by half keeps the level.
        left, top = x_px // 2 * 2, y_px // 2 * 2
        image[top : top + 2, left : left + 2] = level
    return image


def _selection(name: str) -> bundle_pb2.BundleSelection:
    return bundle_pb2.BundleSelection(bundle=bundle_pb2.BundleReference(name=name))


def _start(
    *bundles: bundle_pb2.BundleSelection, frame_rate_hz: float = 0
) -> pb.StreamFramesRequest:
    start = pb.StreamStart(bundles=bundles, frame_rate_hz=frame_rate_hz)
    return pb.StreamFramesRequest(start=start)


def _frame(index: int) -> frame_pb2.Frame:
    return frame_pb2.Frame(
        frame_index=index,
        capture_time_ns=_capture_time_ns(index),
        encoding=_GRAY,
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        data=picture(index).tobytes(),
    )


def _capture_time_ns(index: int) -> int:
    return 1_700_000_000_123_456_789 + index * 33_333_333  # no double holds it


def _stream() -> list[Message]:
    """Every encoding, a crop, a bad file, a wrong size, a short gap and a long one."""
    behavior = _selection(BEHAVIOR)
    behavior.thresholds["bright"] = 0.625
    behavior.min_bout_frames["bright"] = 2
    behavior.bout_events = True
    start = pb.StreamStart(
        bundles=[_selection(POSE), behavior],
        max_frames_in_flight=3,
        frame_rate_hz=30.0,
        camera="vectors",
    )
    frames = {index: _frame(index) for index in (*range(12), 14, 15, 16, 17, 18, *range(24, 28))}
    color = np.repeat(picture(6)[..., None], 3, axis=2)
    color[10:12, 16:18] = (250, 250, 130)  # the brightest point has a color
    for index, encoding, pixels in (
        (6, frame_pb2.FRAME_ENCODING_RGB24, color),
        (7, frame_pb2.FRAME_ENCODING_BGR24, color[..., ::-1]),
    ):
        frames[index].encoding, frames[index].data = encoding, pixels.tobytes()
    for index in (8, 15):
        frames[index].ClearField("width_px")
        frames[index].ClearField("height_px")
        frames[index].encoding = frame_pb2.FRAME_ENCODING_PNG
        frames[index].data = cv2.imencode(".png", picture(index))[1].tobytes()
    frames[15].data = frames[15].data[:50]
    frames[9].crop.CopyFrom(frame_pb2.CropRegion(x_px=16, y_px=8, width_px=32, height_px=24))
    frames[16].width_px, frames[16].height_px = HEIGHT_PX, WIDTH_PX
    return [
        pb.StreamFramesRequest(start=start),
        *(pb.StreamFramesRequest(frame=frame) for frame in frames.values()),
    ]


def _session() -> list[Message]:
    start = pb.StreamStart(bundles=[_selection(BEHAVIOR), _selection(POSE)], frame_rate_hz=30.0)
    requests = [pb.AnalyzeFrameRequest(session_id=SESSION, frame=_frame(n)) for n in range(6)]
    requests[0] = pb.AnalyzeFrameRequest(start=start, frame=_frame(0))
    requests[-1].end_session = True
    return list(requests)


def _upload() -> list[Message]:
    """12 frames without loss, in two pieces."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska", options={"fflags": "bitexact"}) as container:
        track = container.add_stream("ffv1", rate=30)
        track.width, track.height, track.pix_fmt = WIDTH_PX, HEIGHT_PX, "gray"
        for number in range(12):
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture(number), "gray")))
        container.mux(track.encode(None))
    content = file.getvalue()
    start = pb.UploadStart(filename="points.mkv", size_bytes=len(content))
    return [
        pb.UploadVideoRequest(start=start),
        pb.UploadVideoRequest(data=content[:3000]),
        pb.UploadVideoRequest(data=content[3000:]),
    ]
