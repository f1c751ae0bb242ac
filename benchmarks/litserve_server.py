"""A peer of `benchmarks.peers`: one ONNX graph behind LitServe, nothing else.

It runs in an environment of its own (benchmarks/README.md), which has none of this project's
packages: the settings of ONNX Runtime below are those of service/engine/onnxruntime.py, by hand.
"""

import argparse
import http.client
import socket
import threading
import time
from pathlib import Path
from typing import Annotated

import litserve
import numpy as np
import onnxruntime
from fastapi import Body

MAX_BATCH_SIZE = 8
"""The largest batch of our scheduler."""

RawBytes = Annotated[bytes, Body(media_type="application/octet-stream")]


class Pose(litserve.LitAPI):
    """Raw RGB frames to keypoints."""

    def __init__(self, graph: Path, threads: int) -> None:
        # LitServe's own default waits for nothing: a lone frame leaves at once.
        super().__init__(max_batch_size=MAX_BATCH_SIZE, batch_timeout=0.0)
        self._graph = graph
        self._threads = threads

    def setup(self, device: str) -> None:
        """Open the graph in the process that computes."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(self._graph), options, providers=["CPUExecutionProvider"]
        )
        self._shape = self._session.get_inputs()[0].shape[1:]

    def decode_request(self, request: RawBytes) -> np.ndarray:
        """Return (H, W, 3)."""
        return np.frombuffer(request, np.uint8).reshape(self._shape)

    def predict(self, frames: np.ndarray) -> np.ndarray:
        """Return (B, N, K, 3)."""
        return self._session.run(["keypoints"], {"frames": frames})[0]

    def encode_response(self, keypoints: np.ndarray) -> dict[str, object]:
        """Return what is written as JSON."""
        return {"keypoints": keypoints.tolist()}


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--graph", type=Path, required=True, help="ONNX file")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = int(one.getsockname()[1])
    threading.Thread(target=announce, args=(port, arguments.port_file), daemon=True).start()
    api = Pose(arguments.graph.resolve(), arguments.threads)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


def announce(port: int, port_file: Path) -> None:
    """Write the port once the server says that it takes requests."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                break
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    port_file.write_text(f"{port}\n")


if __name__ == "__main__":
    main()
