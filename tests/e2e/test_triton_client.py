"""NVIDIA's own client of Triton, unchanged, drives this server."""

import asyncio
import queue
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import ethostream
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from clients.testdata.record import BEHAVIOR, MODELS, POSE
from clients.testdata.scenes import picture
from tests.e2e.conftest import RunningServer
from tests.e2e.wire import POSE as SHIPPED_POSE
from tests.e2e.wire import read_frames

GUIDE = Path(__file__).resolve().parents[2] / "clients" / "README.md"
TIMEOUT_S = 120
GRAY = np.stack([picture(number)[..., None] for number in range(5)])


@pytest.fixture(scope="module")
def exact(start_server) -> RunningServer:
    return start_server("--engine", "onnxruntime", "--precision", "fp32", models=MODELS)


@pytest.fixture(scope="module")
def client(exact) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(exact.address) as one:
        yield one


def frames_input(frames: np.ndarray) -> list[triton.InferInput]:
    tensor = triton.InferInput("frames", list(frames.shape), "UINT8")
    tensor.set_data_from_numpy(np.ascontiguousarray(frames))
    return [tensor]


def native_keypoints(address: str, bundle: str, frames: np.ndarray) -> np.ndarray:
    """(B, N, K, 3) as the project's own client gets it."""
    found = []
    with ethostream.Client(address) as one, one.stream(bundle) as stream:
        for frame in frames:
            stream.send(frame)
        stream.finish()
        for answer in stream:
            if isinstance(answer, ethostream.FrameOutcome):
                poses = answer.poses[0]
                found.append(
                    np.concatenate([poses.keypoints_xy, poses.confidence[..., None]], axis=-1)
                )
    return np.stack(found)


