"""Messages of both protocols by hand, as a client in another language would write them."""

from typing import Any

import grpc
import numpy as np
import pytest
from ethostream.v1 import bundle_pb2, frame_pb2
from ethostream.v1 import inference_service_pb2 as native_pb2

from service.servicer.open_inference import open_inference_pb2 as pb2
from tests.service.servicer.conftest import TIMEOUT_S, Served

POSE, BEHAVIOR = "vector-points", "vector-motion"
DTYPES = {"FP32": np.float32, "BOOL": np.bool_, "UINT8": np.uint8}


def infer_request(model: str, frames: np.ndarray, **changes: Any) -> pb2.ModelInferRequest:
    """A request with raw contents; `changes` replace fields."""
    tensor = pb2.ModelInferRequest.InferInputTensor(
        name="frames", datatype="UINT8", shape=frames.shape
    )
    fields = {"inputs": [tensor], "raw_input_contents": [frames.tobytes()], **changes}
    return pb2.ModelInferRequest(model_name=model, **fields)


def typed_request(model: str, frames: np.ndarray, **changes: Any) -> pb2.ModelInferRequest:
    request = infer_request(model, frames, raw_input_contents=[], **changes)
    request.inputs[0].contents.uint_contents.extend(frames.ravel().tolist())
    return request


def infer(served: Served, request: pb2.ModelInferRequest) -> dict[str, np.ndarray]:
    return arrays(served.open_inference.ModelInfer(request, timeout=TIMEOUT_S))


def arrays(response: pb2.ModelInferResponse) -> dict[str, np.ndarray]:
    """The outputs of a response, raw or typed."""
    found = {}
    for place, tensor in enumerate(response.outputs):
        dtype = DTYPES[tensor.datatype]
        if response.raw_output_contents:
            values = np.frombuffer(response.raw_output_contents[place], dtype)
        else:
            ((_, contents),) = tensor.contents.ListFields()
            values = np.array(contents, dtype)
        found[tensor.name] = values.reshape(tensor.shape)
    return found


def native_answers(served: Served, model: str, frames: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """What a stream says: (B, N, K, 3) keypoints of the poses, and the behavior results."""
    selection = bundle_pb2.BundleSelection(bundle=bundle_pb2.BundleReference(name=model))
    requests = [native_pb2.StreamFramesRequest(start=native_pb2.StreamStart(bundles=[selection]))]
    for index, pixels in enumerate(frames):
        gray = pixels.shape[2] == 1
        frame = frame_pb2.Frame(
            frame_index=index,
            encoding=frame_pb2.FRAME_ENCODING_GRAY8 if gray else frame_pb2.FRAME_ENCODING_RGB24,
            width_px=pixels.shape[1],
            height_px=pixels.shape[0],
            data=pixels.tobytes(),
        )
        requests.append(native_pb2.StreamFramesRequest(frame=frame))
    keypoints, behaviors = [], []
    for response in served.native.StreamFrames(iter(requests), timeout=TIMEOUT_S):
        if response.HasField("behavior"):
            behaviors.append(response.behavior)
        for found in response.outcome.result.poses:
            keypoints.append(
                [np.stack([one.x_px, one.y_px, one.confidence], axis=1) for one in found.poses]
            )
    return np.array(keypoints, np.float32), behaviors


def refused(call: Any, status: grpc.StatusCode, *words: str) -> None:
    """The call fails with this status, and its message says all these words."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is status, caught.value
    for word in words:
        assert word in caught.value.details()
