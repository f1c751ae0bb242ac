"""Clients of the servers that are compared: each asks for one frame and waits for its answer."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import grpc
from ethostream.v1 import bundle_pb2, frame_pb2
from ethostream.v1 import inference_service_pb2 as pb2
from ethostream.v1.inference_service_pb2_grpc import InferenceServiceStub

from benchmarks.peer_rows import Load, to_load
from service.servicer.open_inference import open_inference_pb2 as open_pb2
from service.servicer.open_inference.open_inference_pb2_grpc import GRPCInferenceServiceStub

Ask = Callable[[bytes], Awaitable[None]]
"""Sends one frame, raw RGB, and returns when its keypoints are there."""
Client = Callable[[int, str, int], AbstractAsyncContextManager[Ask]]
"""Takes a port on loopback, the name of the model, and the side of its square frames in px."""

_WARM_UP = 3


async def load(
    client: Client,
    port: int,
    *,
    model: str,
    size_px: int,
    pictures: Sequence[bytes],
    concurrency: int,
    seconds: float,
) -> Load:
    """Let `concurrency` clients ask for `seconds`, each for one frame after the other.

    Args:
        client: how to ask this server.
        port: of the server.
        model: its name there.
        size_px: side of the frames.
        pictures: raw frames that are sent in turn.
        concurrency: clients, and so requests, at once.
        seconds: for how long frames are sent; those on their way then are waited for.
    """
    ready = asyncio.Barrier(concurrency)
    times_ms: list[float] = []

    async def work(ask: Ask) -> float:
        """Return how long this client took for its frames."""
        for picture in pictures[:_WARM_UP]:
            await ask(picture)
        await ready.wait()
        start = now = time.perf_counter()
        for picture in itertools.cycle(pictures):
            began, until = now, start + seconds
            if began >= until:
                break
            await ask(picture)
            now = time.perf_counter()
            times_ms.append((now - began) * 1e3)
        return now - start

    async with AsyncExitStack() as stack, asyncio.timeout(20 * seconds + 60):
        asks = [
            await stack.enter_async_context(client(port, model, size_px))
            for _ in range(concurrency)
        ]
        taken = await asyncio.gather(*map(work, asks))
    return to_load(times_ms, max(taken))


@asynccontextmanager
async def ethostream(port: int, model: str, size_px: int) -> AsyncIterator[Ask]:
    """Open a stream of this server, lossless, one frame in flight."""
    numbers = itertools.count()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = InferenceServiceStub(channel).StreamFrames()
        chosen = bundle_pb2.BundleSelection(bundle=bundle_pb2.BundleReference(name=model))
        start = pb2.StreamStart(bundles=[chosen], max_frames_in_flight=1)
        await call.write(pb2.StreamFramesRequest(start=start))

        async def ask(picture: bytes) -> None:
            frame = frame_pb2.Frame(
                frame_index=next(numbers),
                encoding=frame_pb2.FRAME_ENCODING_RGB24,
                width_px=size_px,
                height_px=size_px,
                data=picture,
            )
            await call.write(pb2.StreamFramesRequest(frame=frame))
            while not (answer := await call.read()).HasField("outcome"):
                pass
            assert answer.outcome.result.poses, f"no pose in {answer.outcome}"

        yield ask
        await call.done_writing()


@asynccontextmanager
async def open_inference(port: int, model: str, size_px: int) -> AsyncIterator[Ask]:
    """Call a server of KServe's Open Inference Protocol, such as PyTriton."""
    tensor = open_pb2.ModelInferRequest.InferInputTensor(
        name="frames", datatype="UINT8", shape=[1, size_px, size_px, 3]
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = GRPCInferenceServiceStub(channel)

        async def ask(picture: bytes) -> None:
            request = open_pb2.ModelInferRequest(
                model_name=model, inputs=[tensor], raw_input_contents=[picture]
            )
            answer = await stub.ModelInfer(request)
            assert answer.raw_output_contents, f"no keypoints in {answer}"

        yield ask


@asynccontextmanager
async def litserve(port: int, model: str, size_px: int) -> AsyncIterator[Ask]:
    """Post raw bytes to LitServe over a connection that is kept."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Content-Length: {size_px * size_px * 3}\r\n\r\n"
    ).encode()

    async def ask(picture: bytes) -> None:
        writer.write(head + picture)
        status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        names = {name.lower(): value for name, _, value in (one.partition(":") for one in fields)}
        body = await reader.readexactly(int(names["content-length"]))
        assert status.split()[1] == "200", f"{status}: {body!r}"
        assert json.loads(body)["keypoints"], "an answer has keypoints"

    try:
        yield ask
    finally:
        writer.close()
        await writer.wait_closed()
