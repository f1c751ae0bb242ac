"""The transport floor: a minimal grpc.aio server that answers each frame with a constant.

It parses nothing: requests stay bytes and the answer was built once. What remains is the cost of
moving a message there and back through gRPC in Python.

With a bundle it also computes that bundle's pose graph for each frame, of zeros, on a thread, and
its answers tell how long that took: moving the same message takes longer around an engine.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from ethostream.v1 import inference_service_pb2 as pb2
from ethostream.v1 import pose_pb2

from service.bundle import read_bundle
from service.engine import choose_engine, default_threads, load_graph
from service.graph_inputs import example_inputs


def answer(engine_ns: int = 0) -> bytes:
    """Return a FrameOutcome of one animal with four keypoints, as bytes."""
    pose = pose_pb2.Pose(x_px=[1.5] * 4, y_px=[2.5] * 4, confidence=[0.9] * 4)
    result = pb2.FrameResult(poses=[pose_pb2.PoseResult(poses=[pose])])
    outcome = pb2.FrameOutcome(frame_index=1, capture_time_ns=1, result=result)
    outcome.timings.engine_ns = engine_ns
    return pb2.StreamFramesResponse(outcome=outcome).SerializeToString()


def load_engine(folder: Path) -> Callable[[], int]:
    """Load the pose graph of a bundle as `ethostream serve` does.

    Returns:
        What computes a batch of one frame and returns its time in ns.
    """
    bundle = read_bundle(folder)
    engine, precision = choose_engine(bundle.manifest, "auto", "auto")
    graph = load_graph(
        bundle, "pose", engine=engine, precision=precision, threads=default_threads()
    )
    inputs = example_inputs(bundle.manifest, "pose", 1)

    def compute() -> int:
        began = time.perf_counter_ns()
        graph.run(inputs)
        return time.perf_counter_ns() - began

    compute()
    return compute


async def serve(port_file: Path, compute: Callable[[], int] | None) -> None:
    """Serve StreamFrames until the process is ended."""
    constant = answer()
    loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1)

    async def echo(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await anext(aiter(requests))  # the start message has no outcome
        async for _ in requests:
            if compute is None:
                yield constant
            else:
                yield answer(await loop.run_in_executor(thread, compute))

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 32 << 20)])
    handler: Any = grpc.stream_stream_rpc_method_handler(echo)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "ethostream.v1.InferenceService", {"StreamFrames": handler}
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await asyncio.to_thread(port_file.write_text, f"{port}\n")
    await server.wait_for_termination()


if __name__ == "__main__":
    import uvloop

    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="folder of a bundle to compute, none without")
    arguments = parser.parse_args()
    compute = load_engine(arguments.bundle) if arguments.bundle else None
    uvloop.run(serve(arguments.port_file, compute))
