"""Bad input on a real server: a clear error with the right status, and nothing else is lost."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from ethostream.v1 import bundle_pb2, frame_pb2
from ethostream.v1 import inference_service_pb2 as pb2
from ethostream.v1 import model_service_pb2 as models_pb2

from tests.e2e.conftest import SHIPPED_MODELS, serve_command
from tests.e2e.wire import BEHAVIOR, POSE, frame_message, read_frames, selection, start_message
from tests.service.video.corpus import write_video

TIMEOUT_S = 300  # on a machine that does much else
Status = grpc.StatusCode


@pytest.fixture(scope="module")
def strict_server(start_server, recordings, tmp_path_factory):
    """A server with small limits, over a copy of the recordings that a test may add to."""
    folder = tmp_path_factory.mktemp("videos")
    for path in recordings.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    config = folder / "service.toml"
    config.write_text(
        f"[server]\nmax_message_mib = 2\nmax_streams = 2\nmax_videos = 1\n"
        f"[session]\nmax_width_px = 1280\nmax_height_px = 1024\n"
        f'[video]\nroots = ["{folder}"]\nmax_upload_mib = 1\n'
    )
    server = start_server("--config", str(config))
    return server, folder


def refused(call, status: grpc.StatusCode, *words: str) -> None:
    """The call fails with this status, and its message says all these words."""
    with pytest.raises(grpc.RpcError) as caught:
        list(call())
    assert caught.value.code() is status, caught.value
    for word in words:
        assert word in caught.value.details()


def analyze(server, **settings):
    settings.setdefault("bundles", [selection(POSE)])
    request = pb2.AnalyzeVideoRequest(**settings)
    return lambda: server.inference.AnalyzeVideo(request, timeout=TIMEOUT_S)


def stream(server, messages):
    return lambda: server.inference.StreamFrames(iter(messages), timeout=TIMEOUT_S)


def when_free(call):
    """Return what `call` returns, once a place that was just given up is free for it."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() is not Status.RESOURCE_EXHAUSTED or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def still_serves(server, recordings) -> bool:
    frames = read_frames(recordings / "short.mp4")[:3]
    messages = [start_message(POSE), *(frame_message(i, one) for i, one in enumerate(frames))]
    return list(stream(server, messages)())[-1].ended.frames_result == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["bad.mp4"]),
        (os.urandom(50_000), ["bad.mp4"]),
        (b"this is a text file\n" * 100, ["bad.mp4"]),
    ],
)
def test_what_is_no_video_is_refused(strict_server, recordings, content, words):
    server, folder = strict_server
    (folder / "bad.mp4").write_bytes(content)
    refused(analyze(server, path="bad.mp4"), Status.INVALID_ARGUMENT, *words)
    assert still_serves(server, recordings)


