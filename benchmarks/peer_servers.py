"""This server beside PyTriton and LitServe: one ONNX file in ONNX Runtime fp32 behind each.

The network is ResNet-18 at 256x256 with random weights. All have the same engine settings and
batches of up to 8; clients are of one kind, one request of one frame after the other, over what
each server has for it: a stream of frames here, unary Open Inference calls for PyTriton, raw bytes
by HTTP for LitServe. Before the servers have their turn a loop in this process runs the graph on
one frame at a time. Who is not measured is stopped: LitServe polls while it waits.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from benchmarks import peer_clients
from benchmarks.models import write_random_pose_bundle
from benchmarks.peer_rows import Comparison, Load, Turn, to_load
from benchmarks.servers import ServerProcess, server_process
from service.engine import Engine, create_engine, default_threads

PYTRITON, LITSERVE = "PyTriton", "LitServe"
_LOOP = "bare loop"
_NETWORK, _ENGINE = "resnet18 256x256", "onnxruntime fp32"
_MODEL, _SIZE_PX = "bench", 256


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that runs, stopped while it is not measured."""

    process: ServerProcess
    client: peer_clients.Client
    model: str
    size_px: int

    def measure(self, pictures: Sequence[bytes], *, concurrency: int, seconds: float) -> Load:
        """Let it run, load it, and stop it again."""
        with awake(self.process):
            return asyncio.run(
                peer_clients.load(
                    self.client,
                    self.process.port,
                    model=self.model,
                    size_px=self.size_px,
                    pictures=pictures,
                    concurrency=concurrency,
                    seconds=seconds,
                )
            )


def compare_servers(
    pythons: Mapping[str, Path],
    *,
    seconds: float,
    turns: int,
    concurrencies: Sequence[int] = (1, 4, 16),
) -> list[Comparison]:
    """Measure what has a Python in `pythons`, and this server beside the bare loop.

    Args:
        pythons: of `PYTRITON` and `LITSERVE`, with their packages.
        seconds: of each measurement.
        turns: of all.
        concurrencies: requests at once.
    """
    frames = noise(_SIZE_PX)
    pictures = [one.tobytes() for one in frames]
    taken: dict[tuple[str, int], list[Turn]] = {}
    with ExitStack() as stack:
        models = Path(stack.enter_context(TemporaryDirectory()))
        graph = write_random_pose_bundle(
            models, _MODEL, network="resnet18", width_px=_SIZE_PX, height_px=_SIZE_PX
        ) / "pose.onnx"  # fmt: skip
        engine = create_engine(
            graph, engine="onnxruntime", precision="fp32", threads=default_threads()
        )
        ours = stack.enter_context(our_server(models, _MODEL, _SIZE_PX, *_ENGINE.split()))
        peers = {
            name: stack.enter_context(_peer(name, graph, python))
            for name, python in pythons.items()
        }
        for _, concurrency in itertools.product(range(turns), concurrencies):
            settings = {"concurrency": concurrency, "seconds": seconds}
            loop = run_loop(engine, frames, seconds)
            found = ours.measure(pictures, **settings)
            for name in (_LOOP, *peers):
                peer = loop if name == _LOOP else peers[name].measure(pictures, **settings)
                taken.setdefault((name, concurrency), []).append(Turn(peer, found, loop))
    return [
        Comparison(name, _NETWORK, _ENGINE, concurrency, done, None if name == _LOOP else 1.0)
        for (name, concurrency), done in sorted(
            taken.items(), key=lambda one: (one[0][1], one[0][0] != _LOOP)
        )
    ]


@contextmanager
def our_server(
    models: Path, model: str, size_px: int, engine: str, precision: str
) -> Iterator[Contender]:
    """Start `ethostream serve`, stopped until it is measured."""
    with (
        server_process(
            "ethostream.commands", "serve", "--models", str(models), "--load", model,
            "--listen", "127.0.0.1:0", "--engine", engine, "--precision", precision,
        ) as process,
        stopped(process),
    ):  # fmt: skip
        yield Contender(process, peer_clients.ethostream, model, size_px)


@contextmanager
def _peer(name: str, graph: Path, python: Path) -> Iterator[Contender]:
    common = ("--graph", str(graph), "--threads", str(default_threads()))
    command, client = {
        PYTRITON: (
            ("benchmarks.pytriton_server", *common, "--name", _MODEL),
            peer_clients.open_inference,
        ),
        LITSERVE: (("benchmarks.litserve_server", *common), peer_clients.litserve),
    }[name]
    children: list[psutil.Process] = []
    try:
        with server_process(*command, python=str(python)) as process, stopped(process):
            children = psutil.Process(process.pid).children(recursive=True)
            yield Contender(process, client, _MODEL, _SIZE_PX)
    finally:
        for one in children:  # LitServe's main process ends at once and leaves them
            with suppress(psutil.NoSuchProcess):
                one.kill()


def noise(size_px: int) -> list[np.ndarray]:
    """Eight frames (H, W, 3)."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (size_px, size_px, 3), np.uint8) for _ in range(8)]


def run_loop(engine: Engine, frames: Sequence[np.ndarray], seconds: float) -> Load:
    """Run a pose graph on one frame at a time."""
    engine.run({"frames": frames[0][None]})
    times_ms: list[float] = []
    start = now = time.perf_counter()
    for frame in itertools.cycle(frames):
        began = now
        if began >= start + seconds:
            break
        engine.run({"frames": frame[None]})
        now = time.perf_counter()
        times_ms.append((now - began) * 1e3)
    return to_load(times_ms, now - start)


@contextmanager
def stopped(process: ServerProcess) -> Iterator[None]:
    """Stop a server and its children; let them go on at the end."""
    _suspend(process)
    try:
        yield
    finally:
        _resume(process)


@contextmanager
def awake(process: ServerProcess) -> Iterator[None]:
    """Let a stopped server run meanwhile."""
    _resume(process)
    try:
        yield
    finally:
        _suspend(process)


def _suspend(process: ServerProcess) -> None:
    for one in _family(process):
        one.suspend()


def _resume(process: ServerProcess) -> None:
    for one in _family(process):
        one.resume()


def _family(process: ServerProcess) -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]
