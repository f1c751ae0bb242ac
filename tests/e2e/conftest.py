"""Real servers in processes of their own, with the shipped bundles, on loopback."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from ethostream.v1.inference_service_pb2_grpc import InferenceServiceStub
from ethostream.v1.model_service_pb2_grpc import ModelServiceStub

from service.simulation import SimulationSettings, simulate, write_recording

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED_MODELS = REPOSITORY / "deploy" / "models"
MESSAGE_BYTES = 64 << 20


def serve_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ethostream.commands", "serve", *arguments]


@dataclass
class RunningServer:
    """A server process and how to talk to it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    channels: list[grpc.Channel] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def channel(self) -> grpc.Channel:
        options = [
            ("grpc.max_send_message_length", MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ]
        channel = grpc.insecure_channel(self.address, options)
        self.channels.append(channel)
        return channel

    @property
    def inference(self) -> InferenceServiceStub:
        return InferenceServiceStub(self.channel())

    @property
    def models(self) -> ModelServiceStub:
        return ModelServiceStub(self.channel())

    def stop(self) -> int:
        for channel in self.channels:
            channel.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise


@pytest.fixture(scope="session")
def start_server(tmp_path_factory) -> Iterator[Callable[..., RunningServer]]:
    """Starts `ethostream serve` on a free port and waits until its bundles are loaded."""
    started: list[RunningServer] = []

    def start(*arguments: str, models: Path = SHIPPED_MODELS) -> RunningServer:
        folder = tmp_path_factory.mktemp("server")
        log, port_file = folder / "log.jsonl", folder / "port"
        with log.open("wb") as output:
            process = subprocess.Popen(
                serve_command(
                    "--models", str(models), "--listen", "127.0.0.1:0",
                    "--port-file", str(port_file), *arguments,
                ),
                stdout=output,
                stderr=output,
                env=os.environ | {"PYTHONWARNINGS": "default"},
            )  # fmt: skip
        deadline = time.monotonic() + 300  # on a machine that does much else
        while not port_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait(10)
                pytest.fail(f"the server did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        server = RunningServer(process, int(port_file.read_text()), log)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def recordings(tmp_path_factory) -> Path:
    """A folder with open-field recordings of 2 and 3 s and their labels."""
    folder = tmp_path_factory.mktemp("recordings")
    for name, seconds, seed in (("short", 2.0, 5), ("long", 3.0, 6)):
        settings = SimulationSettings(duration_s=seconds, seed=seed)
        write_recording(simulate(settings), folder, name=name)
    return folder


@pytest.fixture(scope="session")
def server(start_server, recordings) -> RunningServer:
    """One server that may read the recordings."""
    return start_server("--root", str(recordings))
