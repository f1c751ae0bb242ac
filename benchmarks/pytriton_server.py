"""The peer of `benchmarks.open_inference`: one ONNX graph behind PyTriton, nothing else.

It runs in an environment of its own (benchmarks/README.md), which has none of this project's
packages: the settings of ONNX Runtime below are those of service/engine/onnxruntime.py, by hand.
"""

import argparse
import signal
import socket
import threading
from pathlib import Path

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig, TritonSecurityConfig

MAX_BATCH_SIZE = 8
"""The largest batch of our scheduler."""


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--graph", type=Path, required=True, help="ONNX file")
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        str(arguments.graph), options, providers=["CPUExecutionProvider"]
    )

    @batch
    def infer(frames: np.ndarray) -> dict[str, np.ndarray]:
        (keypoints,) = session.run(["keypoints"], {"frames": frames})
        return {"keypoints": keypoints}

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    grpc_port, http_port, metrics_port = free_ports(3)
    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=grpc_port,
        http_address="127.0.0.1",
        http_port=http_port,
        metrics_address="127.0.0.1",
        metrics_port=metrics_port,
    )
    # Without this, perf_analyzer may not ask for statistics.
    security = TritonSecurityConfig(restricted_endpoints=[])
    with Triton(config=config, security_config=security) as triton:
        triton.bind(
            model_name=arguments.name,
            infer_func=infer,
            inputs=[_tensor("frames", session.get_inputs()[0], np.uint8)],
            outputs=[_tensor("keypoints", session.get_outputs()[0], np.float32)],
            config=ModelConfig(max_batch_size=MAX_BATCH_SIZE),
            strict=False,
        )
        triton.run()
        arguments.port_file.write_text(f"{grpc_port}\n")
        ended.wait()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; another program may take one before it is bound."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _tensor(name: str, node: object, dtype: type) -> Tensor:
    return Tensor(name=name, shape=tuple(node.shape[1:]), dtype=dtype)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
