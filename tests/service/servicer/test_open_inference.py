"""Frames as tensors: the same answers as over our own protocol, to the last digit."""

import threading
import time

import grpc
import numpy as np
import pytest
from ethostream.v1 import behavior_pb2
from prometheus_client import REGISTRY

from clients.testdata.scenes import picture
from service.bundle import find_bundles, read_bundle
from service.engine import choose_engine, default_threads, load_graph
from service.servicer.open_inference import open_inference_pb2 as pb2
from tests.service.servicer.conftest import EXACT, SHIPPED, TIMEOUT_S, VECTORS, serving
from tests.service.servicer.wire import (
    BEHAVIOR,
    POSE,
    arrays,
    infer,
    infer_request,
    native_answers,
    refused,
    typed_request,
)

Status = grpc.StatusCode
GRAY = np.stack([picture(number)[..., None] for number in range(6)])
"""(6, 48, 64, 1): twice as large as the bundles' input."""
COLOR = np.repeat(GRAY, 3, axis=3)


@pytest.mark.parametrize("frames", [GRAY, COLOR, GRAY[:1]], ids=["gray", "color", "one"])
def test_a_batch_answers_as_a_stream_does(vectors, frames):
    found = infer(vectors, infer_request(POSE, frames))
    expected, _ = native_answers(vectors, POSE, frames)
    assert list(found) == ["keypoints"]
    assert found["keypoints"].shape == (len(frames), 2, 2, 3)
    np.testing.assert_array_equal(found["keypoints"], expected)


def test_typed_contents_are_answered_typed_and_alike(vectors):
    request = typed_request(POSE, GRAY)
    response = vectors.open_inference.ModelInfer(request, timeout=TIMEOUT_S)
    assert not response.raw_output_contents
    expected = infer(vectors, infer_request(POSE, GRAY))
    np.testing.assert_array_equal(arrays(response)["keypoints"], expected["keypoints"])
    clip = arrays(
        vectors.open_inference.ModelInfer(typed_request(BEHAVIOR, GRAY), timeout=TIMEOUT_S)
    )
    for name, values in infer(vectors, infer_request(BEHAVIOR, GRAY)).items():
        np.testing.assert_array_equal(clip[name], values)


def test_a_clip_answers_as_a_stream_of_its_frames(vectors):
    found = infer(vectors, infer_request(BEHAVIOR, GRAY))
    _, results = native_answers(vectors, BEHAVIOR, GRAY)
    assert found["status"].tolist() == [one.status for one in results]
    assert found["status"][0] == found["status"][-1] == behavior_pb2.BEHAVIOR_STATUS_NO_CONTEXT
    for row, result in enumerate(results):
        if result.status == behavior_pb2.BEHAVIOR_STATUS_OK:
            assert found["probabilities"][row].tolist() == list(result.probabilities)
            assert found["present"][row].tolist() == list(result.present)
        else:
            assert np.isnan(found["probabilities"][row]).all()
            assert not found["present"][row].any()


def test_the_shipped_bundle_answers_as_a_stream_and_as_its_graph():
    versions = find_bundles(SHIPPED)["openfield-mouse"]
    bundle = read_bundle(versions[max(versions)])
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (1, 480, 640, 1), np.uint8)
    spec = bundle.manifest.input
    small = rng.integers(0, 256, (1, spec.height_px, spec.width_px, spec.channels), np.uint8)
    with serving(SHIPPED, "openfield-mouse") as served:
        for frames in (frame, small):
            found = infer(served, infer_request("openfield-mouse", frames))
            expected, _ = native_answers(served, "openfield-mouse", frames)
            np.testing.assert_array_equal(found["keypoints"], expected)
    name, precision = choose_engine(bundle.manifest, "auto", "auto")
    engine = load_graph(bundle, "pose", engine=name, precision=precision, threads=default_threads())
    graph = engine.run({"frames": small})["keypoints"]
    np.testing.assert_array_equal(found["keypoints"][..., :2], graph[..., :2])


def test_only_the_wanted_outputs_come_in_the_wanted_order(vectors):
    wanted = [
        pb2.ModelInferRequest.InferRequestedOutputTensor(name=name)
        for name in ("status", "probabilities")
    ]
    response = vectors.open_inference.ModelInfer(
        infer_request(BEHAVIOR, GRAY, outputs=wanted, id="seven"), timeout=TIMEOUT_S
    )
    assert list(arrays(response)) == ["status", "probabilities"]
    assert len(response.raw_output_contents) == 2
    assert (response.id, response.model_name, response.model_version) == ("seven", BEHAVIOR, "1")