def test_it_looks_around(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(POSE)
    assert client.is_model_ready(POSE, "1")
    assert not client.is_model_ready("cat")
    metadata = client.get_model_metadata(POSE, as_json=True)
    assert metadata["outputs"] == [
        {"name": "keypoints", "datatype": "FP32", "shape": ["-1", "2", "2", "3"]}
    ]
    config = client.get_model_config(BEHAVIOR, as_json=True)["config"]
    assert config["parameters"]["behaviors"]["string_value"] == "bright,brightening"
    assert client.get_server_metadata(as_json=True)["name"] == "ethostream"


def test_arrays_go_in_and_out_as_with_our_own_client(client, exact):
    result = client.infer(POSE, frames_input(GRAY), request_id="a", client_timeout=TIMEOUT_S)
    expected = native_keypoints(exact.address, POSE, GRAY)
    np.testing.assert_array_equal(result.as_numpy("keypoints"), expected)
    assert result.get_response().id == "a"
    wanted = [triton.InferRequestedOutput("probabilities"), triton.InferRequestedOutput("present")]
    clip = client.infer(BEHAVIOR, frames_input(GRAY), outputs=wanted, client_timeout=TIMEOUT_S)
    assert clip.as_numpy("probabilities").shape == clip.as_numpy("present").shape == (5, 2)
    assert clip.as_numpy("status") is None


def test_the_shipped_bundle_finds_the_mouse_as_with_our_own_client(server, recordings):
    frames = np.stack(read_frames(recordings / "short.mp4")[:4])
    # One frame at a time here and there: a batch may differ in the last digits on this engine.
    with triton.InferenceServerClient(server.address) as one:
        found = [
            one.infer(SHIPPED_POSE, frames_input(frame[None]), client_timeout=TIMEOUT_S)
            for frame in frames
        ]
    for result, frame in zip(found, frames, strict=True):
        expected = native_keypoints(server.address, SHIPPED_POSE, frame[None])
        np.testing.assert_array_equal(result.as_numpy("keypoints"), expected)


def test_a_stream_answers_all_and_tells_what_is_wrong(client):
    answers: queue.Queue[tuple[object, object]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    try:
        for number in range(20):
            row = number % len(GRAY)
            client.async_stream_infer(
                POSE,
                frames_input(GRAY[row : row + 1]),
                request_id=str(number),
                enable_empty_final_response=True,
            )
        client.async_stream_infer("cat", frames_input(GRAY), request_id="bad")
        client.async_stream_infer(POSE, frames_input(GRAY), request_id="last")
        got = [answers.get(timeout=TIMEOUT_S) for _ in range(22)]
    finally:
        client.stop_stream()
    everything = client.infer(POSE, frames_input(GRAY)).as_numpy("keypoints")
    for number, (result, error) in enumerate(got[:20]):
        assert error is None
        assert result.get_response().id == str(number)
        np.testing.assert_array_equal(
            result.as_numpy("keypoints")[0], everything[number % len(GRAY)]
        )
    assert "the bundle 'cat' is not loaded" in got[20][1].message()
    np.testing.assert_array_equal(got[21][0].as_numpy("keypoints"), everything)


def test_the_client_of_asyncio_asks_side_by_side(exact):
    async def ask() -> list[np.ndarray]:
        async with triton_aio.InferenceServerClient(exact.address) as one:
            calls = [one.infer(POSE, frames_input(GRAY[row : row + 1])) for row in range(5)]
            return [one.as_numpy("keypoints") for one in await asyncio.gather(*calls)]

    expected = native_keypoints(exact.address, POSE, GRAY)
    np.testing.assert_array_equal(np.concatenate(asyncio.run(ask())), expected)


def test_models_are_managed(client):
    states = {one["name"]: one["state"] for one in repository(client)}
    assert states == {POSE: "READY", BEHAVIOR: "READY"}
    client.unload_model(BEHAVIOR)
    assert not client.is_model_ready(BEHAVIOR)
    client.load_model(BEHAVIOR)
    assert client.is_model_ready(BEHAVIOR)
    before = statistics(client)
    client.infer(POSE, frames_input(GRAY), client_timeout=TIMEOUT_S)
    assert statistics(client) == before + len(GRAY)


def repository(client) -> list[dict[str, str]]:
    return client.get_model_repository_index(as_json=True)["models"]


def statistics(client) -> int:
    (found,) = client.get_inference_statistics(POSE, as_json=True)["model_stats"]
    return int(found.get("inference_count", 0))


def test_what_is_wrong_is_told_with_its_status(client):
    floats = triton.InferInput("frames", [1, 48, 64, 1], "FP32")
    floats.set_data_from_numpy(np.zeros((1, 48, 64, 1), np.float32))
    large = frames_input(np.zeros((1, 8, 4098, 1), np.uint8))
    huge = frames_input(np.zeros((12, 1024, 1024, 3), np.uint8))
    for call, status, words in (
        (partial(client.infer, POSE, [floats]), "INVALID_ARGUMENT", "send UINT8"),
        (partial(client.infer, POSE, frames_input(GRAY[0])), "INVALID_ARGUMENT", "such as [1,"),
        (partial(client.infer, "cat", frames_input(GRAY)), "NOT_FOUND", "'cat' is not loaded"),
        (
            partial(client.infer, POSE, frames_input(GRAY), model_version="7"),
            "NOT_FOUND",
            "loaded are: vector-motion@1, vector-points@1",
        ),
        (partial(client.infer, POSE, large), "RESOURCE_EXHAUSTED", "scale it down"),
        (partial(client.infer, POSE, huge), "RESOURCE_EXHAUSTED", "larger than max"),
        (
            partial(client.infer, POSE, frames_input(GRAY), sequence_id=3, sequence_start=True),
            "INVALID_ARGUMENT",
            "StreamFrames",
        ),
        (
            partial(client.register_system_shared_memory, "region", "/region", 64),
            "UNIMPLEMENTED",
            "",
        ),
    ):
        with pytest.raises(InferenceServerException, match=status) as caught:
            call()
        assert words in caught.value.message()


def test_the_guide_answers_as_it_stands_there(exact, capsys):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    (code,) = (block for block in blocks if "import tritonclient" in block)
    here = code.replace("127.0.0.1:50051", exact.address).replace("openfield-mouse", POSE)
    exec(compile(here, GUIDE.name, "exec"), {})
    assert capsys.readouterr().out.startswith("(1, 2, 2, 3) [[")
