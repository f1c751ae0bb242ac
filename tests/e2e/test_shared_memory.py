"""Frames through shared memory: answers as of frames in messages, and no way to hurt the server."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import ethostream
import grpc
import numpy as np
import pytest
from ethostream import commands, errors
from ethostream._shared_memory import FrameMemory
from ethostream.v1 import frame_pb2
from ethostream.v1 import inference_service_pb2 as pb2

from clients.testdata.record import BEHAVIOR, MODELS, POSE
from tests.e2e import wire

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shared memory needs Linux")

WIDTH_PX, HEIGHT_PX = 32, 24  # of the bundles' input, so that gray frames are not even resized
EXACT = ("--engine", "onnxruntime", "--precision", "fp32")


@pytest.fixture(scope="module")
def vectors(start_server):
    return start_server(*EXACT, models=MODELS)


def numbered(index: int) -> np.ndarray:
    """A gray frame that tells its number: by where its bright and its dark pixel are, by both."""
    pixels = np.full(HEIGHT_PX * WIDTH_PX, 64 + index % 128, np.uint8)
    pixels[index % pixels.size] = 255
    pixels[(7 * index + 3) % pixels.size] = 0
    return pixels.reshape(HEIGHT_PX, WIDTH_PX)


def tells(outcome: ethostream.FrameOutcome, index: int) -> bool:
    """Whether the answer is that to the frame of this number."""
    (bright_x, bright_y), (dark_x, dark_y) = outcome.poses[0].keypoints_xy[0]
    size = HEIGHT_PX * WIDTH_PX
    places = (bright_y * WIDTH_PX + bright_x, dark_y * WIDTH_PX + dark_x)
    return places == (index % size, (7 * index + 3) % size)


def stream_all(address, frames, **settings):
    """Outcomes and behavior results of all frames, read while others are sent."""
    answers = []
    with (
        ethostream.Client(address) as client,
        client.stream([POSE, BEHAVIOR], **settings) as stream,
    ):
        reader = threading.Thread(target=lambda: answers.extend(stream))
        reader.start()
        for one in frames:
            pixels, crop = one if isinstance(one, tuple) else (one, None)
            stream.send(pixels, crop=crop)
        stream.finish()
        reader.join()
    outcomes = [one for one in answers if isinstance(one, ethostream.FrameOutcome)]
    behaviors = [one for one in answers if isinstance(one, ethostream.BehaviorResult)]
    return outcomes, behaviors


def assert_same_answers(some, others):
    for one, other in zip(some[0], others[0], strict=True):
        assert (one.frame_index, one.kind, one.reason) == (
            other.frame_index,
            other.kind,
            other.reason,
        )
        for mine, theirs in zip(one.poses, other.poses, strict=True):
            np.testing.assert_array_equal(mine.keypoints_xy, theirs.keypoints_xy)
            np.testing.assert_array_equal(mine.confidence, theirs.confidence)
    for one, other in zip(some[1], others[1], strict=True):
        assert (one.frame_index, one.status) == (other.frame_index, other.status)
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


@pytest.mark.parametrize("color", ["gray", "rgb", "bgr"])
def test_answers_are_those_of_frames_in_messages(vectors, color):
    rng = np.random.default_rng(3)
    shape = (96, 128) if color == "gray" else (96, 128, 3)
    crop = ethostream.Crop(16, 8, 64, 48)
    frames = [(rng.integers(0, 256, shape, np.uint8), crop if n % 3 else None) for n in range(12)]
    settings = {"color": color}
    shared = stream_all(vectors.address, frames, shared_memory=True, **settings)
    assert all(one.kind == "result" for one in shared[0])
    assert_same_answers(shared, stream_all(vectors.address, frames, **settings))


def test_files_go_in_messages_between_parts_of_images_in_memory(vectors):
    large = np.zeros((8, 40, 60), np.uint8)
    large[:, 4:28, 8:40] = [numbered(n) for n in range(8)]
    frames = [large[n, 4:28, 8:40] for n in range(8)]  # not contiguous
    frames[3:5] = [cv2.imencode(".png", numbered(n))[1].tobytes() for n in (3, 4)]
    shared = stream_all(vectors.address, frames, shared_memory=True)
    assert all(tells(one, n) for n, one in enumerate(shared[0]))


def test_no_frame_is_torn_or_swapped_while_places_are_used_again(vectors):
    frames = [numbered(n) for n in range(1000)]
    shared = stream_all(vectors.address, frames, shared_memory=True, max_frames_in_flight=32)
    assert len(shared[0]) == 1000
    assert all(one.kind == "result" and tells(one, n) for n, one in enumerate(shared[0]))
    assert_same_answers(shared, stream_all(vectors.address, frames, max_frames_in_flight=32))


@pytest.mark.parametrize("freshness", ["latest", "deadline"])
def test_frames_left_out_free_their_places_and_the_others_are_whole(vectors, freshness):
    frames = [numbered(n) for n in range(400)]
    outcomes, _ = stream_all(
        vectors.address, frames, shared_memory=True, freshness=freshness,
        max_age_ms=5 if freshness == "deadline" else 0, max_frames_in_flight=8,
    )  # fmt: skip
    assert len(outcomes) == 400
    answered = [one for one in outcomes if one.kind == "result"]
    assert answered
    assert all(tells(one, one.frame_index) for one in answered)
    assert not [one for one in outcomes if one.kind == "error"]


def test_the_command_streams_through_shared_memory(vectors, tmp_path, capsys):
    path = tmp_path / "video.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=50)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for level in range(20):
            pixels = np.full((48, 64, 3), 5 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
    status = commands.main(
        [
            "stream", str(path), "--server", vectors.address, "--model", POSE, "--rate", "0",
            "--json", "--shared-memory",
        ]
    )  # fmt: skip
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (status, summary["accepted"], summary["results"]) == (0, 20, 20)


def test_a_server_on_a_unix_socket_takes_shared_memory_and_no_second_one_its_place(
    start_server, tmp_path
):
    address = f"unix:{tmp_path / 'ethostream.sock'}"
    start_server(*EXACT, "--listen", address, models=MODELS)
    frames = [numbered(n) for n in range(20)]
    outcomes, _ = stream_all(address, frames, shared_memory=True)
    assert all(tells(one, n) for n, one in enumerate(outcomes))
    command = [sys.executable, "-m", "ethostream.commands", "serve", "--models", str(MODELS)]
    second = subprocess.run(
        [*command, "--listen", address], capture_output=True, text=True, check=False, timeout=300
    )
    assert second.returncode
    assert "a server listens on" in second.stderr
    with ethostream.Client(address) as client:
        assert client.models()


def test_single_calls_take_frames_in_memory_too(vectors):
    memory = FrameMemory()
    call = vectors.inference.AnalyzeFrame
    start = wire.start_message(POSE).start
    start.shared_memory.CopyFrom(memory.announcement())
    session_id = ""
    for index in range(3):
        one = frame(index, shared_offset_bytes=memory.write(index, numbered(index)))
        begin = {"session_id": session_id} if session_id else {"start": start}
        response = call(pb2.AnalyzeFrameRequest(frame=one, **begin), timeout=120)
        memory.release(index)
        session_id = response.session_id
        (pose,) = response.outcome.result.poses
        bright = pose.poses[0].y_px[0] * WIDTH_PX + pose.poses[0].x_px[0]
        assert bright == index
    assert mapped(vectors.process.pid)
    call(pb2.AnalyzeFrameRequest(session_id=session_id, end_session=True), timeout=120)
    assert not mapped(vectors.process.pid)
    memory.close()


# What a client may do wrong.


@contextmanager
def sent(server, memory: frame_pb2.SharedMemory | None, frames):
    """The answers to frames of a client that writes its messages by hand."""
    start = wire.start_message(POSE)
    if memory is not None:
        start.start.shared_memory.CopyFrom(memory)
    messages = [start, *(pb2.StreamFramesRequest(frame=one) for one in frames)]
    yield server.inference.StreamFrames(iter(messages), timeout=120)


def frame(index: int, **changes: object) -> frame_pb2.Frame:
    settings = {
        "frame_index": index,
        "encoding": frame_pb2.FRAME_ENCODING_GRAY8,
        "width_px": WIDTH_PX,
        "height_px": HEIGHT_PX,
        **changes,
    }
    return frame_pb2.Frame(**settings)


def refusal(server, memory, frames=()) -> tuple[grpc.StatusCode, str]:
    with sent(server, memory, frames) as answers, pytest.raises(grpc.RpcError) as caught:
        list(answers)
    return caught.value.code(), caught.value.details()


def announced(file: int, name: str, process_id: int | None = None) -> frame_pb2.SharedMemory:
    return frame_pb2.SharedMemory(
        process_id=os.getpid() if process_id is None else process_id,
        file_descriptor=file,
        name=name,
    )


def test_a_frame_outside_the_memory_is_an_error_and_the_next_one_is_answered(vectors):
    memory = FrameMemory()
    place = memory.write(2, numbered(2))
    size = 1 << 30
    frames = [
        frame(0, shared_offset_bytes=size - 10),
        frame(1, shared_offset_bytes=2**64 - 1),
        frame(2, shared_offset_bytes=place),
        frame(3, shared_offset_bytes=place, width_px=0),
        frame(4, shared_offset_bytes=place, width_px=4000, height_px=4000),
    ]
    with sent(vectors, memory.announcement(), frames) as answers:
        outcomes = [one.outcome for one in answers if one.HasField("outcome")]
    assert [one.WhichOneof("outcome") for one in outcomes] == ["error"] * 2 + ["result"] + [
        "error"
    ] * 2
    assert all(
        one.error.code == pb2.FRAME_ERROR_CODE_INVALID_FRAME
        for one in (*outcomes[:2], *outcomes[3:])
    )
    assert "not inside the shared memory" in outcomes[0].error.message
    memory.close()


def test_what_cannot_lie_in_memory_ends_the_stream_with_the_reason(vectors):
    memory = FrameMemory()
    jpeg = frame(0, shared_offset_bytes=0, encoding=frame_pb2.FRAME_ENCODING_JPEG)
    both = frame(0, shared_offset_bytes=0, data=bytes(WIDTH_PX * HEIGHT_PX))
    for wrong in (jpeg, both):
        code, text = refusal(vectors, memory.announcement(), [wrong])
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "only raw pixels lie there" in text
    code, text = refusal(vectors, None, [frame(0, shared_offset_bytes=0)])
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "the stream began without" in text
    memory.close()


def test_memory_that_is_not_what_it_is_said_to_be_is_refused(vectors, tmp_path):
    memory = FrameMemory()
    true = memory.announcement()
    path = tmp_path / "file"
    path.write_bytes(bytes(4096))
    unsealed_name = f"ethostream-{'0' * 32}"
    unsealed = os.memfd_create(unsealed_name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, 1 << 20)
    with path.open("rb") as file:
        cases = {
            "wrong name": announced(true.file_descriptor, f"ethostream-{'1' * 32}"),
            "no name": announced(true.file_descriptor, ""),
            "another file": announced(file.fileno(), "file"),
            "no such descriptor": announced(1_000_000, true.name),
            "no such process": announced(true.file_descriptor, true.name, 2**31),
            "the server's own": announced(0, true.name, vectors.process.pid),
            "may shrink": announced(unsealed, unsealed_name),
        }
        for case, memory_message in cases.items():
            code, text = refusal(vectors, memory_message)
            assert code is grpc.StatusCode.PERMISSION_DENIED, case
            assert ("F_SEAL_SHRINK" if case == "may shrink" else "cannot read") in text, case
    os.close(unsealed)
    memory.close()


def test_the_memory_of_another_user_is_refused(vectors):
    memory = FrameMemory()
    try:
        os.fchown(memory.announcement().file_descriptor, 65534, -1)
    except PermissionError:
        pytest.skip("only root can make the memory of another user")
    code, text = refusal(vectors, memory.announcement())
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "another user" in text
    memory.close()


def test_the_client_itself_cannot_make_its_memory_smaller():
    memory = FrameMemory()
    with pytest.raises(PermissionError):
        os.ftruncate(memory.announcement().file_descriptor, 4096)
    memory.close()


def test_a_server_that_allows_none_says_so_and_auto_sends_messages(start_server, tmp_path):
    config = tmp_path / "service.toml"
    config.write_text("[server]\nshared_memory = false\n")
    server = start_server(*EXACT, "--config", str(config), models=MODELS)
    frames = [numbered(n) for n in range(5)]
    with pytest.raises(errors.PermissionDenied, match=r"server\.shared_memory is false"):
        stream_all(server.address, frames, shared_memory=True)
    outcomes, _ = stream_all(server.address, frames, shared_memory="auto")
    assert all(tells(one, n) for n, one in enumerate(outcomes))


CLIENT = """
import sys, time
import ethostream, numpy as np
client = ethostream.Client(sys.argv[1])
stream = client.stream(sys.argv[2], shared_memory=True)
stream.open()
print("sending", flush=True)
image = np.zeros((480, 640), np.uint8)
while True:
    stream.send(image)
    next(iter(stream))
"""


def test_a_killed_client_leaves_no_memory_and_the_server_goes_on(vectors):
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, vectors.address, POSE], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"sending\n"
    assert mapped(vectors.process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    deadline = time.monotonic() + 60
    while mapped(vectors.process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not mapped(vectors.process.pid)
    outcomes, _ = stream_all(vectors.address, [numbered(0)], shared_memory=True)
    assert tells(outcomes[0], 0)


def mapped(process_id: int) -> bool:
    """Whether a process sees a client's memory."""
    return "/memfd:ethostream-" in Path(f"/proc/{process_id}/maps").read_text()
