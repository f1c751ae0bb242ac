"""TLS and tokens on loopback: who may do what."""

import datetime
import ipaddress

import ethostream
import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from ethostream.v1 import bundle_pb2
from ethostream.v1 import inference_service_pb2 as pb2
from ethostream.v1 import model_service_pb2 as models_pb2
from ethostream.v1.inference_service_pb2_grpc import InferenceServiceStub
from ethostream.v1.model_service_pb2_grpc import ModelServiceStub

from service.config import ServerConfig, ServiceConfig
from service.errors import InvalidConfig
from service.server import Server
from tests.e2e.wire import POSE, selection

Status = grpc.StatusCode
TOKENS = """
[rig]
token = "rig-token-0123456789"
scopes = ["infer"]

[operator]
token = "operator-token-0123456789"
scopes = ["infer", "models"]

[clerk]
token = "clerk-token-0123456789"
scopes = ["jobs"]
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1: (certificate path, key path)."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ethostream test")])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "server.pem", folder / "server.key"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.mark.parametrize(
    ("swapped", "authority", "words"),
    [
        (True, False, "give PEM files that belong together"),
        (False, True, "holds no certificate"),
    ],
)
def test_tls_files_that_cannot_be_used_are_named(certificate, swapped, authority, words):
    chain, key = map(str, reversed(certificate) if swapped else certificate)
    config = ServerConfig(
        listen="127.0.0.1:0",
        tls_certificate=chain,
        tls_key=key,
        tls_client_ca=str(certificate[1]) if authority else "",
    )
    with pytest.raises(InvalidConfig, match=words):
        Server(ServiceConfig(server=config))


def test_a_key_of_another_certificate_or_with_a_password_is_told(certificate, tmp_path):
    for name, encryption in (
        ("other.key", serialization.NoEncryption()),
        ("locked.key", serialization.BestAvailableEncryption(b"secret")),
    ):
        other = ec.generate_private_key(ec.SECP256R1())
        (tmp_path / name).write_bytes(
            other.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            )
        )
        config = ServerConfig(
            listen="127.0.0.1:0",
            tls_certificate=str(certificate[0]),
            tls_key=str(tmp_path / name),
        )
        with pytest.raises(InvalidConfig, match=f"{name} cannot be used"):
            Server(ServiceConfig(server=config))


@pytest.fixture(scope="module")
def address(start_server, certificate, recordings, tmp_path_factory):
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    tokens.write_text(TOKENS)
    server = start_server(
        "--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1]),
        "--token-file", str(tokens), "--root", str(recordings),
    )  # fmt: skip
    return server.address


@pytest.fixture(scope="module")
def channel(address, certificate):
    credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
    with grpc.secure_channel(address, credentials) as one:
        yield one


def header(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")] if token else []


def status_of(call) -> tuple[grpc.StatusCode, str]:
    try:
        result = call()
        if hasattr(result, "__iter__"):
            list(result)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return Status.OK, ""


def analyze(channel, token: str, path: str = "short.mp4"):
    request = pb2.AnalyzeVideoRequest(path=path, bundles=[selection(POSE)], frame_limit=3)
    return status_of(
        lambda: InferenceServiceStub(channel).AnalyzeVideo(
            request, metadata=header(token), timeout=60
        )
    )


def unload(channel, token: str):
    request = models_pb2.UnloadModelRequest(bundle=bundle_pb2.BundleReference(name="none"))
    return status_of(
        lambda: ModelServiceStub(channel).UnloadModel(request, metadata=header(token), timeout=120)
    )


def test_no_token_or_a_wrong_one_is_unauthenticated(channel):
    for token in ("", "rig-token-012345678", "nonsense"):
        status, text = analyze(channel, token)
        assert status is Status.UNAUTHENTICATED
        assert "token" in text


def test_a_token_without_the_scope_is_refused(channel):
    status, text = unload(channel, "rig-token-0123456789")
    assert status is Status.PERMISSION_DENIED
    assert "needs models" in text
    assert analyze(channel, "clerk-token-0123456789")[0] is Status.PERMISSION_DENIED


def test_a_token_with_the_scope_is_let_through(channel):
    assert analyze(channel, "rig-token-0123456789") == (Status.OK, "")
    assert unload(channel, "operator-token-0123456789")[0] is Status.NOT_FOUND


def test_a_path_outside_the_roots_is_refused_with_every_right(channel):
    status, text = analyze(channel, "operator-token-0123456789", "/etc/passwd")
    assert status is Status.PERMISSION_DENIED
    assert "root" in text


def test_streams_need_a_token_too(channel):
    stub = InferenceServiceStub(channel)
    start = pb2.StreamFramesRequest(start=pb2.StreamStart(bundles=[selection(POSE)]))
    assert status_of(lambda: stub.StreamFrames(iter([start]), timeout=120))[0] is (
        Status.UNAUTHENTICATED
    )
    good = header("rig-token-0123456789")
    assert status_of(lambda: stub.StreamFrames(iter([start]), metadata=good, timeout=120))[0] is (
        Status.OK
    )


def test_health_can_be_asked_without_a_token(channel):
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=120)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_client_speaks_tls_with_a_token(address, certificate):
    tls = ethostream.TlsOptions(certificate[0])
    with ethostream.Client(address, token="rig-token-0123456789", tls=tls) as client:
        assert POSE in {one.bundle.name for one in client.models()}
    with (
        ethostream.Client(address, tls=tls) as client,
        pytest.raises(ethostream.EthostreamError, match="token") as caught,
    ):
        client.models()
    assert caught.value.status == "UNAUTHENTICATED"
