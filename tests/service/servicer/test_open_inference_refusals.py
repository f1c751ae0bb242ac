"""What cannot be answered is refused with the right status, and a message that says what to do."""

import threading
from typing import Any

import grpc
import numpy as np
import pytest

from service.servicer.open_inference import open_inference_pb2 as pb2
from service.session_options import SessionConfig
from tests.service.servicer.conftest import EXACT, TIMEOUT_S, VECTORS, Served, serving
from tests.service.servicer.wire import (
    BEHAVIOR,
    POSE,
    infer,
    infer_request,
    refused,
    typed_request,
)

Status = grpc.StatusCode
FRAMES = np.zeros((2, 24, 32, 1), np.uint8)
Tensor = pb2.ModelInferRequest.InferInputTensor
TEXT = pb2.InferParameter(string_param="region")


@pytest.fixture(scope="module")
def strict():
    """A server with small limits."""
    session = SessionConfig(
        max_frames_in_flight=4, default_frames_in_flight=2, max_width_px=64, max_height_px=48
    )
    with serving(VECTORS, engine=EXACT, session=session, server={"max_message_mib": 1}) as served:
        yield served


def tensor(**changes: Any) -> list[Tensor]:
    fields = {"name": "frames", "datatype": "UINT8", "shape": FRAMES.shape, **changes}
    return [Tensor(**fields)]


