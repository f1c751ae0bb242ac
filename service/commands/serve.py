"""`ethostream serve`: run the server until it is told to stop."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from service.commands._options import check_writable
from service.decoder_names import DECODER_CHOICES
from service.engine_names import ENGINE_CHOICES, PRECISION_CHOICES

if TYPE_CHECKING:  # the command's options must show without loading the server
    from service.config import ServiceConfig

SUMMARY = "run the gRPC server"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options; each one given replaces the config file's setting."""
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="settings file")
    parser.add_argument(
        "--models", metavar="DIR", help="folder of bundles (default: deploy/models)"
    )
    parser.add_argument(
        "--load", action="append", metavar="NAME[@VERSION]", help="bundle to load (default: all)"
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="address (default: 127.0.0.1:50051; port 0: a free one), or unix:PATH of a socket",
    )
    parser.add_argument("--metrics", metavar="HOST:PORT", help="serve Prometheus metrics there")
    parser.add_argument("--root", action="append", metavar="DIR", help="allow videos below DIR")
    parser.add_argument("--jobs", metavar="DIR", help="take archive jobs, and keep them in DIR")
    parser.add_argument(
        "--results", action="append", metavar="DIR", help="allow jobs to write below DIR"
    )
    parser.add_argument("--engine", choices=ENGINE_CHOICES)
    parser.add_argument("--precision", choices=PRECISION_CHOICES)
    parser.add_argument("--decoder", choices=DECODER_CHOICES)
    parser.add_argument("--tls-certificate", metavar="PEM")
    parser.add_argument("--tls-key", metavar="PEM")
    parser.add_argument("--tls-client-ca", metavar="PEM", help="ask clients for certificates")
    parser.add_argument("--token-file", metavar="TOML", help="tokens with their scopes")
    parser.add_argument(
        "--insecure",
        action="store_true",
        default=None,
        help="listen on a reachable address without TLS and tokens",
    )
    parser.add_argument("--log", choices=("json", "text"), default="json", help="log style")
    parser.add_argument(
        "--port-file", type=Path, metavar="FILE", help="write the bound port there once serving"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve; returns when the server has drained."""
    import asyncio
    import os

    # Decode workers are spawned, never forked: gRPC's fork handlers would only warn.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

    from service.config import ServiceConfig, load_config
    from service.logs import configure_logs
    from service.server import Server, serve

    configure_logs(arguments.log)
    config = load_config(arguments.config) if arguments.config else ServiceConfig()
    config = _override(config, arguments)
    partial = arguments.port_file and arguments.port_file.with_suffix(".partial")
    if partial:
        check_writable(partial)

    async def main() -> None:
        announce: asyncio.Future[Server] = asyncio.get_running_loop().create_future()

        def write_port(done: "asyncio.Future[Server]") -> None:
            if partial and not done.cancelled():
                partial.write_text(f"{done.result().port}\n")
                partial.replace(arguments.port_file)

        announce.add_done_callback(write_port)
        await serve(config, announce=announce)

    try:
        import uvloop
    except ImportError:  # Windows
        asyncio.run(main())
    else:
        uvloop.run(main())
    return 0


def _override(config: "ServiceConfig", arguments: argparse.Namespace) -> "ServiceConfig":
    """Put the options that were given over the file's settings."""
    from msgspec.structs import replace

    given = {
        "server": {
            "listen": arguments.listen,
            "metrics_listen": arguments.metrics,
            "tls_certificate": arguments.tls_certificate,
            "tls_key": arguments.tls_key,
            "tls_client_ca": arguments.tls_client_ca,
            "token_file": arguments.token_file,
            "insecure": arguments.insecure,
        },
        "models": {
            "directory": arguments.models,
            "load": tuple(arguments.load) if arguments.load else None,
        },
        "engine": {"engine": arguments.engine, "precision": arguments.precision},
        "video": {
            "roots": tuple(arguments.root) if arguments.root else None,
            "decoder": arguments.decoder,
        },
        "jobs": {
            "directory": arguments.jobs,
            "results": tuple(arguments.results) if arguments.results else None,
        },
    }
    for section, values in given.items():
        changes = {name: value for name, value in values.items() if value is not None}
        config = replace(config, **{section: replace(getattr(config, section), **changes)})
    return config