def test_a_file_cut_before_its_index_is_refused(strict_server, recordings):
    server, folder = strict_server
    content = (recordings / "short.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 3])
    refused(analyze(server, path="cut.mp4"), Status.INVALID_ARGUMENT, "cut.mp4")
    assert still_serves(server, recordings)


def test_a_file_with_sound_only_is_refused(strict_server):
    import av

    server, folder = strict_server
    with av.open(str(folder / "sound.mp4"), "w") as container:
        track = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(track.encode(frame))
        container.mux(track.encode(None))
    refused(analyze(server, path="sound.mp4"), Status.INVALID_ARGUMENT, "sound.mp4")


def test_names_and_sources_that_do_not_exist_are_refused(strict_server):
    server, _ = strict_server
    refused(
        analyze(server, path="short.mp4", bundles=[selection("cat")]),
        Status.NOT_FOUND, "cat", POSE,
    )  # fmt: skip
    refused(stream(server, [start_message("cat")]), Status.NOT_FOUND, "cat", POSE)
    refused(analyze(server, path="none.mp4"), Status.NOT_FOUND, "none.mp4")
    refused(analyze(server, upload_id="abc"), Status.NOT_FOUND, "abc", "upload it again")
    refused(analyze(server), Status.INVALID_ARGUMENT, "upload_id or path")
    refused(stream(server, [start_message()]), Status.INVALID_ARGUMENT, "no bundle")
    refused(stream(server, []), Status.INVALID_ARGUMENT, "start")


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../etc/passwd", "link.mp4"])
def test_paths_outside_the_roots_are_refused(strict_server, path):
    server, folder = strict_server
    if not (folder / "link.mp4").is_symlink():
        (folder / "link.mp4").symlink_to("/etc/passwd")
    refused(analyze(server, path=path), Status.PERMISSION_DENIED, "root")


def test_bad_frames_in_mid_stream_cost_only_themselves(strict_server, recordings):
    server, _ = strict_server
    frames = read_frames(recordings / "short.mp4")[:9]
    small = np.zeros((240, 320, 3), np.uint8)
    changes: dict[int, dict[str, object]] = {
        2: {"data": b""},
        3: {"data": b"12345"},
        4: {"data": small.tobytes(), "width_px": 320, "height_px": 240},
        5: {"encoding": frame_pb2.FRAME_ENCODING_JPEG, "data": b"\xff\xd8 no picture"},
        6: {"width_px": 2000, "height_px": 2000},
    }
    messages = [start_message(POSE, BEHAVIOR)]
    messages += [frame_message(i, one, **changes.get(i, {})) for i, one in enumerate(frames)]
    responses = list(stream(server, messages)())
    outcomes = [one.outcome for one in responses if one.HasField("outcome")]
    assert [one.frame_index for one in outcomes] == list(range(9))
    kinds = ["error" if one.HasField("error") else "result" for one in outcomes]
    assert kinds == ["result"] * 2 + ["error"] * 5 + ["result"] * 2
    texts = [one.error.message for one in outcomes]
    assert "0 bytes" in texts[2]
    assert "5 bytes" in texts[3]
    assert "320x240" in texts[4]
    assert "640x480" in texts[4]
    assert "2000x2000" in texts[6]
    assert "1280x1024" in texts[6]
    behaviors = [one.behavior.frame_index for one in responses if one.HasField("behavior")]
    assert behaviors == list(range(9))
    ended = responses[-1].ended
    assert (ended.frames_accepted, ended.frames_result, ended.frames_error) == (9, 4, 5)


def test_what_came_before_a_message_that_ends_the_stream_is_answered(strict_server, recordings):
    server, _ = strict_server
    frames = read_frames(recordings / "short.mp4")[:4]
    messages = [start_message(POSE), *(frame_message(i, one) for i, one in enumerate(frames))]
    messages.append(frame_message(1, frames[0]))
    answered: list[int] = []

    def read() -> None:
        for response in stream(server, messages)():
            if response.HasField("outcome"):
                answered.append(response.outcome.frame_index)

    with pytest.raises(grpc.RpcError) as caught:
        read()
    assert caught.value.code() is Status.INVALID_ARGUMENT
    assert "frame 1 came after frame 3" in caught.value.details()
    assert answered == [0, 1, 2, 3]


def test_a_message_over_the_size_limit_is_refused_and_others_go_on(strict_server, recordings):
    server, _ = strict_server
    frames = read_frames(recordings / "short.mp4")
    huge = np.zeros((1024, 1280, 3), np.uint8)  # 3.9 MB, the limit is 2 MiB

    def steady():
        yield start_message(POSE)
        for index, pixels in enumerate(frames):
            yield frame_message(index, pixels)
            time.sleep(0.01)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: list(stream(server, steady())()))
        refused(
            stream(server, [start_message(POSE), frame_message(0, huge)]),
            Status.RESOURCE_EXHAUSTED, "larger than max",
        )  # fmt: skip
        assert other.result()[-1].ended.frames_result == len(frames)


def test_a_client_that_disappears_costs_no_other_stream_a_frame(strict_server, recordings):
    server, _ = strict_server
    frames = read_frames(recordings / "short.mp4")

    def endless():
        yield start_message(POSE, BEHAVIOR)
        for index in range(10_000):
            yield frame_message(index, frames[index % len(frames)])

    def steady():
        yield start_message(POSE, BEHAVIOR)
        for index, pixels in enumerate(frames):
            yield frame_message(index, pixels)
            time.sleep(0.01)

    def begin(messages):
        call = stream(server, messages)()
        assert next(call).HasField("started")
        return call

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: list(stream(server, steady())()))
        for _ in range(2):
            call = when_free(lambda: begin(endless()))
            for _ in range(5):
                next(call)
            call.cancel()
        responses = other.result()
    assert responses[-1].ended.frames_result == len(frames)
    # their places are free again: two streams fit
    with ThreadPoolExecutor(2) as pool:
        checks = [
            pool.submit(when_free, lambda: still_serves(server, recordings)) for _ in range(2)
        ]
        assert all(check.result() for check in checks)


