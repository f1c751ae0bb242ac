"""Load on a StreamFrames server: a number of streams, each with frames in flight."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import grpc
import numpy as np
from ethostream._shared_memory import FrameMemory
from ethostream.v1 import bundle_pb2, frame_pb2
from ethostream.v1 import inference_service_pb2 as pb2
from ethostream.v1.inference_service_pb2_grpc import InferenceServiceStub


@dataclass(slots=True)
class LoadResult:
    """What a load gave."""

    frames: int = 0
    seconds: float = 0.0
    round_trip_ms: list[float] = field(default_factory=list)
    added_ms: list[float] = field(default_factory=list)
    """Round trip minus the request's own engine time."""

    @property
    def frames_per_s(self) -> float:
        """Frames answered in a second."""
        return self.frames / self.seconds


async def run_load(
    port: int,
    *,
    bundle: str,
    pictures: Sequence[bytes],
    size: tuple[int, int],
    streams: int,
    in_flight: int,
    frames: int,
    warm_up: int = 20,
    shared: bool = False,
) -> LoadResult:
    """Send `frames` frames on each of `streams` streams and time the answers.

    A round trip begins with the picture at hand, before it is put into a message or into memory.

    Args:
        port: of a server on loopback.
        bundle: pose bundle to ask for.
        pictures: raw frames that are sent in turn, gray or RGB by their length.
        size: their width and height, px.
        streams: streams that are open at once.
        in_flight: frames of each stream that are sent and not yet answered.
        frames: frames of each stream that count.
        warm_up: frames of each stream before them.
        shared: hand frames over in shared memory.
    """
    result = LoadResult()
    ready = asyncio.Barrier(streams + 1)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = InferenceServiceStub(channel)
        tasks = [
            asyncio.create_task(
                _stream(
                    stub, bundle, pictures, size, in_flight, frames, warm_up, shared, ready, result
                )
            )
            for _ in range(streams)
        ]
        await ready.wait()
        began = time.perf_counter()
        await asyncio.gather(*tasks)
        result.seconds = time.perf_counter() - began
    result.frames = streams * frames
    return result


async def _stream(
    stub: InferenceServiceStub,
    bundle: str,
    pictures: Sequence[bytes],
    size: tuple[int, int],
    in_flight: int,
    frames: int,
    warm_up: int,
    shared: bool,
    ready: asyncio.Barrier,
    result: LoadResult,
) -> None:
    sent: dict[int, float] = {}
    credit = asyncio.Semaphore(in_flight)
    begin = asyncio.Event()
    answered = 0
    memory = FrameMemory() if shared else None
    is_gray = len(pictures[0]) == size[0] * size[1]
    encoding = frame_pb2.FRAME_ENCODING_GRAY8 if is_gray else frame_pb2.FRAME_ENCODING_RGB24

    async def requests() -> AsyncIterator[pb2.StreamFramesRequest]:
        selection = bundle_pb2.BundleSelection(bundle=bundle_pb2.BundleReference(name=bundle))
        start = pb2.StreamStart(bundles=[selection], max_frames_in_flight=in_flight)
        if memory is not None:
            start.shared_memory.CopyFrom(memory.announcement())
        yield pb2.StreamFramesRequest(start=start)
        for index in range(warm_up + frames):
            if index == warm_up:
                await begin.wait()
            await credit.acquire()
            picture = pictures[index % len(pictures)]
            sent[index] = time.perf_counter()
            frame = frame_pb2.Frame(
                frame_index=index, encoding=encoding, width_px=size[0], height_px=size[1]
            )
            if memory is None:
                frame.data = picture
            else:
                place = memory.write(index, np.frombuffer(picture, np.uint8))
                assert place is not None, "a few frames of one size find their places"
                frame.shared_offset_bytes = place
            yield pb2.StreamFramesRequest(frame=frame)

    if not warm_up:
        await ready.wait()
        begin.set()
    async for response in stub.StreamFrames(requests()):
        if not response.HasField("outcome"):
            continue
        now = time.perf_counter()
        if memory is not None:
            memory.release(response.outcome.frame_index)
        credit.release()
        if answered >= warm_up:
            round_trip = (now - sent[answered]) * 1e3
            result.round_trip_ms.append(round_trip)
            result.added_ms.append(round_trip - response.outcome.timings.engine_ns / 1e6)
        answered += 1
        if answered == warm_up:
            await ready.wait()
            begin.set()
    if memory is not None:
        memory.close()
