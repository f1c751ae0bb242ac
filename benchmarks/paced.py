"""Servers whose engine takes about 20 ms a frame, for what needs an engine that can be overrun."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.load import run_load
from benchmarks.report import REPOSITORY
from benchmarks.servers import ServerProcess, server_process

ENGINES = ("fake", "resnet18")
SIZE = (640, 480)
_SHIPPED, _POSE = REPOSITORY / "deploy" / "models", "openfield-mouse"


@dataclass(frozen=True, slots=True)
class PacedServer:
    """A server and the bundle to ask it for."""

    process: ServerProcess
    bundle: str

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.process.port}"


@contextlib.contextmanager
def paced_server(engine: str) -> Iterator[PacedServer]:
    """Start a server with one of `ENGINES`.

    `fake` sleeps 20 ms for each frame of a batch and computes nothing, so that the processor is
    left to the server; `resnet18` is the network of that name with random weights, at 256x256 in
    fp32, which competes for it.
    """
    if engine == "fake":
        with server_process(
            "benchmarks.fake_server", "--models", str(_SHIPPED), "--bundle", _POSE,
            "--frame-ms", "20",
        ) as process:  # fmt: skip
            yield PacedServer(process, _POSE)
        return
    from benchmarks.models import write_random_pose_bundle  # torch, which the fake engine spares

    with TemporaryDirectory() as folder:
        write_random_pose_bundle(Path(folder), engine, network=engine, width_px=256, height_px=256)
        with server_process(
            "ethostream.commands", "serve", "--models", folder, "--listen", "127.0.0.1:0",
            "--engine", "onnxruntime", "--precision", "fp32",
        ) as process:  # fmt: skip
            yield PacedServer(process, engine)


def measure_capacity(server: PacedServer, *, streams: int, seconds: float) -> float:
    """Frames/s of lossless streams that always have frames in flight."""
    raw = [one.tobytes() for one in pictures()]

    async def measure(frames: int) -> float:
        one = await run_load(
            server.process.port, bundle=server.bundle, pictures=raw, size=SIZE, streams=streams,
            in_flight=4, frames=frames, warm_up=8,
        )  # fmt: skip
        return one.frames_per_s

    about = uvloop.run(measure(10))
    return uvloop.run(measure(max(10, round(about * seconds / streams))))


def pictures() -> list[NDArray[np.uint8]]:
    """Return gray noise of `SIZE`."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, SIZE[::-1], np.uint8) for _ in range(8)]