def output(name: str, **parameters: pb2.InferParameter) -> list[Any]:
    return [pb2.ModelInferRequest.InferRequestedOutputTensor(name=name, parameters=parameters)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": tensor(datatype="FP32")}, ("FP32", "send UINT8 from 0 to 255")),
        ({"inputs": tensor(datatype="")}, ("of no type", "send UINT8")),
        ({"inputs": tensor(shape=[24, 32, 1])}, ("[24, 32, 1]", "such as [1, 480, 640, 1]")),
        ({"inputs": tensor(shape=[2, 24, -32, 1])}, ("[2, 24, -32, 1]", "send [frames, rows")),
        ({"inputs": tensor(shape=[0, 24, 32, 1])}, ("[0, 24, 32, 1]", "send [frames, rows")),
        ({"inputs": tensor(shape=[2, 24, 32, 3])}, ("1536 bytes", "4608 values", "send the shape")),
        ({"inputs": tensor(shape=[2, 24, 16, 2])}, ("2 channels", "1 (gray) or 3")),
        ({"inputs": tensor(shape=[8, 12, 16, 1])}, ("8 frames", "send 1 to 4", "StreamFrames")),
        ({"inputs": tensor(name="images")}, ("images", "send one, `frames`")),
        ({"inputs": tensor() + tensor()}, ("frames, frames", "send one, `frames`")),
        ({"inputs": []}, ("inputs none", "send one, `frames`")),
        ({"inputs": tensor(parameters={"shared_memory_region": TEXT})}, ("shared memory is not",)),
        ({"inputs": tensor(contents=pb2.InferTensorContents())}, ("and contents", "either, once")),
        ({"raw_input_contents": [b"", b""]}, ("of 2 inputs", "once")),
        ({"raw_input_contents": [b"1"]}, ("1 bytes", "1536 values")),
        ({"raw_input_contents": []}, ("0 values in contents.uint_contents", "1536 values")),
        ({"model_version": "one"}, ("'one'", "leave it empty")),
        ({"model_version": "0"}, ("'0'", "leave it empty")),
        ({"model_version": "9" * 5000}, ("no whole number", "leave it empty")),
        ({"outputs": output("heatmaps")}, ("no output 'heatmaps'", "it has keypoints")),
        ({"outputs": output("keypoints", classification=TEXT)}, ("classification are not",)),
        (
            {"parameters": {"sequence_id": pb2.InferParameter(int64_param=7)}},
            ("sequence_id", "no state is kept", "StreamFrames"),
        ),
        ({"parameters": {"speed": TEXT}}, ("speed", "not known here")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_request_that_does_not_fit_is_refused(strict: Served, changes, words):
    refused(
        lambda: infer(strict, infer_request(POSE, FRAMES, **changes)),
        Status.INVALID_ARGUMENT,
        *words,
    )


def test_what_triton_tools_send_without_meaning_is_taken(strict):
    names = ("priority", "timeout", "triton_enable_empty_final_response")
    parameters = {name: pb2.InferParameter(int64_param=1) for name in names}
    infer(strict, infer_request(POSE, FRAMES, parameters=parameters))


def test_typed_values_above_a_byte_are_refused(strict):
    request = typed_request(POSE, FRAMES)
    request.inputs[0].contents.uint_contents[5] = 256
    refused(lambda: infer(strict, request), Status.INVALID_ARGUMENT, "256", "from 0 to 255")


def test_typed_values_are_looked_at_after_the_limits(strict):
    wide = typed_request(POSE, np.zeros((1, 24, 66, 1), np.uint8))
    wide.inputs[0].contents.uint_contents[5] = 256
    refused(lambda: infer(strict, wide), Status.RESOURCE_EXHAUSTED, "66x24 px", "limit of 64x48 px")


def test_many_typed_values_are_looked_at_on_a_thread(vectors):
    """While all threads are busy, such a request waits, and one with few values does not."""
    large = typed_request(POSE, np.zeros((1, 1024, 1025, 1), np.uint8))
    large.inputs[0].contents.uint_contents[5] = 256
    threads, free = vectors.server._runtime.threads, threading.Event()
    busy = [threads.submit(free.wait, TIMEOUT_S) for _ in range(threads._max_workers)]
    try:
        waits = vectors.open_inference.ModelInfer.future(large, timeout=TIMEOUT_S)
        for _ in range(5):
            infer(vectors, typed_request(POSE, FRAMES))
        assert not waits.done()
    finally:
        free.set()
    refused(waits.result, Status.INVALID_ARGUMENT, "256", "from 0 to 255")
    assert all(one.result() for one in busy)


def test_of_a_bug_the_status_is_told_and_nothing_of_the_server(vectors, monkeypatch):
    def fail(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/srv/mice/secret.mp4")

    monkeypatch.setattr("service.servicer.open_inference.tensors.to_response", fail)
    request = infer_request(POSE, FRAMES, id="seven")
    with pytest.raises(grpc.RpcError) as caught:
        infer(vectors, request)
    (answer,) = vectors.open_inference.ModelStreamInfer(iter([request]), timeout=TIMEOUT_S)
    for text in (caught.value.details(), answer.error_message):
        assert "the request 'seven'; its log has the trace" in text
        assert "secret" not in text
    assert caught.value.code() is Status.INTERNAL
    assert answer.error_message.startswith("INTERNAL: ")


@pytest.mark.parametrize("model", [POSE, BEHAVIOR])
def test_frames_over_the_limit_are_too_large(strict, model):
    wide = np.zeros((1, 24, 66, 1), np.uint8)
    refused(
        lambda: infer(strict, infer_request(model, wide)),
        Status.RESOURCE_EXHAUSTED,
        "66x24 px",
        "limit of 64x48 px",
        "scale it down",
    )


def test_a_message_over_the_limit_is_refused_and_the_next_one_answered(strict):
    huge = np.zeros((1, 1025, 1024, 1), np.uint8)
    refused(lambda: infer(strict, infer_request(POSE, huge)), Status.RESOURCE_EXHAUSTED, "larger")
    assert infer(strict, infer_request(POSE, FRAMES))["keypoints"].shape == (2, 2, 2, 3)


def test_unknown_models_and_versions_are_not_found(strict):
    stub = strict.open_inference
    for name, version, words in (
        ("cat", "", ("'cat' is not loaded", "vector-points@1")),
        (POSE, "9", ("'vector-points@9' is not loaded", "vector-points@1")),
    ):
        one = {"name": name, "version": version}
        asked = {"model_name": name, "model_version": version}
        calls = (
            lambda asked=asked: stub.ModelInfer(pb2.ModelInferRequest(**asked), timeout=TIMEOUT_S),
            lambda one=one: stub.ModelMetadata(pb2.ModelMetadataRequest(**one), timeout=TIMEOUT_S),
            lambda one=one: stub.ModelConfig(pb2.ModelConfigRequest(**one), timeout=TIMEOUT_S),
            lambda one=one: stub.ModelStatistics(
                pb2.ModelStatisticsRequest(**one), timeout=TIMEOUT_S
            ),
        )
        for call in calls:
            refused(call, Status.NOT_FOUND, *words)
        ready = stub.ModelReady(pb2.ModelReadyRequest(**one), timeout=TIMEOUT_S).ready
        assert not ready


def test_a_version_that_is_no_number_is_refused(strict):
    request = pb2.ModelReadyRequest(name=POSE, version="newest")
    refused(
        lambda: strict.open_inference.ModelReady(request, timeout=TIMEOUT_S),
        Status.INVALID_ARGUMENT,
        "'newest'",
        "whole number",
    )
