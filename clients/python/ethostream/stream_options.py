"""The options by which commands reach the bundles of a server."""

import argparse
from pathlib import Path

from ethostream.blocking import Client
from ethostream.channel import TlsOptions
from ethostream.errors import InvalidRequest


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """Add address, bundles, token, TLS and the frames' way."""
    add = parser.add_argument
    add("--server", default="127.0.0.1:50051", metavar="HOST:PORT", help="the server, or unix:PATH")
    add(
        "--model",
        action="append",
        required=True,
        metavar="NAME[@VERSION]",
        help="bundle to run; repeat for several",
    )
    add("--token-file", type=Path, default=None, help="file that holds the token")
    add("--tls", action="store_true", help="use TLS; implied by the next option")
    add("--tls-root", type=Path, default=None, metavar="PEM", help="who signed the server")
    add(
        "--shared-memory",
        action="store_true",
        help="hand raw frames over in memory; for a server on this machine",
    )


def open_client(arguments: argparse.Namespace) -> Client:
    """Return a client as the options say; use it with `with`.

    Raises:
        InvalidRequest: The token cannot be read.
    """
    tls = TlsOptions(arguments.tls_root) if arguments.tls or arguments.tls_root else None
    return Client(arguments.server, token=_token(arguments.token_file), tls=tls)


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidRequest(f"cannot read the token file {path}: {error.strerror}") from error