def test_more_streams_than_the_limit_are_refused_with_a_hint(strict_server, recordings):
    server, _ = strict_server
    held = []
    release = []

    def waiting():
        yield start_message(POSE)
        while not release:
            time.sleep(0.01)

    def begin():
        call = stream(server, waiting())()
        assert next(call).HasField("started")
        return call

    held += [when_free(begin) for _ in range(2)]
    with pytest.raises(grpc.RpcError) as caught:
        list(stream(server, [start_message(POSE)])())
    assert caught.value.code() is Status.RESOURCE_EXHAUSTED
    assert "2 streams are open" in caught.value.details()
    assert dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"] == "500"
    release.append(True)
    for call in held:
        assert list(call)[-1].HasField("ended")


def test_uploads_are_checked(strict_server):
    server, _ = strict_server
    stub = server.inference
    start = pb2.UploadStart(filename="a.mp4")

    def upload(*messages):
        requests = [pb2.UploadVideoRequest(**one) for one in messages]
        with pytest.raises(grpc.RpcError) as caught:
            stub.UploadVideo(iter(requests), timeout=TIMEOUT_S)
        return caught.value.code(), caught.value.details()

    assert upload({"data": b"1"})[0] is Status.INVALID_ARGUMENT
    assert upload({"start": start})[0] is Status.INVALID_ARGUMENT
    wrong = pb2.UploadStart(filename="a.mp4", sha256="0" * 64)
    status, text = upload({"start": wrong}, {"data": b"12345"})
    assert status is Status.INVALID_ARGUMENT
    assert "SHA-256" in text
    status, text = upload({"start": start}, *({"data": bytes(400_000)} for _ in range(3)))
    assert status is Status.RESOURCE_EXHAUSTED
    assert "1048576" in text


def copy_models(folder, *names: str):
    for name in names:
        shutil.copytree(SHIPPED_MODELS / name, folder / name)
    return folder


def newest(folder, name: str):
    return max((folder / name).iterdir(), key=lambda path: int(path.name))


def test_damaged_bundles_are_refused_and_the_others_serve(start_server, recordings, tmp_path):
    models = copy_models(tmp_path / "models", POSE, BEHAVIOR)
    graph = newest(models, BEHAVIOR) / "features.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    server = start_server(models=models)
    listed = server.models.ListModels(models_pb2.ListModelsRequest(), timeout=TIMEOUT_S).models
    states = {one.bundle.name: one for one in listed}
    assert states[BEHAVIOR].state == bundle_pb2.BUNDLE_STATE_FAILED
    assert "SHA-256" in states[BEHAVIOR].reason
    assert still_serves(server, recordings)
    reference = bundle_pb2.BundleReference(name=BEHAVIOR)
    load = models_pb2.LoadModelRequest(bundle=reference)
    refused(
        lambda: server.models.LoadModel(load, timeout=TIMEOUT_S),
        Status.FAILED_PRECONDITION, "features.onnx", "SHA-256", "copy it again",
    )  # fmt: skip
    graph.unlink()
    refused(
        lambda: server.models.LoadModel(load, timeout=TIMEOUT_S),
        Status.FAILED_PRECONDITION, "lacks the file features.onnx",
    )  # fmt: skip
    shutil.copy(newest(SHIPPED_MODELS, BEHAVIOR) / "features.onnx", graph)
    mended = server.models.LoadModel(load, timeout=TIMEOUT_S).model
    assert mended.state == bundle_pb2.BUNDLE_STATE_READY


