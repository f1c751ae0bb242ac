"""The C++ client, built with CMake: its own tests, its package and examples, on real servers."""

import base64
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "clients" / "cpp"
BUILD = PACKAGE / "build"
NODE = REPOSITORY / "clients" / "node"
VECTORS = REPOSITORY / "clients" / "testdata"
GUIDE = REPOSITORY / "clients" / "README.md"
BUNDLES = ("vector-points", "vector-motion")
FRAME_COUNT = 1000
# Long, since the machine may have much else to do.
BUILD_S, TESTS_S, START_S = 5400, 1800, 240
QUICK = "-DCMAKE_CXX_FLAGS=-O0"  # to compile, that is

STREAM_WITH_NODE = """
import { once } from "node:events";
import { Client } from "ethostream";
import { plain, streamMade } from "./frames.js";

const [address, frames, ...bundles] = process.argv.slice(2);
const client = new Client(address);
console.log("ready");
await once(process.stdin, "data");
const answers = await streamMade(client, bundles, Number(frames), [64, 48]);
console.log(answers.map((one) => JSON.stringify(plain(one))).join("\\n"));
client.close();
"""


def run(
    *command: str | Path, folder: Path = PACKAGE, timeout_s: float = TESTS_S, given: bytes = b""
) -> str:
    """What a command prints; it must succeed."""
    with subprocess.Popen(
        [str(one) for one in command],
        cwd=folder,
        env=os.environ | {"ETHOSTREAM_PYTHON": sys.executable},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that what it started ends with it
    ) as process:
        try:
            printed, _ = process.communicate(given, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
    text = printed.decode()
    assert process.returncode == 0, text[-6000:]
    return text


def missing_parts() -> list[str]:
    """What the client cannot be built without and is not on this machine."""
    tools = ("cmake", "c++", "make", "pkg-config", "protoc", "grpc_cpp_plugin")
    missing = [one for one in tools if shutil.which(one) is None]
    if "pkg-config" not in missing:
        for library in ("grpc++", "protobuf", "gtest"):
            if subprocess.run(["pkg-config", "--exists", library], check=False).returncode:
                missing.append(library)
    return missing


@pytest.fixture(scope="module")
def built() -> Path:
    """The folder with the library and its tests; what is fresh there is not built again."""
    if missing := missing_parts():
        pytest.skip(f"{', '.join(missing)} not found; run .ci/packages, or install them otherwise")
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unity = ("-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=0")  # gRPC is read once
        settings = ("-DETHOSTREAM_TESTS=ON", *unity, QUICK)
        run("cmake", "-S", PACKAGE, "-B", BUILD, *settings, timeout_s=BUILD_S)
        run("cmake", "--build", BUILD, "--parallel", str(os.cpu_count() or 1), timeout_s=BUILD_S)
    return BUILD


@pytest.fixture(scope="module")
def examples(built, tmp_path_factory) -> Path:
    """The folder with the examples, built as a project of their own that finds the client."""
    folder = tmp_path_factory.mktemp("cpp")
    run("cmake", "--install", built, "--prefix", folder / "installed")
    headers = {path.name for path in (PACKAGE / "include" / "ethostream").iterdir()}
    installed = folder / "installed" / "include" / "ethostream"
    assert headers == {path.name for path in installed.iterdir()}
    prefix = f"-DCMAKE_PREFIX_PATH={folder / 'installed'}"
    run("cmake", "-S", PACKAGE / "examples", "-B", folder, prefix, QUICK, timeout_s=BUILD_S)
    run("cmake", "--build", folder, timeout_s=BUILD_S)
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """Of a server with the bundles of the test vectors."""
    folder = tmp_path_factory.mktemp("server")
    log, port = folder / "log", folder / "port"
    command = [sys.executable, "-m", "ethostream.commands", "serve"]
    command += ["--models", str(VECTORS / "models"), "--engine", "onnxruntime"]
    command += ["--precision", "fp32", "--listen", "127.0.0.1:0", "--port-file", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output)
    deadline = time.monotonic() + START_S
    try:
        while not port.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        yield f"127.0.0.1:{port.read_text().strip()}"
    finally:
        process.kill()
        process.wait()


def recorded(case: str) -> list[dict[str, dict[str, str]]]:
    """The requests of a test vector."""
    requests = json.loads((VECTORS / "cases" / f"{case}.json").read_text())["requests"]
    assert isinstance(requests, list)
    return requests


def test_the_package_has_the_version_of_the_python_client():
    (version,) = re.findall(
        r"^project\(ethostream VERSION (\S+)", (PACKAGE / "CMakeLists.txt").read_text(), re.M
    )
    python = (REPOSITORY / "clients" / "python" / "pyproject.toml").read_text()
    assert f'\nversion = "{version}"\n' in python


def test_the_guide_shows_the_example_that_is_run():
    (shown,) = (
        block
        for block in re.findall(r"```cpp\n(.*?)```", GUIDE.read_text(), re.S)
        if "int main" in block
    )
    assert shown == (PACKAGE / "examples" / "stream_camera.cpp").read_text()
    assert shown.count("\n") <= 20


@pytest.mark.full
def test_its_own_tests_pass(built):
    printed = run(built / "test" / "ethostream_tests", folder=REPOSITORY)
    (passed,) = re.findall(r"^\[  PASSED  \] (\d+) tests\.$", printed, re.M)
    assert int(passed) >= 45
    assert "SKIPPED" not in printed


@pytest.mark.full
def test_stream_camera_answers_what_it_is_given(examples, address):
    frames = b"".join(bytes([level]) * (640 * 480) for level in (10, 20, 30))
    lines = run(examples / "stream_camera", address, "vector-points", given=frames).splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "3"]
    assert lines[-1] == "3 frames"


