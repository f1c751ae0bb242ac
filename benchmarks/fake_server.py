"""Our server with the fake engine: everything but the network."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

import uvloop

from service.config import ModelsConfig, ServerConfig, ServiceConfig
from service.engine import Engine, FakeEngine
from service.logs import configure_logs
from service.server import Server, serve


def create_fake(graph: Path, **_: Any) -> Engine:
    """Stand in for the pose graph of openfield-mouse."""
    return FakeEngine(keypoints=4)


async def main(port_file: Path, models: str, bundle: str) -> None:
    """Serve until the process is ended."""
    announce: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
    announce.add_done_callback(lambda done: port_file.write_text(f"{done.result().port}\n"))
    config = ServiceConfig(
        server=ServerConfig(listen="127.0.0.1:0"),
        models=ModelsConfig(directory=models, load=(bundle,)),
    )
    await serve(config, announce=announce, create=create_fake)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--bundle", required=True)
    arguments = parser.parse_args()
    configure_logs("json", "warning")
    uvloop.run(main(arguments.port_file, arguments.models, arguments.bundle))
