"""Messages by hand, as a client in another language would write them."""

from pathlib import Path

import numpy as np
from ethostream.v1 import bundle_pb2, frame_pb2
from ethostream.v1 import inference_service_pb2 as pb2

POSE, BEHAVIOR = "openfield-mouse", "openfield-activity"


def read_frames(path: Path) -> list[np.ndarray]:
    """(H, W, 3) RGB frames of a video, as the server decodes them."""
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def selection(name: str, **thresholds: float) -> bundle_pb2.BundleSelection:
    return bundle_pb2.BundleSelection(
        bundle=bundle_pb2.BundleReference(name=name), thresholds=thresholds
    )


def start_message(*names: str, **settings: object) -> pb2.StreamFramesRequest:
    bundles = [selection(name) for name in names]
    return pb2.StreamFramesRequest(start=pb2.StreamStart(bundles=bundles, **settings))


def frame_message(index: int, pixels: np.ndarray, **changes: object) -> pb2.StreamFramesRequest:
    settings = {
        "frame_index": index,
        "capture_time_ns": 7 * index,
        "encoding": frame_pb2.FRAME_ENCODING_RGB24,
        "width_px": pixels.shape[1],
        "height_px": pixels.shape[0],
        "data": pixels.tobytes(),
        **changes,
    }
    return pb2.StreamFramesRequest(frame=frame_pb2.Frame(**settings))
