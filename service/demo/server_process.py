"""A server in a process of its own that ends with the block that started it."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from service.errors import EthostreamError

_POLL_S = 0.05  # the port file appears within seconds; looking for it costs nothing
_STOP_S = 20.0  # the server drains for up to 10 s, then ends its decode workers


class ServerDidNotStart(EthostreamError):
    """The server ended, or did not answer in time."""

    status = "UNAVAILABLE"


class ServerProcess:
    """A starting or running server."""

    def __init__(self, process: subprocess.Popen[bytes], port_file: Path, log: Path) -> None:
        self._process = process
        self._port_file = port_file
        self._log = log

    @property
    def process_id(self) -> int:
        """Id of the process."""
        return self._process.pid

    def wait_until_serving(self, timeout_s: float) -> str:
        """Wait until all bundles are loaded and return the address, HOST:PORT.

        Raises:
            ServerDidNotStart: the server ended instead, or took longer than `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while not self._port_file.exists():
            if self._process.poll() is not None:
                raise ServerDidNotStart(
                    f"the server ended with status {self._process.returncode}: {self._last_line()}"
                )
            if time.monotonic() > deadline:
                raise ServerDidNotStart(
                    f"the server did not serve within {timeout_s:g} s; see {self._log}"
                )
            time.sleep(_POLL_S)
        return f"127.0.0.1:{int(self._port_file.read_text())}"

    def stop(self) -> int:
        """End the server: SIGTERM first; SIGKILL where it does not end in time.

        Returns:
            Its exit status.
        """
        self._process.terminate()
        try:
            return self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


@contextmanager
def start_server(models: Path, bundles: Sequence[str], *, log: Path) -> Iterator[ServerProcess]:
    """Start `ethostream serve` on a free loopback port; it ends with the block, in any case.

    Args:
        models: folder of bundles.
        bundles: NAME or NAME@VERSION to load.
        log: file that gets what the server says.
    """
    with tempfile.TemporaryDirectory(prefix="ethostream-demo-") as folder, log.open("wb") as said:
        port_file = Path(folder) / "port"
        command = [sys.executable, "-m", "ethostream.commands", "serve"]
        command += ["--models", str(models), "--listen", "127.0.0.1:0"]
        command += ["--port-file", str(port_file)]
        for name in bundles:
            command += ["--load", name]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        server = ServerProcess(process, port_file, log)
        try:
            yield server
        finally:
            server.stop()
