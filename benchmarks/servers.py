"""Server processes that a benchmark measures, each on a free loopback port of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """CPU time that the process has used, user and system."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)


@contextlib.contextmanager
def server_process(*command: str, python: str = sys.executable) -> Iterator[ServerProcess]:
    """Run `python -m command… --port-file FILE` until it wrote its port; end it afterwards."""
    with TemporaryDirectory() as folder:
        port_file, log = Path(folder) / "port", Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [python, "-m", *command, "--port-file", str(port_file)],
                stdout=output, stderr=output, env=os.environ,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while not port_file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command} did not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.05)
            yield ServerProcess(int(port_file.read_text()), process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
