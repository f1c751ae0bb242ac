"""The C# client on .NET Core 3.1: the test vectors, its examples, a broken stream, on real servers.

Its messages are Google's, compiled from Debian's source; gRPC's own packages cannot be had on every
machine, so csharp/Grpc.cs stands for them, on .NET's HTTP/2 client. What no .NET Core has (.NET
Framework's handler, Bonsai) is compiled beside declarations, csharp/Stubs.cs.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ethostream.v1 import inference_service_pb2, model_service_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass

from clients.testdata.record import CASES, MODELS, descriptor_of, normalize
from tests.e2e.conftest import RunningServer, start_server  # noqa: F401
from tests.e2e.test_security import TOKENS, certificate  # noqa: F401
from tests.e2e.test_vectors import assert_same, case, unframed

REPOSITORY = Path(__file__).resolve().parents[2]
PROTOS = REPOSITORY / "protos"
CLIENT = REPOSITORY / "clients" / "csharp"
GIVEN = Path(__file__).with_name("csharp")
DOTNET = (
    Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ethostream-tests" / "dotnet"
)
BUNDLES = ("vector-points", "vector-motion")
FRAME_COUNT = 1000
LIBRARIES = ("Grpc", "Messages", "Ethostream")
KINDS = {
    "ethostream.v1.InferenceService/StreamFrames": "stream",
    "ethostream.v1.InferenceService/AnalyzeVideo": "video",
}
TIME_S = 600
ENVIRONMENT = os.environ | {
    "LD_LIBRARY_PATH": str(DOTNET / "openssl"),
    "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",  # it wants no ICU
}
RUNTIME = {
    "runtimeOptions": {
        "tfm": "netcoreapp3.1",
        "framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"},
    }
}
CALLS = {
    (False, False): (
        "public {out} {name}({inp} request, CallOptions options) {{ {begin}"
        " call.WriteAsync(request).GetAwaiter().GetResult(); call.CompleteAsync();"
        " call.MoveNext(default).GetAwaiter().GetResult(); return call.Current; }}"
    ),
    (False, True): (
        "public AsyncServerStreamingCall<{out}> {name}({inp} request, CallOptions options)"
        " {{ {begin} call.WriteAsync(request).ContinueWith(done => call.CompleteAsync());"
        " return new AsyncServerStreamingCall<{out}>(call, call); }}"
    ),
    (True, True): (
        "public AsyncDuplexStreamingCall<{inp}, {out}> {name}(CallOptions options) {{ {begin}"
        " return new AsyncDuplexStreamingCall<{inp}, {out}>(call, call, call); }}"
    ),
}


def service_clients() -> str:
    """The clients that gRPC's plug-in makes, which is in no package of Debian."""
    lines = ["using Grpc.Core; namespace Ethostream.V1 {"]
    for module in (inference_service_pb2, model_service_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            lines.append(
                f"public static class {service.name} {{ public class {service.name}Client {{"
            )
            lines.append("private readonly ChannelBase channel;")
            lines.append(
                f"public {service.name}Client(ChannelBase channel) {{ this.channel = channel; }}"
            )
            for method in service.methods:
                form = CALLS.get((method.client_streaming, method.server_streaming))
                if form is not None:  # the client sends no stream that gets one answer
                    inp, out = method.input_type.name, method.output_type.name
                    path = f"/{service.full_name}/{method.name}"
                    begin = (
                        f'var call = channel.Begin<{inp}, {out}>("{path}", {out}.Parser, options);'
                    )
                    lines.append(form.format(inp=inp, out=out, name=method.name, begin=begin))
            lines.append("} }")
    return "\n".join([*lines, "}"])


def run(
    command: Sequence[str | Path], given: bytes = b"", environment: Mapping[str, str] = ENVIRONMENT
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        list(map(str, command)), input=given, capture_output=True, timeout=TIME_S, env=environment
    )


class Compiler:
    """Compiles C# into a folder, in which the programs run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (packs,) = (DOTNET / "sdk" / "packs" / "Microsoft.NETCore.App.Ref").glob("*/ref/*")
        references = [*sorted(packs.glob("*.dll")), DOTNET / "Google.Protobuf.dll"]
        (folder / "references.rsp").write_text("\n".join(f"-r:{one}" for one in references))
        shutil.copy(DOTNET / "Google.Protobuf.dll", folder)

    def __call__(
        self, name: str, *sources: Path, uses: Sequence[str] = (), version: str = "7.3",
        more: Sequence[str] = (),
    ) -> Path:  # fmt: skip
        """What the sources are compiled to: a program where `name` ends in .exe."""
        out = self.folder / f"{name.removesuffix('.exe')}.dll"
        (compiler,) = (DOTNET / "sdk" / "sdk").glob("*/Roslyn/bincore/csc.dll")
        options = ["-noconfig", "-nologo", f"@{self.folder / 'references.rsp'}", f"-out:{out}"]
        options += [f"-target:{'exe' if name.endswith('.exe') else 'library'}", "-warnaserror"]
        options += [f"-langversion:{version}", *(f"-r:{self.folder / one}.dll" for one in uses)]
        done = run([DOTNET / "sdk" / "dotnet", compiler, *options, *more, *sources])
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        out.with_suffix(".runtimeconfig.json").write_text(json.dumps(RUNTIME))
        return out


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Compiler:
    """With the client, its messages and what stands for gRPC compiled."""
    if not (DOTNET / "Google.Protobuf.dll").exists():
        pytest.skip("no .NET is here; run .ci/dotnet")
    if shutil.which("protoc") is None:
        pytest.skip("protoc is not installed; run .ci/packages")
    folder = tmp_path_factory.mktemp("csharp")
    protos = sorted((PROTOS / "ethostream").rglob("*.proto"))
    subprocess.run(
        ["protoc", f"--csharp_out={folder}", f"--proto_path={PROTOS}", *map(str, protos)],
        check=True,
    )
    (folder / "Services.cs").write_text(service_clients())
    build = Compiler(folder)
    build("Grpc", GIVEN / "Grpc.cs")
    build("Messages", *sorted(folder.glob("*.cs")), uses=["Grpc"])
    build("Ethostream", *sorted((CLIENT / "Ethostream").glob("*.cs")), uses=["Grpc", "Messages"])
    return build


@pytest.fixture(scope="module")
def server(start_server) -> RunningServer:  # noqa: F811
    """With the bundles of the test vectors."""
    return start_server("--engine", "onnxruntime", "--precision", "fp32", models=MODELS)


def started(program: Path, *arguments: str | Path) -> list[str | Path]:
    return [DOTNET / "sdk" / "dotnet", program, *arguments]


@pytest.fixture(scope="module")
def replay(build, server):
    """Sends the requests of a case with the client: its answers, or status and message."""
    program = build("Replay.exe", GIVEN / "Replay.cs", uses=LIBRARIES, version="8.0")

    def send(name: str, kind: str, file: Path | str = "") -> Any:
        requests = (CASES / f"{name}.requests.bin").read_bytes()
        done = run(started(program, server.address, kind, file), requests)
        if done.returncode:
            return tuple(done.stderr.decode().rstrip("\n").split("\n", 1))
        message = GetMessageClass(descriptor_of(case(name)["method"]).output_type)
        responses = [message.FromString(piece) for piece in unframed(done.stdout)]
        return [MessageToDict(one) for one in normalize(responses)]

    return send


@pytest.mark.full
def test_the_recorded_stream_gets_the_recorded_answers(replay):
    assert_same(replay("stream", "stream"), case("stream")["responses"])


@pytest.mark.full
def test_the_recorded_session_gets_the_recorded_answers(replay):
    found, wanted = replay("session", "session"), case("session")["responses"]

    def parts(responses: list[dict[str, Any]], name: str) -> list[Any]:
        """Joined, since which call brings a behavior result is left to chance."""
        return [one for each in responses for one in each.get(name, [])]

    assert found[0]["started"] == wanted[0]["started"]
    outcomes = [[one["outcome"] for one in each if "outcome" in one] for each in (found, wanted)]
    assert_same(*outcomes)
    assert_same(parts(found, "behaviors"), parts(wanted, "behaviors"), ".behaviors")


@pytest.mark.full
def test_the_recorded_video_is_uploaded_and_gets_the_recorded_columns(replay, tmp_path):
    pieces = [one["data"] for one in case("upload")["requests"] if "data" in one]
    (tmp_path / "points.mkv").write_bytes(b"".join(base64.b64decode(one) for one in pieces))
    found = replay("video", "video", tmp_path / "points.mkv")
    assert_same(found, case("video")["responses"])


@pytest.mark.full
def test_the_recorded_bundles_are_told(replay):
    assert replay("models", "models") == case("models")["responses"]


REFUSED = {
    name: kind
    for name in sorted(path.stem for path in CASES.glob("refused-*.json"))
    if (kind := KINDS.get(case(name)["method"])) is not None
    and name != "refused-no-start"  # the client begins each stream
}


@pytest.mark.full
@pytest.mark.parametrize("name", REFUSED)
def test_refusals_have_the_recorded_status_and_message(replay, name):
    recorded = case(name)
    status, message = replay(name, REFUSED[name])
    assert (status.upper(), message) == (recorded["status"].replace("_", ""), recorded["message"])


@pytest.fixture(scope="module")
def examples(build) -> dict[str, Path]:
    """The compiled examples, by name."""
    programs = sorted((CLIENT / "Examples").glob("*/Program.cs"))
    return {
        one.parent.name: build(f"{one.parent.name}.exe", one, uses=LIBRARIES) for one in programs
    }


@pytest.fixture(scope="module")
def stream_made(build) -> Path:
    return build("StreamMade.exe", GIVEN / "StreamMade.cs", uses=LIBRARIES)


def lines(text: bytes) -> Iterator[dict[str, Any]]:
    """Outcomes, then behavior results."""
    answers = [json.loads(line) for line in text.decode().splitlines()]
    yield from (one for one in answers if "kind" in one)
    yield from (one for one in answers if "kind" not in one)


@pytest.mark.full
def test_1000_frames_get_the_answers_of_the_python_client(stream_made, server):
    done = run(started(stream_made, server.address, "60", str(FRAME_COUNT), *BUNDLES))
    assert done.returncode == 0, done.stderr.decode()
    named = [part for bundle in BUNDLES for part in ("--bundle", bundle)]
    command = [sys.executable, "-m", "clients.testdata.stream_frames", server.address, *named]
    with_python = subprocess.run(
        [*command, "--frames", str(FRAME_COUNT)], capture_output=True, check=True, cwd=REPOSITORY
    )
    found = list(lines(done.stdout))
    assert [one["frame"] for one in found] == [*range(FRAME_COUNT)] * 2
    assert found == list(lines(with_python.stdout))


@pytest.mark.full
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (signal.SIGKILL, "Unavailable: "),
        (signal.SIGSTOP, "DeadlineExceeded: the server answered nothing for 10 s"),
    ],
)
def test_a_killed_or_silent_server_ends_sending_and_reading(
    stream_made,
    start_server,  # noqa: F811
    fault,
    told,
):
    server = start_server("--engine", "onnxruntime", "--precision", "fp32", models=MODELS)
    command = started(stream_made, server.address, "10", "100000000", *BUNDLES)
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        for _ in range(200):
            assert json.loads(process.stdout.readline())
        os.kill(server.process.pid, fault)
        try:
            rest, errors = process.communicate(timeout=TIME_S)
        finally:
            process.kill()
            os.kill(server.process.pid, signal.SIGKILL)
    assert process.returncode == 1, errors.decode()
    sending, reading = rest.decode().splitlines()[-2:]
    assert sending == "Canceled" or sending.startswith(("Unavailable", "Cancelled"))
    assert reading.startswith(told)


@pytest.mark.full
def test_the_live_example_streams_its_frames(examples, server):
    done = run(started(examples["Live"], f"http://{server.address}", "vector-points"))
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines() == [f"frame {number}: Result" for number in range(100)]


@pytest.mark.full
def test_the_folder_example_prints_keypoints_and_what_went_wrong(examples, server, tmp_path):
    frames = [one["frame"] for one in case("stream")["requests"] if "frame" in one]
    png = next(one for one in frames if one["encoding"] == "FRAME_ENCODING_PNG")
    (tmp_path / "0.png").write_bytes(base64.b64decode(png["data"]))
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    done = run(started(examples["Folder"], tmp_path, f"http://{server.address}", "vector-points"))
    assert done.returncode == 0, done.stderr.decode()
    first, second = done.stdout.decode().splitlines()
    assert first == "frame 0: (20.5, 10.5) (30.5, 32.5)"
    assert second.startswith("frame 1: 10 bytes that begin with 6e6f2070 are no jpeg")


def test_the_build_for_net_framework_compiles(build):
    sources = sorted((CLIENT / "Ethostream").glob("*.cs"))
    define = ["-define:NETSTANDARD2_0"]
    build("Framework", *sources, GIVEN / "Stubs.cs", uses=LIBRARIES[:2], more=define)


@pytest.mark.full
def test_the_bonsai_node_goes_on_after_a_pause_in_which_its_session_ended(
    build,
    start_server,  # noqa: F811
    tmp_path,
):
    nodes = sorted((CLIENT / "Ethostream.Bonsai").glob("*.cs"))
    build("Bonsai", *nodes, GIVEN / "Stubs.cs", uses=LIBRARIES)
    workflow = build("Workflow.exe", GIVEN / "Workflow.cs", uses=["Bonsai"])
    (tmp_path / "service.toml").write_text("[session]\nidle_seconds = 1.0\n")
    server = start_server("--config", str(tmp_path / "service.toml"), models=MODELS)
    done = run(started(workflow, server.address, "vector-points", "3", "4"))
    assert done.returncode == 0, done.stderr.decode()
    *poses, end = done.stdout.decode().splitlines()
    assert poses == [f"{number}: (3, {number + 2}) (0, 0)" for number in range(3)]
    assert end == "end"


@pytest.mark.full
def test_the_program_of_its_guide_reaches_a_server_over_tls(
    build,
    start_server,  # noqa: F811
    certificate,  # noqa: F811
    tmp_path,
):
    (program,) = re.findall(r"```csharp\n(.*?)```", (CLIENT / "README.md").read_text(), re.S)
    program = program.replace('"https://rig-server:50051"', '"https://" + arguments[0]')
    program = program.replace('"openfield-mouse"', '"vector-points"')
    given = "var token = arguments[1]; int widthPx = 32, heightPx = 24; long captureTimeNs = 7;"
    given += " var pixels = new byte[widthPx * heightPx]; pixels[0] = 255;"
    usings = "using System; using Ethostream; using Ethostream.V1;"
    body = f"static void Main(string[] arguments) {{ {given} {program} }}"
    (tmp_path / "Guide.cs").write_text(f"{usings} static class Guide {{ {body} }}")
    guide = build("Guide.exe", tmp_path / "Guide.cs", uses=LIBRARIES, more=["-nowarn:219"])
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)
    server = start_server(
        "--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1]),
        "--token-file", str(tokens), models=MODELS,
    )  # fmt: skip
    trusted = ENVIRONMENT | {"SSL_CERT_FILE": str(certificate[0])}
    done = run(started(guide, server.address, "rig-token-0123456789"), environment=trusted)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == "[ 0, 1 ] [ 0, 0 ] [ 0.99609375, 0.99609375 ]\n"
    for token, environment, words in (
        ("wrong-token-0123456789", trusted, "Unauthenticated: "),
        ("rig-token-0123456789", ENVIRONMENT, "Unavailable: The SSL connection could not be"),
    ):
        done = run(started(guide, server.address, token), environment=environment)
        assert done.returncode != 0
        assert words in done.stderr.decode()
