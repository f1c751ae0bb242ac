"""The transport floor: a minimal grpc.aio server that answers each frame with a constant.

It parses nothing: requests stay bytes and the answer was built once. What remains is the cost of
moving a message there and back through gRPC in Python.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from ethostream.v1 import inference_service_pb2 as pb2
from ethostream.v1 import pose_pb2


def answer() -> bytes:
    """Return a FrameOutcome of one animal with four keypoints, as bytes."""
    pose = pose_pb2.Pose(x_px=[1.5] * 4, y_px=[2.5] * 4, confidence=[0.9] * 4)
    result = pb2.FrameResult(poses=[pose_pb2.PoseResult(poses=[pose])])
    outcome = pb2.FrameOutcome(frame_index=1, capture_time_ns=1, result=result)
    return pb2.StreamFramesResponse(outcome=outcome).SerializeToString()


async def serve(port_file: Path) -> None:
    """Serve StreamFrames until the process is ended."""
    constant = answer()

    async def echo(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await anext(aiter(requests))  # the start message has no outcome
        async for _ in requests:
            yield constant

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
    uvloop.run(serve(parser.parse_args().port_file))