@pytest.mark.full
def test_stream_folder_prints_poses_with_latency(examples, address, tmp_path):
    frames = [one["frame"] for one in recorded("stream") if "frame" in one]
    png = next(one for one in frames if one["encoding"] == "FRAME_ENCODING_PNG")
    content = base64.b64decode(png["data"])
    (tmp_path / "0.png").write_bytes(content)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    cv2.imwrite(str(tmp_path / "1.ppm"), cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR))
    cv2.imwrite(str(tmp_path / "2.pgm"), pixels)
    gray = (tmp_path / "2.pgm").read_bytes().split(b"\n", 1)
    (tmp_path / "3.pgm").write_bytes(gray[0] + b"\n# by a camera\n" + gray[1])
    printed = run(examples / "stream_folder", tmp_path, address, "vector-points")
    line = r"^frame (\d): \(20\.5, 10\.5\) \(30\.5, 32\.5\).*, [\d.]+ ms$"
    assert re.findall(line, printed, re.M) == ["0", "1", "2", "3"], printed
    assert printed.endswith("4 of 4 frames analyzed\n")


@pytest.mark.full
def test_stream_folder_tells_what_went_wrong(examples, address, tmp_path):
    for name, content in (("gray/0.pgm", b"P5 4 2 255\n" + bytes(8)), ("text/0.txt", b"no image")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    for folder, bundle, words in (
        ("gray", "cat", "NOT_FOUND: the bundle 'cat' is not loaded; loaded are"),
        ("text", "vector-points", "INVALID_ARGUMENT: 8 bytes that begin neither like JPEG"),
    ):
        command = [examples / "stream_folder", tmp_path / folder, address, bundle]
        done = subprocess.run(command, capture_output=True, check=False, timeout=TESTS_S)
        assert done.returncode == 1
        assert done.stderr.decode().startswith(words)


@pytest.mark.full
def test_video_csv_prints_keypoints(examples, address, tmp_path):
    pieces = [base64.b64decode(one["data"]) for one in recorded("upload") if "data" in one]
    (tmp_path / "points.mkv").write_bytes(b"".join(pieces))
    lines = run(
        examples / "video_csv", tmp_path / "points.mkv", address, "vector-points"
    ).splitlines()
    assert len(lines) == 1 + 12 * 2 * 2
    assert lines[1] == "0,0,bright,4.500,10.500,0.781"
    assert lines[6] == "1,0,dark,30.500,38.500,0.957"


@pytest.fixture(scope="module")
def node_client(tmp_path_factory) -> Path:
    """A copy of the Node client's folder, built, with a program that streams made frames."""
    if shutil.which("npm") is None:
        pytest.skip("Node.js is not installed; install node 20.19 or later, with npm")
    folder = tmp_path_factory.mktemp("clients") / "node"
    shutil.copytree(NODE, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "build"))
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
    run("npm", "ci", *quiet, folder=folder)
    run("npm", "run", "build", folder=folder)
    run("node_modules/.bin/tsc", "--project", "test/tsconfig.json", folder=folder)
    program = folder / "build" / "stream_made.mjs"
    program.write_text(STREAM_WITH_NODE)
    return program


@pytest.mark.full
def test_node_and_cpp_stream_1000_frames_at_once_and_answer_as_python(built, node_client, address):
    asked = [address, str(FRAME_COUNT), *BUNDLES]
    programs = [["node", str(node_client), *asked], [str(built / "test" / "stream_made"), *asked]]
    pipe = subprocess.PIPE
    streams = [
        subprocess.Popen(one, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for one in programs
    ]
    try:
        for one in streams:
            assert one.stdout is not None
            assert one.stdin is not None
            assert one.stdout.readline() == "ready\n"
        for one in streams:  # both are connected or about to be
            one.stdin.write("begin\n")
            one.stdin.flush()
        printed = [one.communicate(timeout=TESTS_S) for one in streams]
    finally:
        for one in streams:
            one.kill()
            one.wait()
    assert [one.returncode for one in streams] == [0, 0], printed
    named = [part for bundle in BUNDLES for part in ("--bundle", bundle)]
    with_python = run(
        *(sys.executable, "-m", "clients.testdata.stream_frames", address, *named),
        *("--frames", str(FRAME_COUNT)),
        folder=REPOSITORY,
    )
    answers = [
        [json.loads(line) for line in text.splitlines()]
        for text in (with_python, *(output for output, _ in printed))
    ]
    python, node, cpp = answers
    assert [one["frame"] for one in cpp] == [*range(FRAME_COUNT)] * 2
    assert {one["kind"] for one in cpp[:FRAME_COUNT]} == {"result"}
    assert cpp == python
    assert node == python
