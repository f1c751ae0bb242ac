"""A server to compare with: one ONNX graph behind grpc.aio, and nothing else.

It takes the tensor out of a ModelInfer, computes it on one thread, one request after the other,
and writes the answer. What a service needs beside that is not there: checks, resizing, batches,
limits, rights, statistics, other models.
"""

import argparse
import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop
from numpy.typing import NDArray

from service.engine import Engine, create_engine
from service.servicer.open_inference import open_inference_pb2 as pb2
from service.servicer.open_inference import open_inference_pb2_grpc as pb2_grpc


class MinimalServicer(pb2_grpc.GRPCInferenceServiceServicer):
    """What perf_analyzer asks for."""

    def __init__(self, name: str, engine: Engine, thread: ThreadPoolExecutor) -> None:
        self._name = name
        self._engine = engine
        self._thread = thread

    async def ServerMetadata(self, request: Any, context: Any) -> pb2.ServerMetadataResponse:
        """Offer no extensions."""
        return pb2.ServerMetadataResponse(name="minimal", version="1")

    async def ModelMetadata(self, request: Any, context: Any) -> pb2.ModelMetadataResponse:
        """Name one input and one output of any shape."""
        tensor = pb2.ModelMetadataResponse.TensorMetadata
        return pb2.ModelMetadataResponse(
            name=self._name,
            versions=["1"],
            platform="onnxruntime",
            inputs=[tensor(name="frames", datatype="UINT8", shape=[-1] * 4)],
            outputs=[tensor(name="keypoints", datatype="FP32", shape=[-1] * 4)],
        )

    async def ModelConfig(self, request: Any, context: Any) -> pb2.ModelConfigResponse:
        """Tell the same once more."""
        dims = [-1] * 3
        config = pb2.ModelConfig(
            name=self._name,
            max_batch_size=1,
            input=[pb2.ModelInput(name="frames", data_type=pb2.TYPE_UINT8, dims=dims)],
            output=[pb2.ModelOutput(name="keypoints", data_type=pb2.TYPE_FP32, dims=dims)],
        )
        return pb2.ModelConfigResponse(config=config)

    async def ModelInfer(
        self, request: pb2.ModelInferRequest, context: Any
    ) -> pb2.ModelInferResponse:
        """Compute one request."""
        frames: NDArray[Any] = np.frombuffer(request.raw_input_contents[0], np.uint8)
        frames = frames.reshape(request.inputs[0].shape)
        outputs = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._engine.run, {"frames": frames}
        )
        keypoints = outputs["keypoints"]
        response = pb2.ModelInferResponse(model_name=self._name, id=request.id)
        response.outputs.add(name="keypoints", datatype="FP32", shape=keypoints.shape)
        response.raw_output_contents.append(keypoints.tobytes())
        return response


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until the process is ended."""
    engine = create_engine(
        arguments.graph, engine="onnxruntime", precision="fp32", threads=arguments.threads
    )
    server = grpc.aio.server()
    servicer = MinimalServicer(  # type: ignore[abstract]  # the other methods answer UNIMPLEMENTED
        arguments.name, engine, ThreadPoolExecutor(1)
    )
    pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await asyncio.to_thread(arguments.port_file.write_text, f"{port}\n")
    await server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--graph", type=Path, required=True, help="ONNX file")
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--threads", type=int, required=True)
    uvloop.run(serve(parser.parse_args()))
