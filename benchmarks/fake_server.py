"""Our server with the fake engine: everything but the network."""

import argparse
import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from service.config import ModelsConfig, ServerConfig, ServiceConfig
from service.engine import Engine, FakeEngine, Tensors
from service.logs import configure_logs
from service.server import Server, serve


class PacedEngine(FakeEngine):
    """Takes a time for each frame of a batch, as a processor does that computes all it can."""

    def __init__(self, frame_seconds: float) -> None:
        super().__init__(keypoints=4)
        self._frame_seconds = frame_seconds

    def run(self, inputs: Tensors) -> Tensors:
        """See `Engine.run`."""
        if self._frame_seconds:
            time.sleep(self._frame_seconds * len(inputs["frames"]))
        self.batch_sizes.clear()  # nobody reads them here, and a soak must see no memory grow
        return super().run(inputs)


def create_fake(graph: Path, *, frame_seconds: float, **_: Any) -> Engine:
    """Stand in for the pose graph of openfield-mouse."""
    return PacedEngine(frame_seconds)


async def main(port_file: Path, models: str, bundle: str, frame_seconds: float) -> None:
    """Serve until the process is ended."""
    announce: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
    announce.add_done_callback(lambda done: port_file.write_text(f"{done.result().port}\n"))
    config = ServiceConfig(
        server=ServerConfig(listen="127.0.0.1:0"),
        models=ModelsConfig(directory=models, load=(bundle,)),
    )
    await serve(config, announce=announce, create=partial(create_fake, frame_seconds=frame_seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--frame-ms", type=float, default=0.0, help="time of each frame")
    arguments = parser.parse_args()
    configure_logs("json", "warning")
    uvloop.run(
        main(arguments.port_file, arguments.models, arguments.bundle, arguments.frame_ms / 1e3)
    )