def run_serve(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        serve_command("--models", str(SHIPPED_MODELS), *arguments),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stderr.decode()


def test_a_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, text = run_serve("--listen", f"127.0.0.1:{port}")
    assert status == 1
    assert f"127.0.0.1:{port}" in text
    assert "port" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "0.0.0.0:0"], ["0.0.0.0:0", "TLS and tokens", "--insecure"]),
        (["--listen", "nonsense"], ["nonsense", "HOST:PORT"]),
        (["--listen", "127.0.0.1:0", "--load", "cat"], ["cat"]),
        (["--listen", "127.0.0.1:0", "--models", "/no/such/folder"], ["/no/such/folder"]),
        (["--listen", "127.0.0.1:0", "--token-file", "/no/tokens"], ["/no/tokens"]),
        (["--listen", "127.0.0.1:0", "--tls-key", "/no/key"], ["tls_certificate"]),
    ],
)
def test_settings_that_cannot_be_served_say_why(arguments, words):
    status, text = run_serve(*arguments)
    assert status == 1
    for word in words:
        assert word in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("content", "word"),
    [("[server]\nlisten_to = 3\n", "listen_to"), ("[server]\nmax_streams = 0\n", "max_streams")],
)
def test_config_files_are_checked(tmp_path, content, word):
    path = tmp_path / "service.toml"
    path.write_text(content)
    status, text = run_serve("--config", str(path))
    assert status == 1
    assert word in text


def test_sigterm_drains_streams_are_told_and_get_their_answers(start_server, recordings):
    server = start_server()
    frames = read_frames(recordings / "short.mp4")[:6]
    started, told = threading.Event(), threading.Event()

    def messages():
        yield start_message(POSE)
        for index, pixels in enumerate(frames):
            if index == 3:
                assert started.wait(TIMEOUT_S)  # else the server stops before it saw the stream
                server.process.send_signal(signal.SIGTERM)
                assert told.wait(TIMEOUT_S)
            yield frame_message(index, pixels)

    responses = []
    for response in server.inference.StreamFrames(messages(), timeout=TIMEOUT_S):
        responses.append(response)
        if response.HasField("started"):
            started.set()
        if response.HasField("drain"):
            told.set()
    assert responses[-1].ended.frames_result == len(frames)
    assert server.process.wait(TIMEOUT_S) == 0


def test_a_killed_decode_worker_costs_its_own_video_only(start_server, recordings, tmp_path):
    import psutil

    part = write_video(
        tmp_path / "part.h264", frames=250, size=(64, 48), options={"bf": "0"}, format="h264"
    )
    # So long that it is in work still, whenever the kill comes: 100,000 frames.
    (tmp_path / "endless.h264").write_bytes(400 * part.read_bytes())
    server = start_server("--root", str(recordings), "--root", str(tmp_path))
    frames = read_frames(recordings / "short.mp4")
    killed = threading.Event()

    def steady():
        yield start_message(POSE)
        for index, pixels in enumerate(frames):
            yield frame_message(index, pixels)
            if index == 5:
                assert killed.wait(TIMEOUT_S)

    def kill_while_reading() -> None:
        request = pb2.AnalyzeVideoRequest(
            path="endless.h264", bundles=[selection(POSE)], frames_per_chunk=1
        )
        for place, _ in enumerate(server.inference.AnalyzeVideo(request, timeout=TIMEOUT_S)):
            if place == 2:
                for child in psutil.Process(server.process.pid).children(recursive=True):
                    child.kill()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: list(stream(server, steady())()))
        try:
            with pytest.raises(grpc.RpcError) as caught:
                kill_while_reading()
        finally:
            killed.set()
        assert caught.value.code() is Status.INTERNAL
        assert "endless.h264" in caught.value.details()
        assert other.result()[-1].ended.frames_result == len(frames)
    whole = list(analyze(server, path="long.mp4")())
    assert whole[-1].finished.frames_ok == len(read_frames(recordings / "long.mp4"))


def test_a_reader_that_leaves_an_analysis_frees_its_place(strict_server):
    server, _ = strict_server  # takes one video at a time
    for _ in range(3):
        call = analyze(server, path="long.mp4", frames_per_chunk=1)()
        assert next(call).HasField("started")
        assert next(call).HasField("chunk")
        call.cancel()
        done = when_free(lambda: list(analyze(server, path="short.mp4", frame_limit=3)()))
        assert done[-1].finished.frames == 3
