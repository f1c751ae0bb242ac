"""How the client reaches a server: address, TLS, token, limits."""

from dataclasses import dataclass
from pathlib import Path

import grpc

from ethostream.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How to reach a server over TLS; all files are PEM."""

    root_certificate: Path | str | None = None
    """Who is trusted to sign the server's certificate; None = the roots that gRPC ships."""
    certificate: Path | str | None = None
    """This client's certificate chain, where the server asks for one."""
    private_key: Path | str | None = None
    """The key of `certificate`."""
    server_name: str = ""
    """Name that the server's certificate must hold, where it is not the host of the address."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.private_key is None):
            raise InvalidRequest(
                "a client certificate and its private key come together; give both"
            )

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            InvalidRequest: One cannot be read.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.root_certificate),
            private_key=_read(self.private_key),
            certificate_chain=_read(self.certificate),
        )


def open_channel(
    address: str, *, tls: TlsOptions | None, max_message_bytes: int, keepalive_seconds: float
) -> grpc.aio.Channel:
    """Open a channel; it connects with the first call.

    Raises:
        InvalidRequest: The address is none, or a file of `tls` cannot be read.
    """
    _check(address)
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # The live stream decides when to try again; the channel must not be slower.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    if keepalive_seconds > 0:
        options.append(("grpc.keepalive_time_ms", round(keepalive_seconds * 1000)))
        options.append(("grpc.keepalive_timeout_ms", 10_000))
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options)
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return grpc.aio.secure_channel(address, tls.credentials(), options=options)


def _check(address: str) -> None:
    """Refuse what gRPC would take for another port: it counts ports modulo 65536, or takes 443."""
    if address.startswith("unix:"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidRequest(
            f"the address {address!r} is not HOST:PORT, such as 127.0.0.1:50051, or unix:PATH"
        )


def _read(path: Path | str | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}; give a PEM file") from error
    if b"-----BEGIN " not in content:
        raise InvalidRequest(f"{path} holds no certificate or key in PEM; give a PEM file")
    return content
