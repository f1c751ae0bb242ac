"""The C# client compiles against the messages that protoc makes; see clients/csharp/README.md.

Neither the .NET SDK nor its packages can be had on every machine. What is checked here: that protoc
makes C# of the protos, and that Mono's compiler takes the client with the messages' properties as
protoc names them, beside declarations of the packages (csharp_stubs.cs).
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ethostream.v1 import inference_service_pb2, model_service_pb2

REPOSITORY = Path(__file__).resolve().parents[2]
PROTOS = REPOSITORY / "protos"
CLIENT = REPOSITORY / "clients" / "csharp"
STUBS = Path(__file__).with_name("csharp_stubs.cs")

PROPERTY = re.compile(r"^    public (?!static|override|sealed)([\w:.<>, ]+) (\w+) \{$")
MESSAGE = re.compile(r"^  public sealed partial class (\w+) : pb::IMessage")
ENUM = re.compile(r"^ +public enum (\w+) \{$")
CALLS = {
    (False, False): "public {out} {name}({inp} request, Grpc.Core.CallOptions options)"
    " {{ return null; }}",
    (False, True): "public Grpc.Core.AsyncServerStreamingCall<{out}> {name}({inp} request,"
    " Grpc.Core.CallOptions options) {{ return null; }}",
    (True, False): "public Grpc.Core.AsyncClientStreamingCall<{inp}, {out}> {name}"
    "(Grpc.Core.CallOptions options) {{ return null; }}",
    (True, True): "public Grpc.Core.AsyncDuplexStreamingCall<{inp}, {out}> {name}"
    "(Grpc.Core.CallOptions options) {{ return null; }}",
}


def run(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def shape(source: str) -> str:
    """Messages and enums of a generated file: names and types, without what they do."""
    lines: list[str] = ["namespace Ethostream.V1 {"]
    is_in_message = False
    numbered = enumerate(source.splitlines())
    every = source.splitlines()
    for place, line in numbered:
        if MESSAGE.match(line):
            lines += ["}"] * is_in_message + [line.split(" : ")[0] + " {"]
            is_in_message = True
        elif ENUM.match(line):
            if line.startswith("  public"):  # not within a message
                lines += ["}"] * is_in_message
                is_in_message = False
            block = [line]
            while block[-1].strip() != "}":
                block.append(re.sub(r"\[[^\]]*\]", "", next(numbered)[1]))
            lines += block
        elif is_in_message and (found := PROPERTY.match(line)):
            is_settable = any(one.strip() == "set {" for one in every[place + 1 : place + 8])
            body = "get; set;" if is_settable else f"get {{ return default({found[1]}); }}"
            lines.append(f"public {found[1]} {found[2]} {{ {body} }}")
    return "\n".join([*lines, *["}"] * is_in_message, "}"])


def service_clients() -> str:
    """The clients that the gRPC plug-in makes, as its documentation declares them."""
    lines = ["namespace Ethostream.V1 {"]
    for module in (inference_service_pb2, model_service_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            name = service.name
            lines.append(f"public static class {name} {{ public class {name}Client {{")
            lines.append(f"public {name}Client(Grpc.Core.ChannelBase channel) {{ }}")
            for method in service.methods:
                form = CALLS[method.client_streaming, method.server_streaming]
                names = {"inp": method.input_type.name, "out": method.output_type.name}
                lines.append(form.format(name=method.name, **names))
            lines.append("} }")
    return "\n".join([*lines, "}"])


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    """A folder with what protoc makes of the protos."""
    if shutil.which("protoc") is None:
        pytest.skip("protoc is not installed; install protobuf-compiler")
    folder = tmp_path_factory.mktemp("csharp")
    protos = sorted((PROTOS / "ethostream").rglob("*.proto"))
    run("protoc", f"--csharp_out={folder}", f"--proto_path={PROTOS}", *protos)
    return folder


@pytest.fixture(scope="module")
def messages(generated) -> Path:
    """Their shape, with the service clients, as one source file."""
    parts = [shape(path.read_text()) for path in sorted(generated.glob("*.cs"))]
    usings = "using pb = Google.Protobuf; using pbc = Google.Protobuf.Collections;"
    file = generated / "shapes.txt"
    file.write_text("\n".join([usings, *parts, service_clients()]))
    return file


def compile_with(messages: Path, *more: Path | str) -> str:
    if shutil.which("mcs") is None:
        pytest.skip("Mono's compiler is not installed; install mono-mcs")
    out = messages.with_name("out.exe")
    options = ["-langversion:7.2", "-warnaserror", "-nowarn:67,168,169,219,649", f"-out:{out}"]
    sources = sorted((CLIENT / "Ethostream").glob("*.cs"))
    return run("mcs", *options, *more, STUBS, messages, *sources)


def test_protoc_makes_csharp_of_the_protos(generated):
    source = (generated / "InferenceService.cs").read_text()
    assert "namespace Ethostream.V1 {" in source
    assert "public sealed partial class StreamFramesRequest" in source


@pytest.mark.parametrize("framework", ["NETSTANDARD2_0", "NET8_0"])
@pytest.mark.parametrize("example", ["Folder", "Live"])
def test_the_client_and_its_examples_compile(messages, example, framework):
    program = CLIENT / "Examples" / example / "Program.cs"
    compile_with(messages, "-target:exe", f"-define:{framework}", program)


def test_the_bonsai_node_compiles(messages):
    nodes = sorted((CLIENT / "Ethostream.Bonsai").glob("*.cs"))
    assert nodes
    compile_with(messages, "-target:library", "-define:NETSTANDARD2_0", *nodes)


def test_the_program_of_its_guide_compiles(messages, tmp_path):
    (program,) = re.findall(r"```csharp\n(.*?)```", (CLIENT / "README.md").read_text(), re.S)
    given = "string token, byte[] pixels, int widthPx, int heightPx, long captureTimeNs"
    usings = "using Ethostream; using Ethostream.V1;"
    source = tmp_path / "Guide.cs"
    source.write_text(f"{usings} class Guide {{ static void Run({given}) {{ {program} }} }}")
    compile_with(messages, "-target:library", source)


def test_a_property_that_no_message_has_is_found(messages, tmp_path):
    wrong = tmp_path / "Wrong.cs"
    wrong.write_text("class Wrong { ulong Of(Ethostream.V1.Frame frame) => frame.FrameNumber; }")
    with pytest.raises(AssertionError, match="FrameNumber"):
        compile_with(messages, "-target:library", wrong)