def test_a_stream_answers_in_order_and_goes_on_after_a_bad_request(vectors):
    requests = [infer_request(POSE, GRAY[:count], id=str(count)) for count in range(1, 7)]
    bad = infer_request("cat", GRAY, id="bad")
    responses = list(
        vectors.open_inference.ModelStreamInfer(
            iter([*requests[:3], bad, *requests[3:]]), timeout=TIMEOUT_S
        )
    )
    ids = [one.infer_response.id for one in responses]
    assert ids == ["1", "2", "3", "bad", "4", "5", "6"]
    refusal = responses.pop(3)
    assert refusal.error_message.startswith("NOT_FOUND: the bundle 'cat' is not loaded")
    everything = infer(vectors, infer_request(POSE, GRAY))["keypoints"]
    for count, response in enumerate(responses, start=1):
        assert not response.error_message
        assert response.infer_response.parameters["triton_final_response"].bool_param
        found = arrays(response.infer_response)["keypoints"]
        np.testing.assert_array_equal(found, everything[:count])


def test_more_than_a_stream_may_have_in_flight_is_answered_all_the_same(vectors):
    whole = np.repeat(GRAY, 6, axis=0)[:32]
    requests = [infer_request(POSE, whole, id=str(number)) for number in range(5)]
    responses = vectors.open_inference.ModelStreamInfer(iter(requests), timeout=TIMEOUT_S)
    assert [one.infer_response.id for one in responses] == ["0", "1", "2", "3", "4"]


def test_many_clients_at_once_get_their_own_answers(vectors):
    everything = infer(vectors, infer_request(POSE, GRAY))["keypoints"]
    wrong = []

    def ask(place: int) -> None:
        for number in range(place, place + 6):
            row = number % len(GRAY)
            found = infer(vectors, infer_request(POSE, GRAY[row : row + 1]))["keypoints"]
            if not np.array_equal(found[0], everything[row]):
                wrong.append((place, number))

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert wrong == []


def test_requests_and_streams_share_the_limit_of_streams():
    with serving(VECTORS, POSE, engine=EXACT, server={"max_streams": 1}) as served:
        go_on = threading.Event()

        def held():
            yield infer_request(POSE, GRAY[:1])
            go_on.wait(TIMEOUT_S)

        responses = served.open_inference.ModelStreamInfer(held(), timeout=TIMEOUT_S)
        assert not next(responses).error_message
        for call in (
            lambda: infer(served, infer_request(POSE, GRAY)),
            lambda: native_answers(served, POSE, GRAY),
        ):
            refused(call, Status.RESOURCE_EXHAUSTED, "1 streams are open", "try again later")
        go_on.set()
        assert list(responses) == []
        assert len(infer(served, infer_request(POSE, GRAY))["keypoints"]) == len(GRAY)


def test_a_stream_that_is_cancelled_makes_room():
    with serving(VECTORS, POSE, engine=EXACT, server={"max_streams": 1}) as served:
        left = threading.Event()

        def held():
            yield infer_request(POSE, GRAY[:1])
            left.wait(TIMEOUT_S)

        responses = served.open_inference.ModelStreamInfer(held(), timeout=TIMEOUT_S)
        next(responses)
        responses.cancel()
        left.set()
        for _ in range(1000):  # the server hears of it in a moment
            try:
                infer(served, infer_request(POSE, GRAY))
                break
            except grpc.RpcError as error:
                if error.code() is not Status.RESOURCE_EXHAUSTED:
                    raise
                time.sleep(0.05)
        assert infer(served, infer_request(POSE, GRAY))["keypoints"].shape[0] == len(GRAY)


def test_an_open_stream_is_told_that_the_server_stops():
    with serving(VECTORS, POSE, engine=EXACT) as served:
        stub = served.open_inference
        answered, told = threading.Event(), threading.Event()

        def asking():
            yield infer_request(POSE, GRAY[:1])
            answered.wait(TIMEOUT_S)
            served.run(drain())
            yield infer_request(POSE, GRAY[:1])
            told.wait(TIMEOUT_S)

        async def drain() -> None:
            served.server._admission.draining.set()

        responses = stub.ModelStreamInfer(asking(), timeout=TIMEOUT_S)
        assert not next(responses).error_message
        answered.set()
        assert next(responses).error_message.startswith("UNAVAILABLE: this server is shutting down")
        assert not stub.ServerReady(pb2.ServerReadyRequest(), timeout=TIMEOUT_S).ready
        assert not stub.ModelReady(pb2.ModelReadyRequest(name=POSE), timeout=TIMEOUT_S).ready
        assert stub.ServerLive(pb2.ServerLiveRequest(), timeout=TIMEOUT_S).live
        refused(
            lambda: infer(served, infer_request(POSE, GRAY)), Status.UNAVAILABLE, "shutting down"
        )
        told.set()
        assert list(responses) == []


def test_frames_are_counted_as_those_of_streams(vectors):
    def counted() -> float:
        labels = {"work": "live", "outcome": "result"}
        return REGISTRY.get_sample_value("ethostream_frames_total", labels) or 0.0

    before = counted()
    infer(vectors, infer_request(POSE, GRAY))
    infer(vectors, infer_request(BEHAVIOR, GRAY))
    assert counted() - before == 2 * len(GRAY)
