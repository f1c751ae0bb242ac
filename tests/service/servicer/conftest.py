"""Real servers in this process, on a thread of their own, asked over loopback."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from ethostream.v1.inference_service_pb2_grpc import InferenceServiceStub

from clients.testdata.record import MODELS as VECTORS
from service.config import ModelsConfig, ServerConfig, ServiceConfig
from service.engine import create_engine
from service.repository import CreateEngine, EngineConfig
from service.server import Server
from service.servicer.open_inference.open_inference_pb2_grpc import GRPCInferenceServiceStub

SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "models"
TIMEOUT_S = 120
"""Of a call: a machine may have much else to do."""


@dataclass
class Served:
    """A server and a channel to it."""

    server: Server
    loop: asyncio.AbstractEventLoop
    channel: grpc.Channel

    @property
    def open_inference(self) -> GRPCInferenceServiceStub:
        return GRPCInferenceServiceStub(self.channel)

    @property
    def native(self) -> InferenceServiceStub:
        return InferenceServiceStub(self.channel)

    def run(self, coroutine: Any) -> Any:
        """Run on the server's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(TIMEOUT_S)


@contextmanager
def serving(
    models: Path,
    *names: str,
    server: dict[str, Any] | None = None,
    create: CreateEngine = create_engine,
    **sections: Any,
) -> Iterator[Served]:
    """Serve the bundles `names` (all where none is named) of a folder."""
    config = ServiceConfig(
        server=ServerConfig(**{"listen": "127.0.0.1:0", "drain_seconds": 5.0, **(server or {})}),
        models=ModelsConfig(directory=str(models), load=names),
        **sections,
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server under test")
    thread.start()
    made = Server(config, create=create)
    try:
        asyncio.run_coroutine_threadsafe(made.start(), loop).result(TIMEOUT_S)
        with grpc.insecure_channel(f"127.0.0.1:{made.port}") as channel:
            yield Served(made, loop, channel)
    finally:
        asyncio.run_coroutine_threadsafe(made.stop(), loop).result(TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT_S)
        loop.close()


EXACT = EngineConfig(engine="onnxruntime", precision="fp32", threads=1)


@pytest.fixture(scope="module")
def vectors() -> Iterator[Served]:
    """The bundles of the test vectors, whose answers are the same in every batch."""
    with serving(VECTORS, engine=EXACT) as served:
        yield served
